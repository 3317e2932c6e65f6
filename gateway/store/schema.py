"""The tables, as numbered migrations. A migration that was released is never edited: add the next number.

Ids are TEXT with the BINARY collation: compared as octets, case counts. `folder.key` and `journal.id` are
never given twice. Times are seconds since 1970 UTC.
"""

from __future__ import annotations

import sqlite3

from gateway.store.errors import SchemaTooNew

FIRST = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE account (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        uid_validity INTEGER NOT NULL DEFAULT 0,  -- the last one given, kept when mailboxes go
        hierarchy_link BLOB NOT NULL DEFAULT x''  -- sealed
    ) STRICT""",
    """CREATE TABLE folder (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        account INTEGER NOT NULL REFERENCES account (key) ON DELETE CASCADE,
        id TEXT NOT NULL,
        parent TEXT NOT NULL,
        name TEXT NOT NULL,
        well_known TEXT NOT NULL,
        hidden INTEGER NOT NULL,
        total INTEGER NOT NULL,
        unread INTEGER NOT NULL,
        uid_validity INTEGER NOT NULL,
        uid_next INTEGER NOT NULL,
        modseq INTEGER NOT NULL,
        reserved INTEGER NOT NULL,
        ready INTEGER NOT NULL,
        delta_link BLOB NOT NULL DEFAULT x'',  -- sealed
        recent_from INTEGER NOT NULL,
        synced_at INTEGER NOT NULL,
        mailbox_id TEXT NOT NULL,
        uid_last INTEGER NOT NULL DEFAULT 0,   -- the highest UID that was ever visible
        tombstones INTEGER NOT NULL DEFAULT 0, -- how many are kept
        pruned INTEGER NOT NULL DEFAULT 0,     -- tombstones up to this mod-sequence were dropped
        UNIQUE (account, id)
    ) STRICT""",
    """CREATE TABLE message (
        folder INTEGER NOT NULL REFERENCES folder (key) ON DELETE CASCADE,
        uid INTEGER NOT NULL,
        id TEXT NOT NULL,
        modseq INTEGER NOT NULL,
        system INTEGER NOT NULL,
        keywords BLOB NOT NULL,  -- sorted, separated by spaces
        internal_date INTEGER NOT NULL,
        size INTEGER NOT NULL,
        size_exact INTEGER NOT NULL,
        email_id TEXT NOT NULL,
        thread_id TEXT NOT NULL,
        save_date INTEGER NOT NULL,
        etag TEXT NOT NULL,
        modified INTEGER NOT NULL,
        PRIMARY KEY (folder, uid)
    ) STRICT, WITHOUT ROWID""",
    "CREATE UNIQUE INDEX message_by_id ON message (folder, id)",
    "CREATE INDEX message_by_modseq ON message (folder, modseq)",
    """CREATE TABLE tombstone (
        folder INTEGER NOT NULL REFERENCES folder (key) ON DELETE CASCADE,
        modseq INTEGER NOT NULL,
        uid INTEGER NOT NULL,
        PRIMARY KEY (folder, modseq, uid)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE staged (
        folder INTEGER NOT NULL REFERENCES folder (key) ON DELETE CASCADE,
        id TEXT NOT NULL,
        system INTEGER NOT NULL,
        keywords BLOB NOT NULL,
        internal_date INTEGER NOT NULL,
        size INTEGER NOT NULL,
        size_exact INTEGER NOT NULL,
        email_id TEXT NOT NULL,
        thread_id TEXT NOT NULL,
        save_date INTEGER NOT NULL,
        etag TEXT NOT NULL,
        modified INTEGER NOT NULL,
        PRIMARY KEY (folder, id)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE subscription (
        account INTEGER NOT NULL REFERENCES account (key) ON DELETE CASCADE,
        name TEXT NOT NULL,
        PRIMARY KEY (account, name)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE facts (
        account INTEGER NOT NULL REFERENCES account (key) ON DELETE CASCADE,
        id TEXT NOT NULL,
        listed BLOB NOT NULL,  -- sealed: header, envelope, preview
        structures BLOB,       -- sealed; NULL until MIME was seen
        UNIQUE (account, id)
    ) STRICT""",
    """CREATE TABLE pin (
        account INTEGER NOT NULL REFERENCES account (key) ON DELETE CASCADE,
        id TEXT NOT NULL,
        sealed BLOB NOT NULL,
        UNIQUE (account, id)
    ) STRICT""",
    """CREATE TABLE blob (
        address BLOB PRIMARY KEY,
        size INTEGER NOT NULL,
        touched INTEGER NOT NULL  -- when it was last put: a blob nobody refers to is kept a while
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE chunk (
        address BLOB NOT NULL REFERENCES blob (address) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        sealed BLOB NOT NULL,
        UNIQUE (address, number)
    ) STRICT""",
    """CREATE TABLE original (
        account INTEGER NOT NULL REFERENCES account (key) ON DELETE CASCADE,
        id TEXT NOT NULL,
        address BLOB NOT NULL REFERENCES blob (address),
        PRIMARY KEY (account, id)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX original_by_address ON original (address)",
    """CREATE TABLE local (
        account INTEGER NOT NULL REFERENCES account (key) ON DELETE CASCADE,
        id TEXT NOT NULL,
        answered INTEGER NOT NULL,
        forwarded INTEGER NOT NULL,
        keywords BLOB NOT NULL,
        PRIMARY KEY (account, id)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE journal (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account INTEGER NOT NULL REFERENCES account (key) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        payload BLOB NOT NULL,  -- sealed
        created INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX journal_by_account ON journal (account)",
)

SEARCH_TEXTS = (
    """CREATE TABLE body_text (
        number INTEGER PRIMARY KEY,  -- grows with age
        account INTEGER NOT NULL REFERENCES account (key) ON DELETE CASCADE,
        content TEXT NOT NULL,       -- EMAILID: copies have one text
        octets INTEGER NOT NULL,     -- of `sealed`
        sealed BLOB NOT NULL,
        UNIQUE (account, content)
    ) STRICT""",
    "CREATE INDEX body_text_octets ON body_text (octets)",
)

IDENTITIES = (
    """CREATE TABLE identity (
        account INTEGER NOT NULL REFERENCES account (key) ON DELETE CASCADE,
        id TEXT NOT NULL,
        email_id TEXT NOT NULL,  -- of copies and of changed content: not derived from `id`
        PRIMARY KEY (account, id)
    ) STRICT, WITHOUT ROWID""",
)

ANNOTATIONS = (
    """CREATE TABLE annotation (
        account INTEGER NOT NULL REFERENCES account (key) ON DELETE CASCADE,
        folder INTEGER REFERENCES folder (key) ON DELETE CASCADE,  -- NULL: of the account itself
        entry TEXT NOT NULL,      -- lower case
        octets INTEGER NOT NULL,  -- that it counts for
        sealed BLOB NOT NULL,
        UNIQUE (account, folder, entry)
    ) STRICT""",
)

SORT_BLOCKS = (
    """CREATE TABLE sort_block (
        folder INTEGER NOT NULL REFERENCES folder (key) ON DELETE CASCADE,
        number INTEGER NOT NULL,  -- of a stretch of UIDs
        sealed BLOB NOT NULL,
        UNIQUE (folder, number)
    ) STRICT""",
)

SUBMISSIONS = (
    """CREATE TABLE submission (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account INTEGER NOT NULL REFERENCES account (key) ON DELETE CASCADE,
        queue_id TEXT NOT NULL,
        digest BLOB NOT NULL,      -- keyed: of envelope and octets
        state TEXT NOT NULL,
        queued INTEGER NOT NULL,   -- accepted: sent whatever it takes
        heard INTEGER NOT NULL,    -- the client has had our reply
        holder TEXT NOT NULL,      -- the node that works on it
        lease INTEGER NOT NULL,
        created INTEGER NOT NULL,
        touched INTEGER NOT NULL,
        due INTEGER NOT NULL,
        blob BLOB NOT NULL,        -- address of the octets, or empty
        sealed BLOB NOT NULL,      -- envelope, draft, error
        UNIQUE (account, queue_id)
    ) STRICT""",
    "CREATE INDEX submission_by_digest ON submission (account, digest)",
    "CREATE INDEX submission_by_blob ON submission (blob)",
)

SYNCING = (
    """CREATE TABLE walk (
        folder INTEGER NOT NULL REFERENCES folder (key) ON DELETE CASCADE,
        link BLOB NOT NULL,      -- sealed: where the walk goes on
        done INTEGER NOT NULL,   -- it is the delta link
        began INTEGER NOT NULL,
        windows TEXT NOT NULL,   -- of the first listing, staged; separated by spaces
        PRIMARY KEY (folder)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE walked (
        folder INTEGER NOT NULL REFERENCES folder (key) ON DELETE CASCADE,
        id TEXT NOT NULL,
        PRIMARY KEY (folder, id)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE surplus (
        folder INTEGER NOT NULL REFERENCES folder (key) ON DELETE CASCADE,
        total INTEGER NOT NULL,  -- what Graph counts beyond our rows
        unread INTEGER NOT NULL,
        PRIMARY KEY (folder)
    ) STRICT, WITHOUT ROWID""",
    "ALTER TABLE account ADD COLUMN hierarchy_at INTEGER NOT NULL DEFAULT 0",  # when it was heard of last
)

# Several processes on one database (decision: adr/0050): `node` is one run of a process, known by its row and nothing
# else. On SQLite these tables stay empty.
NODES = (
    """CREATE TABLE node (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        expires INTEGER NOT NULL  -- milliseconds since 1970 by the database's clock; alive as long as the row is there
    ) STRICT""",
    """CREATE TABLE lease (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        node INTEGER NOT NULL,   -- holds it while it lives
        number INTEGER NOT NULL  -- of the taking: what was begun under another one is not written any more
    ) STRICT""",
    """CREATE TABLE share (
        mailbox INTEGER NOT NULL,  -- a hash of its name
        node INTEGER NOT NULL,
        active INTEGER NOT NULL,
        slots INTEGER NOT NULL,
        requests INTEGER NOT NULL,
        upload INTEGER NOT NULL,
        PRIMARY KEY (mailbox, node)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE watched (
        account INTEGER NOT NULL REFERENCES account (key) ON DELETE CASCADE,
        node INTEGER NOT NULL,
        folder INTEGER NOT NULL,  -- 0: the tree of folders
        PRIMARY KEY (account, node, folder)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE news (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account INTEGER NOT NULL REFERENCES account (key) ON DELETE CASCADE,
        node INTEGER NOT NULL,   -- whose doing
        kind INTEGER NOT NULL,
        folder INTEGER NOT NULL,
        text TEXT NOT NULL,
        created INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX news_by_account ON news (account, id)",
    "ALTER TABLE journal ADD COLUMN node INTEGER NOT NULL DEFAULT 0",  # whose work
    "ALTER TABLE journal ADD COLUMN folder INTEGER NOT NULL DEFAULT 0",  # into which it puts messages
)

UNDELETED = ("ALTER TABLE local ADD COLUMN undeleted INTEGER NOT NULL DEFAULT 0",)

QUOTAS = (
    """CREATE TABLE quota (
        name TEXT NOT NULL,      -- whose
        span INTEGER NOT NULL,   -- seconds
        began INTEGER NOT NULL,  -- of the span that is counted
        used INTEGER NOT NULL,
        PRIMARY KEY (name, span)
    ) STRICT, WITHOUT ROWID""",
)

# The n-th brings schema n-1 to n.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    FIRST,
    SEARCH_TEXTS,
    IDENTITIES,
    ANNOTATIONS,
    SORT_BLOCKS,
    SUBMISSIONS,
    SYNCING,
    NODES,
    UNDELETED,
    QUOTAS,
)


def migrate(db: sqlite3.Connection) -> None:
    """Bring the schema up to date, each step whole or not at all. SchemaTooNew leaves the file untouched."""
    present: int = db.execute("PRAGMA user_version").fetchone()[0]
    if present > len(MIGRATIONS):
        raise SchemaTooNew(
            f"the store has schema {present}, this program knows {len(MIGRATIONS)}: use a newer program"
        )
    for number in range(present + 1, len(MIGRATIONS) + 1):
        _step(db, number)


def _step(db: sqlite3.Connection, number: int) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] < number:  # another process may have been first
            for statement in MIGRATIONS[number - 1]:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number:d}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise

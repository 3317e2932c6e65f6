"""Searchable texts of messages, by the name of their content (EMAILID): sealed, bounded, the oldest go first.

A text is what SEARCH BODY looks at, decoded and folded already. It is derived from a message's octets and may be
dropped at any time: SEARCH then reads the octets again. The running total is in `meta`, so that no write must
add up all rows; what a removed account leaves in it is put right when the bound is next reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gateway.core.types import AccountId
from gateway.store.crypt import Vault
from gateway.store.db import Connection
from gateway.store.rows import account_key, among, make_account

VERSION = b"\1"  # of what is looked at and how it is folded: a text of another version is no text
TOTAL = "text-octets"
ROOM = 10  # a tenth of the bound is freed at once, so that not every write must


def seal(vault: Vault, account: AccountId, texts: Mapping[str, str]) -> dict[str, bytes]:
    """CPU only: done before the transaction."""
    return {
        content: vault.seal(VERSION + text.encode("utf-8", "surrogatepass"), _context(account, content))
        for content, text in texts.items()
    }


def put(db: Connection, account: AccountId, sealed: Mapping[str, bytes], bound: int) -> None:
    """Insert or replace; texts beyond `bound` octets, all accounts together, are dropped, oldest first."""
    owner = make_account(db, account)
    rows = [(owner, content, len(octets), octets) for content, octets in sealed.items()]
    db.executemany("DELETE FROM body_text WHERE account = ? AND content = ?", [row[:2] for row in rows])
    db.executemany("INSERT INTO body_text (account, content, octets, sealed) VALUES (?, ?, ?, ?)", rows)
    total = _total(db) + sum(map(len, sealed.values()))
    _set_total(db, total)
    if total > bound:
        _trim(db, bound)


def sealed_texts(db: Connection, account: AccountId, contents: Iterable[str]) -> list[tuple[str, bytes]]:
    sql = (
        "SELECT content, sealed FROM body_text"
        " WHERE account = ? AND content IN (SELECT value FROM json_each(?))"
    )
    return db.execute(sql, (account_key(db, account), among(list(contents)))).fetchall()


def open_texts(vault: Vault, account: AccountId, rows: Sequence[tuple[str, bytes]]) -> dict[str, str]:
    opened = ((content, vault.open(sealed, _context(account, content))) for content, sealed in rows)
    return {
        content: octets[1:].decode("utf-8", "surrogatepass")
        for content, octets in opened
        if octets[:1] == VERSION
    }


def sweep(db: Connection) -> int:
    """Drop the texts of messages that are in no folder any more; returns how many."""
    gone = db.execute(
        "DELETE FROM body_text WHERE (account, content) NOT IN (SELECT folder.account, message.email_id"
        " FROM message JOIN folder ON folder.key = message.folder)"
    ).rowcount
    _set_total(db, _sum(db))
    return gone


def _trim(db: Connection, bound: int) -> None:
    excess = _sum(db) - bound
    if excess > 0:
        excess += bound // ROOM
        last = 0
        for number, octets in db.execute("SELECT number, octets FROM body_text ORDER BY number"):
            last, excess = number, excess - octets
            if excess <= 0:
                break
        db.execute("DELETE FROM body_text WHERE number <= ?", (last,))
    _set_total(db, _sum(db))


def _sum(db: Connection) -> int:
    (total,) = db.execute("SELECT COALESCE(SUM(octets), 0) FROM body_text").fetchone()
    return int(total)


def _total(db: Connection) -> int:
    row = db.execute("SELECT value FROM meta WHERE name = ?", (TOTAL,)).fetchone()
    return int(row[0]) if row else 0


def _set_total(db: Connection, total: int) -> None:
    sql = (
        "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    )
    db.execute(sql, (TOTAL, b"%d" % total))


def _context(account: AccountId, content: str) -> str:
    return f"text/{account}/{content}"

"""What one `apply` does to a folder: which rows change, which UIDs end, which begin (invariants 1 and 7).

UIDs become visible in ascending order. So a UID that was reserved earlier is used only while nothing above it
is visible; otherwise the message gets a fresh one: a view can only append (RFC 9051 section 2.3.1.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.core.objectid import object_id
from gateway.core.types import MessageId, ModSeq, Uid
from gateway.store.api import ABSENT, Applied, MessageRow, Upsert
from gateway.store.content import forget
from gateway.store.db import Connection
from gateway.store.errors import StoreError
from gateway.store.identity import known, native, remember
from gateway.store.rows import (
    CONTENT,
    CONTENT_MARKS,
    NEW,
    Content,
    content_of,
    find_messages,
    flags_of,
    folder_field,
    merge,
)

LAST_UID = 2**32 - 1


@dataclass(slots=True)
class Draft:
    """A folder while one `apply` is worked out. `rows` is what is known of the ids concerned, now."""

    folder: int
    account: int
    uid_validity: int
    uid_next: int
    uid_last: int  # highest UID visible before this apply
    modseq: int
    rows: dict[MessageId, MessageRow]
    changed: dict[MessageId, MessageRow] = field(default_factory=dict)
    born: set[MessageId] = field(default_factory=set)
    gone: list[Uid] = field(default_factory=list)
    stale: list[MessageId] = field(default_factory=list)  # facts and pins of an old generation
    identities: dict[MessageId, str] = field(default_factory=dict)  # EMAILIDs that are not native, as known
    learnt: dict[MessageId, str] = field(default_factory=dict)  # those to be remembered
    held: bool = False  # somebody is putting messages there
    passed: list[MessageId] = field(default_factory=list)

    @property
    def next_modseq(self) -> ModSeq:
        return ModSeq(self.modseq + 1)


def apply(
    db: Connection,
    folder: int,
    upserts: Sequence[Upsert],
    gone: Sequence[MessageId],
    keep: int,
    held: Callable[[Connection, int], bool] = lambda db, folder: False,
) -> Applied:
    """`gone` first, then `upserts` in order. Keeps at most `keep` tombstones. `held`: whether somebody is putting
    messages into the folder."""
    draft = _read(db, folder, [*gone, *(upsert.id for upsert in upserts)])
    draft.identities = known(
        db, draft.account, [upsert.id for upsert in upserts if upsert.id not in draft.rows]
    )
    if any(upsert.base == ABSENT and upsert.id not in draft.rows for upsert in upserts):
        draft.held = held(db, folder)
    for id in gone:
        _remove(draft, id)
    for upsert in upserts:
        _put(draft, upsert)
    applied = _write(db, draft, keep)
    applied.passed = draft.passed
    return applied


def _read(db: Connection, folder: int, ids: Sequence[MessageId]) -> Draft:
    columns = "account, uid_validity, uid_next, uid_last, modseq"
    account, validity, uid_next, uid_last, modseq = folder_field(db, folder, columns)
    rows = find_messages(db, folder, ids) if ids else {}
    return Draft(folder, account, validity, uid_next, uid_last, modseq, rows)


def _remove(draft: Draft, id: MessageId) -> None:
    row = draft.rows.pop(id, None)
    if row is None:
        return
    draft.changed.pop(id, None)
    if id in draft.born:  # came and went in this apply: nobody ever saw its UID
        draft.born.discard(id)
    else:
        draft.gone.append(row.uid)


def _put(draft: Draft, upsert: Upsert) -> None:
    row = draft.rows.get(upsert.id)
    if not _as_decided(draft, row, upsert.base):
        draft.passed.append(upsert.id)
    elif row is None:
        if not upsert.known_only:
            _begin(draft, upsert, NEW)
    elif upsert.new_generation:
        _remove(draft, upsert.id)
        draft.stale.append(upsert.id)
        kept = content_of(row)
        _begin(draft, upsert, (*kept[:3], 0, 0, "", upsert.thread_id or kept[6], *kept[7:]))
    else:
        _update(draft, row, upsert)


def _as_decided(draft: Draft, row: MessageRow | None, base: str | None) -> bool:
    if base is None:
        return True
    if base == ABSENT:
        return row is None and not draft.held
    return row is not None and row.etag == base


def _begin(draft: Draft, upsert: Upsert, base: Content) -> None:
    uid = _allocate(draft, upsert.uid)
    content = merge(base, upsert)
    content = (*content[:5], _identity(draft, upsert.id, uid, content[5], new=base is NEW), *content[6:])
    _keep(draft, _row(uid, upsert.id, draft.next_modseq, content))
    draft.born.add(upsert.id)


def _identity(draft: Draft, id: MessageId, uid: Uid, told: str, *, new: bool) -> str:
    """EMAILID of a row that begins: as inherited, as remembered, or its own; changed content gets a new one."""
    if not new and not told:
        told = object_id("M", f"{id}/{draft.uid_validity}/{uid}")
    elif told in ("", native(id)):
        return draft.identities.get(id, native(id))
    draft.learnt[id] = draft.identities[id] = told
    return told


def _update(draft: Draft, row: MessageRow, upsert: Upsert) -> None:
    """A new mod-sequence for what clients are told of (flags), none for the rest."""
    old = content_of(row)
    new = merge(old, upsert)
    if new != old:
        modseq = draft.next_modseq if new[:2] != old[:2] else row.modseq
        _keep(draft, _row(row.uid, row.id, modseq, new))


def _keep(draft: Draft, row: MessageRow) -> None:
    draft.rows[row.id] = draft.changed[row.id] = row


def _allocate(draft: Draft, reserved: Uid | None) -> Uid:
    if reserved is not None and reserved >= draft.uid_next:
        raise ValueError(f"UID {reserved} was never reserved")
    taken = reserved is not None and any(draft.rows[id].uid == reserved for id in draft.born)
    if reserved is not None and reserved > draft.uid_last and not taken:
        return reserved
    if draft.uid_next > LAST_UID:
        raise StoreError("a mailbox has used up its UIDs")
    draft.uid_next += 1
    return Uid(draft.uid_next - 1)


def _row(uid: Uid, id: MessageId, modseq: ModSeq, content: Content) -> MessageRow:
    system, keywords, date, size, exact, email, thread, saved, etag, modified = content
    flags = flags_of(system, keywords)
    return MessageRow(uid, id, modseq, flags, date, size, exact == 1, email, thread, saved, etag, modified)


def _write(db: Connection, draft: Draft, keep: int) -> Applied:
    if not draft.changed and not draft.gone:
        return Applied(ModSeq(draft.modseq))
    rows = sorted(draft.changed.values(), key=lambda row: row.uid)
    gone = sorted(draft.gone)
    advanced = bool(gone) or any(row.modseq == draft.next_modseq for row in rows)
    draft.modseq += advanced
    _write_rows(db, draft, rows, gone)
    uid_last = max([draft.uid_last, *(row.uid for row in rows)])
    db.execute(
        "UPDATE folder SET uid_next = ?, uid_last = ?, modseq = ?, tombstones = tombstones + ? WHERE key = ?",
        (draft.uid_next, uid_last, draft.modseq, len(gone), draft.folder),
    )
    forget(db, draft.account, draft.stale)
    remember(db, draft.account, draft.learnt)
    if gone:
        prune(db, draft.folder, keep)
    return Applied(ModSeq(draft.modseq), rows, gone, advanced, len(draft.born))


def _write_rows(db: Connection, draft: Draft, rows: list[MessageRow], gone: list[Uid]) -> None:
    folder = draft.folder
    db.executemany("DELETE FROM message WHERE folder = ? AND uid = ?", [(folder, uid) for uid in gone])
    db.executemany("INSERT INTO tombstone VALUES (?, ?, ?)", [(folder, draft.modseq, uid) for uid in gone])
    db.executemany(
        f"INSERT INTO message (folder, uid, id, modseq, {CONTENT}) VALUES (?, ?, ?, ?, {CONTENT_MARKS})",  # noqa: S608
        [(folder, row.uid, row.id, row.modseq, *content_of(row)) for row in rows if row.id in draft.born],
    )
    db.executemany(
        f"UPDATE message SET (modseq, {CONTENT}) = (?, {CONTENT_MARKS}) WHERE folder = ? AND uid = ?",  # noqa: S608
        [(row.modseq, *content_of(row), folder, row.uid) for row in rows if row.id not in draft.born],
    )


def prune(db: Connection, folder: int, keep: int) -> None:
    """Beyond `keep` tombstones the oldest go, a quarter of the bound at once so that the work stays rare."""
    (count,) = folder_field(db, folder, "tombstones")
    if count <= keep:
        return
    drop = count - keep + keep // 4
    (edge,) = db.execute(
        "SELECT modseq FROM tombstone WHERE folder = ? ORDER BY modseq LIMIT 1 OFFSET ?", (folder, drop - 1)
    ).fetchone()
    done = db.execute("DELETE FROM tombstone WHERE folder = ? AND modseq <= ?", (folder, edge)).rowcount
    db.execute(
        "UPDATE folder SET tombstones = tombstones - ?, pruned = ? WHERE key = ?", (done, edge, folder)
    )

"""Reading a folder's messages, and the first sync that numbers them (decision 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.core.types import AccountId, MessageId, ModSeq, SystemFlag, Uid
from gateway.store.api import Applied, Counts, Delta, MessageRow, Upsert
from gateway.store.apply import LAST_UID
from gateway.store.db import Connection
from gateway.store.errors import StoreError
from gateway.store.identity import known, native
from gateway.store.rows import (
    CONTENT,
    CONTENT_MARKS,
    EXCLUDED,
    MESSAGE,
    NEW,
    Content,
    account_key,
    among,
    folder_field,
    merge,
    message_rows,
)


def all_messages(db: Connection, folder: int) -> list[MessageRow]:
    sql = f"SELECT {MESSAGE} FROM message WHERE folder = ? ORDER BY uid"  # noqa: S608
    return message_rows(db.execute(sql, (folder,)))


def newest(db: Connection, folder: int, count: int) -> list[MessageRow]:
    sql = f"SELECT {MESSAGE} FROM message WHERE folder = ? ORDER BY uid DESC LIMIT ?"  # noqa: S608
    return message_rows(db.execute(sql, (folder, count)))


def by_uid(db: Connection, folder: int, uids: Sequence[Uid]) -> dict[Uid, MessageRow]:
    sql = f"SELECT {MESSAGE} FROM message WHERE folder = ? AND uid IN (SELECT value FROM json_each(?))"  # noqa: S608
    return {row.uid: row for row in message_rows(db.execute(sql, (folder, among(uids))))}


def ids(db: Connection, folder: int) -> dict[MessageId, Uid]:
    return dict(db.execute("SELECT id, uid FROM message WHERE folder = ?", (folder,)).fetchall())


def since(db: Connection, folder: int, modseq: ModSeq) -> Delta:
    now, pruned = folder_field(db, folder, "modseq, pruned")
    # All of a folder is read along its UIDs, a few changes along the index of mod-sequences.
    order = "modseq" if modseq > 0 else "uid"
    sql = f"SELECT {MESSAGE} FROM message WHERE folder = ? AND modseq > ? ORDER BY {order}"  # noqa: S608
    rows = message_rows(db.execute(sql, (folder, modseq)))
    gone = db.execute("SELECT uid, modseq FROM tombstone WHERE folder = ? AND modseq > ?", (folder, modseq))
    rows.sort(key=lambda row: row.uid)
    return Delta(ModSeq(now), rows, sorted(gone.fetchall()), complete=modseq >= pruned)


def expunged(db: Connection, folder: int, modseq: ModSeq) -> list[Uid] | None:
    (pruned,) = folder_field(db, folder, "pruned")
    if modseq < pruned:
        return None
    sql = "SELECT uid FROM tombstone WHERE folder = ? AND modseq > ? ORDER BY uid"
    return [Uid(uid) for (uid,) in db.execute(sql, (folder, modseq))]


def counts(db: Connection, folder: int) -> Counts:
    uid_next, modseq, recent_from = folder_field(db, folder, "uid_next, modseq, recent_from")
    messages, unseen, deleted, recent, size, deleted_size, estimated, inexact = db.execute(
        "SELECT COUNT(*), COUNT(*) FILTER (WHERE system & ? = 0), COUNT(*) FILTER (WHERE system & ? != 0),"
        " COUNT(*) FILTER (WHERE uid >= ?), COALESCE(SUM(size), 0),"
        " COALESCE(SUM(size) FILTER (WHERE system & ? != 0), 0),"
        " COALESCE(SUM(size) FILTER (WHERE size_exact = 0), 0), COUNT(*) FILTER (WHERE size_exact = 0)"
        " FROM message WHERE folder = ?",
        (int(SystemFlag.SEEN), int(SystemFlag.DELETED), recent_from, int(SystemFlag.DELETED), folder),
    ).fetchone()
    return Counts(
        messages, unseen, recent, deleted, size, uid_next, ModSeq(modseq), deleted_size, estimated, inexact
    )


def storage(db: Connection, account: AccountId) -> tuple[int, int]:
    messages, octets = db.execute(
        "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM message"
        " WHERE folder IN (SELECT key FROM folder WHERE account = ? AND ready = 1)",
        (account_key(db, account),),
    ).fetchone()
    return int(messages), int(octets)


def reserve_uids(db: Connection, folder: int, count: int) -> list[Uid]:
    (first,) = folder_field(db, folder, "uid_next")
    if count < 0 or first + count - 1 > LAST_UID:
        raise StoreError("a mailbox has used up its UIDs")
    db.execute("UPDATE folder SET uid_next = uid_next + ? WHERE key = ?", (count, folder))
    return [Uid(uid) for uid in range(first, first + count)]


def take_recent(db: Connection, folder: int) -> int:
    (watermark,) = folder_field(db, folder, "recent_from")
    db.execute("UPDATE folder SET recent_from = uid_next WHERE key = ? AND recent_from < uid_next", (folder,))
    return int(watermark)


# -- first sync --

STAGE = f"""
INSERT INTO staged (folder, id, {CONTENT}) VALUES (?, ?, {CONTENT_MARKS})
ON CONFLICT (folder, id) DO UPDATE SET ({CONTENT}) = ({EXCLUDED})
"""  # noqa: S608


def stage(db: Connection, folder: int, upserts: Sequence[Upsert]) -> int:
    (ready,) = folder_field(db, folder, "ready")
    if ready:
        raise ValueError("the first sync of this folder is done")
    (account,) = folder_field(db, folder, "account")
    ids = [upsert.id for upsert in upserts]
    identities = known(db, account, ids)
    rows = _staged_rows(db, folder, ids)
    for upsert in upserts:
        rows[upsert.id] = _overlaid(rows.get(upsert.id, NEW), upsert, identities)
    db.executemany(STAGE, [(folder, id, *content) for id, content in rows.items()])
    return staged(db, folder)


def _staged_rows(db: Connection, folder: int, ids: Sequence[MessageId]) -> dict[MessageId, Content]:
    sql = f"SELECT id, {CONTENT} FROM staged WHERE folder = ? AND id IN (SELECT value FROM json_each(?))"  # noqa: S608
    return {id: tuple(content) for id, *content in db.execute(sql, (folder, among(ids)))}


def _overlaid(held: Content, told: Upsert, identities: Mapping[MessageId, str]) -> Content:
    content = merge(held, told)
    if content[5] in ("", native(told.id)):
        content = (*content[:5], identities.get(told.id, native(told.id)), *content[6:])
    return content


def staged(db: Connection, folder: int) -> int:
    (count,) = db.execute("SELECT COUNT(*) FROM staged WHERE folder = ?", (folder,)).fetchone()
    return int(count)


def staged_ids(db: Connection, folder: int) -> set[MessageId]:
    return {id for (id,) in db.execute("SELECT id FROM staged WHERE folder = ?", (folder,))}


def unstage(db: Connection, folder: int, ids: Sequence[MessageId]) -> None:
    db.executemany("DELETE FROM staged WHERE folder = ? AND id = ?", [(folder, id) for id in ids])


# Messages beyond the reserved range (more arrived meanwhile than the reserve allows) go above all given UIDs.
# What an APPEND, COPY or MOVE landed already keeps the UID the client was told.
NUMBER = f"""
INSERT INTO message (folder, uid, id, modseq, {CONTENT})
SELECT folder, CASE WHEN place <= :reserved THEN place ELSE :uid_next + place - :reserved - 1 END, id, :modseq, {CONTENT}
FROM (
    SELECT *, ROW_NUMBER() OVER (ORDER BY internal_date, id) AS place FROM staged
    WHERE folder = :folder AND NOT EXISTS (SELECT 1 FROM message WHERE message.folder = :folder AND message.id = staged.id)
) AS numbered ORDER BY place
"""  # noqa: S608, E501


def finish_first_sync(db: Connection, folder: int) -> Applied:
    columns = "uid_next, uid_last, reserved, modseq, ready"
    uid_next, uid_last, reserved, modseq, ready = folder_field(db, folder, columns)
    if ready:
        raise ValueError("the first sync of this folder is done")
    modseq += 1
    count = db.execute(
        NUMBER, {"folder": folder, "reserved": reserved, "uid_next": uid_next, "modseq": modseq}
    ).rowcount
    uid_next += max(0, count - reserved)
    uid_last = max(uid_last, min(count, reserved), uid_next - 1 if count > reserved else 0)
    db.execute("DELETE FROM staged WHERE folder = ?", (folder,))
    db.execute(
        "UPDATE folder SET ready = 1, modseq = ?, uid_next = ?, uid_last = ? WHERE key = ?",
        (modseq, uid_next, uid_last, folder),
    )
    return Applied(ModSeq(modseq), all_messages(db, folder), advanced=True, born=count)

"""Facts, first-bytes records and local state of messages, by immutable id (decisions 4 and 11, invariant 6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from gateway.core.types import AccountId, MessageId
from gateway.store.api import Facts, Local, Pin
from gateway.store.crypt import Vault
from gateway.store.db import Connection
from gateway.store.rows import account_key, among, keyword_octets, make_account

Structures = tuple[bytes | None, bytes | None]  # BODYSTRUCTURE, BODY
Sealed = tuple[bytes, bytes | None]

_pack = msgspec.msgpack.encode
_structures = msgspec.msgpack.Decoder(Structures)


class _Listed(msgspec.Struct, array_like=True):
    """What a listing tells of a message. Records of before there was `previewed` have "" where no preview was made."""

    header: bytes
    envelope: bytes
    preview: str
    previewed: bool = False


_listed = msgspec.msgpack.Decoder(_Listed)


class _Pinned(msgspec.Struct, array_like=True):
    """A pin as it is kept; records of before there was `content` lack it."""

    header: bytes
    rest_length: int
    rest_sha256: bytes
    content: bytes = b""


_pin = msgspec.msgpack.Decoder(_Pinned)


def seal_facts(vault: Vault, account: AccountId, facts: Mapping[MessageId, Facts]) -> dict[MessageId, Sealed]:
    """CPU only: done before the transaction."""
    return {
        id: (_seal_listed(vault, account, id, one), _seal_structures(vault, account, id, one))
        for id, one in facts.items()
    }


def _seal_listed(vault: Vault, account: AccountId, id: MessageId, facts: Facts) -> bytes:
    listed = _Listed(facts.header, facts.envelope, facts.preview or "", facts.preview is not None)
    return vault.seal(_pack(listed), f"facts/{account}/{id}")


def _seal_structures(vault: Vault, account: AccountId, id: MessageId, facts: Facts) -> bytes | None:
    if facts.structure is None and facts.basic_structure is None:
        return None
    return vault.seal(_pack((facts.structure, facts.basic_structure)), f"structures/{account}/{id}")


def put_facts(db: Connection, account: AccountId, sealed: Mapping[MessageId, Sealed]) -> None:
    """Insert if absent; structures are filled in once and then stay as well."""
    owner = make_account(db, account)
    db.executemany(
        "INSERT INTO facts (account, id, listed, structures) VALUES (?, ?, ?, ?) ON CONFLICT (account, id) DO UPDATE"
        " SET structures = excluded.structures WHERE facts.structures IS NULL AND excluded.structures IS NOT NULL",
        [(owner, id, *one) for id, one in sealed.items()],
    )


def sealed_facts(
    db: Connection, account: AccountId, ids: Iterable[MessageId]
) -> list[tuple[MessageId, bytes, bytes | None]]:
    sql = (
        "SELECT id, listed, structures FROM facts"
        " WHERE account = ? AND id IN (SELECT value FROM json_each(?))"
    )
    return db.execute(sql, (account_key(db, account), among(list(ids)))).fetchall()


def open_facts(
    vault: Vault, account: AccountId, rows: Iterable[tuple[MessageId, bytes, bytes | None]]
) -> dict[MessageId, Facts]:
    return {id: _facts(vault, account, id, listed, structures) for id, listed, structures in rows}


def _facts(vault: Vault, account: AccountId, id: MessageId, listed: bytes, structures: bytes | None) -> Facts:
    told = _listed.decode(vault.open(listed, f"facts/{account}/{id}"))
    facts = Facts(told.header, told.envelope, told.preview if told.previewed or told.preview else None)
    if structures is not None:
        found = _structures.decode(vault.open(structures, f"structures/{account}/{id}"))
        facts.structure, facts.basic_structure = found
    return facts


Refilled = tuple[MessageId, bytes, bytes]  # what was there, sealed, and what is to be


def with_previews(
    vault: Vault,
    account: AccountId,
    rows: Iterable[tuple[MessageId, bytes, bytes | None]],
    previews: Mapping[MessageId, str],
) -> list[Refilled]:
    """CPU only. Those of `rows` that had no preview."""
    refilled = []
    for id, listed, _ in rows:
        facts = _facts(vault, account, id, listed, None)
        if facts.preview is None:
            facts.preview = previews[id]
            refilled.append((id, listed, _seal_listed(vault, account, id, facts)))
    return refilled


def refill(db: Connection, account: AccountId, refilled: Iterable[Refilled]) -> None:
    """Only where nobody put other facts there meanwhile."""
    owner = account_key(db, account)
    sql = "UPDATE facts SET listed = ? WHERE account = ? AND id = ? AND listed = ?"
    db.executemany(sql, [(new, owner, id, old) for id, old, new in refilled])


# -- first-bytes records --


def seal_pin(vault: Vault, account: AccountId, id: MessageId, pin: Pin) -> bytes:
    record = _Pinned(pin.header, pin.rest_length, pin.rest_sha256, pin.content)
    return vault.seal(_pack(record), f"pin/{account}/{id}")


def open_pin(vault: Vault, account: AccountId, id: MessageId, sealed: bytes) -> Pin:
    pin = _pin.decode(vault.open(sealed, f"pin/{account}/{id}"))
    return Pin(pin.header, pin.rest_length, pin.rest_sha256, pin.content)


def put_pin(db: Connection, account: AccountId, id: MessageId, sealed: bytes) -> bytes:
    """Insert if absent; the winner's record, for the loser to adopt."""
    owner = make_account(db, account)
    sql = "INSERT INTO pin (account, id, sealed) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
    db.execute(sql, (owner, id, sealed))
    (stored,) = db.execute("SELECT sealed FROM pin WHERE account = ? AND id = ?", (owner, id)).fetchone()
    return bytes(stored)


def replace_pin(db: Connection, account: AccountId, id: MessageId, sealed: bytes) -> None:
    """The pin of these octets, and no structures until they are rendered from them."""
    owner = make_account(db, account)
    db.execute(
        "INSERT INTO pin (account, id, sealed) VALUES (?, ?, ?)"
        " ON CONFLICT (account, id) DO UPDATE SET sealed = excluded.sealed",
        (owner, id, sealed),
    )
    db.execute("UPDATE facts SET structures = NULL WHERE account = ? AND id = ?", (owner, id))


def sealed_pin(db: Connection, account: AccountId, id: MessageId) -> bytes | None:
    sql = "SELECT sealed FROM pin WHERE account = ? AND id = ?"
    row = db.execute(sql, (account_key(db, account), id)).fetchone()
    return row[0] if row else None


def forget(db: Connection, owner: int, ids: Sequence[MessageId]) -> None:
    """Facts, pins and the reference to an original: all that was true of the old content only."""
    rows = [(owner, id) for id in ids]
    for table in ("facts", "pin", "original"):
        db.executemany(f"DELETE FROM {table} WHERE account = ? AND id = ?", rows)  # noqa: S608


# -- local state --


def local(db: Connection, account: AccountId, ids: Sequence[MessageId]) -> dict[MessageId, Local]:
    sql = (
        "SELECT id, answered, forwarded, keywords, undeleted FROM local"
        " WHERE account = ? AND id IN (SELECT value FROM json_each(?))"
    )
    rows = db.execute(sql, (account_key(db, account), among(list(ids))))
    return {
        id: Local(answered == 1, forwarded == 1, frozenset(keywords.split()), undeleted == 1)
        for id, answered, forwarded, keywords, undeleted in rows
    }


def put_local(db: Connection, account: AccountId, states: Mapping[MessageId, Local]) -> None:
    owner = make_account(db, account)
    db.executemany(
        "INSERT INTO local (account, id, answered, forwarded, keywords, undeleted) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (account, id) DO UPDATE SET answered = excluded.answered,"
        " forwarded = excluded.forwarded, keywords = excluded.keywords, undeleted = excluded.undeleted",
        [
            (owner, id, int(state.answered), int(state.forwarded), words, int(state.undeleted))
            for id, state in states.items()
            for words in (keyword_octets(state.keywords),)
        ],
    )

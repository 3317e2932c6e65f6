"""Blobs written and read in pieces, for messages that must not be in memory whole.

The pieces are put under an address of their own first, so that nobody takes half a blob for one; what a crash leaves
there is swept like any blob that nobody refers to. The last step gives them their content's address, unless such a
blob was there already."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial

from gateway.store import blobs
from gateway.store.crypt import Vault
from gateway.store.db import Connection, Engine

PIECE = 256 * 1024  # octets before sealing

Read = Callable[[int, int], bytes]  # octets [start, end)


class BlobStreamJobs:
    """`put_blob_of` and `blob_piece`, for `jobs.JobStore`."""

    _engine: Engine
    _vault: Vault

    def _now(self) -> int:
        raise NotImplementedError

    async def put_blob_of(self, read: Read, size: int) -> bytes:
        address = await self._engine.work(lambda: self._vault.address_of(_pieces(read, size)))
        now, staging = self._now(), os.urandom(len(address))
        if await self._engine.write(lambda db: blobs.touch(db, address, now)):
            return address
        await self._engine.write(lambda db: blobs.put(db, staging, 0, (), now))
        for number, start in enumerate(range(0, size, PIECE)):
            sealed = await self._engine.work(partial(self._sealed_piece, read, size, start, address, number))
            await self._engine.write(partial(_add, staging, number, sealed))
        return await self._engine.write(partial(_named, staging, address, size, now))

    def _sealed_piece(self, read: Read, size: int, start: int, address: bytes, number: int) -> bytes:
        (piece,) = _pieces(read, min(start + PIECE, size), start)
        return self._vault.seal(piece, blobs.context(address, number))

    async def blob_piece(self, address: bytes, number: int) -> bytes | None:
        sealed = await self._engine.read(partial(_piece, address, number))
        if sealed is None:
            return None
        return await self._engine.work(lambda: self._vault.open(sealed, blobs.context(address, number)))


def _pieces(read: Read, size: int, start: int = 0) -> Iterator[bytes]:
    for at in range(start, size, PIECE):
        piece = read(at, min(at + PIECE, size))
        if len(piece) != min(PIECE, size - at):
            raise EOFError("fewer octets than were announced")
        yield piece


def _add(staging: bytes, number: int, sealed: bytes, db: Connection) -> None:
    db.execute("INSERT INTO chunk (address, number, sealed) VALUES (?, ?, ?)", (staging, number, sealed))


def _named(staging: bytes, address: bytes, size: int, now: int, db: Connection) -> bytes:
    """Somebody may have put the same meanwhile."""
    if not blobs.touch(db, address, now):
        blobs.put(db, address, size, (), now)
        db.execute("UPDATE chunk SET address = ? WHERE address = ?", (address, staging))
    db.execute("DELETE FROM blob WHERE address = ?", (staging,))
    return address


def _piece(address: bytes, number: int, db: Connection) -> bytes | None:
    sql = "SELECT sealed FROM chunk WHERE address = ? AND number = ?"
    row = db.execute(sql, (address, number)).fetchone()
    return None if row is None else row[0]

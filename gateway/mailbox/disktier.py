"""The cache's disk tier: one sealed file per body, a byte budget, nothing readable without the state key.

A file: version octet, nonce prefix, size (8 octets, big endian), then sealed chunks. Its name is a keyed
hash, so the folder tells neither mailbox nor message; name and size are part of what is authenticated, so a
file that was cut, changed or renamed does not open and counts as absent. It is a cache: written without
fsync, safe to delete at any time.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import weakref
from pathlib import Path

from cachetools import LRUCache

from gateway.mailbox.sealed import PREFIX, ChunkCipher, new_prefix, sealed_size
from gateway.mime.part import Part, scan
from gateway.store.crypt import Vault, derive
from gateway.store.errors import Damaged
from gateway.store.keyfile import private_folder

VERSION = b"\1"
HEAD = 1 + PREFIX + 8
DRAFT = ".draft-"


class FileBody:
    """Implements `api.Body` on an open file: it stays readable when the cache has forgotten it."""

    def __init__(self, descriptor: int, cipher: ChunkCipher, size: int) -> None:
        weakref.finalize(self, os.close, descriptor)
        self._descriptor = descriptor
        self._cipher = cipher
        self._size = size
        self._part: Part | None = None

    @property
    def size(self) -> int:
        return self._size

    @property
    def part(self) -> Part:
        if self._part is None:
            self.scan(self.read(0, self._size))
        assert self._part is not None
        return self._part

    def scan(self, raw: bytes) -> None:
        """Find its structure now, off the loop; `raw` are its octets."""
        self._part = scan(raw)

    def read(self, start: int, end: int) -> bytes:
        return self._cipher.read(self._read_at, self._size, start, end)

    def _read_at(self, offset: int, octets: int) -> bytes:
        return os.pread(self._descriptor, octets, HEAD + offset)


class Files(LRUCache[str, int]):
    """File name -> octets on disk. What falls out is unlinked."""

    def __init__(self, folder: Path, budget: int) -> None:
        super().__init__(budget, getsizeof=int)
        self._folder = folder

    def popitem(self) -> tuple[str, int]:
        name, size = super().popitem()
        self.unlink(name)
        return name, size

    def unlink(self, name: str) -> None:
        with contextlib.suppress(OSError):
            (self._folder / name).unlink()


class DiskTier:
    """`folder` is made, 0700; what is left in it from before is kept up to `budget` octets, the rest removed.

    `read` and `write` block: call them off the loop. `forget` and `known` do not.
    """

    def __init__(self, folder: Path, budget: int, key: bytes) -> None:
        private_folder(folder)
        self._folder = folder
        self._key = derive(key, "cache")
        self._names = Vault(self._key)
        self._files = Files(folder, budget)
        self._adopt()

    @property
    def octets(self) -> int:
        """On disk now."""
        return int(self._files.currsize)

    def name(self, key: str) -> str:
        return self._names.address(key.encode()).hex()

    def known(self, name: str) -> bool:
        """Whether there is a file; it counts as used now."""
        return self._files.get(name) is not None

    def fits(self, size: int) -> bool:
        return HEAD + sealed_size(size) <= self._files.maxsize

    def forget(self, name: str) -> None:
        self._files.pop(name, None)
        self._files.unlink(name)

    def kept(self, name: str, size: int) -> None:
        """A file of `size` octets of content was written: make room for it."""
        self._files[name] = HEAD + sealed_size(size)

    def write(self, name: str, data: bytes) -> FileBody:
        """In place whole or not at all. OSError: the disk is full."""
        prefix, size = new_prefix(), len(data).to_bytes(8, "big")
        cipher = self._cipher(name, prefix, size)
        descriptor, draft = tempfile.mkstemp(prefix=DRAFT, dir=self._folder)
        body = FileBody(descriptor, cipher, len(data))  # owns the descriptor from here on
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(VERSION + prefix + size)
                file.writelines(cipher.seal_all(data))
            os.replace(draft, self._folder / name)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise
        body.scan(data)
        return body

    def read(self, name: str) -> tuple[FileBody, bytes]:
        """The body and all its octets, checked whole once. OSError: no file; Damaged: not what was
        written."""
        descriptor = os.open(self._folder / name, os.O_RDONLY)
        try:
            head = os.pread(descriptor, HEAD, 0)
        except BaseException:
            os.close(descriptor)
            raise
        prefix, size = head[1 : 1 + PREFIX], head[1 + PREFIX :]
        body = FileBody(descriptor, self._cipher(name, prefix, size), int.from_bytes(size, "big"))
        if len(head) != HEAD or head[:1] != VERSION:
            raise Damaged("not a file of this cache")
        if os.fstat(descriptor).st_size != HEAD + sealed_size(body.size):
            raise Damaged("a cached body was cut")
        raw = body.read(0, body.size)
        body.scan(raw)
        return body, raw

    def _cipher(self, name: str, prefix: bytes, size: bytes) -> ChunkCipher:
        return ChunkCipher(self._key, prefix, b"body/" + name.encode() + b"/" + size)

    def _adopt(self) -> None:
        """What an earlier process left, oldest first, so that the newest stay; unfinished drafts go."""
        found = [(entry.stat(), entry.name) for entry in os.scandir(self._folder) if entry.is_file()]
        for stat, name in sorted(found, key=lambda item: item[0].st_mtime_ns):
            if name.startswith(DRAFT) or stat.st_size > self._files.maxsize:
                self._files.unlink(name)
            else:
                self._files[name] = stat.st_size

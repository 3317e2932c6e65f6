"""What the statements of the store ask of a database connection: the part of `sqlite3` they use, which the
PostgreSQL engine offers too. SQL in this package is written once, in the words both engines share; the few
that differ are in `dialect.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, Self, TypeVar

T = TypeVar("T")


class Cursor(Protocol):
    """An answer: rows as tuples, in order; `rowcount` is how many a writing statement changed."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...


class Connection(Protocol):
    """In a transaction already; statements wait, so only jobs of an engine use it, off the loop."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Cursor: ...
    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Cursor: ...


class Engine(Protocol):
    """Runs jobs. A job may be run again if its transaction did not take place: it has no other effects."""

    async def stop(self) -> None: ...

    async def write(self, job: Callable[[Connection], T], lane: object = None) -> T:
        """Atomic and durable when it returns; jobs of one lane are done in the order of the calls."""
        ...

    async def read(self, job: Callable[[Connection], T]) -> T:
        """On a consistent snapshot that holds every write that returned before."""
        ...

    async def work(self, function: Callable[[], T]) -> T:
        """CPU, off the loop."""
        ...

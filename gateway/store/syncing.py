"""The part of the store's contract that is about syncing: how far a walk has come, what Graph's counts were when they
were explained, when the hierarchy was heard of last. `walks.py` holds the statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.core.types import AccountId, MessageId


@dataclass(frozen=True, slots=True)
class Walk:
    """A walk along a folder's delta from the beginning, and the first listing beside it. `link`: where it goes on, the
    delta link once it is `done`; "" before its first page. `began`: seconds since 1970, 0 if none is under way.
    `windows`: the `$skip` of each page of the listing whose messages are all staged."""

    link: str = ""
    done: bool = False
    began: int = 0
    windows: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Surplus:
    """What Graph counts in a folder beyond our rows: items no message list shows, and what one side has not heard."""

    total: int
    unread: int


class Syncing(Protocol):
    async def walk(self, folder: int) -> Walk: ...
    async def walk_on(
        self, folder: int, seen: Sequence[MessageId], unseen: Sequence[MessageId], *, link: str, done: bool
    ) -> None:
        """A page of the walk: ids it named, ids it named as removed, and where it goes on. Storing a delta link of the
        folder (`apply`, `finish_first_sync`, `set_link`) ends the walk. NoSuchMailbox."""
        ...

    async def listed(self, folder: int, window: int) -> None:
        """All messages of this page of the first listing are staged. NoSuchMailbox."""
        ...

    async def staged_etags(self, folder: int, ids: Sequence[MessageId]) -> dict[MessageId, str]:
        """Of those that are staged."""
        ...

    async def walk_gaps(self, folder: int) -> tuple[list[MessageId], list[MessageId]]:
        """Ids the walk named that are neither staged nor in the folder, and those that are and it did not name. Each
        sorted."""
        ...

    async def forget_walk(self, folder: int) -> None:
        """The next one begins at the beginning, and so does the listing; what is staged stays."""
        ...

    async def surplus(self, folder: int) -> Surplus | None:
        """None: nobody has compared yet."""
        ...

    async def put_surplus(self, folder: int, surplus: Surplus) -> None: ...

    async def hierarchy_heard(self, account: AccountId, link: str) -> None:
        """The hierarchy is as it was: this is its delta link from now on."""
        ...

    async def hierarchy_synced(self, account: AccountId) -> int:
        """When its delta link was stored last, seconds since 1970; 0 if never."""
        ...

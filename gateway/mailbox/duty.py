"""Who does the background work of an account: polls, first syncs behind the scenes, healing what a crash left.

Of several gateways on one database one has the duty (decision: adr/0050); what it writes for it is refused once
another one has taken over. A gateway that has its database to itself has it always.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from typing import Protocol

from gateway.core.types import AccountId
from gateway.store.nodes import News


class Neighbour(Protocol):
    """One account of this process, as other processes' doings concern it."""

    account: AccountId

    def has(self, folder: int) -> bool: ...
    def levels(self) -> dict[int, int]:
        """The highest mod-sequence of each folder, as far as was known when the hierarchy was read."""
        ...

    def messages(self, folder: int, kinds: int) -> None:
        """Messages came, went, or changed flags, by somebody: a sum of `Kind`s."""
        ...

    async def news(self, news: Sequence[News]) -> None:
        """Unavailable: not all of it was taken in."""
        ...

    def watched_here(self) -> set[int]:
        """Folders that sessions of this process watch."""
        ...

    def watched_elsewhere(self, folders: Iterable[int]) -> None: ...
    def forget_work(self) -> None:
        """Whatever this process had under way is over: the journal has what was not finished."""
        ...

    def mend(self) -> None:
        """The journal has work of a process that is dead."""
        ...


class Duty(Protocol):
    """Of one account in one process."""

    @property
    def held(self) -> bool: ...
    def bound(self) -> AbstractContextManager[None]:
        """What is written inside, also by tasks made inside, depends on the duty: Unavailable once it is lost."""
        ...

    async def taken(self) -> None:
        """Returns when it is held."""
        ...

    async def lost(self) -> bool:
        """Returns True when it is held no more; False, at once, if that cannot be."""
        ...

    def alone(self, name: str) -> AbstractAsyncContextManager[None]:
        """Inside, no other process is inside under this name; what is written there depends on that. Waits for its
        turn. Unavailable."""
        ...

    async def busy(self, name: str) -> bool:
        """Whether another process is inside now. Unavailable."""
        ...

    def watching(self) -> None:
        """What sessions here watch may have changed."""
        ...

    async def enter(self, neighbour: Neighbour) -> None:
        """The account is up; `neighbour` is told what other processes do. Unavailable."""
        ...

    def leave(self) -> None: ...


class Always:
    """Implements `Duty` where there is nobody else."""

    held = True

    def bound(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def taken(self) -> None:
        return

    async def lost(self) -> bool:
        return False

    def alone(self, name: str) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def busy(self, name: str) -> bool:
        return False

    def watching(self) -> None:
        return

    async def enter(self, neighbour: Neighbour) -> None:
        return

    def leave(self) -> None:
        return

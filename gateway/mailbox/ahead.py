"""A client that reads one message after the other finds the next ones here.

Learnt for each open folder: after STEPS messages read one by one in a row, upwards or downwards, the next few are
fetched in the background, and further ones as the client comes nearer. Whoever goes on pays for nothing twice: what is
ahead is in the cache, or on its way, and then lifted to the client's own priority. Whoever stops has cost one window at
most; whoever jumps stops what was not asked for yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress

from gateway.core.errors import GatewayError
from gateway.core.types import Uid
from gateway.graph.errors import GraphError
from gateway.graph.model import Priority
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.context import AccountContext
from gateway.mailbox.view import MailboxView
from gateway.store.api import FolderRow, MessageRow

STEPS = 4  # messages read in a row before anything is fetched ahead
AT_ONCE = 3  # the slots that background work may have


class Ahead:
    """One per open folder. Bounds: `settings.prefetch` messages ahead, `Bodies.window` octets by what is known of
    their sizes."""

    def __init__(self, ctx: AccountContext, bodies: Bodies, folder: FolderRow, view: MailboxView) -> None:
        self._ctx = ctx
        self._bodies = bodies
        self._folder = folder
        self._view = view
        self._last = 0  # the UID read last
        self._direction = 0  # of positions: 1, -1, 0 = not known yet
        self._steps = 0
        self._edge = 0  # the UID up to which messages were fetched ahead
        self._due = 0  # the step at which half of them are used up
        self._walk = 0  # another number for each
        self._task: asyncio.Task[None] | None = None

    def read(self, at: Sequence[range]) -> None:
        """The client is reading the octets of these positions now."""
        if not self._ctx.settings.prefetch:
            return
        if len(at) != 1 or len(at[0]) != 1:
            self._forget()
            return
        position = at[0].start
        uid = self._view.uids[position]
        if uid != self._last:
            self._step(position)
            self._last = uid
            if self._steps >= max(STEPS, self._due):
                self._go_ahead(position)

    def close(self) -> None:
        self._forget()
        if self._task is not None:
            self._task.cancel()

    def _step(self, position: int) -> None:
        direction = self._came_from(position)
        if direction and self._direction in (0, direction):
            self._direction, self._steps = direction, self._steps + 1
        else:
            self._forget()
            self._direction, self._steps = direction, 1 + bool(direction)

    def _came_from(self, position: int) -> int:
        """In which direction the message before was read; 0: not beside this one."""
        uids = self._view.uids
        if position and uids[position - 1] == self._last:
            return 1
        return -1 if position + 1 < len(uids) and uids[position + 1] == self._last else 0

    def _go_ahead(self, position: int) -> None:
        """Fetch on to a whole window ahead, when half of it is used up."""
        if self._task is not None and not self._task.done():
            return
        window, count = self._ctx.settings.prefetch, self._view.count
        ahead = range(position + self._direction, position + self._direction * (window + 1), self._direction)
        uids = [self._view.uids[each] for each in ahead if 0 <= each < count]
        fresh = [uid for uid in uids if (uid - self._edge) * self._direction > 0] if self._edge else uids
        if fresh and 2 * len(fresh) >= len(uids):
            self._edge = fresh[-1]
            self._due = self._steps + (window + 1) // 2
            if self._bodies.are_near(self._folder.key, fresh):
                return
            self._task = asyncio.create_task(self._fetch(fresh, self._walk))

    async def _fetch(self, uids: Sequence[int], walk: int) -> None:
        """What goes wrong the client will hear when it comes there. What is on its way when the walk ends is kept: the
        client may want it after all."""
        with suppress(GatewayError):
            coming = iter(await self._wanted(uids))
            await asyncio.gather(*(self._one_by_one(coming, walk) for _ in range(AT_ONCE)))

    async def _one_by_one(self, coming: Iterator[MessageRow], walk: int) -> None:
        with suppress(GraphError, GatewayError):
            for row in coming:
                if self._walk != walk:
                    return
                await self._bodies.body(row, self._folder, priority=Priority.BACKGROUND)

    async def _wanted(self, uids: Sequence[int]) -> list[MessageRow]:
        """Those that are not here yet and will stay in the cache until they are read."""
        stored = await self._ctx.store.by_uid(self._folder.key, [Uid(uid) for uid in uids])
        rows = [stored[Uid(uid)] for uid in uids if Uid(uid) in stored]
        near = await self._bodies.at_hand(rows)
        wanted, left = [], self._bodies.window
        for row in rows:
            if row.id not in near and 2 * row.size <= left:  # the octets may be more than Exchange says
                wanted.append(row)
                left -= 2 * row.size
        return wanted

    def _forget(self) -> None:
        self._last = self._direction = self._steps = self._edge = self._due = 0
        self._walk += 1

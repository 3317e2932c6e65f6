"""What Graph cannot hold, read, changed and written back: two writers at once, of whatever process, both count
(invariant 6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.core.types import MessageId
from gateway.mailbox.context import AccountContext
from gateway.store.api import Local

States = dict[MessageId, Local]


async def change_local(
    ctx: AccountContext, ids: Sequence[MessageId], change: Callable[[States], States]
) -> States:
    """What is kept of these afterwards. `change` is given what is kept and says what shall be kept instead of some of
    it; it is pure, and may be asked more than once. Nothing is written where nothing changes."""
    found = await ctx.store.local(ctx.account, ids)
    if not change(found):
        return found
    return await ctx.store.change_local(ctx.account, ids, change)

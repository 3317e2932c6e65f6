"""The second half of REPLACE (RFC 8508): the old message goes as UID EXPUNGE would send it, when the new one is in
its place."""

from __future__ import annotations

import msgspec

from gateway.core.types import FolderId, MessageId
from gateway.mailbox import expunge
from gateway.mailbox.context import AccountContext


class Replaced(msgspec.Struct):
    """The message that a REPLACE removes. `copied_out`: decision 8, it goes to Recoverable Items."""

    folder: str
    id: str
    copied_out: bool = False


async def remove(ctx: AccountContext, old: Replaced) -> None:
    """Idempotent. A message that is gone, or whose folder is, was removed. GatewayError: it is still there."""
    folder = await ctx.store.folder(ctx.account, FolderId(old.folder))
    if folder is None:
        return
    row = (await ctx.store.find(folder.key, [MessageId(old.id)])).get(MessageId(old.id))
    if row is not None:
        copied = frozenset({row.id}) if old.copied_out else frozenset[MessageId]()
        await expunge.expunge(ctx, folder, [row], copied_out=copied)

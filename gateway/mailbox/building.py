"""The hidden folder in which large messages are put together, where nobody sees them half done."""

from __future__ import annotations

import msgspec

from gateway.graph.errors import AlreadyExists, NotFound
from gateway.mailbox.context import AccountContext
from gateway.mailbox.work import begin, done, payload_of

BUILDING = "building-folder"  # the journal row that remembers the hidden folder; never done
_NAME = "Gateway (building)"


class BuildingFolder(msgspec.Struct):
    id: str


async def building_folder(ctx: AccountContext) -> str:
    """Its id; made on demand, and kept by the journal (hidden folders are in no listing)."""
    async with ctx.building_lock:
        if known := await _known(ctx):
            return known
        async with ctx.duty.alone(f"building/{ctx.account}"):
            return await _known(ctx) or await _made(ctx)


async def _known(ctx: AccountContext) -> str | None:
    for row in await ctx.store.journal(ctx.account):
        if row.kind == BUILDING:
            id = payload_of(row, BuildingFolder).id
            try:
                await ctx.graph.get_folder(id)
            except NotFound:  # somebody removed it
                await done(ctx, row.id)
            else:
                return id
    return None


async def _made(ctx: AccountContext) -> str:
    name = _NAME
    try:
        folder = await ctx.graph.create_folder("msgfolderroot", name, hidden=True)
    except AlreadyExists:  # of a store that was lost: nobody can tell us its id
        name += f" {ctx.rng.getrandbits(32):08x}"
        folder = await ctx.graph.create_folder("msgfolderroot", name, hidden=True)
    await begin(ctx, BUILDING, BuildingFolder(folder.id))
    return folder.id

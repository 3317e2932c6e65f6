"""RENAME of one folder to another parent and name, whole or not at all (trap 33).

Graph has a move and a PATCH, and either may meet a neighbour that bears the name on the way: then the other goes first,
or a name nobody has is taken between. What is refused in the end is put back, by the journal after a crash. Where Graph
did not say whether it was done, it is looked for, never asked for twice (invariant 10).
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from gateway.graph.errors import AlreadyExists, GraphError, NotFound, OutcomeUnknown
from gateway.mailbox.context import AccountContext
from gateway.mailbox.work import begin, done, payload_of
from gateway.store.api import FolderRow, JournalRow

BETWEEN = "renaming "  # of the name between, with the end of the folder's id


class RenameWork(msgspec.Struct):
    """A rename across parents under way: what to go back to."""

    folder: str
    parent: str
    name: str


@dataclass(frozen=True, slots=True)
class Place:
    """A Graph folder id, and a display name below it."""

    parent: str
    name: str


async def place(ctx: AccountContext, row: FolderRow, to: Place) -> None:
    """Both, or neither: the first error is raised once everything is as it was."""
    work = RenameWork(row.id, row.parent, row.name)
    journal = await begin(ctx, "rename", work)
    try:
        await _bring(ctx, row.id, Place(row.parent, row.name), to)
    except GraphError:
        try:
            await _put_back(ctx, work)
        except GraphError:  # the journal does it at the next start
            ctx.working.discard(journal)
        else:
            await done(ctx, journal)
        raise
    await done(ctx, journal)


async def _bring(ctx: AccountContext, folder: str, at: Place, to: Place) -> None:
    if at.parent == to.parent:
        await give_name(ctx, folder, to.name)
    elif at.name == to.name:
        await _move(ctx, folder, at.parent, to.parent)
    else:
        await _bring_both(ctx, folder, at, to)


async def _bring_both(ctx: AccountContext, folder: str, at: Place, to: Place) -> None:
    try:
        await _move(ctx, folder, at.parent, to.parent)
    except AlreadyExists:  # the old name is taken there, the new one need not be
        await _name_first(ctx, folder, at, to)
    else:
        await give_name(ctx, folder, to.name)


async def _name_first(ctx: AccountContext, folder: str, at: Place, to: Place) -> None:
    try:
        await give_name(ctx, folder, to.name)
    except AlreadyExists:  # and the new one is taken here
        await give_name(ctx, folder, BETWEEN + folder[-16:].replace("/", "-"))
        await _move(ctx, folder, at.parent, to.parent)
        await give_name(ctx, folder, to.name)
    else:
        await _move(ctx, folder, at.parent, to.parent)


async def _move(ctx: AccountContext, folder: str, before: str, above: str) -> None:
    try:
        await ctx.graph.move_folder(folder, above)
    except OutcomeUnknown:
        if (await ctx.graph.get_folder(folder)).parent_folder_id == before:
            raise


async def give_name(ctx: AccountContext, folder: str, name: str) -> None:
    """A PATCH may be repeated, so that it failed for good does not say that it was never done."""
    try:
        await ctx.graph.rename_folder(folder, name)
    except AlreadyExists:
        raise
    except GraphError:
        if (await ctx.graph.get_folder(folder)).display_name != name:
            raise


async def _put_back(ctx: AccountContext, work: RenameWork) -> None:
    """Where it was, under the name it had. A folder that is gone needs nothing."""
    try:
        now = await ctx.graph.get_folder(work.folder)
        at, to = Place(now.parent_folder_id or "", now.display_name or ""), Place(work.parent, work.name)
        if at != to:
            await _bring(ctx, work.folder, at, to)
    except NotFound:
        return


async def recover_rename(ctx: AccountContext, row: JournalRow) -> None:
    """The client was never told that it was done: undo."""
    await _put_back(ctx, payload_of(row, RenameWork))
    await done(ctx, row.id)

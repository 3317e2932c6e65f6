"""What a delta round tells of a stretch of a folder's change log (contract sections 7 and 12)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from gateway.emulator.folder import Folder
from gateway.emulator.items import CATEGORIES, EXTENDED, FLAG, GONE, MOVED, NEW, OTHER, READ
from gateway.emulator.odata import Context

_PLANS: Final = 8  # plans kept per mailbox: the pages of a long round read the same one


@dataclass(frozen=True, slots=True)
class Row:
    """`upsert` of an item, or `removed` with the serial it had in the folder."""

    kind: str
    number: int
    serial: int = 0
    folder: int = 0


@dataclass(slots=True)
class _Story:
    """What happened to one item, in order."""

    first: int
    last: int = 0
    masks: int = 0
    after_new: int = 0
    gone: list[int] = field(default_factory=list)


def interest(select: tuple[str, ...] | None) -> int:
    """The changes that show under a `$select`: all of them if the change key or time is in it."""
    if select is None or {"lastmodifieddatetime", "changekey"} & set(select):
        return NEW | READ | FLAG | CATEGORIES | OTHER | EXTENDED
    bits = {"id": 0, "isread": READ, "flag": FLAG, "categories": CATEGORIES}
    found = NEW
    for name in select:
        found |= bits.get(name, OTHER)
    return found


def plan(ctx: Context, folder: Folder, start: int, end: int, wanted: int) -> list[Row]:
    """The rows of one round; the same list for every page of it."""
    holes = ctx.rule("immutable-id-hole"), ctx.rule("immutable-move-unseen")
    rules = ctx.prefer.immutable, holes, ctx.options.change_types
    key = (folder.number, start, end, wanted, *rules)
    plans = ctx.box.delta_plans
    if key not in plans:
        rows = _rows(ctx, folder, start, end, wanted)
        while len(plans) >= _PLANS:
            plans.pop(next(iter(plans)))
        plans[key] = [row for row in rows if _of_type(row, ctx)]
    found: list[Row] = plans[key]
    return found


def _of_type(row: Row, ctx: Context) -> bool:
    types = ctx.options.change_types
    return not types or (
        "deleted" in types if row.kind == "removed" else bool(types & {"created", "updated"})
    )


def _rows(ctx: Context, folder: Folder, start: int, end: int, wanted: int) -> list[Row]:
    stories: dict[int, _Story] = {}
    rows: list[Row] = []
    for number, mask, serial in folder.log.between(start, end):
        if not number:  # a new regular id in the same folder: the immutable id saw nothing
            if not ctx.prefer.immutable:
                rows.append(Row("removed", 0, serial, folder.number))
            continue
        story = stories.pop(number, None) or _Story(mask)
        stories[number] = story  # re-inserted: rows come in the order of the last change
        story.last = mask
        story.masks |= mask
        story.after_new = 0 if mask & (NEW | GONE) else story.after_new | mask
        if mask & GONE:
            story.gone.append(serial)
    for number, story in stories.items():
        rows += _told(ctx, folder, number, story, wanted)
    return rows


def _told(ctx: Context, folder: Folder, number: int, story: _Story, wanted: int) -> list[Row]:
    removed = [Row("removed", number, serial, folder.number) for serial in story.gone]
    if story.last & GONE:
        return removed[-1:] if ctx.prefer.immutable else removed
    if not story.masks & wanted:
        return []
    added = Row("upsert", number)
    if not ctx.prefer.immutable:
        return [*removed, added]
    if story.first & MOVED and not story.after_new & wanted and ctx.rule("immutable-move-unseen"):
        return removed[-1:]
    went_and_came = bool(story.gone) and not story.first & NEW
    if went_and_came and not story.after_new & wanted and ctx.rule("immutable-id-hole"):
        return removed[-1:]
    return [added]

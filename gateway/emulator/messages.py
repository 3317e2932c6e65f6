"""Routes 8, 9, 13-18: lists, reading, changing, moving, deleting messages (contract 4, 6, 8, 11)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from gateway.emulator import changes, folders, jsonin, receipts
from gateway.emulator.api import Response
from gateway.emulator.columns import MESSAGE_COLUMNS, check_order, message_filter
from gateway.emulator.errors import (
    GraphError,
    bad_body,
    bad_request,
    conflict,
    denied,
    json_response,
    malformed_id,
    not_found,
    quota,
)
from gateway.emulator.filter_terms import Filter
from gateway.emulator.folder import Folder, Keys
from gateway.emulator.ids import MalformedIdError
from gateway.emulator.items import Item, number_of, sort_key
from gateway.emulator.limits import lag, limit
from gateway.emulator.mailbox import Mailbox
from gateway.emulator.mime_out import render
from gateway.emulator.odata import Context
from gateway.emulator.render import Json, MessageRenderer
from gateway.emulator.search import compile_search

_CHUNK = 64 * 1024


def find(ctx: Context, text: str) -> Item:
    """The message of a path segment; 404, also for a moment after it was made (trap 42)."""
    try:
        item = ctx.box.item_by_id(text)
    except MalformedIdError:
        raise malformed_id() from None
    if item is None:
        raise not_found()
    if item.fresh_until and ctx.rule("create-then-404"):
        if ctx.box.now() < item.fresh_until:
            raise not_found()
        item.fresh_until = 0.0
    return item


def fresh(box: Mailbox, item: Item) -> None:
    """An item just made answers 404 for a moment (trap 42)."""
    item.fresh_until = box.now() + lag(box.world, "create-then-404", "fresh_404_seconds")


# -- lists -----------------------------------------------------------------------------------------


def list_all(ctx: Context) -> Response:
    return _list(ctx, None)


def list_folder(ctx: Context, folder_id: str) -> Response:
    return _list(ctx, folders.find(ctx.box, folder_id))


def _found_by(ctx: Context, definition: dict[str, Any]) -> Keys:
    """The members of a search folder (contract 5.4)."""
    box, found = ctx.box, Keys()
    sources = [box.folder_by_id(each) for each in definition["sourceFolderIds"]]
    nested = definition["includeNestedFolders"]
    tree = {f.number: f for s in sources if s for f in (box.subtree(s) if nested else [s])}
    wanted = message_filter(ctx, definition["filterQuery"])
    for folder in tree.values():
        for item in _matching(ctx, folder.items, wanted):
            found.add(item.key)
    return found


def _list(ctx: Context, folder: Folder | None) -> Response:
    options = ctx.options
    if options.search is not None:
        return _searched(ctx, folder)
    filtered = message_filter(ctx, options.filter) if options.filter else None
    check_order(ctx, filtered)
    unseen = folder.non_mail if folder is not None and ctx.rule("skip-counts-non-mail") else 0
    size, skip = ctx.page_size(), max(0, options.skip - unseen)
    keys = _keys(folder, ctx)
    if filtered is None and (not options.orderby or options.orderby == (("receiveddatetime", True),)):
        shown = _slice(ctx, keys, skip, size)
        page = [ctx.box.items[number_of(key)] for key in shown]
        total, more = len(keys), bool(shown) and shown[-1] != keys.column[0]
        if more and not ctx.rule("skip-unstable"):
            return _page(ctx, page, total if options.count else None, {"$skiptoken": f"s{shown[-1]}"})
    else:
        found = _sorted(ctx, _matching(ctx, keys, filtered))
        page, total, more = found[skip : skip + size], len(found), skip + size < len(found)
    return _page(
        ctx,
        page,
        total if options.count else None,
        {"$skip": skip + size + unseen} if more and size else None,
    )


def _slice(ctx: Context, keys: Keys, skip: int, size: int) -> list[int]:
    """A page of keys: by position, or behind a key where paging is asked to be stable."""
    if ctx.options.skiptoken is not None:
        return keys.below(_token_number(ctx.options.skiptoken), size)
    return keys.newest(skip, size)


def _page(
    ctx: Context, page: list[Item], total: int | None, following: dict[str, str | int] | None
) -> Response:
    render_message = MessageRenderer(ctx, listing=True)
    out: Json = {"@odata.context": ctx.metadata("messages")}
    if total is not None:
        out["@odata.count"] = total
    out["value"] = [render_message(item) for item in page]
    if following is not None:
        out["@odata.nextLink"] = ctx.link({**following})
    headers = {"Preference-Applied": ctx.prefer.applied} if ctx.prefer.applied else {}
    return json_response(200, out, headers, items=len(page))


def _keys(folder: Folder | None, ctx: Context) -> Keys:
    if folder is None:
        return ctx.box.keys
    return folder.items if folder.search is None else _found_by(ctx, folder.search)


def _matching(ctx: Context, keys: Keys, filtered: Filter | None) -> Iterator[Item]:
    """The matching items, newest first; bounds on receivedDateTime skip the rest of the folder."""
    items = ctx.box.items
    if filtered is None:
        yield from (items[number_of(key)] for key in reversed(keys.column))
        return
    low = sort_key(math.floor(filtered.low), 0) if filtered.low is not None else 0
    high = sort_key(math.floor(filtered.high) + 1, 0) if filtered.high is not None else (1 << 63) - 1
    test, wanted = filtered.test, filtered.message_id
    for key in reversed(keys.window(low, high)):
        item = items[number_of(key)]
        if (wanted is None or item.message_id == wanted) and test(item):
            yield item


def _sorted(ctx: Context, found: Iterator[Item]) -> list[Item]:
    items = list(found)
    for path, descending in reversed(ctx.options.orderby):
        column = MESSAGE_COLUMNS.get(path)
        get = column.get if column else (lambda i: ",".join(i.state.categories))
        items.sort(key=lambda i, get=get: _comparable(get(i)), reverse=descending)  # type: ignore[misc]
    return items


def _comparable(value: object) -> tuple[bool, object]:
    return value is not None, value.casefold() if isinstance(value, str) else value


def _searched(ctx: Context, folder: Folder | None) -> Response:
    """`$search`: the index knows neither drafts nor what is too fresh; newest sent first, at most 1,000."""
    options = ctx.options
    if options.filter:
        raise bad_request(
            "The query parameter '$filter' is not supported with '$search'.", "SearchWithFilter"
        )
    if options.orderby:
        raise bad_request(
            "The query parameter '$orderBy' is not supported with '$search'.", "SearchWithOrderBy"
        )
    if options.skip:
        raise bad_request("The query parameter '$skip' is not supported with '$search'.")
    test = compile_search(options.search or "", whole_words=ctx.rule("search-words-only"))
    until = ctx.box.now() - lag(ctx.world, "search-lag", "search_lag_seconds")
    items = (ctx.box.items[number_of(key)] for key in _keys(folder, ctx).column)
    found = [i for i in items if not (i.draft and ctx.rule("search-lag")) and i.created <= until and test(i)]
    found.sort(key=lambda i: i.sent or i.received, reverse=True)
    found = found[: int(limit(ctx.world, "search_results"))]
    start = _token_number(options.skiptoken)
    size = ctx.page_size()
    following: dict[str, str | int] | None = (
        {"$skiptoken": f"s{start + size}"} if start + size < len(found) else None
    )
    return _page(ctx, found[start : start + size], None, following)


def _token_number(token: str | None) -> int:
    if token is None:
        return 0
    if not token.startswith("s") or not token[1:].isdigit() or len(token) > 20:
        raise bad_request("The skip token is invalid.")
    return int(token[1:])


def count_all(ctx: Context) -> Response:
    return _count(ctx, None)


def count_folder(ctx: Context, folder_id: str) -> Response:
    return _count(ctx, folders.find(ctx.box, folder_id))


def _count(ctx: Context, folder: Folder | None) -> Response:
    keys = _keys(folder, ctx)
    if ctx.options.filter:
        number = sum(1 for _ in _matching(ctx, keys, message_filter(ctx, ctx.options.filter)))
    else:
        number = len(keys)
    return Response(200, str(number).encode(), {"Content-Type": "text/plain"})


# -- one message -----------------------------------------------------------------------------------


def get(ctx: Context, message_id: str) -> Response:
    return answer(ctx, 200, find(ctx, message_id))


def answer(ctx: Context, status: int, item: Item, *, annotate: bool = False) -> Response:
    """A single message; what `$expand` names is in answers to GET alone (contract 6.1)."""
    reading = ctx.request.method == "GET"
    shown = MessageRenderer(ctx, listing=False, annotate=annotate, expanding=reading)(item)
    headers = {"Preference-Applied": ctx.prefer.applied} if ctx.prefer.applied else {}
    return json_response(status, {"@odata.context": ctx.metadata("messages/$entity"), **shown}, headers)


def value(ctx: Context, message_id: str) -> Response:
    """`$value`: MIME in chunks; opaque S/MIME fails for good (trap 26)."""
    item = find(ctx, message_id)
    if item.content.opaque and ctx.rule("smime-value-500"):
        raise GraphError(
            500, "ErrorMimeContentConversionFailed", "The conversion of the MIME content failed."
        )
    data = render(item, ctx.box.mint.guid)
    if ctx.rule("value-truncated"):
        data = data[: len(data) // 2]
    return Response(200, chunks(data), {"Content-Type": "text/plain"})


def chunks(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), _CHUNK):
        yield data[at : at + _CHUNK]


def patch(ctx: Context, message_id: str) -> Response:
    """PATCH: only what the whitelist allows; 412 on a stale If-Match and after an outside write (trap 9)."""
    item = find(ctx, message_id)
    wanted = changes.check(ctx, jsonin.body(ctx), creating=False)
    _check_match(ctx, item)
    if not item.draft and changes.DRAFT_ONLY & wanted.values.keys():
        raise GraphError(400, "ErrorInvalidPropertySet", "Set action is invalid for property.")
    if ctx.box.full():
        raise quota()
    receipt_due = receipts.due(ctx.box, item, wanted)
    state = ctx.box.edit(item, wanted.mask())
    changes.apply_flags(ctx.box, item, state, wanted)
    if "isread" in wanted.values:
        ctx.box.set_read(item, wanted.values["isread"])
    if item.draft:
        changes.apply_draft(ctx.box, item, wanted)
        _undraft(ctx, item, wanted)
    if receipt_due:
        receipts.send(ctx.box, item)
    if ctx.prefer.minimal:
        return Response(204, headers={"Preference-Applied": "return=minimal"})
    return answer(ctx, 200, item)


def _undraft(ctx: Context, item: Item, wanted: changes.Changes) -> None:
    flags = wanted.tagged(0x0E07)
    if flags is not None and not int(flags) & 8 and not ctx.rule("draft-is-forever"):
        item.draft = False


def _check_match(ctx: Context, item: Item) -> None:
    match = ctx.request.headers.get("if-match", "").strip()
    if match and match != "*":
        inner = match.removeprefix("W/").strip('"')
        if len(inner) != 40:
            raise bad_request("The change key passed in the request is invalid.", "ErrorInvalidChangeKey")
        if inner != ctx.box.mint.change_key(item.state.change):
            raise conflict()
    if item.conflict_until:
        raced = ctx.box.now() < item.conflict_until
        item.conflict_until = 0.0
        if raced and not match and ctx.rule("conflict-without-if-match"):
            raise conflict()


# -- moving and deleting ---------------------------------------------------------------------------


def _destination(ctx: Context) -> Folder:
    values = jsonin.checked(ctx, jsonin.body(ctx), frozenset({"destinationid"}), frozenset())
    target = values.get("destinationid")
    if not isinstance(target, str) or not target:
        raise bad_body("destinationId is missing.")
    try:
        folder = folders.find(ctx.box, target)
    except GraphError as error:
        if error.status == 404:
            raise GraphError(404, "ErrorFolderNotFound", "The specified folder could not be found.") from None
        raise
    if folder.search is not None:
        raise bad_request("Items cannot be moved into a search folder.", "ErrorInvalidOperation")
    return folder


def move(ctx: Context, message_id: str) -> Response:
    item, target = find(ctx, message_id), _destination(ctx)
    ctx.box.move(item, target)
    return answer(ctx, 201, item, annotate=True)


def copy(ctx: Context, message_id: str) -> Response:
    item, target = find(ctx, message_id), _destination(ctx)
    if ctx.box.full():
        raise quota()
    made = folders.copy_item(ctx.box, item, target)
    fresh(ctx.box, made)
    return answer(ctx, 201, made)


def delete(ctx: Context, message_id: str) -> Response:
    """DELETE: to Deleted Items; from there, or from below it, to Recoverable Items (contract 11, trap 53)."""
    item = find(ctx, message_id)
    match = ctx.request.headers.get("if-match", "").strip()
    if match:
        _check_match(ctx, item)
    remove(ctx, item)
    return Response(204)


def remove(ctx: Context, item: Item) -> None:
    """One step of a message on its way out."""
    box = ctx.box
    folder = box.folders[item.folder]
    if folder.wellknown == "recoverableitemspurges":
        raise denied()
    if box.in_dumpster(folder):
        box.move(item, box.special["recoverableitemspurges"])
    elif box.below(folder, box.special["deleteditems"]):
        if ctx.rule("delete-again-destroys"):
            box.move(item, box.special["recoverableitemsdeletions"])
    else:
        box.move(item, box.special["deleteditems"])


def permanent_delete(ctx: Context, message_id: str) -> Response:
    """To Purges, where nobody can reach it any more."""
    ctx.box.destroy(find(ctx, message_id))
    return Response(204)

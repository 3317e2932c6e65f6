"""Routes 7 and 12: change tracking of messages and of the folder tree (contract sections 5.5, 7, 12).

A token carries the whole round: the folder, the options of the first call, positions in the change log.
Nothing is kept per token, so a poll with few changes costs few rows whatever the folder's size.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import re
from typing import Final

import msgspec

from gateway.emulator import folders, times
from gateway.emulator.api import Response
from gateway.emulator.deltaplan import Row, interest, plan
from gateway.emulator.errors import GraphError, bad_request, json_response, quota, unsupported_filter
from gateway.emulator.folder import Folder
from gateway.emulator.items import GONE, number_of, sort_key
from gateway.emulator.limits import lag, limit
from gateway.emulator.odata import Context, Options, parse_options
from gateway.emulator.render import Json, MessageRenderer, folder_renderer
from gateway.emulator.wellknown import ROOT

_KEPT: Final = ("$select", "$expand", "$filter", "$orderby", "$top", "changetype", "includehiddenfolders")
_SINCE = re.compile(r"\s*receivedDateTime\s+(ge|gt)\s+(\S+)\s*\Z", re.IGNORECASE)
_NEWEST: Final = (1 << 63) - 1


class Token(msgspec.Struct, omit_defaults=True):
    """A round under way, or the point to go on from. `kind`: i initial, c changes, f folders."""

    epoch: int
    folder: int
    kind: str
    position: int = 0  # log position (folder sequence) the round started from
    end: int = -1  # log position the round goes to; -1: not begun
    cursor: int = _NEWEST  # initial round: the last key shown
    index: int = 0  # changes: the next row
    page: int = 0
    left: int = -1  # items still allowed, -1 unlimited
    replayed: bool = False
    options: dict[str, str] = {}


def _seal(ctx: Context, data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=6, key=ctx.box.mint.store).digest()


def write_token(ctx: Context, token: Token) -> str:
    data = msgspec.json.encode(token)
    return base64.urlsafe_b64encode(_seal(ctx, data) + data).decode().rstrip("=")


def read_token(ctx: Context, text: str) -> Token:
    """A token of this mailbox; 400 for garbage, one of the three deaths for an expired one (trap 11)."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        token = msgspec.json.decode(data[6:], type=Token)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise bad_request("Badly formed token.", "ErrorInvalidIdMalformed") from None
    if _seal(ctx, data[6:]) != data[:6]:
        raise bad_request("Badly formed token.", "ErrorInvalidIdMalformed")
    if token.epoch != ctx.box.delta_epoch:
        raise dead(ctx)
    return token


def dead(ctx: Context) -> GraphError:
    """The token is too old: 410 with Location, 404 SyncStateNotFound or a plain 400, in turn."""
    turn = ctx.box.deaths % 3 if ctx.rule("token-death-varies") else 0
    ctx.box.deaths += 1
    if turn == 1:
        return GraphError(404, "SyncStateNotFound", "The sync state generation is not found.")
    if turn == 2:
        return bad_request("The request is not valid for the current state of the store.")
    location = ctx.url({"$deltatoken": ""})
    return GraphError(410, "SyncStateNotFound", "The sync state is not found.", {"Location": location})


def _check_quota(ctx: Context) -> None:
    if ctx.box.full() and ctx.rule("delta-quota"):
        raise quota()


def _page_size(ctx: Context) -> int:
    """Items a page: the preference of this very call, capped at 512, 10 without one."""
    most = int(limit(ctx.world, "page_delta")) if ctx.rule("page-cap-512") else 1000
    default = int(limit(ctx.world, "page_default")) if ctx.rule("page-default-10") else 100
    return min(ctx.prefer.page or default, most)


# -- messages --------------------------------------------------------------------------------------


def messages(ctx: Context, folder_id: str) -> Response:
    """GET mailFolders/{id}/messages/delta."""
    text = ctx.options.deltatoken or ctx.options.skiptoken
    folder = _folder(ctx, folder_id, bool(text))
    _check_quota(ctx)
    if text:
        token = read_token(ctx, text)
        if token.folder != folder.number or token.kind == "f":
            raise bad_request("The token belongs to another folder.", "ErrorInvalidIdMalformed")
    elif folder.search is not None:
        raise bad_request("Change tracking is not supported for search folders.", "ErrorInvalidOperation")
    else:
        token = _begin(ctx, folder)
    ctx.options = _options(token)
    return _initial(ctx, folder, token) if token.kind == "i" else _changes(ctx, folder, token)


def _folder(ctx: Context, folder_id: str, continued: bool) -> Folder:
    try:
        return folders.find(ctx.box, folder_id)
    except GraphError as error:
        if error.status == 404 and continued:
            raise GraphError(404, "ErrorSyncFolderNotFound", "The folder is not found.") from None
        raise


def _options(token: Token) -> Options:
    return parse_options(token.options)


def _begin(ctx: Context, folder: Folder) -> Token:
    """The first call: options are checked and baked into the tokens."""
    options = ctx.options
    _check_options(ctx, options)
    left = -1
    if options.top is not None and ctx.rule("top-limits-delta"):
        left = options.top
    if options.filter:
        most = int(limit(ctx.world, "delta_filter_items"))
        left = most if left < 0 else min(left, most)
    query = {k.lower(): v for k, v in ctx.request.query.items()}
    kept = {k: query.get(k, query.get(k.removeprefix("$"), "")) for k in _KEPT}
    return Token(
        ctx.box.delta_epoch,
        folder.number,
        "i",
        position=folder.log.end(ctx.box.now() - _lag(ctx)),
        left=left,
        options={k: v for k, v in kept.items() if v},
    )


def _check_options(ctx: Context, options: Options) -> None:
    if options.search is not None or options.skip or options.count:
        raise bad_request("The query parameter is not supported by change tracking.", "ErrorInvalidUrlQuery")
    if options.expand != Options().expand and ctx.rule("delta-expand-refused"):
        raise bad_request("The query parameter '$expand' is not supported with change tracking.")
    if options.orderby and options.orderby != (("receiveddatetime", True),):
        raise bad_request("$orderby supports 'receivedDateTime desc' only.", "ErrorInvalidUrlQuery")
    if options.filter:
        since(options.filter)
    if options.change_types - {"created", "updated", "deleted"}:
        raise bad_request("Invalid changeType.", "ErrorInvalidUrlQuery")
    if ctx.request.query.get("$deltatoken", "").lower() == "latest":
        raise bad_request("Badly formed token.", "ErrorInvalidIdMalformed")
    MessageRenderer(ctx, listing=True)


def since(text: str) -> int:
    """The first receivedDateTime a delta filter lets through; 400 for any other filter."""
    match = _SINCE.match(text)
    at = times.parse(match.group(2)) if match else None
    if match is None or at is None:
        raise unsupported_filter("Change tracking supports receivedDateTime ge and gt only.")
    return math.floor(at) + 1 if match.group(1).lower() == "gt" else math.ceil(at)


def _lag(ctx: Context) -> float:
    return lag(ctx.world, "delta-lag", "delta_lag_seconds")


def _initial(ctx: Context, folder: Folder, token: Token) -> Response:
    """A page of the first round: newest first, by key, so that arrivals do not shift it."""
    size = _page_size(ctx)
    if token.page == 1 and ctx.rule("delta-empty-pages"):
        return _answer(ctx, [], _next(token))
    low = sort_key(since(ctx.options.filter), 0) if ctx.options.filter else 0
    again = token.page == 2 and ctx.rule("delta-replays")
    count = size if token.left < 0 else min(size, token.left)
    keys = [k for k in folder.items.below(token.cursor, count, inclusive=again) if k >= low]
    if ctx.options.change_types and "created" not in ctx.options.change_types:
        keys = []
    rows = [Row("upsert", number_of(key)) for key in keys]
    left = token.left - len(rows) if token.left >= 0 else -1
    if len(keys) < count or left == 0 or (not folder.items.below(keys[-1], 1) if keys else True):
        after = Token(token.epoch, token.folder, "c", position=token.position, options=token.options)
        return _answer(ctx, rows, after, last=True)
    following = _next(token)
    following.cursor, following.left = keys[-1], left
    return _answer(ctx, rows, following)


def _next(token: Token) -> Token:
    made = msgspec.structs.replace(token)
    made.page += 1
    return made


def _changes(ctx: Context, folder: Folder, token: Token) -> Response:
    """A page of a later round: rows of the plan from `index` on."""
    if token.position < folder.log.base:
        raise dead(ctx)
    if token.end < 0:
        token.end = folder.log.end(ctx.box.now() - _lag(ctx))
        token.end = max(token.end, token.position)
    rows = plan(ctx, folder, token.position, token.end, interest(ctx.options.select))
    size = _page_size(ctx)
    page = rows[token.index : token.index + size]
    if token.index + size < len(rows):
        following = _next(token)
        following.index += size
        return _answer(ctx, page, following)
    after = Token(token.epoch, token.folder, "c", position=token.end, options=token.options)
    if rows and ctx.rule("delta-replays") and _may_replay(folder, token, rows):
        after.position, after.replayed = token.end - 1, True
    return _answer(ctx, page, after, last=True)


def _may_replay(folder: Folder, token: Token, rows: list[Row]) -> bool:
    """Every third position the last change comes once more; never where that would undo the hole (trap 5)."""
    if token.end % 3 or (token.replayed and token.end == token.position + 1):
        return False
    number, mask, _ = folder.log.at(token.end - 1)
    last = next((r for r in reversed(rows) if r.number == number), None)
    return last is not None and (last.kind == "removed") == bool(mask & GONE)


def _answer(ctx: Context, rows: list[Row], following: Token, *, last: bool = False) -> Response:
    ctx.box.delta_links += last
    return _emit(ctx, _shown(ctx, rows), following, last=last, kind="messages")


def _emit(ctx: Context, shown: list[Json], following: Token, *, last: bool, kind: str) -> Response:
    name, key = ("@odata.deltaLink", "$deltatoken") if last else ("@odata.nextLink", "$skiptoken")
    what = "Collection(message)" if kind == "messages" else "mailFolders"
    out = {
        "@odata.context": f"{ctx.request.base}/$metadata#{what}",
        "value": shown,
        name: ctx.url({key: write_token(ctx, following)}),
    }
    return json_response(200, out, items=len(shown))


def _shown(ctx: Context, rows: list[Row]) -> list[Json]:
    box, until = ctx.box, ctx.box.now() - _lag(ctx)
    render = MessageRenderer(ctx, listing=True, annotate=True)
    shown: list[Json] = []
    for row in rows:
        if row.kind == "removed":
            shown.append(_removed(ctx, row))
            continue
        item = box.items.get(row.number)
        if item is not None and item.folder:
            shown.append(render(item, box.state_at(item, until)))
    return shown


def _removed(ctx: Context, row: Row) -> Json:
    mint = ctx.box.mint
    name = mint.immutable(row.number) if ctx.prefer.immutable else mint.message(row.folder, row.serial)
    return {"@odata.type": "#microsoft.graph.message", "id": name, "@removed": {"reason": "deleted"}}


# -- folders ---------------------------------------------------------------------------------------


def folder_tree(ctx: Context) -> Response:
    """GET mailFolders/delta: the whole hierarchy flat, later what changed in it."""
    _check_quota(ctx)
    text = ctx.options.deltatoken or ctx.options.skiptoken
    token = read_token(ctx, text) if text else _begin_tree(ctx)
    if token.kind != "f":
        raise bad_request("The token belongs to another collection.", "ErrorInvalidIdMalformed")
    ctx.options = _options(token)
    shown, position = _tree_rows(ctx, token)
    size = _page_size(ctx)
    page = shown[token.index : token.index + size]
    if token.index + size < len(shown):
        following = _next(token)
        following.index += size
        return _emit(ctx, page, following, last=False, kind="folders")
    ctx.box.delta_links += 1
    after = Token(token.epoch, 0, "f", position=position, options=token.options)
    return _emit(ctx, page, after, last=True, kind="folders")


def _begin_tree(ctx: Context) -> Token:
    query = {k.lower(): v for k, v in ctx.request.query.items()}
    kept = {k: query.get(k, query.get(k.removeprefix("$"), "")) for k in _KEPT}
    if ctx.options.filter or ctx.options.search or ctx.options.orderby:
        raise bad_request("The query parameter is not supported by change tracking.", "ErrorInvalidUrlQuery")
    return Token(ctx.box.delta_epoch, 0, "f", options={k: v for k, v in kept.items() if v})


def _tree_rows(ctx: Context, token: Token) -> tuple[list[Json], int]:
    """The rows since the token, and how far the next may start: counts still settling are told again."""
    box, render = ctx.box, folder_renderer(ctx)
    root = box.special[ROOT]
    found = [f for f in box.subtree(root) if f is not root and (ctx.options.hidden or not f.hidden)]
    until = box.now() - lag(box.world, "counts-lag", "counts_lag_seconds")
    unsettled = [f.seq - 1 for f in found if f.history and f.history[-1][0] > until]
    shown = [render(f) for f in sorted(found, key=lambda f: f.seq) if f.seq > token.position]
    if token.position:
        graves = [number for seq, number in box.folder_graves if seq > token.position]
        shown += [{"id": box.folder_id(n), "@removed": {"reason": "deleted"}} for n in graves]
    return shown, min([box.folder_seq, *unsettled])

"""Routes 2-6: mail folders (contract section 5)."""

from __future__ import annotations

from typing import Any

from gateway.emulator import jsonin
from gateway.emulator.api import Response
from gateway.emulator.columns import folder_filter, folder_sort
from gateway.emulator.errors import (
    GraphError,
    bad_body,
    folder_exists,
    json_response,
    malformed_id,
    not_found,
    quota,
)
from gateway.emulator.folder import Folder
from gateway.emulator.ids import MalformedIdError
from gateway.emulator.items import Item
from gateway.emulator.mailbox import Mailbox
from gateway.emulator.odata import Context
from gateway.emulator.render import Json, folder_renderer
from gateway.emulator.wellknown import ROOT

_WRITABLE = frozenset({"displayname", "ishidden"})
_SEARCH = frozenset({"includenestedfolders", "sourcefolderids", "filterquery", "issupported"})
_READ_ONLY = frozenset(
    {
        "id",
        "parentfolderid",
        "childfoldercount",
        "unreaditemcount",
        "totalitemcount",
        "wellknownname",
        "sizeinbytes",
    }
)


def find(box: Mailbox, text: str) -> Folder:
    """The folder of a path segment or destinationId; 404, or 400 for no id at all."""
    try:
        folder = box.folder_by_id(text)
    except MalformedIdError:
        raise malformed_id() from None
    if folder is None:
        raise not_found()
    return folder


def list_top(ctx: Context) -> Response:
    """GET mailFolders: one level in v1.0, the whole tree flat in beta (trap 31)."""
    root = ctx.box.special[ROOT]
    if ctx.beta or not ctx.rule("list-one-level"):
        found = [f for f in ctx.box.subtree(root) if f is not root]
    else:
        found = ctx.box.children(root.number)
    return _page(ctx, found)


def list_children(ctx: Context, folder_id: str) -> Response:
    return _page(ctx, ctx.box.children(find(ctx.box, folder_id).number))


def _page(ctx: Context, found: list[Folder]) -> Response:
    if not ctx.options.hidden:
        found = [f for f in found if not f.hidden]
    if ctx.options.filter:
        test = folder_filter(ctx, ctx.options.filter).test
        found = [f for f in found if test(f)]
    found = folder_sort(ctx, found)
    size, skip = ctx.page_size(), ctx.options.skip
    render = folder_renderer(ctx)
    out: Json = {"@odata.context": ctx.metadata("mailFolders")}
    if ctx.options.count:
        out["@odata.count"] = len(found)
    out["value"] = [render(f) for f in found[skip : skip + size]]
    if size and skip + size < len(found):
        out["@odata.nextLink"] = ctx.link({"$skip": skip + size})
    return json_response(200, out, items=len(out["value"]))


def get(ctx: Context, folder_id: str) -> Response:
    return _answer(ctx, 200, find(ctx.box, folder_id))


def _answer(ctx: Context, status: int, folder: Folder) -> Response:
    context = {"@odata.context": ctx.metadata("mailFolders/$entity")}
    return json_response(status, {**context, **folder_renderer(ctx)(folder)})


# -- writing ---------------------------------------------------------------------------------------


def check_name(value: Any) -> str:
    """A display name: text, blanks at both ends trimmed, 1-255 characters."""
    if not isinstance(value, str):
        raise bad_body()
    name = value.strip()
    if not name or len(name) > 255 or any(ord(c) < 32 for c in name):
        raise GraphError(400, "ErrorInvalidFolderName", "The folder name is invalid.")
    return name


def taken(box: Mailbox, parent: int, name: str, but: Folder | None = None) -> bool:
    """Whether a sibling has the name, case ignored (contract 5.3)."""
    folded = name.casefold()
    return any(f.name.casefold() == folded and f is not but for f in box.children(parent))


def create_top(ctx: Context) -> Response:
    return _create(ctx, ctx.box.special[ROOT])


def create_child(ctx: Context, folder_id: str) -> Response:
    return _create(ctx, find(ctx.box, folder_id))


def _create(ctx: Context, parent: Folder) -> Response:
    body = jsonin.body(ctx)
    searching = str(body.get("@odata.type", "")).lower().endswith("mailsearchfolder")
    allowed = _WRITABLE | _SEARCH if searching else _WRITABLE
    values = jsonin.checked(ctx, body, allowed, _READ_ONLY)
    name = check_name(values.get("displayname"))
    if taken(ctx.box, parent.number, name):
        raise folder_exists(name)
    if ctx.box.full():
        raise quota()
    folder = ctx.box.add_folder(parent.number, name, hidden=values.get("ishidden") is True)
    if searching:
        folder.search = _search_definition(values)
    return _answer(ctx, 201, folder)


def _search_definition(values: dict[str, Any]) -> dict[str, Any]:
    sources, query = values.get("sourcefolderids"), values.get("filterquery")
    if not isinstance(sources, list) or not isinstance(query, str):
        raise bad_body("A search folder needs sourceFolderIds and filterQuery.")
    nested = values.get("includenestedfolders") is True
    return {
        "isSupported": True,
        "includeNestedFolders": nested,
        "sourceFolderIds": sources,
        "filterQuery": query,
    }


def patch(ctx: Context, folder_id: str) -> Response:
    folder = find(ctx.box, folder_id)
    body = jsonin.body(ctx)
    values = jsonin.checked(ctx, body, _WRITABLE | _SEARCH, _READ_ONLY | {"ishidden"})
    if "displayname" in values:
        _rename(ctx, folder, check_name(values["displayname"]))
    if folder.search is not None:
        for key in ("includeNestedFolders", "sourceFolderIds", "filterQuery"):
            folder.search[key] = values.get(key.lower(), folder.search[key])
    ctx.box.touch_folder(folder)
    return _answer(ctx, 200, folder)


def _rename(ctx: Context, folder: Folder, name: str) -> None:
    if folder.wellknown is not None:
        raise _distinguished("The distinguished folder cannot be renamed.")
    if taken(ctx.box, folder.parent, name, folder):
        raise folder_exists(name)
    folder.name = name


def _distinguished(text: str, code: str = "ErrorAccessDenied") -> GraphError:
    return GraphError(403, code, text)


def _destination(ctx: Context) -> Folder:
    body = jsonin.body(ctx)
    values = jsonin.checked(ctx, body, frozenset({"destinationid"}), frozenset())
    target = values.get("destinationid")
    if not isinstance(target, str) or not target:
        raise bad_body("destinationId is missing.")
    return find(ctx.box, target)


def move(ctx: Context, folder_id: str) -> Response:
    """POST move: 200, the id stays; 409 where the name is taken."""
    folder, target = find(ctx.box, folder_id), _destination(ctx)
    if folder.wellknown is not None:
        raise _distinguished("The distinguished folder cannot be moved.")
    if ctx.box.below(target, folder):
        raise GraphError(400, "ErrorMoveCopyFailed", "A folder cannot be moved below itself.")
    if taken(ctx.box, target.number, folder.name, folder):
        raise folder_exists(folder.name)
    ctx.box.reparent(folder, target)
    return _answer(ctx, 200, folder)


def copy(ctx: Context, folder_id: str) -> Response:
    """POST copy: the folder with its contents; everything in it gets new ids."""
    folder, target = find(ctx.box, folder_id), _destination(ctx)
    if ctx.box.below(target, folder):
        raise GraphError(400, "ErrorMoveCopyFailed", "A folder cannot be copied below itself.")
    if taken(ctx.box, target.number, folder.name):
        raise folder_exists(folder.name)
    return _answer(ctx, 200, _copy_tree(ctx.box, folder, target))


def _copy_tree(box: Mailbox, folder: Folder, target: Folder) -> Folder:
    made = box.add_folder(target.number, folder.name, hidden=folder.hidden, kind=folder.kind)
    for item in box.members(folder):
        copy_item(box, item, made)
    for child in box.children(folder.number):
        _copy_tree(box, child, made)
    return made


def copy_item(box: Mailbox, item: Item, folder: Folder) -> Item:
    """A copy of a message: new ids, everything else kept."""
    made = box.create(
        folder,
        item.content,
        subject=item.subject,
        message_id=item.message_id,
        received=item.received,
        sent=item.sent,
        draft=item.draft,
        state=item.state.copy(),
        variant=item.variant,
    )
    made.extra = dict(item.extra) if item.extra else None
    made.keywords, made.verb, made.icon, made.verb_time = item.keywords, item.verb, item.icon, item.verb_time
    made.deleted = item.deleted
    made.extensions = dict(item.extensions) if item.extensions else None
    return made


def delete(ctx: Context, folder_id: str) -> Response:
    """DELETE: below Deleted Items, numbered on a clash; from there for good."""
    folder = find(ctx.box, folder_id)
    trash = ctx.box.special["deleteditems"]
    _deletable(folder)
    if ctx.box.below(folder, trash):
        ctx.box.destroy_folder(folder)
        return Response(204)
    name, number = folder.name, 1
    while taken(ctx.box, trash.number, name, folder):
        name, number = f"{folder.name}{number}", number + 1
    folder.name = name
    ctx.box.reparent(folder, trash)
    return Response(204)


def permanent_delete(ctx: Context, folder_id: str) -> Response:
    folder = find(ctx.box, folder_id)
    _deletable(folder)
    ctx.box.destroy_folder(folder)
    return Response(204)


def _deletable(folder: Folder) -> None:
    if folder.wellknown is not None:
        raise _distinguished("Distinguished folders cannot be deleted.", "ErrorDeleteDistinguishedFolder")

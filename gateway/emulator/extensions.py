"""Route 28: open extensions of a message (contract section 14)."""

from __future__ import annotations

from typing import Any

from gateway.emulator import jsonin, messages
from gateway.emulator.api import Response
from gateway.emulator.errors import GraphError, bad_body, json_response, not_found
from gateway.emulator.items import OTHER, Item
from gateway.emulator.odata import Context

_PREFIX = "Microsoft.OutlookServices.OpenTypeExtension."


def read_posted(body: Any) -> tuple[str, dict[str, Any]]:
    """(name, stored JSON) of a posted extension; 400 without a name."""
    if not isinstance(body, dict):
        raise bad_body()
    name = body.get("extensionName")
    if not isinstance(name, str) or not name:
        raise bad_body("extensionName is missing.")
    kept = {k: v for k, v in body.items() if "@odata." not in k and k not in ("id", "extensionName")}
    head = {"@odata.type": "#microsoft.graph.openTypeExtension", "id": _PREFIX + name, "extensionName": name}
    return name, {**head, **kept}


def list_all(ctx: Context, message_id: str) -> Response:
    item = messages.find(ctx, message_id)
    return json_response(200, {"value": list((item.extensions or {}).values())})


def create(ctx: Context, message_id: str) -> Response:
    item = messages.find(ctx, message_id)
    name, stored = read_posted(jsonin.body(ctx))
    if name in (item.extensions or {}):
        raise GraphError(409, "ErrorItemSave", "An extension with this name exists already.")
    _store(ctx, item, name, stored)
    return json_response(201, stored)


def get(ctx: Context, message_id: str, name: str) -> Response:
    item, key = _find(ctx, message_id, name)
    return json_response(200, (item.extensions or {})[key])


def patch(ctx: Context, message_id: str, name: str) -> Response:
    """PATCH merges: null removes a value."""
    item, key = _find(ctx, message_id, name)
    body = {**jsonin.body(ctx), "extensionName": key}
    merged = {**(item.extensions or {})[key], **read_posted(body)[1]}
    merged = {k: v for k, v in merged.items() if v is not None}
    _store(ctx, item, key, merged)
    return json_response(200, merged)


def delete(ctx: Context, message_id: str, name: str) -> Response:
    item, key = _find(ctx, message_id, name)
    ctx.box.edit(item, OTHER)
    item.extensions = {k: v for k, v in (item.extensions or {}).items() if k != key}
    return Response(204)


def _find(ctx: Context, message_id: str, name: str) -> tuple[Item, str]:
    item = messages.find(ctx, message_id)
    key = name.removeprefix(_PREFIX)
    if key not in (item.extensions or {}):
        raise not_found("Extension not found.")
    return item, key


def _store(ctx: Context, item: Item, name: str, stored: dict[str, Any]) -> None:
    ctx.box.edit(item, OTHER)
    item.extensions = {**(item.extensions or {}), name: stored}

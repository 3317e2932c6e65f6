"""Route 34: inbox rules, kept as posted (contract section 14); `ruling` does what they say."""

from __future__ import annotations

from typing import Any, Final

from gateway.emulator import folders, jsonin
from gateway.emulator.api import Response
from gateway.emulator.errors import GraphError, bad_body, bad_request, json_response, not_found
from gateway.emulator.odata import Context

_WRITABLE: Final = frozenset({"displayname", "sequence", "isenabled", "conditions", "exceptions", "actions"})
_READ_ONLY: Final = frozenset({"id", "haserror", "isreadonly"})
_NAMES: Final = {"displayname": "displayName", "isenabled": "isEnabled"}


def _inbox(ctx: Context, folder_id: str) -> None:
    if folders.find(ctx.box, folder_id).wellknown != "inbox":
        raise bad_request("Rules exist for the inbox only.", "ErrorInvalidOperation")


def list_all(ctx: Context, folder_id: str) -> Response:
    _inbox(ctx, folder_id)
    found = sorted(ctx.box.rules.values(), key=lambda rule: rule["sequence"])
    return json_response(200, {"value": found}, items=len(found))


def _read(ctx: Context) -> dict[str, Any]:
    values = jsonin.checked(ctx, jsonin.body(ctx), _WRITABLE, _READ_ONLY)
    for name in ("conditions", "exceptions", "actions"):
        if not isinstance(values.get(name) or {}, dict):
            raise bad_body()
    return {_NAMES.get(name, name): value for name, value in values.items()}


def _check(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule needs a name and a positive sequence."""
    sequence = rule.get("sequence")
    if not isinstance(sequence, int) or isinstance(sequence, bool) or sequence < 1:
        raise GraphError(400, "MessageRuleValidationError", "The sequence of a rule must be positive.")
    if not isinstance(rule.get("displayName"), str):
        raise bad_body()
    return rule


def create(ctx: Context, folder_id: str) -> Response:
    _inbox(ctx, folder_id)
    key = f"AQAA{len(ctx.box.rules) + ctx.box.change:08X}"
    head = {"id": key, "isEnabled": True, "hasError": False, "isReadOnly": False}
    ctx.box.rules[key] = _check({**head, **_read(ctx)})
    return json_response(201, ctx.box.rules[key])


def _find(ctx: Context, folder_id: str, key: str) -> dict[str, Any]:
    _inbox(ctx, folder_id)
    if key not in ctx.box.rules:
        raise not_found()
    return ctx.box.rules[key]


def get(ctx: Context, folder_id: str, key: str) -> Response:
    return json_response(200, _find(ctx, folder_id, key))


def patch(ctx: Context, folder_id: str, key: str) -> Response:
    ctx.box.rules[key] = _check({**_find(ctx, folder_id, key), **_read(ctx)})
    return json_response(200, ctx.box.rules[key])


def delete(ctx: Context, folder_id: str, key: str) -> Response:
    _find(ctx, folder_id, key)
    del ctx.box.rules[key]
    return Response(204)

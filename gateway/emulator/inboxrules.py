"""Route 34: inbox rules, kept as posted; of what they say, the common part is done to new mail (contract 14)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.emulator import folders, jsonin
from gateway.emulator.api import Response
from gateway.emulator.errors import GraphError, bad_body, bad_request, json_response, not_found
from gateway.emulator.ids import MalformedIdError
from gateway.emulator.items import CATEGORIES, READ, Item
from gateway.emulator.mailbox import Mailbox
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


# -- doing it --------------------------------------------------------------------------------------


def _contains(text: str, values: Any) -> bool:
    return isinstance(values, list) and any(str(v).casefold() in text.casefold() for v in values)


def _sender(item: Item) -> str:
    author = item.content.author
    return f"{author.name} {author.address}" if author else ""


_CONDITIONS: Final[dict[str, Callable[[Item, Any], bool]]] = {
    "subjectContains": lambda item, values: _contains(item.subject, values),
    "bodyContains": lambda item, values: _contains(item.content.body, values),
    "bodyOrSubjectContains": lambda item, values: _contains(item.subject + item.content.body, values),
    "senderContains": lambda item, values: _contains(_sender(item), values),
    "hasAttachments": lambda item, value: item.content.has_attachments is value,
    "importance": lambda item, value: item.state.importance == value,
}


def _matches(rule: dict[str, Any], item: Item) -> bool:
    """All conditions hold and no exception does; one that is not known here never holds."""

    def holds(name: str, value: Any) -> bool:
        return name in _CONDITIONS and _CONDITIONS[name](item, value)

    conditions, exceptions = rule.get("conditions") or {}, rule.get("exceptions") or {}
    return all(holds(*each) for each in conditions.items()) and not any(holds(*e) for e in exceptions.items())


def apply(box: Mailbox, item: Item) -> None:
    """Run the enabled rules over one message that is still where it arrived."""
    for rule in sorted(box.rules.values(), key=lambda rule: rule["sequence"]):
        if not item.folder or not rule["isEnabled"] or not _matches(rule, item):
            continue
        actions = rule.get("actions") or {}
        _act(box, item, actions)
        if actions.get("stopProcessingRules"):
            return


def _act(box: Mailbox, item: Item, actions: dict[str, Any]) -> None:
    if actions.get("markAsRead"):
        box.edit(item, READ)
        box.set_read(item, True)
    if isinstance(actions.get("assignCategories"), list):
        box.edit(item, CATEGORIES).categories = tuple(map(str, actions["assignCategories"]))
    target = "deleteditems" if actions.get("delete") else actions.get("moveToFolder")
    try:
        folder = box.folder_by_id(target) if isinstance(target, str) else None
    except MalformedIdError:
        folder = None
    if folder is not None:
        box.move(item, folder)

"""What inbox rules do to new mail: the common conditions and actions (contract section 14)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.emulator.ids import MalformedIdError
from gateway.emulator.items import CATEGORIES, READ, Item
from gateway.emulator.mailbox import Mailbox


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

"""Extended properties of an item: which are computed, which are kept as posted, and what setting one does."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from gateway.emulator import props, times
from gateway.emulator.errors import bad_body, bad_request
from gateway.emulator.items import EXTENDED, FLAG, READ, Flags, Item
from gateway.emulator.limits import limit
from gateway.emulator.mailbox import Mailbox
from gateway.emulator.mime_out import transport_headers, value_of
from gateway.emulator.props import Prop

Reader = Callable[[Mailbox, Item, Flags], "str | None"]


def store_size(box: Mailbox, item: Item) -> int:
    """PR_MESSAGE_SIZE: store bytes, which are not the MIME's octets (contract section 8)."""
    if not box.world.rules.on("estimate-size"):
        return value_of(item, box.mint.guid)[1]
    return (
        int(item.content.size * (0.76 if item.content.attachments else 1.18)) + 1387 + len(item.subject) * 2
    )


def message_flags(item: Item, state: Flags) -> int:
    """PR_MESSAGE_FLAGS: 1 read, 2 unmodified, 8 unsent, 0x10 has attachments."""
    return state.read | (0 if item.draft else 2) | item.draft << 3 | item.content.has_attachments << 4


def header_block(item: Item) -> str | None:
    """PR_TRANSPORT_MESSAGE_HEADERS, raw; absent on drafts and own sent mail."""
    content = item.content
    if content.transport is not None:
        return content.transport.decode("utf-8", "replace")
    if content.transported and content.skeleton is not None:
        raw = content.skeleton.head(item.variant, item.sent)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return raw.decode("latin-1")
    return None


def header_list(item: Item) -> list[tuple[str, str]] | None:
    """internetMessageHeaders: unfolded, in order, duplicates kept; None where there was no transport."""
    content = item.content
    if content.transport is not None:
        return transport_headers(content)
    if content.transported and content.skeleton is not None:
        return content.skeleton.headers(item.variant, item.sent)
    own = [
        (name, value)
        for (space, name), value in (item.extra or {}).items()
        if space == props.INTERNET_HEADERS
    ]
    return [(str(name), value) for name, value in own] or None


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _flag_status(state: Flags) -> str | None:
    status = (state.flag or {}).get("flagStatus")
    return {"flagged": "2", "complete": "1"}.get(status or "")


def _text(value: int | str | None) -> str | None:
    return None if value is None else str(value)


_READERS: Final[dict[int, Reader]] = {
    0x0E08: lambda box, item, _: str(store_size(box, item)),
    0x0E07: lambda _b, item, state: str(message_flags(item, state)),
    0x0E06: lambda _b, item, _: times.iso(item.received),
    0x0039: lambda _b, item, _: None if item.sent is None else times.iso(item.sent),
    0x1081: lambda _b, item, _: _text(item.verb),
    0x1080: lambda _b, item, _: _text(item.icon),
    0x1082: lambda _b, item, _: None if item.verb_time is None else times.iso(item.verb_time),
    0x1090: lambda _b, _i, state: _flag_status(state),
    0x007D: lambda _b, item, _: header_block(item),
    0x1035: lambda _b, item, _: item.message_id,
    0x1042: lambda _b, item, _: item.content.in_reply_to,
    0x1039: lambda _b, item, _: item.content.references,
    0x001A: lambda _b, item, _: item.content.message_class,
    0x0037: lambda _b, item, _: item.subject,
    0x0E23: lambda _b, item, _: str(item.article),
    0x0FF9: lambda box, item, _: _b64(box.mint.store + item.number.to_bytes(6, "big")),
    0x0FFF: lambda box, item, _: _b64(bytes(4) + box.mint.store + item.serial.to_bytes(6, "big")),
    0x300B: lambda box, item, _: _b64(box.mint.store[:10] + item.number.to_bytes(6, "big")),
    0x0E69: lambda _b, _i, state: str(state.read).lower(),
    0x0029: lambda _b, item, _: "true" if item.content.read_receipt else None,
    0x0C06: lambda _b, item, _: "true" if item.content.read_receipt else None,
    0x0023: lambda _b, item, _: (
        _text(item.content.delivery_receipt) and str(item.content.delivery_receipt).lower()
    ),
    0x3FDE: lambda _b, _i, _s: "65001",
    0x3007: lambda _b, item, _: times.iso(item.created),
    0x3008: lambda _b, _i, state: times.iso(state.modified),
    0x0017: lambda _b, _i, state: {"low": "0", "normal": "1", "high": "2"}[state.importance],
    0x1000: lambda _b, item, _: item.content.body if item.content.body_type == "text" else None,
    0x1013: lambda _b, item, _: item.content.body if item.content.body_type == "html" else None,
    0x0070: lambda _b, item, _: item.subject,
}


def read(box: Mailbox, item: Item, state: Flags, prop: Prop) -> str | None:
    """The property's value as a string, None where the item does not have it."""
    kept = item.extra.get(prop.key) if item.extra else None
    if kept is not None:
        return kept
    if prop.key == props.IMAP_DELETED:
        return item.deleted
    tag = prop.tag
    reader = _READERS.get(tag) if tag is not None else None
    if reader is not None:
        return reader(box, item, state)
    if prop.key[0] == props.INTERNET_HEADERS:
        found = [value for name, value in header_list(item) or () if name.lower() == prop.key[1]]
        return found[0] if found else None
    return None


def in_list(box: Mailbox, value: str) -> str:
    """A value as a list page shows it: long ones are cut (trap 54)."""
    most = int(limit(box.world, "list_property_chars"))
    return value[:most] if box.world.rules.on("truncate-long-properties") else value


# -- writing ---------------------------------------------------------------------------------------


def posted(value: Any) -> list[tuple[Prop, str]]:
    """The properties of a posted `singleValueExtendedProperties`; 400 for a bad id, type or value."""
    if not isinstance(value, list):
        raise bad_body()
    found = []
    for each in value:
        if not isinstance(each, dict) or not isinstance(each.get("id"), str) or "value" not in each:
            raise bad_body()
        prop, text = props.parse(each["id"]), each["value"]
        if prop is None:
            raise bad_request(f"The extended property id '{each['id']}' is invalid.", "ErrorInvalidProperty")
        if isinstance(text, bool):
            text = str(text).lower()
        kind = _NATIVE.get(prop.tag or 0, prop.type)
        if not isinstance(text, str) or not props.valid(kind, text):
            raise bad_body(f"Cannot convert the value of '{each['id']}'.")
        found.append((prop, text))
    return found


# Types of the properties that the model reads as numbers or times, whatever type the caller names.
_NATIVE: Final = {
    **dict.fromkeys((0x0E07, 0x1080, 0x1081, 0x1090), "Integer"),
    **dict.fromkeys((0x0E06, 0x0039, 0x1082), "SystemTime"),
    **dict.fromkeys((0x0029, 0x0C06), "Boolean"),
}

# Set at creation only; a PATCH of one is ignored (contract 6.2, 9.2).
CREATE_ONLY: Final = frozenset(
    {0x0E07, 0x0E06, 0x0039, 0x007D, 0x1035, 0x3007, 0x3008, 0x0E08, 0x0E23, 0x0E69}
)


def apply(box: Mailbox, item: Item, state: Flags, prop: Prop, value: str) -> None:
    """Set one property that may be set at any time on an item whose edit has been announced."""
    tag = prop.tag
    if tag is not None and tag in CREATE_ONLY:
        return
    setter = _SETTERS.get(tag) if tag is not None else None
    if setter is not None:
        setter(box, item, state, value)
    elif prop.key == props.IMAP_DELETED:
        item.deleted = value
    else:
        keep(box, item, prop, value)


def keep(box: Mailbox, item: Item, prop: Prop, value: str) -> None:
    """Keep a property as posted; a named Internet header becomes known and shows in the MIME."""
    item.extra = {**(item.extra or {}), prop.key: value}
    if prop.key[0] == props.INTERNET_HEADERS:
        box.known_headers.add(str(prop.key[1]))
        item.digest = None


def _set_flag(_box: Mailbox, _item: Item, state: Flags, value: str) -> None:
    status = {"2": "flagged", "1": "complete"}.get(value)
    state.flag = {"flagStatus": status} if status else None


def _set_receipt(box: Mailbox, item: Item, _state: Flags, value: str) -> None:
    box.set_content(item, replace(item.content, read_receipt=value.lower() == "true"))
    item.extra = {**(item.extra or {}), ("", 0x0029): value.lower()}


def _set_verb(_box: Mailbox, item: Item, _state: Flags, value: str) -> None:
    item.verb = int(value)


def _set_icon(_box: Mailbox, item: Item, _state: Flags, value: str) -> None:
    item.icon = int(value)


def _set_verb_time(_box: Mailbox, item: Item, _state: Flags, value: str) -> None:
    item.verb_time = int(times.parse(value) or 0)


def _set_thread(name: str) -> Callable[[Mailbox, Item, Flags, str], None]:
    def run(box: Mailbox, item: Item, _state: Flags, value: str) -> None:
        skeleton = item.content.skeleton
        header = name.replace("_", "-")
        if skeleton is not None and item.draft:
            skeleton = skeleton.with_fields({header: value})
        new: dict[str, Any] = {name: value}
        box.set_content(item, replace(item.content, skeleton=skeleton, **new))

    return run


_SETTERS: Final[dict[int, Callable[[Mailbox, Item, Flags, str], None]]] = {
    0x1090: _set_flag,
    0x1081: _set_verb,
    0x1080: _set_icon,
    0x1082: _set_verb_time,
    0x0029: _set_receipt,
    0x1042: _set_thread("in_reply_to"),
    0x1039: _set_thread("references"),
}


def mask_of(prop: Prop) -> int:
    """Which part of an item a property belongs to, for delta."""
    return {0x1090: FLAG, 0x0E69: READ}.get(prop.tag or 0, EXTENDED)

"""The writable properties of a message: checked once, for create, PATCH, outside writes (contract 6.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from gateway.emulator import jsonin, mapi
from gateway.emulator.errors import GraphError, bad_body
from gateway.emulator.items import CATEGORIES, FLAG, OTHER, READ, Address, Content, Flags, Item
from gateway.emulator.mailbox import Mailbox
from gateway.emulator.mime_in import conversation_of, preview_of, strip_html, words
from gateway.emulator.mime_out import address_list, encode, mailbox
from gateway.emulator.odata import Context
from gateway.emulator.props import Prop
from gateway.emulator.skeleton import Skeleton

ANY_TIME: Final = frozenset(
    {"importance", "categories", "flag", "isread", "inferenceclassification", "singlevalueextendedproperties",
     "multivalueextendedproperties"}
)  # fmt: skip
DRAFT_ONLY: Final = frozenset(
    {"subject", "body", "torecipients", "ccrecipients", "bccrecipients", "replyto", "sender", "from",
     "internetmessageid", "isreadreceiptrequested", "isdeliveryreceiptrequested"}
)  # fmt: skip
CREATE_ONLY: Final = frozenset({"internetmessageheaders", "attachments", "extensions"})
READ_ONLY: Final = frozenset(
    {"id", "changekey", "createddatetime", "lastmodifieddatetime", "receiveddatetime", "sentdatetime",
     "hasattachments", "isdraft", "bodypreview", "uniquebody", "conversationid", "conversationindex",
     "parentfolderid", "weblink", "meetingmessagetype", "event"}
)  # fmt: skip


@dataclass(slots=True)
class Changes:
    """Checked values by lower-case property name, and the extended properties beside them."""

    values: dict[str, Any]
    props: list[tuple[Prop, str]] = field(default_factory=list)

    def mask(self) -> int:
        """What delta will say has changed."""
        bits = {"isread": READ, "flag": FLAG, "categories": CATEGORIES}
        found = 0
        for name in self.values:
            found |= bits.get(name, OTHER)
        for prop, _ in self.props:
            found |= mapi.mask_of(prop)
        return found or OTHER

    def tagged(self, tag: int) -> str | None:
        """The posted value of a tagged extended property."""
        return next((value for prop, value in self.props if prop.tag == tag), None)


def check(ctx: Context, body: dict[str, Any], *, creating: bool) -> Changes:
    """Whitelist and types; 400 for what does not fit."""
    writable = ANY_TIME | DRAFT_ONLY | (CREATE_ONLY if creating else frozenset())
    read_only = READ_ONLY if creating else READ_ONLY | CREATE_ONLY
    return typed(jsonin.checked(ctx, body, writable, read_only))


def typed(values: dict[str, Any]) -> Changes:
    """Check the types of writable properties."""
    found = Changes({})
    for name, value in values.items():
        if name == "singlevalueextendedproperties":
            found.props = mapi.posted(value)
        elif name in _CHECKS:
            found.values[name] = _CHECKS[name](value)
    return found


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise bad_body()
    return value


def _maybe_boolean(value: Any) -> bool | None:
    return None if value is None else _boolean(value)


def _string(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise bad_body()
    return value


def _line(value: Any) -> str:
    return jsonin.one_line(_string(value))


def _one_of(*allowed: str) -> Callable[[Any], str]:
    by_name = {name.lower(): name for name in allowed}

    def run(value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in by_name:
            raise bad_body()
        return by_name[value.lower()]

    return run


def _categories(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) and 0 < len(v) <= 255 for v in value):
        raise bad_body()
    return tuple(
        {v.casefold(): v for v in reversed(value)}[k] for k in dict.fromkeys(v.casefold() for v in value)
    )


def _flag(value: Any) -> dict[str, Any]:
    """A followupFlag: a due date needs a start date beside it."""
    if not isinstance(value, dict) or set(value) - {
        "flagStatus", "startDateTime", "dueDateTime", "completedDateTime", "@odata.type",
    }:  # fmt: skip
        raise bad_body()
    status = _one_of("notFlagged", "flagged", "complete")(value.get("flagStatus", "flagged"))
    if value.get("dueDateTime") is not None and value.get("startDateTime") is None:
        raise GraphError(400, "ErrorInvalidArgument", "dueDateTime requires startDateTime.")
    dates = {k: v for k, v in value.items() if k.endswith("DateTime") and v is not None}
    return {"flagStatus": status, **(dates if status != "notFlagged" else {})}


def _body(value: Any) -> tuple[str, str]:
    if not isinstance(value, dict):
        raise bad_body()
    kind = _one_of("text", "html")(value.get("contentType", "text"))
    return kind, _string(value.get("content"))


def _headers(value: Any) -> list[tuple[str, str]]:
    """At most five, all x- (contract 6.4)."""
    if not isinstance(value, list):
        raise bad_body()
    if len(value) > 5:
        raise GraphError(
            400, "InvalidInternetMessageHeaderCollection", "Maximum number of headers in one message is 5."
        )
    return [_header(each) for each in value]


def _header(each: Any) -> tuple[str, str]:
    if not isinstance(each, dict) or not isinstance(each.get("name"), str):
        raise bad_body()
    name, value = each["name"], _line(each.get("value"))
    if not name.lower().startswith("x-") or not all(33 <= ord(c) <= 126 and c != ":" for c in name):
        text = f"The internet message header name '{name}' should start with 'x-' or 'X-'."
        raise GraphError(400, "InvalidInternetMessageHeader", text)
    return name, value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise bad_body()
    return value


def _maybe_recipient(value: Any) -> Address | None:
    return None if value is None else jsonin.recipient(value)


_CHECKS: Final[dict[str, Callable[[Any], Any]]] = {
    "subject": _line,
    "body": _body,
    "torecipients": jsonin.recipients,
    "ccrecipients": jsonin.recipients,
    "bccrecipients": jsonin.recipients,
    "replyto": jsonin.recipients,
    "sender": _maybe_recipient,
    "from": _maybe_recipient,
    "internetmessageid": _line,
    "importance": _one_of("low", "normal", "high"),
    "categories": _categories,
    "flag": _flag,
    "isread": _boolean,
    "inferenceclassification": _one_of("focused", "other"),
    "isreadreceiptrequested": _maybe_boolean,
    "isdeliveryreceiptrequested": _maybe_boolean,
    "internetmessageheaders": _headers,
    "attachments": _list,
    "extensions": _list,
}

# -- applying --------------------------------------------------------------------------------------


def apply_flags(box: Mailbox, item: Item, state: Flags, changes: Changes) -> None:
    """Set what may change at any time, on a state whose edit has been announced."""
    values = changes.values
    if values.get("importance", state.importance) != state.importance:
        state.importance = values["importance"]
        item.digest = None
    state.inference = values.get("inferenceclassification", state.inference)
    if "flag" in values:
        state.flag = _merged(state.flag, values["flag"])
    if "categories" in values and values["categories"] != state.categories:
        state.categories = values["categories"]
        _regenerate(box, item, state)
    for prop, value in changes.props:
        mapi.apply(box, item, state, prop, value)


def _merged(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any] | None:
    if new["flagStatus"] == "notFlagged":
        return None
    kept = {k: v for k, v in (old or {}).items() if k.endswith("DateTime")}
    return {**kept, **new}


def _regenerate(box: Mailbox, item: Item, state: Flags) -> None:
    """Exchange renders categories into the MIME header (trap 29)."""
    if box.world.rules.on("value-regenerated"):
        item.keywords = state.categories
        item.digest = None


_FIELDS: Final = {
    "torecipients": "to",
    "ccrecipients": "cc",
    "bccrecipients": "bcc",
    "replyto": "reply_to",
    "sender": "sender",
    "from": "author",
}
_HEADER_NAMES: Final = {
    "replyto": "reply-to",
    "torecipients": "to",
    "ccrecipients": "cc",
    "bccrecipients": "bcc",
}


def apply_draft(box: Mailbox, item: Item, changes: Changes) -> None:
    """Set what only a draft may change: a kept skeleton gets new header fields, a new body makes it void."""
    values = changes.values
    if not DRAFT_ONLY & values.keys():
        return
    _materialise(item)
    content, headers = item.content, _header_changes(values)
    if "subject" in values:
        item.subject = values["subject"]
    if "internetmessageid" in values:
        item.message_id = values["internetmessageid"] or None
    new: dict[str, Any] = {_FIELDS[name]: values[name] for name in _FIELDS.keys() & values.keys()}
    if "isreadreceiptrequested" in values:
        new["read_receipt"] = bool(values["isreadreceiptrequested"])
    if "isdeliveryreceiptrequested" in values:
        new["delivery_receipt"] = values["isdeliveryreceiptrequested"]
    skeleton = content.skeleton
    if "body" in values:
        new.update(body_fields(*values["body"]))
        skeleton = None
    elif skeleton is not None and headers:
        skeleton = skeleton.with_fields(headers)
    box.set_content(item, replace(content, skeleton=skeleton, **new))


def _materialise(item: Item) -> None:
    """Give a variant that is about to change its own skeleton."""
    skeleton = item.content.skeleton
    if item.variant and skeleton is not None:
        item.content = replace(item.content, skeleton=Skeleton(skeleton.render(item.variant, item.sent)))
        item.variant = 0


def _header_changes(values: dict[str, Any]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name, header in _HEADER_NAMES.items():
        if name in values:
            found[header] = address_list(values[name]) or None
    for name in ("from", "sender"):
        if name in values:
            found[name] = mailbox(values[name]) if values[name] else None
    if "subject" in values:
        found["subject"] = encode(values["subject"])
    if "internetmessageid" in values:
        found["message-id"] = values["internetmessageid"] or None
    return found


def body_fields(kind: str, text: str) -> dict[str, Any]:
    """The fields of a content that follow from its body."""
    plain = strip_html(text) if kind == "html" else text
    return {"body_type": kind, "body": text, "preview": preview_of(plain), "words": words(plain)}


def content_of(changes: Changes) -> Content:
    """A content made of a posted message; attachments are added by the caller."""
    values = changes.values
    kind, text = values.get("body", ("text", ""))
    in_reply_to, references = changes.tagged(0x1042), changes.tagged(0x1039)
    author = values.get("from")
    block = changes.tagged(0x007D)
    key = conversation_of(
        references, in_reply_to, values.get("internetmessageid", ""), values.get("subject", "")
    )
    return Content(
        sender=values.get("sender") or author,
        author=author or values.get("sender"),
        to=values.get("torecipients", ()),
        cc=values.get("ccrecipients", ()),
        bcc=values.get("bccrecipients", ()),
        reply_to=values.get("replyto", ()),
        transport=block.encode("utf-8", "replace") if block else None,
        message_class=changes.tagged(0x001A) or "IPM.Note",
        conversation=key,
        in_reply_to=in_reply_to,
        references=references,
        read_receipt=bool(values.get("isreadreceiptrequested")) or changes.tagged(0x0029) == "true",
        delivery_receipt=values.get("isdeliveryreceiptrequested"),
        **body_fields(kind, text),
    )

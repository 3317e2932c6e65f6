"""Messages and folders as JSON: one table of properties each, compiled per request (contract 5.1, 6.1)."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any, Final

from gateway.emulator import mapi, times
from gateway.emulator.attach_json import attachment_json
from gateway.emulator.errors import bad_request, denied
from gateway.emulator.folder import Folder
from gateway.emulator.items import Flags, Item
from gateway.emulator.limits import lag
from gateway.emulator.mailbox import Mailbox
from gateway.emulator.mime_in import strip_html
from gateway.emulator.odata import Context

Json = dict[str, Any]
Getter = Callable[[Context, Item, Flags], Any]

ABSENT: Final = object()
_SCRIPT = re.compile(r"(?is)<script\b.*?(</script\s*>|\Z)|\son\w+\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s>]+)")


def _body(ctx: Context, item: Item, _: Flags) -> Json:
    return body_json(item.content.body_type, item.content.body, ctx)


def body_json(kind: str, text: str, ctx: Context) -> Json:
    """HTML unless text is preferred; HTML without scripts unless unsafe HTML is."""
    if ctx.prefer.body == "text":
        return {"contentType": "text", "content": text if kind == "text" else strip_html(text).strip()}
    if kind == "text":
        inner = html.escape(text).replace("\r\n", "<br>\r\n")
        text = f'<html><head></head><body><div class="PlainText">{inner}</div></body></html>' if text else ""
    return {"contentType": "html", "content": text if ctx.prefer.unsafe_html else _SCRIPT.sub("", text)}


def _etag(ctx: Context, state: Flags) -> str:
    return f'W/"{ctx.box.mint.change_key(state.change)}"'


def flag_json(state: Flags) -> Json:
    return state.flag or {"flagStatus": "notFlagged"}


def _address(found: Any) -> Any:
    return ABSENT if found is None else found.json()


def _headers(_ctx: Context, item: Item, _state: Flags) -> Any:
    found = mapi.header_list(item)
    return ABSENT if found is None else [{"name": name, "value": value} for name, value in found]


def _has_attachments(ctx: Context, item: Item, _: Flags) -> bool:
    content = item.content
    return content.has_attachments if ctx.rule("inline-has-no-attachments") else bool(content.attachments)


def _web_link(ctx: Context, item: Item, _: Flags) -> str:
    name = ctx.box.id_of(item, False)
    return f"https://outlook.office365.com/owa/?ItemID={name}&exvsurl=1&viewmodel=ReadMessageItem"


# name -> (spelling, getter); the order is that of the answer.
MESSAGE: Final[dict[str, tuple[str, Getter]]] = {
    name.lower(): (name, getter)
    for name, getter in (
        ("id", lambda c, i, _: c.box.id_of(i, c.prefer.immutable)),
        ("createdDateTime", lambda _c, i, _: times.iso(i.created)),
        ("lastModifiedDateTime", lambda _c, _i, s: times.iso(s.modified)),
        ("changeKey", lambda c, _i, s: c.box.mint.change_key(s.change)),
        ("categories", lambda _c, _i, s: list(s.categories)),
        ("receivedDateTime", lambda _c, i, _: times.iso(i.received)),
        ("sentDateTime", lambda _c, i, _: times.iso(i.received if i.sent is None else i.sent)),
        ("hasAttachments", _has_attachments),
        ("internetMessageId", lambda _c, i, _: i.message_id),
        ("subject", lambda _c, i, _: i.subject[:255]),
        ("bodyPreview", lambda _c, i, _: i.content.preview),
        ("importance", lambda _c, _i, s: s.importance),
        ("parentFolderId", lambda c, i, _: c.box.folder_id(i.folder)),
        ("conversationId", lambda c, i, _: c.box.mint.conversation(i.content.conversation)),
        ("conversationIndex", lambda _c, i, _: i.content.conversation_index),
        ("isDeliveryReceiptRequested", lambda _c, i, _: i.content.delivery_receipt),
        ("isReadReceiptRequested", lambda _c, i, _: i.content.read_receipt),
        ("isRead", lambda _c, _i, s: s.read),
        ("isDraft", lambda _c, i, _: i.draft),
        ("webLink", _web_link),
        ("inferenceClassification", lambda _c, _i, s: s.inference),
        ("body", _body),
        ("sender", lambda _c, i, _: _address(i.content.sender)),
        ("from", lambda _c, i, _: _address(i.content.author)),
        ("toRecipients", lambda _c, i, _: [a.json() for a in i.content.to]),
        ("ccRecipients", lambda _c, i, _: [a.json() for a in i.content.cc]),
        ("bccRecipients", lambda _c, i, _: [a.json() for a in i.content.bcc]),
        ("replyTo", lambda _c, i, _: [a.json() for a in i.content.reply_to]),
        ("flag", lambda _c, _i, s: flag_json(s)),
        ("uniqueBody", _body),
        ("internetMessageHeaders", _headers),
    )
}
_ONLY_SELECTED: Final = frozenset({"uniquebody", "internetmessageheaders"})
_NOT_BASIC: Final = frozenset({"body", "bodypreview", "uniquebody", "internetmessageheaders"})
# Names a select may carry although they are shown by $expand alone (evolution-ews does).
_NAVIGATION: Final = frozenset(
    {"attachments", "extensions", "singlevalueextendedproperties", "multivalueextendedproperties"}
)
DEFAULT: Final = tuple(name for name in MESSAGE if name not in _ONLY_SELECTED)


class MessageRenderer:
    """`$select` and `$expand` of one request, compiled. `listing` shows what only pages do (trap 54)."""

    def __init__(
        self, ctx: Context, *, listing: bool, annotate: bool = False, expanding: bool = True
    ) -> None:
        self.ctx = ctx
        self.expanding = expanding
        self.listing = listing
        self.annotate = annotate
        self.columns = self._columns()
        expand = ctx.options.expand
        if ctx.basic and (expand.wants_properties or expand.attachments):
            raise denied()
        self.properties = expand.properties

    def _columns(self) -> tuple[tuple[str, Getter], ...]:
        names = self.ctx.options.select
        if names is None:
            names = DEFAULT
        else:
            for name in names:
                if name not in MESSAGE and name not in _NAVIGATION:
                    text = f"Could not find a property named '{name}' on type 'microsoft.graph.message'."
                    raise bad_request(f"Parsing OData Select and Expand failed: {text}")
            names = tuple(name for name in MESSAGE if name in names or name == "id")
        if self.ctx.basic:
            names = tuple(name for name in names if name not in _NOT_BASIC)
        return tuple(MESSAGE[name] for name in names)

    def __call__(self, item: Item, state: Flags | None = None) -> Json:
        """The JSON of one message; `state` overrides its flags where delta lags."""
        ctx, state = self.ctx, state or item.state
        out: Json = {}
        if self.annotate:
            out["@odata.type"] = item.content.odata_type or "#microsoft.graph.message"
        elif item.content.odata_type:
            out["@odata.type"] = item.content.odata_type
        out["@odata.etag"] = _etag(ctx, state)
        for name, get in self.columns:
            value = get(ctx, item, state)
            if value is not ABSENT:
                out[name] = value
        if self.expanding:
            self._expand(out, item, state)
        return out

    def _expand(self, out: Json, item: Item, state: Flags) -> None:
        expand, ctx = self.ctx.options.expand, self.ctx
        if self.properties:
            found = properties_json(ctx, item, state, self.listing)
            if found:
                where = ctx.metadata(f"messages('{out['id']}')/singleValueExtendedProperties")
                out["singleValueExtendedProperties@odata.context"] = where
                out["singleValueExtendedProperties"] = found
        if expand.attachments:
            out["attachments"] = [attachment_json(ctx, item, a, None) for a in item.content.attachments]
        if expand.extensions is not None:
            have = item.extensions or {}
            wanted = expand.extensions or tuple(have)
            out["extensions"] = [have[n] for n in (_extension_name(w) for w in wanted) if n in have]


def _extension_name(text: str) -> str:
    return text.removeprefix("Microsoft.OutlookServices.OpenTypeExtension.")


def properties_json(ctx: Context, item: Item, state: Flags, listing: bool) -> list[Json]:
    """The asked-for extended properties the item has."""
    normal = ctx.rule("property-id-normalised")
    found = []
    for asked, prop in ctx.options.expand.properties:
        value = mapi.read(ctx.box, item, state, prop)
        if value is not None:
            shown = mapi.in_list(ctx.box, value) if listing and prop.type == "String" else value
            found.append({"id": prop.normal() if normal else asked, "value": shown})
    return found


# -- folders ---------------------------------------------------------------------------------------


def _counts(box: Mailbox, folder: Folder) -> tuple[int, int]:
    return folder.counts(box.now() - lag(box.world, "counts-lag", "counts_lag_seconds"))


def folder_total(box: Mailbox, folder: Folder) -> int:
    """totalItemCount: every kind of item, listed or not (trap 34)."""
    extra = folder.non_mail if box.world.rules.on("counts-include-non-mail") else 0
    return _counts(box, folder)[0] + extra


FOLDER: Final[dict[str, tuple[str, Callable[[Context, Folder], Any]]]] = {
    name.lower(): (name, getter)
    for name, getter in (
        ("id", lambda c, f: c.box.folder_id(f.number)),
        ("displayName", lambda _, f: f.name),
        ("parentFolderId", lambda c, f: c.box.folder_id(f.parent) if f.parent else None),
        ("childFolderCount", lambda c, f: sum(not x.hidden for x in c.box.children(f.number))),
        ("unreadItemCount", lambda c, f: _counts(c.box, f)[1]),
        ("totalItemCount", lambda c, f: folder_total(c.box, f)),
        ("sizeInBytes", lambda c, f: folder_size(c.box, f)),
        ("isHidden", lambda _, f: f.hidden),
        ("wellKnownName", lambda _, f: f.wellknown),
    )
}
_BETA_ONLY: Final = frozenset({"wellknownname", "sizeinbytes"})


def folder_size(box: Mailbox, folder: Folder) -> int:
    return sum(mapi.store_size(box, item) for item in box.members(folder))


_FOLDER_PROPERTIES: Final[dict[int, Callable[[Mailbox, Folder], str | None]]] = {
    0x0E08: lambda box, folder: str(folder_size(box, folder)),
    0x3001: lambda _, folder: folder.name,
    0x3007: lambda _, folder: times.iso(folder.created),
    0x3008: lambda _, folder: times.iso(folder.modified),
    0x3602: lambda box, folder: str(folder_total(box, folder)),
    0x3613: lambda _, folder: folder.kind or None,
    0x670A: lambda _, folder: times.iso(folder.committed),
    0x6751: lambda _, folder: str(folder.article),
}


def _folder_property(box: Mailbox, folder: Folder, tag: int | None) -> str | None:
    reader = _FOLDER_PROPERTIES.get(tag or 0)
    return reader(box, folder) if reader else None


def folder_renderer(ctx: Context) -> Callable[[Folder], Json]:
    """`$select` and `$expand` of one request for folders, compiled."""
    names = ctx.options.select
    known = [n for n in FOLDER if ctx.beta or n not in _BETA_ONLY]
    for name in names or ():
        if name not in known and name not in _NAVIGATION and name != "childfolders":
            text = f"Could not find a property named '{name}' on type 'microsoft.graph.mailFolder'."
            raise bad_request(f"Parsing OData Select and Expand failed: {text}")
    default = [n for n in known if n != "sizeinbytes"]
    columns = [FOLDER[n] for n in known if (n in names or n == "id" if names else n in default)]

    def render(folder: Folder) -> Json:
        out: Json = {"@odata.type": "#microsoft.graph.mailSearchFolder"} if folder.search is not None else {}
        out.update((name, get(ctx, folder)) for name, get in columns)
        if folder.search is not None and names is None:
            out.update(folder.search)
        found = [
            {"id": prop.normal() if ctx.rule("property-id-normalised") else asked, "value": value}
            for asked, prop in ctx.options.expand.properties
            if (value := _folder_property(ctx.box, folder, prop.tag)) is not None
        ]
        if found:
            out["singleValueExtendedProperties"] = found
        if ctx.options.expand.children:
            out["childFolders"] = [render(c) for c in ctx.box.children(folder.number) if not c.hidden]
        return out

    return render

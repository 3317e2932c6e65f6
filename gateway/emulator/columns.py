"""What can be filtered and sorted, for messages and folders (the table of contract section 4)."""

from __future__ import annotations

from typing import Any, Final

from gateway.emulator import mapi
from gateway.emulator.errors import bad_request, inefficient
from gateway.emulator.filter import compile_filter
from gateway.emulator.filter_terms import Column, Filter, Table
from gateway.emulator.folder import Folder
from gateway.emulator.items import Item
from gateway.emulator.limits import limit
from gateway.emulator.odata import Context


def _author(item: Item, part: str) -> str | None:
    return getattr(item.content.author, part) if item.content.author else None


def _sender(item: Item, part: str) -> str | None:
    return getattr(item.content.sender, part) if item.content.sender else None


MESSAGE_COLUMNS: Final[dict[str, Column]] = {
    "isread": Column("bool", lambda i: i.state.read),
    "isdraft": Column("bool", lambda i: i.draft),
    "hasattachments": Column("bool", lambda i: i.content.has_attachments),
    "isreadreceiptrequested": Column("bool", lambda i: i.content.read_receipt),
    "importance": Column("enum", lambda i: i.state.importance),
    "inferenceclassification": Column("enum", lambda i: i.state.inference),
    "flag/flagstatus": Column("enum", lambda i: (i.state.flag or {}).get("flagStatus", "notFlagged")),
    "receiveddatetime": Column("time", lambda i: i.received),
    "sentdatetime": Column("time", lambda i: i.received if i.sent is None else i.sent),
    "createddatetime": Column("time", lambda i: i.created),
    "lastmodifieddatetime": Column("time", lambda i: i.state.modified),
    "subject": Column("str", lambda i: i.subject),
    "body/content": Column("str", lambda i: i.content.body),
    "from/emailaddress/address": Column("str", lambda i: _author(i, "address")),
    "from/emailaddress/name": Column("str", lambda i: _author(i, "name")),
    "sender/emailaddress/address": Column("str", lambda i: _sender(i, "address")),
    "sender/emailaddress/name": Column("str", lambda i: _sender(i, "name")),
    "internetmessageid": Column("id", lambda i: i.message_id),
}
# $orderby together with $filter (contract section 4); without one more is sorted.
_SORTABLE: Final = frozenset({"isread", "isdraft", "receiveddatetime", "sentdatetime", "categories"})
_UNSORTABLE_FILTERS: Final = frozenset(
    {"conversationid", "categories", "flag/flagstatus", "singlevalueextendedproperties"}
)


def message_filter(ctx: Context, text: str) -> Filter:
    """Compile a message filter of this request."""
    box = ctx.box
    columns = {
        **MESSAGE_COLUMNS,
        "conversationid": Column("id", lambda i: box.mint.conversation(i.content.conversation)),
        "parentfolderid": Column("id", lambda i: box.folder_id(i.folder)),
        "id": Column("id", lambda i: box.id_of(i, ctx.prefer.immutable)),
    }
    lambdas: dict[str, Any] = {"categories": lambda i: i.state.categories}
    for name, attribute in (("torecipients", "to"), ("ccrecipients", "cc"), ("bccrecipients", "bcc")):
        lambdas[name] = None if ctx.rule("recipient-filter-refused") else _recipients(attribute)
    table = Table(columns, lambdas, lambda i, prop: mapi.read(box, i, i.state, prop))
    return compile_filter(
        text,
        table,
        max_nodes=int(limit(ctx.world, "filter_nodes")),
        absent_is_null=ctx.rule("absent-property-is-null"),
    )


def _recipients(attribute: str) -> Any:
    return lambda item: [a.address for a in getattr(item.content, attribute)]


def check_order(ctx: Context, filtered: Filter | None) -> None:
    """Every $orderby property must lead $filter, in the same order; else 400 InefficientFilter (trap 37)."""
    order = ctx.options.orderby
    for path, _ in order:
        if path not in MESSAGE_COLUMNS and path != "categories":
            raise bad_request(f"Could not find a property named '{path}'.")
    if not order or filtered is None or not ctx.rule("orderby-needs-filter"):
        return
    distinct = list(dict.fromkeys(filtered.paths))
    paths = [path for path, _ in order]
    if any(path not in _SORTABLE for path in paths) or distinct[: len(paths)] != paths:
        raise inefficient()
    if any(path in _UNSORTABLE_FILTERS for path in distinct):
        raise inefficient()


def folder_filter(ctx: Context, text: str) -> Filter:
    """Compile a folder filter: displayName and the counts."""
    columns = {
        "displayname": Column("str", lambda f: f.name),
        "ishidden": Column("bool", lambda f: f.hidden),
        "totalitemcount": Column("number", lambda f: len(f.items)),
        "unreaditemcount": Column("number", lambda f: f.unread),
        "childfoldercount": Column("number", lambda f: len(ctx.box.children(f.number))),
    }
    if ctx.beta:
        columns["wellknownname"] = Column("str", lambda f: f.wellknown)
    return compile_filter(
        text, Table(columns), max_nodes=int(limit(ctx.world, "filter_nodes")), absent_is_null=True
    )


def folder_sort(ctx: Context, found: list[Folder]) -> list[Folder]:
    """Folders in the order asked for; by name without a wish."""
    keys = {"displayname": lambda f: f.name.casefold(), "totalitemcount": lambda f: len(f.items)}
    for path, descending in reversed(ctx.options.orderby or (("displayname", False),)):
        if path not in keys:
            raise bad_request(f"Could not find a property named '{path}'.")
        found = sorted(found, key=keys[path], reverse=descending)
    return found

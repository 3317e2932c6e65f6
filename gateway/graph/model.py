"""Graph's mail resources as structs (contract sections 5, 6 and Appendix B): only what the gateway reads.

Decoded by msgspec straight from response bytes; unknown members are passed over; absent ones keep defaults.
Extended properties are found by parsed id (type + tag or name), never by text (trap 8): use `props`.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec


class Priority(IntEnum):
    """Who may take the last of the four slots: background work never does."""

    INTERACTIVE = 0
    BULK = 1
    BACKGROUND = 2


class EmailAddress(msgspec.Struct, frozen=True):
    name: str | None = None
    address: str | None = None


class Recipient(msgspec.Struct, frozen=True, rename="camel"):
    email_address: EmailAddress = EmailAddress()


class FollowupFlag(msgspec.Struct, frozen=True, rename="camel"):
    flag_status: str = "notFlagged"


class Header(msgspec.Struct, frozen=True):
    name: str = ""
    value: str = ""


class ExtendedProperty(msgspec.Struct, frozen=True):
    id: str
    value: str | None = None


class Removed(msgspec.Struct, frozen=True):
    reason: str = "deleted"


class Message(msgspec.Struct, rename="camel", kw_only=True):
    """A message as listed, got, or in a delta page (`removed` is set there for a removal)."""

    id: str = ""
    etag: str = msgspec.field(default="", name="@odata.etag")
    type: str = msgspec.field(default="", name="@odata.type")
    removed: Removed | None = msgspec.field(default=None, name="@removed")
    created_date_time: str | None = None
    last_modified_date_time: str | None = None
    received_date_time: str | None = None
    sent_date_time: str | None = None
    has_attachments: bool | None = None
    internet_message_id: str | None = None
    subject: str | None = None
    body_preview: str | None = None
    parent_folder_id: str | None = None
    conversation_id: str | None = None
    is_read: bool | None = None
    is_draft: bool | None = None
    is_read_receipt_requested: bool | None = None
    categories: list[str] | None = None
    flag: FollowupFlag | None = None
    sender: Recipient | None = None
    from_: Recipient | None = msgspec.field(default=None, name="from")
    to_recipients: list[Recipient] | None = None
    cc_recipients: list[Recipient] | None = None
    bcc_recipients: list[Recipient] | None = None
    reply_to: list[Recipient] | None = None
    internet_message_headers: list[Header] | None = None
    single_value_extended_properties: list[ExtendedProperty] | None = None


class MailFolder(msgspec.Struct, rename="camel", kw_only=True):
    id: str = ""
    removed: Removed | None = msgspec.field(default=None, name="@removed")
    display_name: str | None = None
    parent_folder_id: str | None = None
    child_folder_count: int | None = None
    unread_item_count: int | None = None
    total_item_count: int | None = None
    is_hidden: bool | None = None
    single_value_extended_properties: list[ExtendedProperty] | None = None
    type: str = msgspec.field(default="", name="@odata.type")


class MessagePage(msgspec.Struct, kw_only=True):
    """`next_link` and `delta_link` are absolute; the client has checked their scheme and host (trap 41)."""

    value: list[Message] = []
    next_link: str | None = msgspec.field(default=None, name="@odata.nextLink")
    delta_link: str | None = msgspec.field(default=None, name="@odata.deltaLink")
    count: int | None = msgspec.field(default=None, name="@odata.count")


class FolderPage(msgspec.Struct, kw_only=True):
    value: list[MailFolder] = []
    next_link: str | None = msgspec.field(default=None, name="@odata.nextLink")
    delta_link: str | None = msgspec.field(default=None, name="@odata.deltaLink")

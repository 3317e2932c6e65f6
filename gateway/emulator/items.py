"""What a mailbox holds: an `Item` has its flags and place, a `Content` may be shared by thousands.

`Content` is never changed in place: an edit of a draft puts a new one on the item.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from gateway.emulator.props import PropKey
from gateway.emulator.skeleton import Skeleton

# What a change touched: delta shows it only to those who selected it (contract section 12).
NEW: Final = 1
READ: Final = 2
FLAG: Final = 4
CATEGORIES: Final = 8
OTHER: Final = 16
GONE: Final = 32
EXTENDED: Final = 64  # extended properties alone
MOVED: Final = 128  # beside NEW: it came from another folder


@dataclass(frozen=True, slots=True)
class Address:
    name: str
    address: str

    def json(self) -> dict[str, Any]:
        return {"emailAddress": {"name": self.name or self.address, "address": self.address}}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file (`data`), an item (`data` is its MIME, `item` the JSON it was posted as) or a link."""

    key: bytes
    kind: str
    name: str
    content_type: str
    data: bytes = b""
    inline: bool = False
    content_id: str | None = None
    location: str | None = None
    item: dict[str, Any] | None = None

    @property
    def size(self) -> int:
        """Store size: more than the raw bytes (contract section 14)."""
        return len(self.data) + 150


@dataclass(frozen=True, slots=True)
class Content:
    """Everything of a message but its place, flags, subject and Message-ID."""

    sender: Address | None = None
    author: Address | None = None
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    body_type: str = "text"
    body: str = ""
    preview: str = ""
    attachments: tuple[Attachment, ...] = ()
    skeleton: Skeleton | None = None
    transport: bytes | None = None  # raw header block of a landed message (0x007D)
    transported: bool = False  # came through transport: header list and 0x007D exist
    message_class: str = "IPM.Note"
    odata_type: str | None = None
    conversation: bytes = bytes(16)
    conversation_index: str | None = None
    in_reply_to: str | None = None
    references: str | None = None
    read_receipt: bool = False
    delivery_receipt: bool | None = None
    words: frozenset[str] = frozenset()

    @property
    def opaque(self) -> bool:
        """Encrypted or opaque-signed S/MIME, whose conversion to MIME fails for good (contract section 8)."""
        return self.message_class == "IPM.Note.SMIME"

    @property
    def size(self) -> int:
        """About how many octets the rendered MIME has."""
        if self.skeleton is not None:
            return len(self.skeleton.raw)
        return 900 + 2 * len(self.body) + sum(len(a.data) * 4 // 3 + 300 for a in self.attachments)

    @property
    def has_attachments(self) -> bool:
        return any(not a.inline for a in self.attachments)


@dataclass(slots=True)
class Flags:
    """The part of an item that lags behind in delta (trap 55)."""

    read: bool = False
    flag: dict[str, Any] | None = None  # None = notFlagged
    categories: tuple[str, ...] = ()
    importance: str = "normal"
    inference: str = "focused"
    modified: int = 0
    change: int = 0

    def copy(self) -> Flags:
        return Flags(
            self.read, self.flag, self.categories, self.importance, self.inference, self.modified, self.change
        )


@dataclass(slots=True)
class Item:
    """One message. Times are whole seconds since 1970; `serial` is its number in the regular id format."""

    number: int
    serial: int
    serial_folder: int
    folder: int
    content: Content
    subject: str
    message_id: str | None
    received: int
    sent: int | None
    created: int
    draft: bool
    state: Flags
    article: int = 0
    variant: int = 0
    extra: dict[PropKey, str] | None = None
    extensions: dict[str, dict[str, Any]] | None = None
    keywords: tuple[str, ...] = ()  # categories a renderer put into the MIME header (trap 29)
    past: list[tuple[float, Flags]] = field(default_factory=list)  # (until when, state then)
    fresh_until: float = 0.0  # 404 before then (trap 42)
    conflict_until: float = 0.0  # a PATCH before then meets a 412 once (trap 9)
    digest: tuple[str, int] | None = None  # sha256 and length of the rendered MIME
    verb: int | None = None
    icon: int | None = None
    verb_time: int | None = None
    deleted: str | None = None

    @property
    def key(self) -> int:
        """Where the item sorts in its folder: by receivedDateTime, then number."""
        return sort_key(self.received, self.number)


def sort_key(received: int, number: int) -> int:
    """One 63-bit number that orders by receivedDateTime (33 bits, clamped), then item number (30 bits)."""
    return min(max(received, 0), (1 << 33) - 1) << 30 | number


def number_of(key: int) -> int:
    """The item number inside a sort key."""
    return key & ((1 << 30) - 1)

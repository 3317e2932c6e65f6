"""FETCH attributes as values (RFC 9051 section 6.4.5, RFC 3501 section 6.4.5, RFC 3516, 8474, 8514, 8970)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.mime.section import Section


class Att(StrEnum):
    """Attributes without arguments. RFC822.* are RFC 3501's; macros are expanded by the grammar."""

    UID = "UID"
    FLAGS = "FLAGS"
    INTERNALDATE = "INTERNALDATE"
    RFC822_SIZE = "RFC822.SIZE"
    ENVELOPE = "ENVELOPE"
    BODY = "BODY"  # non-extensible BODYSTRUCTURE
    BODYSTRUCTURE = "BODYSTRUCTURE"
    RFC822 = "RFC822"  # = BODY[], answered under its own name; sets \\Seen
    RFC822_HEADER = "RFC822.HEADER"  # = BODY.PEEK[HEADER] under its own name
    RFC822_TEXT = "RFC822.TEXT"  # = BODY[TEXT] under its own name; sets \\Seen
    MODSEQ = "MODSEQ"
    EMAILID = "EMAILID"
    THREADID = "THREADID"
    SAVEDATE = "SAVEDATE"
    PREVIEW = "PREVIEW"
    PREVIEW_LAZY = "PREVIEW (LAZY)"  # RFC 8970 section 4.1; answered as PREVIEW


@dataclass(frozen=True, slots=True)
class Partial:
    """`<offset.count>`; the answer echoes `<offset>`."""

    offset: int
    count: int


@dataclass(frozen=True, slots=True)
class BodySection:
    """BODY[section]<partial> or BODY.PEEK[...]."""

    section: Section
    partial: Partial | None = None
    peek: bool = False


@dataclass(frozen=True, slots=True)
class BinarySection:
    """BINARY[part]<partial> or BINARY.PEEK[...] (RFC 3516 section 4.2); no part is the whole message. The partial
    counts decoded octets."""

    part: tuple[int, ...]
    partial: Partial | None = None
    peek: bool = False


@dataclass(frozen=True, slots=True)
class BinarySize:
    """BINARY.SIZE[part]"""

    part: tuple[int, ...]


FetchItem = Att | BodySection | BinarySection | BinarySize

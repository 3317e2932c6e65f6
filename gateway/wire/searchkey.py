"""SEARCH keys as a tree of values (RFC 9051 section 6.4.4, RFC 3501 section 6.4.4).

Strings are decoded text: the grammar has applied the command's CHARSET (an unknown one is
`BadCharset` there). Dates are (year, month, day) without a zone, as the RFC has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.core.runs import Runs

Date = tuple[int, int, int]


class Field(StrEnum):
    """Keys that look for a substring in one address or subject field, or in the text."""

    BCC = "BCC"
    CC = "CC"
    FROM = "FROM"
    TO = "TO"
    SUBJECT = "SUBJECT"
    BODY = "BODY"
    TEXT = "TEXT"


class When(StrEnum):
    BEFORE = "BEFORE"
    ON = "ON"
    SINCE = "SINCE"


@dataclass(frozen=True, slots=True)
class All:
    pass


@dataclass(frozen=True, slots=True)
class And:
    keys: tuple[SearchKey, ...]


@dataclass(frozen=True, slots=True)
class Or:
    left: SearchKey
    right: SearchKey


@dataclass(frozen=True, slots=True)
class Not:
    key: SearchKey


@dataclass(frozen=True, slots=True)
class Fuzzy:
    """FUZZY key: strings in it match as words (RFC 6203 section 3)."""

    key: SearchKey


@dataclass(frozen=True, slots=True)
class HasFlag:
    """ANSWERED, DELETED, DRAFT, FLAGGED, SEEN, KEYWORD x; their UN- forms are Not(HasFlag)."""

    name: bytes  # b"\\Seen" or a keyword


@dataclass(frozen=True, slots=True)
class Recent:
    """RECENT; NEW is And(Recent, Not(\\Seen)), OLD is Not(Recent)."""


@dataclass(frozen=True, slots=True)
class Contains:
    field: Field
    text: str


@dataclass(frozen=True, slots=True)
class HeaderContains:
    """HEADER name text: an empty text finds every message that has the field."""

    name: bytes
    text: str


@dataclass(frozen=True, slots=True)
class DateIs:
    """BEFORE/ON/SINCE by INTERNALDATE, or SENT* by the Date: header (`sent`)."""

    when: When
    date: Date
    sent: bool = False


@dataclass(frozen=True, slots=True)
class Within:
    """OLDER or YOUNGER n: INTERNALDATE at most, or at least, as late as `seconds` ago (RFC 5032)."""

    seconds: int
    older: bool


@dataclass(frozen=True, slots=True)
class SavedDate:
    """SAVEDBEFORE, SAVEDON, SAVEDSINCE (RFC 8514 section 4.3); SAVEDATESUPPORTED is `All`."""

    when: When
    date: Date


@dataclass(frozen=True, slots=True)
class ObjectIs:
    """EMAILID or, `thread`, THREADID is exactly `id`; case counts (RFC 8474 section 6)."""

    id: str
    thread: bool = False


@dataclass(frozen=True, slots=True)
class Larger:
    octets: int


@dataclass(frozen=True, slots=True)
class Smaller:
    octets: int


@dataclass(frozen=True, slots=True)
class SeqSet:
    """`ids` may be `$`; the front end puts the saved UIDs in its place before anybody searches."""

    ids: Runs


@dataclass(frozen=True, slots=True)
class UidSet:
    ids: Runs


@dataclass(frozen=True, slots=True)
class ModSeqIs:
    """MODSEQ [entry] n: mod-sequence at least `modseq`, RFC 7162 section 3.1.5."""

    modseq: int


SearchKey = (
    All | And | Or | Not | Fuzzy | HasFlag | Recent | Contains | HeaderContains | DateIs
    | Within | SavedDate | ObjectIs | Larger | Smaller | SeqSet | UidSet | ModSeqIs
)  # fmt: skip

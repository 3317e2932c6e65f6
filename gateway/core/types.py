"""Identifiers and flags: the words all floors speak.

Flags are immutable values; a message's whole flag state is one `Flags`. Keywords are IMAP keywords as they
go over the wire (RFC 9051 section 2.3.2); what becomes an Outlook category is decided in `mailbox.local`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag, StrEnum
from typing import NewType

Uid = NewType("Uid", int)  # 1..2**32-1, RFC 9051 section 2.3.1.1
Seq = NewType("Seq", int)  # 1..n, a message sequence number; 0 = not announced
ModSeq = NewType("ModSeq", int)  # 1..2**63-1, RFC 7162 section 3.1
AccountId = NewType("AccountId", str)  # the account's name in the configuration, lower case
FolderId = NewType("FolderId", str)  # a Graph folder id: case-sensitive, opaque
MessageId = NewType("MessageId", str)  # a Graph immutable id: case-sensitive, opaque
ObjectId = NewType("ObjectId", str)  # RFC 8474: [A-Za-z0-9_-]{1,255}


class SystemFlag(IntFlag):
    """System flags a STORE may name; \\Recent is a property of the view, not of the message."""

    SEEN = 1
    ANSWERED = 2
    FLAGGED = 4
    DELETED = 8
    DRAFT = 16


NO_SYSTEM_FLAGS = SystemFlag(0)
SYSTEM_FLAG_NAMES: dict[SystemFlag, bytes] = {
    SystemFlag.ANSWERED: b"\\Answered",
    SystemFlag.FLAGGED: b"\\Flagged",
    SystemFlag.DELETED: b"\\Deleted",
    SystemFlag.SEEN: b"\\Seen",
    SystemFlag.DRAFT: b"\\Draft",
}
SYSTEM_FLAGS_BY_NAME: dict[bytes, SystemFlag] = {
    name.lower(): flag for flag, name in SYSTEM_FLAG_NAMES.items()
}


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of one message. `keywords` keep the spelling first seen; they compare ASCII-case-insensitively,
    so callers keep one spelling per folder."""

    system: SystemFlag = NO_SYSTEM_FLAGS
    keywords: frozenset[bytes] = frozenset()

    def names(self) -> list[bytes]:
        """Flag names in a stable order: system flags, then keywords sorted."""
        system = [name for flag, name in SYSTEM_FLAG_NAMES.items() if flag in self.system]
        return system + sorted(self.keywords)

    def has_keyword(self, keyword: bytes) -> bool:
        lowered = keyword.lower()
        return any(known.lower() == lowered for known in self.keywords)

    @classmethod
    def of(cls, names: Iterable[bytes]) -> Flags:
        """From wire names; unknown backslash names are ignored by the grammar before this is called."""
        system = SystemFlag(0)
        keywords: dict[bytes, bytes] = {}
        for name in names:
            flag = SYSTEM_FLAGS_BY_NAME.get(name.lower())
            if flag is None:
                keywords.setdefault(name.lower(), name)
            else:
                system |= flag
        return cls(system, frozenset(keywords.values()))


NO_FLAGS = Flags()


def one_spelling(keywords: Iterable[bytes]) -> list[bytes]:
    """Sorted, each once: keywords compare without case (RFC 9051 section 2.3.2), and Outlook's categories may differ
    by it from message to message."""
    found: dict[bytes, bytes] = {}
    for keyword in sorted(keywords):
        found.setdefault(keyword.lower(), keyword)
    return sorted(found.values())


class FlagOp(StrEnum):
    """STORE's three verbs, RFC 9051 section 6.4.6."""

    REPLACE = "FLAGS"
    ADD = "+FLAGS"
    REMOVE = "-FLAGS"


@dataclass(frozen=True, slots=True)
class FlagChange:
    """What one STORE asks for. `unchanged_since` is None unless CONDSTORE's modifier was given."""

    op: FlagOp
    flags: Flags
    unchanged_since: ModSeq | None = None

    def apply(self, current: Flags) -> Flags:
        """The flags after this change; spelling of keywords already set is kept."""
        named = {keyword.lower(): keyword for keyword in self.flags.keywords}
        if self.op is FlagOp.REMOVE:
            kept = frozenset(k for k in current.keywords if k.lower() not in named)
            return Flags(current.system & ~self.flags.system, kept)
        if self.op is FlagOp.REPLACE:
            spelled = {k.lower(): k for k in current.keywords if k.lower() in named}
            return Flags(self.flags.system, frozenset({**named, **spelled}.values()))
        merged = {**named, **{k.lower(): k for k in current.keywords}}
        return Flags(current.system | self.flags.system, frozenset(merged.values()))


class SpecialUse(StrEnum):
    """Roles of a mailbox: RFC 6154 attributes plus INBOX and Outlook's own folders that have none."""

    INBOX = "inbox"
    ARCHIVE = "archive"
    DRAFTS = "drafts"
    JUNK = "junkemail"
    SENT = "sentitems"
    TRASH = "deleteditems"
    OUTBOX = "outbox"


SPECIAL_USE_ATTRIBUTES: dict[SpecialUse, bytes] = {
    SpecialUse.ARCHIVE: b"\\Archive",
    SpecialUse.DRAFTS: b"\\Drafts",
    SpecialUse.JUNK: b"\\Junk",
    SpecialUse.SENT: b"\\Sent",
    SpecialUse.TRASH: b"\\Trash",
}

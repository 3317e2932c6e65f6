"""What IMAP calls flags and keywords, and where Graph keeps them (decision 7, contract section 6.2).

```
\\Seen                  isRead                    $Forwarded          0x1081 = 104, 0x1080 = 262, and Local
\\Flagged               flag.flagStatus           machine keywords    one named property, and Local
\\Deleted               PidLidImapDeleted         $label1..$label5    categories named by the configuration
\\Answered              0x1081 in (102, 103),     other keywords      categories, by a reversible name
\\Draft                 isDraft    0x1080 = 261
```

0x1081 holds one verb only: `Local` keeps the union. A verb seen outside adds a bit, only a STORE removes one. A mark
of \\Deleted that an EXPUNGE left on a message in Deleted Items counts for nothing: `Local.undeleted` (decision 8).
The way to Graph is `mailbox.patches`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from gateway.core.objectid import object_id
from gateway.core.types import Flags, MessageId, ObjectId, SystemFlag
from gateway.graph.mail import IMAP_DELETED, MACHINE_KEYWORDS, PR_LAST_VERB, PR_MESSAGE_SIZE
from gateway.graph.model import Message
from gateway.graph.props import Property, parse_property, props
from gateway.store.api import Local, MessageRow, Upsert
from gateway.wire.chars import ATOM_CHAR_CLASS

FORWARDED = b"$Forwarded"

_ANSWERED_VERBS = (102, 103)
_FORWARDED_VERB = 104

# The $-keywords of the IANA registry "IMAP and JMAP keywords", and what clients write for junk and receipts.
MACHINE_NAMES = (
    b"$MDNSent", b"$SubmitPending", b"$Submitted", b"$Junk", b"$NotJunk", b"$Phishing", b"$Important",
    b"$HasAttachment", b"$HasNoAttachment", b"$Memo", b"$HasMemo", b"$MailFlagBit0", b"$MailFlagBit1",
    b"$MailFlagBit2", b"$AutoSent", b"$CanUnsubscribe", b"$Followed", b"$Imported", b"$IsTrusted",
    b"$MaskedEmail", b"$Muted", b"$New", b"$Notify", b"$Unsubscribed",
    b"Junk", b"NonJunk", b"NotJunk", b"Forwarded", b"MDNSent",
)  # fmt: skip
_MACHINE = {name.lower(): name for name in MACHINE_NAMES}

# Not an ATOM-CHAR (RFC 9051 section 9), or what would read as our escape.
_NOT_ATOM = re.compile(rb"[^" + ATOM_CHAR_CLASS + rb"]|=(?=[0-9A-Fa-f]{2})")
_ESCAPE = re.compile(rb"=([0-9A-Fa-f]{2})")


class KeywordMap:
    """Categories to keywords and back.

    A category that is an atom is its own keyword; other octets of its UTF-8 are written `=XX`, and so is a
    `=` that two hex digits follow. Case does not matter to either side: folding an encoded name loses
    nothing but the case of letters. A category whose name belongs to a machine keyword or a label is
    escaped at its first octet. `category(keyword(c)) == c` for every category."""

    def __init__(self, labels: Sequence[str] = ()) -> None:
        self._label_of = {name.casefold(): b"$label%d" % n for n, name in enumerate(labels, 1) if name}
        self._named = {b"$label%d" % n: name for n, name in enumerate(labels, 1) if name}

    def keyword(self, category: str) -> bytes:
        label = self._label_of.get(category.casefold())
        if label is not None:
            return label
        encoded = _NOT_ATOM.sub(_escape, category.encode("utf-8", "surrogatepass"))
        if self._reserved(encoded):
            return b"=%02X" % encoded[0] + encoded[1:]
        return encoded

    def category(self, keyword: bytes) -> str:
        """The category of a keyword that is not a machine keyword."""
        named = self._named.get(keyword.lower())
        if named is not None:
            return named
        try:
            return _ESCAPE.sub(_unescape, keyword).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return keyword.decode("utf-8", "replace")

    def is_machine(self, keyword: bytes) -> bool:
        """Kept in the named property and Local, or as a verb; never a category."""
        return keyword.lower() in _MACHINE or is_forwarded(keyword)

    def canonical(self, keyword: bytes) -> bytes:
        """The one spelling under which this gateway shows a keyword."""
        if is_forwarded(keyword):
            return FORWARDED
        return _MACHINE.get(keyword.lower()) or self.keyword(self.category(keyword))

    def canonical_flags(self, flags: Flags) -> Flags:
        return Flags(flags.system, frozenset(map(self.canonical, flags.keywords)))

    def categories(self, flags: Flags) -> list[str]:
        """The categories of a message with these flags, sorted, none twice."""
        named = (self.category(k) for k in sorted(flags.keywords) if not self.is_machine(k))
        return list({name.casefold(): name for name in named if name}.values())

    def machine(self, flags: Flags) -> frozenset[bytes]:
        """Its machine keywords, without the verb."""
        return frozenset(_MACHINE[k.lower()] for k in flags.keywords if k.lower() in _MACHINE)

    def _reserved(self, encoded: bytes) -> bool:
        return self.is_machine(encoded) or encoded.lower() in self._named


def is_forwarded(keyword: bytes) -> bool:
    return keyword.lower() == b"$forwarded"


def _escape(found: re.Match[bytes]) -> bytes:
    return b"=%02X" % found[0][0]


def _unescape(found: re.Match[bytes]) -> bytes:
    return bytes((int(found[1], 16),))


# -- from Graph --


def flags_of(
    message: Message,
    local: Local | None,
    keywords: KeywordMap,
    *,
    expanded: bool = True,
    known: Flags | None = None,
) -> Flags:
    """A message's flags. `expanded`: the answer could carry extended properties (an absent one is then
    unset); what the answer does not tell is taken from `known`, the flags stored before."""
    values = props(message)
    state = _merged(values, local or Local())
    return _flags(message, values, state, keywords, expanded, known or Flags())


def _flags(
    message: Message, values: Values, state: Local, keywords: KeywordMap, expanded: bool, known: Flags
) -> Flags:
    system = _seen(message, known) | _flagged(message, known) | _draft(message, known)
    system |= _deleted(values, known, expanded, state.undeleted)
    if state.answered:
        system |= SystemFlag.ANSWERED
    names = {name.lower(): name for name in _category_keywords(message, known, keywords)}
    if state.forwarded:
        names[FORWARDED.lower()] = FORWARDED
    return Flags(system, frozenset(names.values()) | state.keywords)


def merged_local(message: Message, local: Local | None) -> Local | None:
    """The local state after seeing this message, None if it is as before: a verb from outside adds a bit, a
    machine property that is there replaces the keywords. The caller stores it (`Store.put_local`)."""
    before = local or Local()
    after = _merged(props(message), before)
    return None if after == before else after


def _merged(values: Values, before: Local) -> Local:
    verb = _integer(values.get(_VERB))
    machine = values.get(_MACHINE_WORDS)
    answered = before.answered or verb in _ANSWERED_VERBS
    forwarded = before.forwarded or verb == _FORWARDED_VERB
    keywords = before.keywords if machine is None else _machine_of(machine)
    return Local(answered, forwarded, keywords, before.undeleted)


def upsert_of(
    message: Message,
    local: Local | None,
    keywords: KeywordMap,
    *,
    known: MessageRow | None = None,
    expanded: bool = True,
    born_here: bool = False,
) -> Upsert:
    """The store's row of a message as Graph shows it. `known` is the row stored now: without it the message
    is taken as new in its folder and gets an EMAILID of its own (a known one keeps an inherited EMAILID and
    an exact size). `born_here`: it came into being in this folder, as far as can be known."""
    values = props(message)
    state = _merged(values, local or Local())
    return Upsert(
        id=MessageId(message.id),
        flags=_flags(message, values, state, keywords, expanded, known.flags if known else Flags()),
        internal_date=epoch(message.received_date_time) if known is None else None,
        size=None if known and known.size_exact else _integer(values.get(_SIZE)),
        email_id=None if known else email_id(message.id),
        thread_id=thread_id(message.conversation_id) if message.conversation_id else None,
        save_date=None if known else _saved(message, born_here),
        etag=message.etag or None,
        modified=epoch(message.last_modified_date_time),
    )


def _saved(message: Message, born_here: bool) -> int | None:
    """When the message was put into this folder (RFC 8514 section 3). Graph does not tell; but a move is a change. So
    the last change before we first saw it there is never earlier than that: whoever removes by age what is in Trash
    removes nothing too early. Where messages come into being, their creation is."""
    created, modified = epoch(message.created_date_time), epoch(message.last_modified_date_time)
    return created if born_here and created is not None else modified or created


def email_id(id: str) -> ObjectId:
    """EMAILID of a message, from its Graph id when first seen (decision 13)."""
    return object_id("M", id)


def thread_id(conversation: str) -> ObjectId:
    return object_id("T", conversation)


def epoch(text: str | None) -> int | None:
    """Seconds since 1970 of a Graph time (`2026-01-02T03:04:05Z`, up to 7 decimals), None if there is
    none."""
    if not text:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())


def graph_time(seconds: int) -> str:
    """The inverse of `epoch`: `2026-01-02T03:04:05Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_VERB = parse_property(PR_LAST_VERB)
_MACHINE_WORDS = parse_property(MACHINE_KEYWORDS)
_DELETED = parse_property(IMAP_DELETED)
_SIZE = parse_property(PR_MESSAGE_SIZE)
Values = Mapping[Property, str]


def _integer(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def _machine_of(text: str) -> frozenset[bytes]:
    words = text.lower().encode("ascii", "replace").split()
    return frozenset(_MACHINE[word] for word in words if word in _MACHINE)


def _seen(message: Message, known: Flags) -> SystemFlag:
    return _bit(message.is_read, SystemFlag.SEEN, known)


def _draft(message: Message, known: Flags) -> SystemFlag:
    return _bit(message.is_draft, SystemFlag.DRAFT, known)


def _flagged(message: Message, known: Flags) -> SystemFlag:
    told = None if message.flag is None else message.flag.flag_status == "flagged"
    return _bit(told, SystemFlag.FLAGGED, known)


def is_marked(message: Message) -> bool:
    """Whether Graph has the mark of \\Deleted on it, whatever that counts for."""
    return _integer(props(message).get(_DELETED)) == 1


def _deleted(values: Values, known: Flags, expanded: bool, undeleted: bool) -> SystemFlag:
    value = _integer(values.get(_DELETED))
    told = None if value is None and not expanded else value == 1 and not undeleted
    return _bit(told, SystemFlag.DELETED, known)


def _bit(told: bool | None, flag: SystemFlag, known: Flags) -> SystemFlag:
    if told is None:
        return known.system & flag
    return flag if told else SystemFlag(0)


def _category_keywords(message: Message, known: Flags, keywords: KeywordMap) -> Iterable[bytes]:
    if message.categories is None:
        return (k for k in known.keywords if not keywords.is_machine(k))
    return (keywords.keyword(category) for category in message.categories if category)

"""What a search found, as it goes over the wire: SEARCH, SORT and ESEARCH responses (RFC 9051 section 7.3.4,
RFC 4731 section 3.1, RFC 5267 sections 3 and 4.4, RFC 7377 section 2.1, RFC 9394 section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gateway.imap.ids import uid_set
from gateway.wire.encode import NIL, quoted
from gateway.wire.page import Page

LINE = 900_000  # octets of one SEARCH response: imaplib gives up a line of 1,000,000


def number_lines(word: bytes, numbers: Sequence[int], bound: int = LINE) -> Iterator[bytes]:
    """`SEARCH n n ...`: several only where one would pass `bound` octets; clients add them up."""
    per_line = max(1, bound // (len(b"%d" % max(numbers, default=0)) + 1))
    for start in range(0, max(1, len(numbers)), per_line):
        yield word + b"".join([b" %d" % number for number in numbers[start : start + per_line]])


@dataclass(frozen=True, slots=True)
class Correlator:
    """Whose answer it is: the command's tag, and the mailbox where several were searched (`mailbox` as it goes over
    the wire)."""

    tag: bytes
    mailbox: bytes = b""
    uid_validity: int = 0

    def text(self) -> bytes:
        where = b" MAILBOX %b UIDVALIDITY %d" % (self.mailbox, self.uid_validity) if self.mailbox else b""
        return b"(TAG %b%b)" % (quoted(self.tag), where)


@dataclass(frozen=True, slots=True)
class Found:
    """Message numbers or UIDs in the order of the answer: that of the mailbox, or SORT's."""

    numbers: Sequence[int]
    page: Page | None = None
    modseq: int = 0  # the highest of these messages, where the answer tells it (RFC 7162 section 3.1.5)
    relevancy: Sequence[int] = ()  # of each of them, 1 to 100 (RFC 6203)


def _min(found: Found) -> bytes | None:
    return b"MIN %d" % found.numbers[0] if found.numbers else None


def _max(found: Found) -> bytes | None:
    return b"MAX %d" % found.numbers[-1] if found.numbers else None


def _all(found: Found) -> bytes | None:
    """In order: a range stands for neighbours that ascend."""
    return b"ALL " + uid_set(found.numbers) if found.numbers else None


def _count(found: Found) -> bytes | None:
    return b"COUNT %d" % len(found.numbers)


def _partial(found: Found) -> bytes | None:
    """The range as it was asked for, and NIL where it holds nothing."""
    if found.page is None:
        return None
    numbers = paged(found.numbers, found.page)
    return b"PARTIAL (%b %b)" % (found.page.text, uid_set(numbers) if numbers else NIL)


def _relevancy(found: Found) -> bytes | None:
    """Of the messages that PARTIAL names, else of all (RFC 6203 sections 4 and 6)."""
    scores = found.relevancy if found.page is None else paged(found.relevancy, found.page)
    return b"RELEVANCY (%b)" % b" ".join([b"%d" % score for score in scores])


RESULTS: dict[bytes, Callable[[Found], bytes | None]] = {
    b"MIN": _min,
    b"MAX": _max,
    b"ALL": _all,
    b"COUNT": _count,
    b"PARTIAL": _partial,
    b"RELEVANCY": _relevancy,
}


def paged(numbers: Sequence[int], page: Page) -> Sequence[int]:
    run = page.of(len(numbers))
    return numbers[run.start : run.stop]


def esearch(head: Correlator, options: Sequence[bytes], found: Found, *, by_uid: bool) -> bytes:
    """`ESEARCH (TAG "a") [UID] results`; MIN, MAX and ALL are left out where nothing was found."""
    words = [b"ESEARCH " + head.text()] + [b"UID"] * by_uid
    words += [result for option in options if option in RESULTS and (result := RESULTS[option](found))]
    if found.modseq:
        words.append(b"MODSEQ %d" % found.modseq)
    return b" ".join(words)


# -- what RETURN (SAVE) keeps --


def saved_of(options: Sequence[bytes], numbers: Sequence[int], page: Page | None) -> Sequence[int]:
    """RFC 5182 section 2.4, RFC 9394 section 3.1: with ALL or COUNT, or with none of them, everything; else just what
    the answer names."""
    if not _NAMED.intersection(options) or _WHOLE.intersection(options):
        return numbers
    kept: set[int] = set()
    if numbers:
        kept.update([numbers[0]] if b"MIN" in options else (), [numbers[-1]] if b"MAX" in options else ())
    if page is not None:
        kept.update(paged(numbers, page))
    return sorted(kept)


_WHOLE = frozenset((b"ALL", b"COUNT"))
_NAMED = frozenset((b"MIN", b"MAX", b"PARTIAL"))

"""SORT, THREAD, ESEARCH, CANCELUPDATE and RETURN, as values and as errors."""

from __future__ import annotations

import pytest

from gateway.core.errors import BadCommand, LimitReached
from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.core.runs import LastResult
from gateway.wire.charset import BadCharset
from gateway.wire.command import Command, Copy, Search
from gateway.wire.command_search import CancelUpdate, MultiSearch, Sort, Source, Thread, Unsearchable, Where
from gateway.wire.frame import Frame
from gateway.wire.grammar import parse
from gateway.wire.page import Page
from gateway.wire.searchkey import All, And, Contains, Field, HasFlag, SeqSet, UidSet, Within
from gateway.wire.sortkey import Criterion, SortKey, Threading

SEEN = HasFlag(b"\\Seen")


def read(*parts: bytes, limits: Limits = DEFAULT_LIMITS) -> Command:
    return parse(Frame((b"a " + parts[0], *parts[1:])), limits)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (b"SORT (DATE) UTF-8 ALL", Sort(b"a", False, (Criterion(SortKey.DATE),), All())),
        (
            b"uid sort (reverse size SUBJECT) us-ascii seen",
            Sort(b"a", True, (Criterion(SortKey.SIZE, True), Criterion(SortKey.SUBJECT)), SEEN),
        ),
        (
            b'SORT RETURN (MIN PARTIAL 3:1) (DISPLAYTO) "utf-8" ALL SEEN',
            Sort(
                b"a", False, (Criterion(SortKey.DISPLAYTO),), And((All(), SEEN)), (b"MIN", b"PARTIAL"),
                Page(1, 3, text=b"3:1"),
            ),
        ),
        (b"THREAD REFERENCES UTF-8 ALL", Thread(b"a", False, Threading.REFERENCES, All())),
        (b"UID THREAD orderedsubject UTF-8 seen", Thread(b"a", True, Threading.ORDEREDSUBJECT, SEEN)),
        (b"ESEARCH ALL", MultiSearch(b"a", (Source(Where.SELECTED),), All(), (b"ALL",))),
        (
            b'ESEARCH IN (inboxes subtree "a b" mailboxes (inbox c)) RETURN (COUNT) CHARSET UTF-8 SEEN',
            MultiSearch(
                b"a",
                (Source(Where.INBOXES), Source(Where.SUBTREE, ("a b",)), Source(Where.MAILBOXES, ("INBOX", "c"))),
                SEEN, (b"COUNT",),
            ),
        ),
        (b'CANCELUPDATE "x" "y z"', CancelUpdate(b"a", (b"x", b"y z"))),
        (b"SEARCH RETURN (CONTEXT UPDATE) $", Search(b"a", False, SeqSet(LastResult()), (b"CONTEXT", b"UPDATE"))),
        (b"SEARCH UID $ OLDER 5 YOUNGER 6",
         Search(b"a", False, And((UidSet(LastResult()), Within(5, True), Within(6, False))))),
    ],
)  # fmt: skip
def test_read(text: bytes, command: Command) -> None:
    assert read(text) == command


def test_literals_anywhere() -> None:
    found = read(b"SORT (DATE) {5}", b"UTF-8", b" SUBJECT {1}", b"x", b"")
    assert found == Sort(b"a", False, (Criterion(SortKey.DATE),), Contains(Field.SUBJECT, "x"))


def test_the_last_result_where_messages_are_named() -> None:
    found = read(b"UID COPY $ x")
    assert isinstance(found, Copy) and isinstance(found.ids, LastResult)


@pytest.mark.parametrize(
    "text",
    [
        b"SORT", b"SORT ", b"SORT () UTF-8 ALL", b"SORT (DATE)UTF-8 ALL", b"SORT (DATE) UTF-8", b"SORT (DATE) UTF-8 ",
        b"SORT (REVERSE) UTF-8 ALL", b"SORT (DATE,SIZE) UTF-8 ALL", b"SORT RETURN (DATE) UTF-8 ALL", b"THREAD",
        b"THREAD REFS UTF-8 ALL", b"THREAD REFERENCES", b"THREAD REFERENCES UTF-8 ()", b"ESEARCH", b"ESEARCH IN ALL",
        b"ESEARCH IN () ALL", b"ESEARCH IN (subtree) ALL", b"ESEARCH IN (subtree ()) ALL", b"ESEARCH IN (inboxes)",
        b"ESEARCH IN (nowhere) ALL", b"ESEARCH IN (inboxes)ALL", b"ESEARCH IN (inboxes (x)) ALL",
        b"ESEARCH IN (inboxes) IN (inboxes) ALL", b"UID ESEARCH ALL", b"CANCELUPDATE", b"CANCELUPDATE a",
        b'CANCELUPDATE "a" b', b'UID CANCELUPDATE "a"', b"SEARCH RETURN (UPDATE", b"SEARCH RETURN (PARTIAL 0:1) ALL",
    ],
)  # fmt: skip
def test_bad(text: bytes) -> None:
    with pytest.raises(BadCommand):
        read(text)


def test_unknown_charsets() -> None:
    for text in (b"SORT (DATE) X ALL", b"THREAD REFERENCES X ALL", b"ESEARCH CHARSET X ALL"):
        with pytest.raises(BadCharset):
            read(text)


@pytest.mark.parametrize(
    "parts",
    [
        (b"SEARCH RETURN (SAVE) CHARSET X ALL",),
        (b"SEARCH RETURN (MIN SAVE) CHARSET X SUBJECT {1}", b"x", b""),
        (b"UID SEARCH RETURN (SAVE) ALL ALL ALL",),
        (b"SORT RETURN (SAVE) (DATE) X ALL",),
        (b"ESEARCH RETURN (SAVE) CHARSET X ALL",),
    ],
)
def test_a_refusal_of_what_was_to_be_saved_is_a_command(parts: tuple[bytes, ...]) -> None:
    """It must empty `$` in its turn (RFC 5182 section 2.1)."""
    assert isinstance(read(*parts, limits=Limits(search_keys=2)), Unsearchable)


def test_bounds() -> None:
    with pytest.raises(LimitReached):
        read(b"SORT (DATE DATE DATE) UTF-8 ALL", limits=Limits(sort_criteria=2))
    with pytest.raises(LimitReached):
        read(b"ESEARCH IN (mailboxes (a b c)) ALL", limits=Limits(search_mailboxes=2))
    with pytest.raises(LimitReached):
        read(b"ESEARCH IN (inboxes inboxes inboxes) ALL", limits=Limits(list_patterns=2))

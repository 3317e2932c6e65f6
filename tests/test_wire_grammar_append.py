"""APPEND and REPLACE: every form of a message's announcement, and what may follow a message (RFC 9051 section 6.3.12,
RFC 3502, RFC 8508 section 5, RFC 3516 section 7, RFC 6855 section 4)."""

from __future__ import annotations

import pytest

from gateway.core.errors import BadCommand, LimitReached
from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.core.runs import Runs
from gateway.core.types import Flags
from gateway.wire.command import Announcement, AppendStart, Command, ReplaceStart
from gateway.wire.frame import Frame
from gateway.wire.framer import Framer, LiteralHeader
from gateway.wire.grammar import parse
from gateway.wire.grammar_append import command_ends, parse_append, parse_next

SEEN = Flags.of([b"\\Seen"])


def announced(text: bytes, limits: Limits = DEFAULT_LIMITS) -> LiteralHeader:
    framer = Framer(limits, authenticated=True)
    framer.feed(text + b"\r\n")
    while not isinstance(event := framer.next_event(), LiteralHeader):
        assert event is not None
    return event


def one(size: int = 5, flags: Flags = Flags(), date: int | None = None, **rest: object) -> Announcement:  # noqa: B008
    return Announcement(flags, date, size, **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (b"a APPEND x {310}", AppendStart(b"a", "x", one(310))),
        (b"a append inbox {310+}", AppendStart(b"a", "INBOX", one(310))),
        (b"a APPEND x (\\Seen) {5}", AppendStart(b"a", "x", one(flags=SEEN))),
        (b"a APPEND x () {5}", AppendStart(b"a", "x", one())),
        (
            b'a APPEND "x y" (\\Seen \\Recent $MDNSent) "17-Jul-1996 02:44:25 -0700" {5}',
            AppendStart(
                b"a", "x y", one(5, Flags.of([b"\\Seen", b"$MDNSent"]), 837_596_665, zone_minutes=-420)
            ),
        ),
        (b'a APPEND x " 1-Jan-1970 00:00:00 +0000" {5}', AppendStart(b"a", "x", one(date=0))),
        (b"a APPEND {5+}\r\ninbox (\\Seen) {5+}", AppendStart(b"a", "INBOX", one(flags=SEEN))),
        (b"a APPEND {5}\r\n&APw- {0}", AppendStart(b"a", "ü", one(0))),
        (b"a APPEND x ~{5}", AppendStart(b"a", "x", one(binary=True))),
        (b"a APPEND x (\\Seen) ~{5+}", AppendStart(b"a", "x", one(flags=SEEN, binary=True))),
        (b"a APPEND x UTF8 (~{5}", AppendStart(b"a", "x", one(binary=True, utf8=True))),
        (b"a APPEND x (\\Seen) utf8 (~{5+}", AppendStart(b"a", "x", one(flags=SEEN, binary=True, utf8=True))),
        (b"a REPLACE 4 Drafts {5}", ReplaceStart(b"a", False, Runs(((4, 4),)), "Drafts", one())),
        (b"a replace * inbox {5}", ReplaceStart(b"a", False, Runs(((0, 0),)), "INBOX", one())),
        (
            b"a UID REPLACE 4 x (\\Seen) ~{5}",
            ReplaceStart(b"a", True, Runs(((4, 4),)), "x", one(flags=SEEN, binary=True)),
        ),
        (
            b"a uid replace 4294967295 {1+}\r\nx {5+}",
            ReplaceStart(b"a", True, Runs(((2**32 - 1, 2**32 - 1),)), "x", one()),
        ),
        (b"a REPLACE * {1}\r\nx {5}", ReplaceStart(b"a", False, Runs(((0, 0),)), "x", one())),
    ],
)  # fmt: skip
def test_every_form(text: bytes, command: Command) -> None:
    assert parse_append(announced(text)) == command


@pytest.mark.parametrize(
    "text",
    [
        b"a APPEND x  {5}", b"a APPEND  {5}", b"a APPEND x (\\Seen){5}", b'a APPEND x "yesterday" {5}',
        b'a APPEND x "32-Jan-2020 00:00:00 +0000" {5}',
        b'a APPEND x " 1-Jan-2020 00:00:00 +0000" (\\Seen) {5}',
        b"a APPEND x \\Seen {5}", b"a APPEND x UTF8 ({5}", b"a APPEND x UTF8 ~{5}", b"a APPEND AT&T {5}",
        b"a APPEND x UTF8 (~{5+", b"a APPEND x CATENATE (TEXT {5}",
        b"a APPEND x (\\Seen {5}", b"a APPEND x y {5}", b"a APPEND x{5}", b"a APPEND x (a) (b) {5}",
        b"a REPLACE 0 x {5}", b"a REPLACE 4294967296 x {5}", b"a UID REPLACE 4 x y {5}", b"a REPLACE 4  {5}",
    ],
)  # fmt: skip
def test_bad_forms(text: bytes) -> None:
    framer = Framer(authenticated=True)
    framer.feed(text + b"\r\n")
    event = framer.next_event()
    assert isinstance(event, Frame | LiteralHeader)
    with pytest.raises(BadCommand):
        parse(event) if isinstance(event, Frame) else parse_append(event)


@pytest.mark.parametrize(
    "text",
    [b"a REPLACE 1:2 x {5}", b"a REPLACE 1,2 x {5}", b"a UID REPLACE $ x {5}", b"a UID APPEND x {5}"],
)
def test_a_set_of_messages_is_not_replaced(text: bytes) -> None:
    """Not a REPLACE to the framer: the literal is collected like any other, the whole refused."""
    framer = Framer(authenticated=True)
    framer.feed(text + b"\r\n12345\r\n")
    framer.next_event()
    frame = framer.next_event()
    assert isinstance(frame, Frame)
    with pytest.raises(BadCommand):
        parse(frame)


def test_without_a_message_there_is_no_command() -> None:
    for text in (b"a APPEND x", b"a REPLACE 1 x", b"a UID REPLACE 1 x (\\Seen)"):
        with pytest.raises(BadCommand):
            parse(Frame((text,)))


def test_another_message_may_follow() -> None:
    assert parse_next(LiteralHeader((b" {7}",), 7, True), after=one()) == one(7)
    assert parse_next(LiteralHeader((b" (\\Seen) ~{7+}",), 7, False, True), after=one()) == one(
        7, SEEN, binary=True
    )
    after = one(binary=True, utf8=True)
    assert parse_next(LiteralHeader((b") UTF8 (~{7}",), 7, True, True), after=after) == one(
        7, binary=True, utf8=True
    )


@pytest.mark.parametrize(
    ("line", "utf8"),
    [(b"{7}", False), (b" x {7}", False), (b") {7}", False), (b" {7}", True), (b")  {7}", True)],
)
def test_what_is_no_other_message(line: bytes, utf8: bool) -> None:
    with pytest.raises(BadCommand):
        parse_next(LiteralHeader((line,), 7, True), after=one(utf8=utf8))


def test_the_flags_of_each_message_are_bounded() -> None:
    limits = Limits(keywords_per_store=2)
    parse_next(LiteralHeader((b" (a b) {7}",), 7, True), limits, after=one())
    with pytest.raises(LimitReached):
        parse_next(LiteralHeader((b" (a b c) {7}",), 7, True), limits, after=one())


def test_what_ends_the_command() -> None:
    command_ends((b"",), one())
    command_ends((b"  ",), one())
    command_ends((b")",), one(utf8=True))
    command_ends((b") ",), one(utf8=True))


@pytest.mark.parametrize(
    ("rest", "utf8"),
    [((b")",), False), ((b"",), True), ((b" x",), False), ((b"))",), True), ((b" {1+}", b"x", b""), False)],
)
def test_what_does_not_end_the_command(rest: tuple[bytes, ...], utf8: bool) -> None:
    with pytest.raises(BadCommand):
        command_ends(rest, one(utf8=utf8))

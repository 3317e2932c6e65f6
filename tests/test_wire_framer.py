"""The framer: every row of its state table, every bound, and that the cuts of the input never show."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.wire.framer import (
    Chunk,
    Continue,
    Event,
    Excess,
    Frame,
    Framer,
    LiteralHeader,
    Overflow,
    Swallowed,
    TooLong,
    tag_of,
)

TINY = Limits(
    line=64, command_literal=16, literal_before_login=8, command_total=128, literals_per_command=4, append=100
)
Decide = Callable[[Framer], None]


def run(
    pieces: Iterable[bytes],
    decide: Decide = Framer.stream_literal,
    *,
    login: bool = True,
    limits: Limits = TINY,
) -> list[Event]:
    """Feed pieces, decide every literal alike, and join neighbouring chunks: their borders are free."""
    framer = Framer(limits, authenticated=login)
    events: list[Event] = []
    for piece in pieces:
        framer.feed(piece)
        while (event := framer.next_event()) is not None:
            if isinstance(event, Chunk) and events and isinstance(events[-1], Chunk) and not events[-1].last:
                event = Chunk(events.pop().data + event.data, event.last)  # type: ignore[union-attr]
            events.append(event)
            if isinstance(event, LiteralHeader):
                decide(framer)
    return events


def one(data: bytes, decide: Decide = Framer.stream_literal, *, login: bool = True) -> list[Event]:
    return run([data], decide, login=login)


# -- lines --


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_line_is_a_frame(end: bytes) -> None:
    assert one(b"a NOOP" + end + b"b NOOP" + end) == [Frame((b"a NOOP",)), Frame((b"b NOOP",))]


def test_only_one_cr_belongs_to_the_end_and_others_are_the_grammars_business() -> None:
    assert one(b"a\rb\r\r\n\0\xff\r\n\r\n") == [Frame((b"a\rb\r",)), Frame((b"\0\xff",)), Frame((b"",))]


def test_more_octets_are_asked_for_by_none() -> None:
    framer = Framer()
    framer.feed(b"a NO")
    assert framer.next_event() is None
    assert framer.buffered == 4
    framer.feed(b"OP\r\n")
    assert framer.next_event() == Frame((b"a NOOP",))
    assert framer.next_event() is None
    assert framer.buffered == 0


def test_a_line_exactly_at_the_limit_is_taken_and_one_more_is_not() -> None:
    assert one(b"a " + b"x" * 62 + b"\r\n") == [Frame((b"a " + b"x" * 62,))]
    assert one(b"a " + b"x" * 63 + b"\r\n") == [TooLong(b"a", Excess.LINE)]


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("size", [61, 62, 63, 64])
def test_the_limit_is_the_same_for_a_line_that_dribbles_in(size: int, end: bytes) -> None:
    data = b"a " + b"x" * size + end
    assert run([b"%c" % octet for octet in data]) == one(data)


def test_an_over_long_line_is_swallowed_to_its_end_and_the_next_one_lives() -> None:
    assert one(b"tag1 " + b"x" * 100_000 + b"\r\nb NOOP\r\n") == [
        TooLong(b"tag1", Excess.LINE),
        Frame((b"b NOOP",)),
    ]


def test_an_over_long_line_without_a_tag() -> None:
    assert one(b"x" * 1000 + b"\r\n") == [TooLong(None, Excess.LINE)]
    assert one(b"(" * 1000 + b" \r\n") == [TooLong(None, Excess.LINE)]


def test_the_literal_at_the_end_of_an_over_long_line_is_not_a_command() -> None:
    smuggled = b"z LOGOUT\r\n"
    data = b"a " + b"x" * 500 + b" {%d+}\r\n" % len(smuggled) + smuggled + b"rest\r\nb NOOP\r\n"
    assert one(data) == [TooLong(b"a", Excess.LINE), Frame((b"b NOOP",))]


def test_a_dropped_line_is_not_kept() -> None:
    framer = Framer(TINY)
    for _ in range(1000):
        framer.feed(b"x" * 1000)
        assert framer.next_event() is None
        assert framer.buffered < 100


# -- literals of ordinary commands --


def test_a_synchronizing_literal_asks_for_a_continuation() -> None:
    assert one(b"a LOGIN {3}\r\njoe {4+}\r\npass\r\n", login=False) == [
        Continue(3),
        Frame((b"a LOGIN {3}", b"joe", b" {4+}", b"pass", b"")),
    ]


def test_literals_hold_any_octets() -> None:
    assert one(b"a X {6+}\r\n\r\n{9+}\r\n") == [Frame((b"a X {6+}", b"\r\n{9+}", b""))]


def test_an_empty_literal() -> None:
    assert one(b"a X {0+}\r\n\r\n") == [Frame((b"a X {0+}", b"", b""))]


@pytest.mark.parametrize("size", [9, 17, 4_294_967_295, 2**63, 10**20 - 1])
def test_a_synchronizing_literal_beyond_limits_ends_the_command(size: int) -> None:
    assert one(b"a LOGIN {%d}\r\nb NOOP\r\n" % size, login=False) == [
        TooLong(b"a", Excess.LITERAL),
        Frame((b"b NOOP",)),
    ]


def test_the_limit_of_literals_is_wider_after_login() -> None:
    data = b"a X {16+}\r\n" + b"x" * 16 + b"\r\n"
    assert one(data, login=False) == [TooLong(b"a", Excess.LITERAL)]
    assert one(data) == [Frame((b"a X {16+}", b"x" * 16, b""))]


def test_a_literal_that_comes_anyway_is_swallowed_with_its_command() -> None:
    data = b"a X {17+}\r\n" + b"b LOGOUT\r\n" * 2
    assert one(data[: len(b"a X {17+}\r\n") + 17] + b" {4+}\r\nmore\r\nc NOOP\r\n") == [
        TooLong(b"a", Excess.LITERAL),
        Frame((b"c NOOP",)),
    ]


@pytest.mark.parametrize("login", [True, False])
def test_more_than_we_are_ready_to_swallow_ends_everything(login: bool) -> None:
    framer = Framer(TINY, authenticated=login)
    framer.feed(b"a X {4294967295+}\r\nxxxx\r\nb NOOP\r\n")
    assert framer.next_event() == Overflow(b"a", 4_294_967_295)
    framer.feed(b"c NOOP\r\n")
    assert framer.next_event() is None
    assert framer.buffered == 0


def test_swallowing_adds_up_over_the_literals_of_a_command() -> None:
    piece = b" {60+}\r\n" + b"x" * 60
    assert one(b"a X" + piece * 3 + b"\r\n") == [TooLong(b"a", Excess.LITERAL)]
    assert one(b"a X" + piece * 4 + b"\r\n") == [Overflow(b"a", 240)]


def test_the_literals_of_a_command_are_counted_and_summed() -> None:
    assert one(b"a X" + b" {1+}\r\nx" * 4 + b"\r\n")[-1] == Frame(
        (b"a X {1+}", *[b"x", b" {1+}"] * 3, b"x", b"")
    )
    assert one(b"a X" + b" {1+}\r\nx" * 5 + b"\r\n") == [TooLong(b"a", Excess.COMMAND)]
    limits = Limits(line=64, command_literal=16, command_total=60)
    assert run([b"a X" + b" {16+}\r\n" + b"x" * 16 + b" {16+}\r\n" + b"x" * 16 + b"\r\n"], limits=limits)[
        0
    ] == Frame((b"a X {16+}", b"x" * 16, b" {16+}", b"x" * 16, b""))
    assert run([b"a X" + (b" {16+}\r\n" + b"x" * 16) * 3 + b"\r\n"], limits=limits) == [
        TooLong(b"a", Excess.COMMAND)
    ]


def test_the_lines_of_a_command_share_one_limit() -> None:
    assert one(b"a " + b"x" * 30 + b"{0+}\r\n" + b"y" * 29 + b"\r\n") == [TooLong(b"a", Excess.LINE)]
    assert isinstance(one(b"a " + b"x" * 30 + b"{0+}\r\n" + b"y" * 28 + b"\r\n")[0], Frame)


@pytest.mark.parametrize(
    "line", [b"a X {5-}", b"a X {}", b"a X {5} ", b"a X {-5}", b"a X {5++}", b"a X {%s+}" % (b"9" * 21)]
)
def test_what_only_resembles_a_literal_is_a_line(line: bytes) -> None:
    assert one(line + b"\r\nb NOOP\r\n") == [Frame((line,)), Frame((b"b NOOP",))]


# -- APPEND's message --


def test_the_message_is_streamed_and_the_rest_of_the_line_follows() -> None:
    data = b"a append INBOX (\\Seen) {1000+}\r\n" + b"m" * 1000 + b"\r\nb NOOP\r\n"
    assert one(data) == [
        LiteralHeader((b"a append INBOX (\\Seen) {1000+}",), 1000, sync=False),
        Chunk(b"m" * 1000, last=True),
        Frame((b"",)),
        Frame((b"b NOOP",)),
    ]


def test_the_mailbox_of_append_may_be_a_literal() -> None:
    assert one(b"a APPEND {5}\r\nINBOX {3}\r\nabc\r\n") == [
        Continue(5),
        LiteralHeader((b"a APPEND {5}", b"INBOX", b" {3}"), 3, sync=True),
        Chunk(b"abc", last=True),
        Frame((b"",)),
    ]


def test_an_empty_message_has_its_one_chunk() -> None:
    assert one(b"a APPEND x {0+}\r\n\r\n")[1:] == [Chunk(b"", last=True), Frame((b"",))]


def test_a_binary_literal_is_told() -> None:
    assert one(b"a APPEND x ~{1+}\r\n\0\r\n")[0] == LiteralHeader(
        (b"a APPEND x ~{1+}",), 1, sync=False, binary=True
    )


def test_a_second_message_of_the_same_command_is_announced_too() -> None:
    assert one(b"a APPEND x {1+}\r\nm (\\Seen) {1}\r\nn\r\n") == [
        LiteralHeader((b"a APPEND x {1+}",), 1, sync=False),
        Chunk(b"m", last=True),
        LiteralHeader((b" (\\Seen) {1}",), 1, sync=True),
        Chunk(b"n", last=True),
        Frame((b"",)),
    ]


def test_before_login_append_is_like_any_other_command() -> None:
    assert one(b"a APPEND x {3+}\r\nabc\r\n", login=False) == [Frame((b"a APPEND x {3+}", b"abc", b""))]
    assert one(b"a APPEND x {300}\r\n", login=False) == [TooLong(b"a", Excess.LITERAL)]


def test_a_refused_synchronizing_message_ends_the_command() -> None:
    data = b"a APPEND x {5}\r\nb NOOP\r\n"
    assert one(data, Framer.abandon_literal)[1:] == [Frame((b"b NOOP",))]
    assert one(data, Framer.refuse_literal)[1:] == [Swallowed(b"a"), Frame((b"b NOOP",))]


@pytest.mark.parametrize("decide", [Framer.swallow_literal, Framer.refuse_literal])
def test_a_refused_message_that_comes_anyway_is_swallowed(decide: Decide) -> None:
    data = b"a APPEND x {150+}\r\n" + b"z LOGOUT\r\n" * 15 + b" {8+}\r\nz NOOP\r\n\r\nb NOOP\r\n"
    assert one(data, decide)[1:] == [Swallowed(b"a"), Frame((b"b NOOP",))]


def test_a_message_too_large_to_swallow() -> None:
    assert one(b"a APPEND x {201+}\r\nxx", Framer.refuse_literal)[1:] == [Overflow(b"a", 201)]


def test_an_accepted_literal_is_collected_under_the_limits() -> None:
    assert one(b"a APPEND x {3+}\r\nabc\r\n", Framer.accept_literal)[1:] == [
        Frame((b"a APPEND x {3+}", b"abc", b""))
    ]
    data = b"a APPEND x {17+}\r\n" + b"m" * 17 + b"\r\n"
    assert one(data, Framer.accept_literal)[1:] == [TooLong(b"a", Excess.LITERAL)]


def test_an_over_long_rest_of_the_line_is_told_under_the_commands_tag() -> None:
    assert one(b"a APPEND x {1+}\r\nm" + b"y" * 200 + b"\r\n")[2:] == [TooLong(b"a", Excess.LINE)]


def test_decisions_are_demanded_and_only_then_taken() -> None:
    framer = Framer(authenticated=True)
    for decide in (
        Framer.accept_literal,
        Framer.stream_literal,
        Framer.abandon_literal,
        Framer.refuse_literal,
    ):
        with pytest.raises(RuntimeError):
            decide(framer)
    framer.feed(b"a APPEND x {5}\r\n")
    framer.next_event()
    with pytest.raises(RuntimeError, match="decide"):
        framer.next_event()
    with pytest.raises(RuntimeError, match="abandon"):
        framer.swallow_literal()
    framer.abandon_literal()
    framer.feed(b"b APPEND x {5+}\r\n")
    framer.next_event()
    with pytest.raises(RuntimeError, match="swallow"):
        framer.abandon_literal()


def test_chunks_come_as_the_octets_do() -> None:
    framer = Framer(authenticated=True)
    framer.feed(b"a APPEND x {6}\r\n")
    assert isinstance(framer.next_event(), LiteralHeader)
    framer.stream_literal()
    assert framer.next_event() is None
    framer.feed(b"abc")
    assert framer.next_event() == Chunk(b"abc", last=False)
    assert framer.next_event() is None
    framer.feed(b"def\r")
    assert framer.next_event() == Chunk(b"def", last=True)
    assert framer.next_event() is None


# -- STARTTLS --


def test_commands_injected_behind_starttls_are_dropped() -> None:
    framer = Framer()
    framer.feed(b"a STARTTLS\r\nb LOGIN eve eve\r\nc SEL")
    assert framer.next_event() == Frame((b"a STARTTLS",))
    assert framer.reset() == len(b"b LOGIN eve eve\r\nc SEL")
    assert framer.next_event() is None
    framer.feed(b"d NOOP\r\n")
    assert framer.next_event() == Frame((b"d NOOP",))


def test_reset_forgets_a_command_half_read() -> None:
    framer = Framer()
    framer.feed(b"a LOGIN {5+}\r\nab")
    assert framer.next_event() is None
    assert framer.reset() > 0
    framer.feed(b"b NOOP\r\n")
    assert framer.next_event() == Frame((b"b NOOP",))


# -- tags --


@pytest.mark.parametrize(
    ("line", "tag"),
    [
        (b"a1 NOOP", b"a1"), (b"A.[]-/ x", b"A.[]-/"), (b"a", b"a"), (b"a ", b"a"), (b"", None),
        (b" a", None),
        (b"a+b NOOP", None), (b"* OK", None), (b"a(b x", None), (b"a\0 x", None), ("é x".encode(), None),
        (b"x" * 255 + b" NOOP", b"x" * 255), (b"x" * 256 + b" NOOP", None), (b'"a" x', None),
        (b"{5} x", None),
    ],
)  # fmt: skip
def test_tag_of(line: bytes, tag: bytes | None) -> None:
    assert tag_of(line) == tag


# -- whole = byte by byte = every split --

CONVERSATION = (
    b"a LOGIN {3}\r\njoe {4+}\r\npass\r\nb NOOP\n\r\nc APPEND INBOX {20+}\r\n" + b"0123456789" * 2 + b"\r\n"
    b"d APPEND {5+}\r\nINBOX {2}\r\nhi (\\Seen) {0+}\r\n\r\ne " + b"x" * 90 + b" {3+}\r\nabc\r\r\n"
    b"f X {17+}\r\n" + b"y" * 17 + b"{1}\r\ng X {17}\r\nh X {2+}\r\n\r\n{0+}\r\n\r\n"
    b"j APPEND x {3+}\r\nabc (\\Seen) ~{4}\r\n\0\0\r\n UTF8 (~{1+}\r\nx)\r\n"
    b"k UID REPLACE 4 {5+}\r\nINBOX (\\Seen) {3+}\r\nabc\r\nl REPLACE * x ~{2}\r\nhi\r\ni DONE\r\n"
)
DECISIONS = [Framer.stream_literal, Framer.refuse_literal, Framer.accept_literal]


@pytest.mark.parametrize("decide", DECISIONS)
def test_byte_by_byte_and_every_single_split_equal_the_whole(decide: Decide) -> None:
    whole = one(CONVERSATION, decide)
    assert Frame((b"i DONE",)) in whole
    assert run([b"%c" % octet for octet in CONVERSATION], decide) == whole
    for at in range(len(CONVERSATION)):
        assert run([CONVERSATION[:at], CONVERSATION[at:]], decide) == whole


tokens = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b" ", b"a ", b"a APPEND x ", b"a APPEND ", b"{3+}\r\n", b"{3}\r\n", b"{17+}\r\n",
     b"{0+}\r\n", b"~{2+}\r\n", b"{900+}\r\n", b"x" * 40, b"abc", b"{", b"}", b"+", b"\0",
     b"a UID REPLACE 4 x ", b"a REPLACE * "]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(tokens | st.binary(max_size=4), max_size=25).map(b"".join), st.data(), st.booleans())
def test_cuts_never_show(data: bytes, draw: st.DataObject, login: bool) -> None:
    decide = draw.draw(st.sampled_from(DECISIONS))
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=6)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    whole = run([data], decide, login=login)
    assert run(pieces, decide, login=login) == whole
    assert run([b"%c" % octet for octet in data], decide, login=login) == whole


# -- several messages; REPLACE; LITERAL- --


def test_the_messages_of_one_command_come_one_after_another() -> None:
    assert one(b"a APPEND x {3+}\r\nabc (\\Seen) ~{2}\r\nhi {0+}\r\n\r\n") == [
        LiteralHeader((b"a APPEND x {3+}",), 3, False),
        Chunk(b"abc", True),
        LiteralHeader((b" (\\Seen) ~{2}",), 2, True, True),
        Chunk(b"hi", True),
        LiteralHeader((b" {0+}",), 0, False),
        Chunk(b"", True),
        Frame((b"",)),
    ]


def test_each_message_has_a_line_of_its_own_to_fill() -> None:
    data = b"a APPEND x {1+}\r\n" + b"x (" + b"y" * 50 + b") {1+}\r\n"
    assert (
        sum(isinstance(event, LiteralHeader) for event in one(data + b"x (" + b"y" * 50 + b") {1+}\r\nx\r\n"))
        == 3
    )
    assert one(data + b"x (" + b"y" * 80 + b") {1+}\r\nx\r\n")[-1] == TooLong(b"a", Excess.LINE)


@pytest.mark.parametrize("verb", [b"REPLACE 4", b"replace *", b"UID REPLACE 4", b"uid replace 99"])
def test_the_message_of_replace_is_streamed(verb: bytes) -> None:
    assert one(b"a %b x {2+}\r\nhi\r\n" % verb) == [
        LiteralHeader((b"a %b x {2+}" % verb,), 2, False),
        Chunk(b"hi", True),
        Frame((b"",)),
    ]
    assert one(b"a %b {1+}\r\nx {2+}\r\nhi\r\n" % verb)[0] == LiteralHeader(
        (b"a %b {1+}" % verb, b"x", b" {2+}"), 2, False
    )
    assert isinstance(one(b"a %b x {2+}\r\nhi\r\n" % verb, login=False)[0], Frame)


MINUS = replace(TINY, unannounced_literal=4)


@pytest.mark.parametrize("command", [b"a X", b"a APPEND x", b"a UID REPLACE 4 x"])
def test_an_unannounced_literal_has_a_bound_of_its_own(command: bytes) -> None:
    def events(size: int, plus: bytes = b"+") -> list[Event]:
        octets = b"" if not plus else b"y" * size
        return run([b"%b {%d%b}\r\n" % (command, size, plus), octets, b"\r\nb NOOP\r\n"], limits=MINUS)

    assert events(5) == [TooLong(b"a", Excess.UNANNOUNCED), Frame((b"b NOOP",))]
    assert not isinstance(events(4)[0], TooLong) and not isinstance(events(5, b"")[0], TooLong)


def test_an_unannounced_literal_too_large_behind_a_message_ends_the_command() -> None:
    data = b"a APPEND x {5}\r\nabcde {5+}\r\nabcde {1+}\r\nx\r\nb NOOP\r\n"
    events = run([data], limits=MINUS)
    assert events[2:] == [TooLong(b"a", Excess.UNANNOUNCED), Frame((b"b NOOP",))]


# -- linear time --


def test_a_dribbled_line_is_searched_once() -> None:
    def cost(size: int) -> float:
        framer, piece = Framer(Limits(line=10 * size)), b"x" * 16
        begin = time.process_time()
        for _ in range(size // 16):
            framer.feed(piece)
            framer.next_event()
        return time.process_time() - begin

    cost(16_000)
    small, large = min(cost(100_000) for _ in range(3)), min(cost(800_000) for _ in range(3))
    assert large < small * 8 * 4  # a quadratic search costs 64 times as much


def test_many_pipelined_lines_are_cut_in_linear_time() -> None:
    framer = Framer(DEFAULT_LIMITS)
    framer.feed(b"a NOOP\r\n" * 100_000)
    begin = time.process_time()
    count = 0
    while framer.next_event() is not None:
        count += 1
    assert count == 100_000
    assert time.process_time() - begin < 5

"""The form of replies, and errors as replies: `gateway.smtp.replies`."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import errors
from gateway.core.errors import GatewayError, SubmissionRefused
from gateway.smtp.replies import LOCAL_ERROR, Reply, reply_to

LINE = re.compile(rb"(\d{3})([- ])(\d\.\d{1,3}\.\d{1,3} )?[\x20-\x7e]*\r\n")


def test_one_line() -> None:
    assert Reply(250, "2.0.0", "OK").wire() == b"250 2.0.0 OK\r\n"
    assert Reply(354, "", "Go").wire() == b"354 Go\r\n"
    assert Reply(334, "", "").wire() == b"334 \r\n"


def test_several_lines_carry_both_codes() -> None:
    """RFC 2034 section 3."""
    assert Reply(550, "5.6.0", "one\ntwo").wire() == b"550-5.6.0 one\r\n550 5.6.0 two\r\n"


@given(st.text(max_size=3000))
def test_any_text_makes_a_well_formed_reply(text: str) -> None:
    """RFC 5321 section 4.5.3.1.5: 512 octets a line; no text can add a reply of its own."""
    lines = Reply(550, "5.6.0", text).wire().splitlines(keepends=True)
    assert all(LINE.fullmatch(line) and len(line) <= 512 for line in lines)
    assert [line[3:4] for line in lines] == [b"-"] * (len(lines) - 1) + [b" "]


def test_a_long_text_is_broken_between_words() -> None:
    text = "word " * 200
    lines = Reply(550, "5.6.0", text).wire().decode().splitlines()
    assert len(lines) > 1
    assert " ".join(line[10:].strip() for line in lines).split() == text.split()


def every_error(kind: type[GatewayError] = GatewayError) -> list[type[GatewayError]]:
    below = [found for known in kind.__subclasses__() for found in every_error(known)]
    return [found for found in [kind, *below] if found.__module__ == errors.__name__]


# Those that are not made of a text alone.
MADE: dict[type[GatewayError], GatewayError] = {
    SubmissionRefused: SubmissionRefused(550, "5.7.60", "No"),
    errors.AnnotationTooBig: errors.AnnotationTooBig(1024),
}


@pytest.mark.parametrize("kind", every_error())
def test_every_error_has_a_refusing_reply_with_codes_that_agree(kind: type[GatewayError]) -> None:
    error = MADE.get(kind) or kind("No")
    reply = reply_to(error)
    assert reply.code // 100 in (4, 5) and reply.enhanced.startswith(f"{reply.code // 100}.")
    assert reply.text == str(error) != ""


@pytest.mark.parametrize(
    ("error", "code", "enhanced"),
    [
        (errors.Unavailable("x"), 451, "4.3.0"),
        (errors.LimitReached("x"), 451, "4.7.0"),
        (errors.TooBig("x"), 552, "5.3.4"),
        (errors.NoPermission("x"), 550, "5.7.60"),
        (errors.OverQuota("x"), 452, "4.2.2"),
        (errors.AuthenticationFailed("x"), 535, "5.7.8"),
        (errors.BadCommand("x"), 501, "5.5.2"),
        (SubmissionRefused(550, "5.6.0", "x"), 550, "5.6.0"),
    ],
)
def test_the_table(error: GatewayError, code: int, enhanced: str) -> None:
    assert reply_to(error) == Reply(code, enhanced, "x")


@pytest.mark.parametrize(("code", "enhanced"), [(250, "2.0.0"), (550, "4.3.0"), (451, ""), (999, "9.0.0")])
def test_a_refusal_never_looks_like_an_acceptance(code: int, enhanced: str) -> None:
    assert reply_to(SubmissionRefused(code, enhanced, "x")) == LOCAL_ERROR

"""SELECT and EXAMINE with parameters (RFC 7162 section 7)."""

from __future__ import annotations

import pytest

from gateway.core.errors import BadCommand
from gateway.core.runs import Runs
from gateway.wire.command import Command, Examine, Resync, Select
from gateway.wire.frame import Frame
from gateway.wire.grammar import parse


def parsed(line: bytes) -> Command:
    return parse(Frame((b"a " + line,)))


def resync(text: bytes) -> Resync | None:
    command = parsed(b"SELECT INBOX (QRESYNC (" + text + b"))")
    assert isinstance(command, Select)
    return command.qresync


def test_the_parameters_in_any_order_and_case() -> None:
    assert parsed(b"SELECT INBOX (CONDSTORE)") == Select(b"a", "INBOX", True)
    assert parsed(b"examine inbox (condstore)") == Examine(b"a", "INBOX", True)
    given = Resync(7, 9)
    assert parsed(b"SELECT INBOX (QRESYNC (7 9) CONDSTORE)") == Select(b"a", "INBOX", True, given)
    assert parsed(b"EXAMINE INBOX (condstore qresync (7 9))") == Examine(b"a", "INBOX", True, given)


def test_what_the_client_knows() -> None:
    assert resync(b"7 9") == Resync(7, 9)
    assert resync(b"7 0") == Resync(7, 0)
    assert resync(b"7 9223372036854775807") == Resync(7, 2**63 - 1)
    assert resync(b"7 9 1:3,5") == Resync(7, 9, Runs(((1, 3), (5, 5))))
    match = (Runs(((1, 2),)), Runs(((4, 5),)))
    assert resync(b"7 9 1:5 (1:2 4:5)") == Resync(7, 9, Runs(((1, 5),)), match)
    assert resync(b"7 9 (1,2 4:5)") == Resync(7, 9, None, match)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"7", b"7 ", b"x 9", b"7 x", b"7 9 ", b"7 9 1:*", b"7 9 *", b"7 9 0", b"7 9 $", b"7 9 1 2",
        b"7 9 1 ()", b"7 9 1 (1)", b"7 9 1 (1 2:3)", b"7 9 1 (* 1)", b"7 9 1 (1 *)", b"7 9 1 (1 1) 2",
        b"7 9 (1 1) 1", b"7 9223372036854775808", b"4294967296 1", b"7 9 1  (1 1)",
    ],
)  # fmt: skip
def test_what_is_none(text: bytes) -> None:
    with pytest.raises(BadCommand):
        resync(text)


@pytest.mark.parametrize(
    "text", [b"()", b"(CONDSTORE CONDSTORE)", b"(X)", b"(CONDSTORE", b"(QRESYNC)", b"(QRESYNC 7 9)", b"CONDSTORE",
             b"(QRESYNC (7 9) QRESYNC (7 9))", b"(CONDSTORE (7 9))"]
)  # fmt: skip
def test_parameters_that_are_none(text: bytes) -> None:
    with pytest.raises(BadCommand):
        parsed(b"SELECT INBOX " + text)

"""No path costs more than its input is long: doubling the input at most 2.2 times the steps.

Steps are bytecodes, counted by the interpreter, and calls of what is written in C: no clock, so no noise. Every input
is the worst of its kind that the module's author could think of.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from gateway.core.errors import GatewayError
from gateway.core.limits import Limits
from gateway.core.runs import Runs
from gateway.graph import kql
from gateway.imap.threadlist import thread_list
from gateway.mailbox.fuzzy import Words
from gateway.mailbox.threads import Threadables, by_references
from gateway.mime.address import parse_addresses
from gateway.mime.header import decoded, fields_matching, split
from gateway.mime.params import parse_value
from gateway.mime.part import scan
from gateway.mime.sortfacts import message_ids
from gateway.mime.subject import base_subject
from gateway.mime.text import body_finds, casefold_text
from gateway.wire import mutf7
from gateway.wire.framer import Frame, Framer
from gateway.wire.grammar import parse
from gateway.wire.listpattern import ListPattern
from gateway.wire.structure import bodystructure, envelope

MOST = 2.2
WIDE = Limits(
    line=1 << 24, command_total=1 << 24, list_items=1 << 20, search_keys=1 << 20, search_depth=1 << 20,
    sequence_ranges=1 << 20, mime_parts=1 << 20, mime_parameters=1 << 20, addresses=1 << 20,
    literals_per_command=1 << 20, keywords_per_store=1 << 20,
)  # fmt: skip


class _Steps:
    """Counts bytecodes and calls into C between `__enter__` and `__exit__`."""

    def __init__(self) -> None:
        self.count = 0

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.count += event == "opcode"
        return self._trace

    def _profile(self, frame: FrameType, event: str, arg: Any) -> None:
        self.count += event == "c_call"

    def __enter__(self) -> _Steps:
        self._before = sys.gettrace(), sys.getprofile()
        sys.setprofile(self._profile)
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before[0])
        sys.setprofile(self._before[1])


def steps(action: Callable[[], object]) -> int:
    with _Steps() as counter:
        action()
    return counter.count


# -- the inputs: a size to what is to be done --


def _dribble(n: int) -> Callable[[], object]:
    """One line of n octets that comes 16 at a time."""
    line = b"a NOOP " + b"x" * n + b"\r\n"

    def action() -> None:
        framer = Framer(WIDE, authenticated=True)
        for at in range(0, len(line), 16):
            framer.feed(line[at : at + 16])
            framer.next_event()

    return action


def _literals(n: int) -> Callable[[], object]:
    """A SEARCH of n literals."""
    data = b"a SEARCH" + b" SUBJECT {1+}\r\nx" * n + b"\r\n"

    def action() -> None:
        framer = Framer(WIDE, authenticated=True)
        framer.feed(data)
        event = framer.next_event()
        assert isinstance(event, Frame)
        parse(event, WIDE)

    return action


def _command(text: Callable[[int], bytes]) -> Callable[[int], Callable[[], object]]:
    return lambda n: (lambda line: lambda: _parsed(line))(text(n))


def _parsed(line: bytes) -> None:
    with suppress(GatewayError):  # a refusal must be cheap as well
        parse(Frame((line,)), WIDE)


def _on_bytes(
    make: Callable[[int], bytes], use: Callable[[bytes], object]
) -> Callable[[int], Callable[[], object]]:
    return lambda n: (lambda data: lambda: use(data))(make(n))


def _list_pattern(n: int) -> Callable[[], object]:
    """The name grows; the pattern is full of wildcards that nearly match."""
    pattern, name = ListPattern.of("%a*%a*%a*%b"), "a/" * n
    return lambda: pattern.matches(name)


def _structure(data: bytes) -> bytes:
    return bodystructure(data, scan(data, WIDE), extensible=True)


def _flat(n: int) -> bytes:
    return b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * n + b"--b--\r\n"


def _near_boundaries(n: int) -> bytes:
    """Lines that begin like a delimiter and are none."""
    return b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + b"--bb\r\n" * n


def _unended(n: int) -> bytes:
    """Multiparts in each other, none of which ever ends."""
    part = b"--%d\nContent-Type: multipart/mixed; boundary=%d\n\n"
    return b"Content-Type: multipart/mixed; boundary=0\n\n" + b"".join(part % (i, i + 1) for i in range(n))


def _numbers(n: int, step: int) -> bytes:
    return b",".join([b"%d" % i for i in range(1, 2 * n, 2)][::step])


def _words(n: int, word: bytes) -> bytes:
    """Different ones for every n: nothing is remembered from a shorter input."""
    return b" ".join([word % (n * 1000 + i) for i in range(n)])


def _addresses(data: bytes) -> object:
    return parse_addresses(data, WIDE.addresses)


def _parameters(n: int) -> bytes:
    return b"text/plain" + b"".join([b"; n*%d=x" % i for i in range(n)])


def _header(data: bytes) -> object:
    return split(data), fields_matching(data, [b"x-a"], invert=False), envelope(data)


def _searched(data: bytes) -> object:
    return body_finds(data, scan(data), {"needle"})


def _needles(n: int) -> Callable[[], object]:
    message, needles = b"\r\n" + b"a" * 10_000, {"A" * 50 + f"B{number}" for number in range(n)}
    part = scan(message)
    return lambda: body_finds(message, part, needles)


def _subject(n: int) -> Callable[[], object]:
    """Marks of replies, blobs, forwards and blanks in front, behind and inside each other."""
    subject = "[fwd: " * n + "[a] re [b] : " * n + "[c]" * n + " x" + " (fwd) ]" * n
    return lambda: base_subject(subject)


def _threads(n: int) -> Callable[[], object]:
    """Long chains, each put under the last of the one before, from the newest to the oldest, and loops of all."""
    every = range(1, n + 1)
    references = [[(each * 7) % n + 1, each % n + 1] for each in every]
    subjects, answers = ["a" if each % 3 else "" for each in every], [each % 2 == 0 for each in every]
    messages = Threadables(range(n), [5] * n, subjects, answers, list(every), references)
    return lambda: b"".join(thread_list(by_references(messages), lambda at: at + 1))


def _missing(n: int) -> Callable[[], object]:
    """Chains of messages that are not there, all with children."""
    references = [[n + 1, *range(2 * n, 2 * n + 3), 3 * n + each] for each in range(n)]
    messages = Threadables(range(n), [5] * n, [""] * n, [False] * n, [0] * n, references)
    return lambda: b"".join(thread_list(by_references(messages), lambda at: at + 1))


HTML = b"Content-Type: text/html\r\n\r\n"
INPUTS: dict[str, Callable[[int], Callable[[], object]]] = {
    "line in dribbles": _dribble,
    "literals": _literals,
    "sequence set": _command(lambda n: b"a FETCH " + _numbers(n, 1) + b" FLAGS"),
    "sequence set, backwards": _command(lambda n: b"a FETCH " + _numbers(n, -1) + b" FLAGS"),
    "search keys": _command(lambda n: b"a SEARCH" + b" OR SEEN FROM x" * n + b" ALL"),
    "parentheses": _command(lambda n: b"a SEARCH " + b"(" * n),
    "header field names": _command(lambda n: b"a FETCH 1 BODY[HEADER.FIELDS (" + _words(n, b"X%d") + b")]"),
    "flags": _command(lambda n: b"a STORE 1 FLAGS (" + _words(n, b"k%d") + b")"),
    "LIST pattern": _list_pattern,
    "modified UTF-7": _on_bytes(lambda n: b"&AOk-x" * n, mutf7.decode),
    "parts": _on_bytes(_flat, _structure),
    "lines like delimiters": _on_bytes(_near_boundaries, _structure),
    "multiparts without end": _on_bytes(_unended, _structure),
    "addresses": _on_bytes(lambda n: b'"a" (b) <c@d>, ' * n, _addresses),
    "comments in comments": _on_bytes(lambda n: b"(" * n, _addresses),
    "open quotes": _on_bytes(lambda n: b'a "' * n, _addresses),
    "parameters": _on_bytes(_parameters, lambda data: parse_value(data, WIDE.mime_parameters)),
    "encoded words": _on_bytes(lambda n: b"=?utf-8?Q?=C3?= =?utf-8?Q?=A9?= " * n, decoded),
    "header lines": _on_bytes(lambda n: b"X-A: b\r\n c\r\n" * n + b"\r\n", _header),
    "HTML tags": _on_bytes(lambda n: HTML + b"<" * n + b"a<b>" * n, _searched),
    "fuzzy words": _on_bytes(lambda n: b"aaaa " * n, lambda data: Words.of("aaaa aa").fit(data.decode())),
    "needles": _needles,
    "folding": _on_bytes(lambda n: "\u00dfa\u0301".encode() * n, lambda data: casefold_text(data.decode())),
    "index query": _on_bytes(lambda n: _words(n, b"w%d."), lambda data: kql.containing(data.decode())),
    "base subject": _subject,
    "threads": _threads,
    "missing messages": _missing,
    "message ids": _on_bytes(lambda n: b"<<a <b@c> <" * n, message_ids),
    "ranges": _on_bytes(lambda n: b" " * n, lambda data: Runs.of(range(0, 2 * len(data), 2)).format()),
}


@pytest.mark.parametrize("name", INPUTS)
def test_twice_the_input_is_twice_the_steps(name: str) -> None:
    make, size = INPUTS[name], 200
    steps(make(10))  # what is made once is made
    once, twice = steps(make(size)), steps(make(2 * size))
    assert twice <= MOST * once + 100, f"{once} steps became {twice}"


def test_the_count_sees_a_quadratic_path() -> None:
    def quadratic(n: int) -> Callable[[], object]:
        return lambda: [i * j for i in range(n) for j in range(i)]

    once, twice = steps(quadratic(50)), steps(quadratic(100))
    assert twice > 3 * once

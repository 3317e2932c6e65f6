"""THREAD's answer (RFC 5256 section 4): nested lists, written without recursion, in linear time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from gateway.mailbox.values import Thread

_OPEN, _CLOSE = b"(", b")"


def thread_list(forest: Sequence[Thread], number: Callable[[int], int]) -> Iterator[bytes]:
    """`THREAD (1)(2 3 (4)(5 6))` in pieces. A member with one reply is followed by it, one with several by as many
    lists; a thread whose first message is not there begins with such lists."""
    yield b"THREAD"
    if forest:
        yield b" "
    stack: list[bytes | Thread] = []
    for root in forest:
        stack += [_CLOSE, root, _OPEN]
        gap = False  # whether a member came right before: a space parts it from what follows
        while stack:
            piece = stack.pop()
            if isinstance(piece, bytes):
                yield b" (" if gap and piece is _OPEN else piece
                gap = False
                continue
            if piece.at is not None:
                yield b" %d" % number(piece.at) if gap else b"%d" % number(piece.at)
                gap = True
            if len(piece.children) == 1:
                stack.append(piece.children[0])
            else:
                for child in reversed(piece.children):
                    stack += [_CLOSE, child, _OPEN]

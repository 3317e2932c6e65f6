"""SEARCH and UID SEARCH, plain and with RETURN (RFC 9051 section 6.4.4, RFC 3501 section 6.4.4, RFC 4731)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from gateway.core.errors import BadCommand
from gateway.core.runs import Runs
from gateway.imap.spec import State, handles
from gateway.wire.command import Search
from gateway.wire.encode import quoted
from gateway.wire.searchkey import And, ModSeqIs, Not, Or, SearchKey

if TYPE_CHECKING:
    from gateway.imap.session import Session

LINE = 900_000  # octets of one SEARCH response: imaplib gives up a line of 1,000,000


@handles(Search, State.SELECTED, expunge_ok=False)
async def search(s: Session, cmd: Search) -> None:
    if _names_modseq(cmd.key):
        raise BadCommand("CONDSTORE is not supported")
    numbers = _numbers(s, await s.folder.search(cmd.key), by_uid=cmd.by_uid)
    if cmd.returns is None:
        for line in search_lines(numbers):
            s.out.untagged(line)
    else:
        s.out.untagged(_esearch(cmd, cmd.returns, numbers))


def _numbers(s: Session, at: Sequence[int], *, by_uid: bool) -> list[int]:
    if not by_uid:
        return [position + 1 for position in at]
    uids = s.folder.view.uids
    return [uids[position] for position in at]


def search_lines(numbers: Sequence[int], bound: int = LINE) -> Iterator[bytes]:
    """`SEARCH n n ...`: several only where one would pass `bound` octets; clients add them up."""
    per_line = max(1, bound // (len(b"%d" % max(numbers, default=0)) + 1))
    for start in range(0, max(1, len(numbers)), per_line):
        yield b"SEARCH" + b"".join([b" %d" % number for number in numbers[start : start + per_line]])


# -- ESEARCH --


def _min(numbers: Sequence[int]) -> bytes | None:
    return b"MIN %d" % numbers[0] if numbers else None


def _max(numbers: Sequence[int]) -> bytes | None:
    return b"MAX %d" % numbers[-1] if numbers else None


def _all(numbers: Sequence[int]) -> bytes | None:
    return b"ALL " + Runs.of(numbers).format() if numbers else None


def _count(numbers: Sequence[int]) -> bytes | None:
    return b"COUNT %d" % len(numbers)


RESULTS: dict[bytes, Callable[[Sequence[int]], bytes | None]] = {
    b"MIN": _min,
    b"MAX": _max,
    b"ALL": _all,
    b"COUNT": _count,
}


def _esearch(cmd: Search, returns: Sequence[bytes], numbers: Sequence[int]) -> bytes:
    """`ESEARCH (TAG "a") [UID] results`; MIN, MAX and ALL are left out where nothing was found."""
    head = [b"ESEARCH (TAG %b)" % quoted(cmd.tag)] + [b"UID"] * cmd.by_uid
    results = (RESULTS[option](numbers) for option in returns)
    return b" ".join(head + [result for result in results if result is not None])


def _names_modseq(key: SearchKey) -> bool:
    """Depth is bounded by the grammar."""
    if isinstance(key, ModSeqIs):
        return True
    if isinstance(key, And):
        return any(map(_names_modseq, key.keys))
    if isinstance(key, Or):
        return _names_modseq(key.left) or _names_modseq(key.right)
    return isinstance(key, Not) and _names_modseq(key.key)

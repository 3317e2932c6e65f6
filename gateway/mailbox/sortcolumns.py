"""Sort facts of many messages as columns: packed into octets for the store, and in memory for SORT and THREAD.

A block holds messages of up to BLOCK neighbouring UIDs. Facts of a UID never change (decision 11: the header block is
pinned), so a block is only ever added to; what was expunged is left out when it is written again.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from gateway.mime.sortfacts import SortFacts
from gateway.wire.dates import parse_header_date

BLOCK = 1024  # UIDs
VERSION = 1  # of what is kept and how it is folded: a block of another version is no block
UNKNOWN_DATE = -(2**63)
_TEXTS = ("subject", "sender", "to", "cc", "shown_sender", "shown_to")


class _Packed(msgspec.Struct, array_like=True):
    """Numbers little-endian: `uids` and `counts` of references 4 octets each, the rest 8."""

    version: int
    uids: bytes
    dates: bytes
    answers: bytes
    ids: bytes
    counts: bytes
    references: bytes
    texts: tuple[list[str], ...]


_decode = msgspec.msgpack.Decoder(_Packed).decode
_encode = msgspec.msgpack.Encoder().encode


class SortColumns:
    """`place[uid]` is a message's row in every column; row 0 is that of a message nothing is known of."""

    def __init__(self) -> None:
        self.place: dict[int, int] = {}
        self.uids = array("I")
        self.dates = array("q")  # Date: in seconds since 1970 UTC; UNKNOWN_DATE
        self.answers = bytearray()
        self.ids = array("Q")
        self.starts = array("I", [0])  # where a row's references begin; one more than rows
        self.references = array("Q")
        self.texts: dict[str, list[str]] = {name: [] for name in _TEXTS}
        self._shared: dict[str, str] = {}  # names and addresses repeat: one object each
        self._append(0, UNKNOWN_DATE, SortFacts("", False, "", "", "", "", "", b"", 0, ()))

    def __len__(self) -> int:
        return len(self.uids)

    def rows(self, uids: Iterable[int]) -> list[int]:
        place = self.place
        return [place.get(uid, 0) for uid in uids]

    def references_of(self, row: int) -> Sequence[int]:
        start, end = self.starts[row], self.starts[row + 1]
        return self.references[start:end] if start < end else ()

    def add(self, facts: Mapping[int, SortFacts]) -> None:
        for uid, one in facts.items():
            if uid not in self.place:
                found = parse_header_date(one.date)
                self.place[uid] = len(self.uids)
                self._append(uid, UNKNOWN_DATE if found is None else found[0], one)

    def _append(self, uid: int, date: int, one: SortFacts) -> None:
        self.uids.append(uid)
        self.dates.append(date)
        self.answers.append(one.answers)
        self.ids.append(one.message_id)
        self.references.extend(one.references)
        self.starts.append(len(self.references))
        for name, column in self.texts.items():
            text: str = getattr(one, name)
            column.append(self._shared.setdefault(text, text))

    # -- for the store --

    def pack(self, uids: Iterable[int]) -> bytes:
        """These messages (known ones) as one block."""
        rows = [self.place[uid] for uid in uids]
        references = [self.references_of(row) for row in rows]
        whole = array("Q")
        for each in references:
            whole.extend(each)
        return _encode(
            _Packed(
                VERSION,
                _octets(array("I", [self.uids[row] for row in rows])),
                _octets(array("q", [self.dates[row] for row in rows])),
                bytes(self.answers[row] for row in rows),
                _octets(array("Q", [self.ids[row] for row in rows])),
                _octets(array("I", map(len, references))),
                _octets(whole),
                tuple([column[row] for row in rows] for column in self.texts.values()),
            )
        )

    def unpack(self, block: bytes) -> None:
        """Add what a block holds; nothing if it is of another version or does not fit together."""
        try:
            packed = _decode(block)
        except msgspec.DecodeError:
            return
        uids = _array("I", packed.uids)
        if packed.version != VERSION or any(len(texts) != len(uids) for texts in packed.texts):
            return
        if self.place.keys() & uids:  # written twice at once: what is here already is as good
            return
        self.place.update(zip(uids, range(len(self.uids), len(self.uids) + len(uids)), strict=True))
        self.uids.extend(uids)
        self.dates.extend(_array("q", packed.dates))
        self.answers.extend(packed.answers)
        self.ids.extend(_array("Q", packed.ids))
        self.starts.extend(_sums(self.starts[-1], _array("I", packed.counts)))
        self.references.extend(_array("Q", packed.references))
        share = self._shared.setdefault
        for column, texts in zip(self.texts.values(), packed.texts, strict=True):
            column.extend([share(text, text) for text in texts])


def block_of(uid: int) -> int:
    return uid // BLOCK


def _sums(start: int, counts: array[int]) -> Iterator[int]:
    for count in counts:
        start += count
        yield start


def _octets(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _array(typecode: str, octets: bytes) -> array[int]:
    numbers: array[int] = array(typecode, octets)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers

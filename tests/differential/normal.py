"""One command's responses as a flat table of facts that two servers can be compared by.

Gone are: status texts, capability lists, the order of what has no order, zones of INTERNALDATE, and the numbers a
server is free to choose: UIDs become ranks, UIDVALIDITY becomes the mailbox's number in the order of appearance.
Sequence numbers are those that held before the command.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from differential.wire import Answer, Atom, Broken, Tree, status_of, tree

Facts = dict[str, Any]
STATUS_KINDS = (b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH")


@dataclass(slots=True)
class Box:
    """The UIDs of one mailbox at one server: message n of the beginning has rank n, later ones follow."""

    number: int  # the mailbox's, in the order of appearance
    known: list[int] = field(default_factory=list)  # UIDs at the beginning, rising
    next: int | None = None  # UIDNEXT at the beginning; of a new mailbox the first UID heard of

    def rank(self, uid: int) -> int:
        if self.next is None:
            self.next = uid
        if uid >= self.next:
            return len(self.known) + 1 + uid - self.next
        return self.known.index(uid) + 1 if uid in self.known else -uid

    def uid(self, rank: int) -> int:
        if rank <= len(self.known):
            return self.known[rank - 1]
        return (self.next or 1) + rank - len(self.known) - 1


@dataclass(slots=True)
class Boxes:
    """The mailboxes of one user at one server, by UIDVALIDITY."""

    by_validity: dict[int, Box] = field(default_factory=dict)

    def of(self, validity: int) -> Box:
        return self.by_validity.setdefault(validity, Box(len(self.by_validity) + 1))


@dataclass(slots=True)
class Reading:
    """One command's answer while it is read. `box` is the selected mailbox's, which SELECT changes."""

    boxes: Boxes
    box: Box | None
    by_uid: bool
    facts: Facts = field(default_factory=dict)
    gone: list[int] = field(default_factory=list)  # sequence numbers before the command

    def original(self, seq: int) -> int:
        """The number before the command of what is `seq` now."""
        for number in self.gone:  # rising
            if number <= seq:
                seq += 1
        return seq

    def rank(self, uid: int) -> int:
        return self.box.rank(uid) if self.box is not None else uid

    def failed(self, number: int) -> int:
        """Of MODIFIED: a UID's rank, or the number."""
        return self.rank(number) if self.by_uid else self.original(number)

    # -- responses --

    def response(self, line: bytes) -> None:
        first, _, rest = line.partition(b" ")
        word = first.upper()
        if word in STATUS_KINDS:
            self._status(line)
        elif first.isdigit():
            self._numbered(int(first), rest)
        elif word in READERS:
            READERS[word](self, tree(rest))
        elif rest.upper().startswith(STATUS_KINDS):  # the reply to a line of `raw:`, whose tag is its own
            self.facts[f"tag {first.decode('latin-1')}"] = rest.split(b" ")[0].upper().decode()
        else:
            raise Broken(f"unknown response {line[:80]!r}")

    def _status(self, line: bytes) -> None:
        kind, code = status_of(line)
        if kind in (b"BAD", b"BYE", b"NO"):
            self.facts[kind.decode()] = True
        if code:
            name = code[0].decode().upper()
            self.facts[f"code {name}"] = self.code(code)[1:]

    def code(self, code: Sequence[Tree]) -> tuple[Any, ...]:
        name = code[0].decode().upper()
        read = CODES.get(name)
        return (name, *(read(self, code[1:]) if read is not None else code[1:]))

    def _numbered(self, number: int, rest: bytes) -> None:
        word, _, data = rest.partition(b" ")
        word = word.upper()
        if word in (b"EXISTS", b"RECENT"):
            self.facts[word.decode().lower()] = number
        elif word == b"EXPUNGE":
            self.gone = sorted([*self.gone, self.original(number)])
            self.facts["expunged"] = tuple(self.gone)
        elif word == b"FETCH":
            self._fetch(self.original(number), tree(data))
        else:
            raise Broken(f"unknown response {number} {word!r}")

    def _fetch(self, seq: int, data: tuple[Tree, ...]) -> None:
        (items,) = data
        names, values = items[::2], items[1::2]
        if len(names) != len(values):
            raise Broken(f"FETCH of odd length: {items!r}")
        for name, value in zip(names, values, strict=True):
            label = _item(name)
            read = ITEMS.get(label, lambda _, tree: tree)
            self.facts[f"fetch {seq} {label}"] = read(self, value)


def _item(name: bytes) -> str:
    """FETCH data items in upper case; header field names with them, whose quotes mean nothing."""
    return bytes(name).decode("latin-1").upper().replace('"', "")


# -- codes --


def _validity(reading: Reading, args: Sequence[Tree]) -> tuple[Any, ...]:
    reading.box = reading.boxes.of(int(args[0]))
    return (reading.box.number,)


def _uidnext(reading: Reading, args: Sequence[Tree]) -> tuple[Any, ...]:
    return (_rank_next(reading.box, int(args[0])),)


def _rank_next(box: Box | None, uid: int) -> int:
    return box.rank(uid) if box is not None else uid


def _appenduid(reading: Reading, args: Sequence[Tree]) -> tuple[Any, ...]:
    box = reading.boxes.of(int(args[0]))
    return (box.number, ranks(args[1], box.rank))


def _copyuid(reading: Reading, args: Sequence[Tree]) -> tuple[Any, ...]:
    """Pairs: which order the sets are in is the server's choice, who becomes whom is not."""
    box = reading.boxes.of(int(args[0]))
    source, target = ranks(args[1], reading.rank), ranks(args[2], box.rank)
    return (box.number, tuple(sorted(zip(source, target, strict=True))))


def ranks(text: bytes, rank: Callable[[int], int]) -> tuple[int, ...]:
    """A set of UIDs, in the order it is written; a range rises."""
    found: list[int] = []
    for piece in bytes(text).split(b","):
        low, _, high = piece.partition(b":")
        ends = sorted((int(low), int(high or low)))
        found.extend(map(rank, range(ends[0], ends[1] + 1)))
    return tuple(found)


def _words(_: Reading, args: Sequence[Tree]) -> tuple[Any, ...]:
    return (flags(args[0]),)


CODES: dict[str, Callable[[Reading, Sequence[Tree]], tuple[Any, ...]]] = {
    "UIDVALIDITY": _validity,
    "UIDNEXT": _uidnext,
    "APPENDUID": _appenduid,
    "COPYUID": _copyuid,
    "PERMANENTFLAGS": _words,
    "UNSEEN": lambda reading, args: (int(args[0]),),
    "CAPABILITY": lambda reading, args: (),
    "HIGHESTMODSEQ": lambda reading, args: (),
    "MODIFIED": lambda reading, args: tuple(sorted(ranks(args[0], reading.failed))),
}

# -- FETCH items --


def flags(words: Iterable[Tree]) -> frozenset[str]:
    """System flags are spelt in any case; of keywords the spelling is kept."""
    names = (bytes(word).decode("latin-1") for word in words)
    return frozenset(name.title() if name.startswith("\\") else name for name in names)


def _date(_: Reading, value: Tree) -> float:
    return datetime.strptime(value.decode().strip(), "%d-%b-%Y %H:%M:%S %z").timestamp()


ITEMS: dict[str, Callable[[Reading, Tree], Any]] = {
    "UID": lambda reading, value: reading.rank(int(value)),
    "FLAGS": lambda reading, value: flags(value),
    "INTERNALDATE": _date,
    "RFC822.SIZE": lambda reading, value: int(value),
    "MODSEQ": lambda reading, value: "a number",  # each server counts for itself
}

# -- other responses --


def _search(reading: Reading, data: tuple[Tree, ...]) -> None:
    if data and isinstance(data[-1], tuple):  # (MODSEQ n), RFC 7162 section 3.1.6
        *data, _ = data
        reading.facts["search MODSEQ"] = "a number"
    numbers = map(int, data)
    rank = reading.rank if reading.by_uid else reading.original
    reading.facts["search"] = tuple(sorted(map(rank, numbers)))


def _sort(reading: Reading, data: tuple[Tree, ...]) -> None:
    """In its order."""
    rank = reading.rank if reading.by_uid else reading.original
    reading.facts["sort"] = tuple(rank(int(number)) for number in data)


def _thread(reading: Reading, data: tuple[Tree, ...]) -> None:
    rank = reading.rank if reading.by_uid else reading.original

    def read(tree: Tree) -> Any:
        return tuple(map(read, tree)) if isinstance(tree, tuple) else rank(int(tree))

    reading.facts["thread"] = tuple(map(read, data))


def _partial(value: Tree, rank: Callable[[int], int]) -> tuple[Any, ...]:
    """PARTIAL (range set): the set may be NIL."""
    span, found = value
    return bytes(span), () if found in (None, b"NIL") else tuple(ranks(bytes(found), rank))


def _esearch(reading: Reading, data: tuple[Tree, ...]) -> None:
    rest = list(data)
    if rest and isinstance(rest[0], tuple):
        rest.pop(0)  # (TAG "x")
    by_uid = bool(rest) and bytes(rest[0]).upper() == b"UID"
    rank = reading.rank if by_uid else reading.original
    values = rest[by_uid:]
    for name, value in zip(values[::2], values[1::2], strict=True):
        label = bytes(name).decode().upper()
        read = (
            "a number" if label == "MODSEQ"
            else int(value) if label == "COUNT"
            else _partial(value, rank) if label == "PARTIAL"
            else tuple(sorted(ranks(value, rank)))
        )  # fmt: skip
        reading.facts[f"esearch {label}"] = read
    reading.facts["esearch"] = "UID" if by_uid else "number"


def _name(value: Tree) -> str:
    name = bytes(value).decode("latin-1")
    return "INBOX" if name.upper() == "INBOX" else name


def _list(word: str) -> Callable[[Reading, tuple[Tree, ...]], None]:
    def read(reading: Reading, data: tuple[Tree, ...]) -> None:
        attributes, delimiter, name, *more = data
        fact = f"{word} {_name(name)}"
        if fact in reading.facts:
            raise Broken(f"{fact} is listed twice")
        reading.facts[fact] = flags(attributes)
        reading.facts[f"{fact} delimiter"] = delimiter
        if more:
            reading.facts[f"{fact} extended"] = more[0]

    return read


def _status_response(reading: Reading, data: tuple[Tree, ...]) -> None:
    name, items = _name(data[0]), data[1]
    values = {
        bytes(key).decode().upper(): int(value) for key, value in zip(items[::2], items[1::2], strict=True)
    }
    box = reading.boxes.of(values["UIDVALIDITY"]) if "UIDVALIDITY" in values else None
    for item, value in values.items():
        if item == "UIDVALIDITY" and box is not None:
            value = box.number
        if item == "HIGHESTMODSEQ":
            value = 0
        if item == "UIDNEXT":
            value = _rank_next(box, value) if box is not None else 0
        reading.facts[f"status {name} {item}"] = value


def _metadata(reading: Reading, data: tuple[Tree, ...]) -> None:
    """With values (RFC 5464 section 4.4.1)."""
    mailbox, pairs = _name(data[0]), data[1]
    for entry, value in zip(pairs[::2], pairs[1::2], strict=True):
        name = bytes(entry).decode("latin-1").lower()
        reading.facts[f"metadata {mailbox} {name}"] = value if value is None else bytes(value)


def _flags(reading: Reading, data: tuple[Tree, ...]) -> None:
    reading.facts["flags"] = flags(data[0])


def _ignored(reading: Reading, data: tuple[Tree, ...]) -> None:
    return None


def _vanished(reading: Reading, data: tuple[Tree, ...]) -> None:
    """VANISHED names what EXPUNGE would; (EARLIER) is of another time."""
    earlier = isinstance(data[0], tuple)
    gone = tuple(sorted(ranks(data[-1], reading.rank)))
    name = "vanished earlier" if earlier else "vanished"
    reading.facts[name] = tuple(sorted({*reading.facts.get(name, ()), *gone}))


READERS: dict[bytes, Callable[[Reading, tuple[Tree, ...]], None]] = {
    b"VANISHED": _vanished,
    b"SEARCH": _search,
    b"ESEARCH": _esearch,
    b"SORT": _sort,
    b"THREAD": _thread,
    b"LIST": _list("list"),
    b"LSUB": _list("lsub"),
    b"STATUS": _status_response,
    b"METADATA": _metadata,
    b"FLAGS": _flags,
    b"CAPABILITY": _ignored,
    b"ID": _ignored,
    b"ENABLED": lambda reading, data: reading.facts.update(enabled=flags(data)),
    b"NAMESPACE": lambda reading, data: reading.facts.update(namespace=data),
}

KEEP_BOX = re.compile(rb"(?i)\A(SELECT|EXAMINE) ")


def facts(answer: Answer, command: bytes, boxes: Boxes, box: Box | None) -> tuple[Facts, Box | None]:
    """The table, and the mailbox that is selected afterwards. `reply` is the kind and the code of the tagged
    reply."""
    reading = Reading(boxes, box, by_uid=command.upper().startswith(b"UID "))
    for line in answer.lines:
        reading.response(line)
    if not answer.final:
        reading.facts["reply"] = "connection closed"
        return reading.facts, None
    kind, code = status_of(answer.final)
    before = reading.box
    reading.facts["reply"] = kind.decode()
    if code:
        reading.facts["reply code"] = reading.code(code)
    return reading.facts, before


__all__ = ["Atom", "Box", "Boxes", "Facts", "facts", "ranks"]

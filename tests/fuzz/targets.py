"""What is fuzzed, and what must hold of every input: a documented error or a value that keeps its promises.

A target takes octets and returns nothing; anything it raises is a find. `guided` drives them by coverage, the suite
by seeded mutations of the same seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from gateway.core.errors import BadCommand, LimitReached
from gateway.core.limits import Limits
from gateway.mime.address import Group, addr_specs, parse_addresses
from gateway.mime.header import decoded, fields_matching, split, unfold
from gateway.mime.part import Part, scan
from gateway.mime.section import Section, locate, octets
from gateway.mime.text import body_finds, casefold_text, header_text, leaf_text
from gateway.wire import mutf7
from gateway.wire.charset import BadCharset, codec, decode
from gateway.wire.structure import bodystructure, envelope

from . import submission
from .framer import drive, understand

CORPUS = Path(__file__).parent / "corpus"
TIGHT = Limits(mime_parts=50, mime_depth=10, header_octets=4096)

Target = Callable[[bytes], None]


# -- framer and grammar --


def commands(data: bytes) -> None:
    """The first octet says how the rest is cut and whether the client has logged in; the cuts must not show."""
    if not data:
        return
    login, stream, step = bool(data[0] & 1), bool(data[0] & 2), (data[0] >> 2) + 1
    rest = data[1:]
    events = drive([rest], login=login, stream=stream)
    for event in events:
        understand(event)
    pieces = [rest[at : at + step] for at in range(0, len(rest), step)]
    assert drive(pieces, login=login, stream=stream) == events, "the cuts show"


# -- MIME --


def mime(data: bytes) -> None:
    """Offsets tile the message, every part is where the tree says, the structure is one line or literals."""
    for limits in (Limits(), TIGHT):
        root = scan(data, limits)
        assert (root.start, root.end) == (0, len(data))
        _check_part(data, root)
        bodystructure(data, root, extensible=True)
        bodystructure(data, root, extensible=False)
    header, text = data[: root.body], data[root.body :]
    assert header + text == data
    envelope(header)
    assert octets(data, locate(data, root, Section((), Section().text)) or b"") == data


def _check_part(data: bytes, part: Part) -> None:
    assert part.start <= part.body <= part.end <= len(data)
    at = part.body
    for child in part.children:
        assert at <= child.start, "parts overlap"
        assert child.end <= part.end, "a part is longer than what it is in"
        _check_part(data, child)
        at = child.end


def header(data: bytes) -> None:
    """Fields tile the block; HEADER.FIELDS and HEADER.FIELDS.NOT of one list share it between them."""
    fields = split(data)
    assert all(before.end == after.start for before, after in pairwise(fields))
    for field in fields:
        assert not set(unfold(data[field.value : field.end])) & {0, 10, 13}
        assert not set(decoded(data[field.value : field.end])) & {"\0", "\r", "\n"}
    chosen = [field.name for field in fields[::2] if field.name]
    kept, left = (fields_matching(data, chosen, invert=invert) for invert in (False, True))
    assert kept.endswith(b"\r\n")
    assert left.endswith(b"\r\n")


# -- addresses --


def addresses(data: bytes) -> None:
    """A legal list, whatever came; and the envelope made of it is one."""
    for item in parse_addresses(unfold(data)):
        members = item.members if isinstance(item, Group) else (item,)
        assert all(member.mailbox and member.host for member in members), "half an address looks like a group"
    try:
        for spec in addr_specs(data):
            assert not set(spec) & {"\r", "\n", "\0"}
    except LimitReached:
        pass
    envelope(b"From: " + unfold(data) + b"\r\n\r\n")


# -- modified UTF-7 --


def names(data: bytes) -> None:
    """A name that is taken has this one spelling; any text has a spelling and comes back."""
    try:
        text = mutf7.decode(data)
    except ValueError:
        pass
    else:
        assert mutf7.encode(text) == data
    text = data.decode("utf-8", "replace")
    assert mutf7.decode(mutf7.encode(text)) == text


# -- SEARCH's text --


def search_text(data: bytes) -> None:
    """Needle and haystack in any charset: what is in the decoded text is found, and nothing raises."""
    label, _, rest = data.partition(b"\n")
    try:
        needle = decode(rest[:64], codec(label))
    except (BadCommand, BadCharset):
        needle = rest[:64].decode("latin-1")
    folded = casefold_text(needle)
    assert casefold_text(folded) == folded, "folding twice is folding once"
    root = scan(rest)
    header_text(rest[: root.body])
    found = body_finds(rest, root, {folded, "needle", ""})
    assert "" in found
    for part in _leaves(root):
        leaf_text(rest, part)


def _leaves(part: Part) -> list[Part]:
    if not part.children:
        return [part]
    return [leaf for child in part.children for leaf in _leaves(child)]


TARGETS: dict[str, Target] = {
    "commands": commands,
    "mime": mime,
    "header": header,
    "addresses": addresses,
    "names": names,
    "search_text": search_text,
    "smtp_data": submission.data,
    "smtp_header": submission.rewriting,
    "smtp_arguments": submission.arguments,
}


def seeds(name: str) -> list[bytes]:
    """The target's kept inputs, in the order of their names."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]

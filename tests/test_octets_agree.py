"""What agrees with what in octets (invariant 8): structure, sections, partials, sizes and decoded parts of one message,
over the whole corpus and over whatever hypothesis makes of it; then the same over a socket, before and after the caches
are lost and the process is another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from account_world import Site, account_world
from hypothesis import given
from hypothesis import strategies as st
from mime_trees import SHRAPNEL, TREES, Tree
from test_wire_structure import Value, _value, check_body, check_envelope, parse

from gateway.emulator.corpus import Sample, deliverable, messages
from gateway.mime.decoding import can_decode, decoded, survey, whole
from gateway.mime.part import Part, scan
from gateway.mime.section import Section, SectionText, find, length, locate, octets, partial
from gateway.mime.transfer import decode_transfer
from gateway.wire.structure import bodystructure, envelope

Leaf = tuple[tuple[int, ...], list[Value]]


def section(raw: bytes, part: Part, numbers: tuple[int, ...], text: SectionText = SectionText.FULL) -> bytes:
    located = locate(raw, part, Section(numbers, text))
    assert located is not None
    assert length(located) == len(octets(raw, located))
    return octets(raw, located)


def leaves(value: Value, at: tuple[int, ...] = (), *, inside: bool = False) -> Iterator[Leaf]:
    """Parts that are no multipart, with their numbers, as a client counts them (RFC 9051 section 6.4.5.1)."""
    assert isinstance(value, list)
    if isinstance(value[0], list):
        count = next(n for n, item in enumerate(value) if not isinstance(item, list))
        for number, child in enumerate(value[:count], 1):
            yield from leaves(child, (*at, number))
        return
    numbers = at if at and not inside else (*at, 1)
    yield numbers, value
    if value[:2] == [b"message", b"rfc822"]:
        yield from leaves(value[8], numbers, inside=True)


def check(raw: bytes) -> None:
    part = scan(raw)
    for extensible in (True, False):
        check_body(parse(bodystructure(raw, part, extensible=extensible)), extensible=extensible)
    header, text = section(raw, part, (), SectionText.HEADER), section(raw, part, (), SectionText.TEXT)
    check_envelope(parse(envelope(header)))
    assert header + text == raw == section(raw, part, ())
    cut = max(1, len(raw) // 3)
    everything = locate(raw, part, Section())
    assert everything is not None
    assert b"".join(octets(raw, partial(everything, at, cut)) for at in range(0, len(raw), cut)) == raw
    for numbers, value in leaves(parse(bodystructure(raw, part, extensible=True))):
        check_leaf(raw, part, numbers, value)
    top = whole(part)
    assert b"".join(decoded(raw, top, survey(raw, top), 0, len(raw))) == raw


def check_leaf(raw: bytes, message: Part, numbers: tuple[int, ...], value: list[Value]) -> None:
    """The structure says how many octets and lines BODY[n] has, and how to decode them."""
    body = section(raw, message, numbers)
    assert value[6] == len(body), numbers
    if value[0] == b"text":
        assert value[7] == body.count(b"\n")
    found = find(message, numbers)
    assert found is not None
    mime = section(raw, message, numbers, SectionText.MIME)
    assert raw[found.start : found.end] == mime + body
    if value[:2] == [b"message", b"rfc822"]:
        assert value[9] == body.count(b"\n")
        inner = section(raw, message, numbers, SectionText.HEADER)
        assert inner + section(raw, message, numbers, SectionText.TEXT) == body
    elif can_decode(found):
        known = survey(raw, found)
        plain = decode_transfer(body, found.encoding)
        binary = b"".join(decoded(raw, found, known, 0, known.size))
        assert known.size == len(binary)
        assert binary == plain or binary.replace(b"\r\n", b"\n") == plain.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("sample", messages(), ids=lambda sample: sample.name)
def test_every_message_of_the_corpus_agrees_with_itself(sample: Sample) -> None:
    check(sample.data)


@given(TREES)
def test_well_formed_messages_agree_with_themselves(tree: Tree) -> None:
    check(tree.raw)


@given(SHRAPNEL)
def test_malformed_messages_agree_with_themselves(raw: bytes) -> None:
    check(raw)


@given(
    st.sampled_from(messages()), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.2), SHRAPNEL), max_size=4)
)
def test_damaged_messages_of_the_corpus_agree_with_themselves(
    sample: Sample, damages: list[tuple[float, float, bytes]]
) -> None:
    raw = sample.data[:20_000]
    for where, how_much, instead in damages:
        at = int(where * len(raw))
        raw = raw[:at] + instead + raw[at + int(how_much * len(raw)) :]
    check(raw)


# -- over a socket --

ITEMS = (
    "UID RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT] RFC822.HEADER"
    " BODY.PEEK[]<0.1000> BODY.PEEK[]<1000.100000000> BODY.PEEK[1] BODY.PEEK[1.MIME] BINARY.SIZE[] BINARY.PEEK[]"
)
_NAME = re.compile(rb"([A-Z0-9.]+(?:\[[^\]]*\])?(?:<\d+>)?) (~?)")


def items(line: bytes) -> dict[bytes, Value]:
    at = line.index(b"(") + 1
    found: dict[bytes, Value] = {}
    while not line.startswith(b")", at):
        at += line.startswith(b" ", at)
        name = _NAME.match(line, at)
        assert name is not None, line[at : at + 40]
        found[name[1]], at = _value(line, name.end())
    assert line[at:] in (b")", b")\r\n")
    return found


async def told(s: Site) -> dict[int, dict[bytes, Value]]:
    client = await s.client()
    await client.select()
    answer = (await client.do(f"UID FETCH 1:* ({ITEMS})", seconds=120.0)).ok()
    fetched = [items(line) for line in answer.lines if b" FETCH (" in line[:40]]
    return {int(str(one[b"UID"])): one for one in fetched}


def check_told(one: dict[bytes, Value]) -> None:
    raw = one[b"BODY[]"]
    assert isinstance(raw, bytes)
    header, text = one[b"BODY[HEADER]"], one[b"BODY[TEXT]"]
    assert isinstance(header, bytes) and isinstance(text, bytes)
    assert header + text == raw
    assert one[b"RFC822.HEADER"] == header
    first, rest = one[b"BODY[]<0>"], one[b"BODY[]<1000>"]
    assert isinstance(first, bytes) and isinstance(rest, bytes)
    assert first + rest == raw == one[b"BINARY[]"]
    assert one[b"RFC822.SIZE"] == one[b"BINARY.SIZE[]"] == len(raw)
    check_envelope(one[b"ENVELOPE"])
    check_body(one[b"BODYSTRUCTURE"], extensible=True)
    check_body(one[b"BODY"], extensible=False)
    numbers, value = next(leaves(one[b"BODYSTRUCTURE"]))
    if numbers == (1,):
        body, mime = one[b"BODY[1]"], one[b"BODY[1.MIME]"]
        assert isinstance(body, bytes) and isinstance(mime, bytes)
        assert value[6] == len(body) and mime + body in raw


async def test_invariant_8_the_corpus_agrees_over_a_socket_and_for_ever(tmp_path: Path) -> None:
    async with account_world(tmp_path) as s:
        for sample in deliverable():
            await s.outlook.deliver(sample.data)
        before = await told(s)
        assert len(before) == len(deliverable())
        for one in before.values():
            check_told(one)
        await s.restart()  # its body cache is memory: nothing is left of it
        assert await told(s) == before

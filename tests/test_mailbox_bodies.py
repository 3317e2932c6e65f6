"""Octets that never change (decision 4, invariant 8), placeholders (trap 26), sizes, and what is fetched
ahead."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mailbox_world import ACCOUNT, PLAIN, World, world

from gateway.core.limits import MIB
from gateway.graph.errors import PermanentFailure, Throttled
from gateway.mailbox.api import Body
from gateway.mailbox.bodies import Bodies
from gateway.mailbox.cache import BodyCache
from gateway.mailbox.placeholder import MARKER
from gateway.mailbox.rendering import is_cut, pin_of
from gateway.mime.part import scan
from gateway.store.api import MessageRow

REST = b"hello\r\n"
HEADER = PLAIN[: -len(REST)]


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


def bodies(w: World) -> Bodies:
    """With an empty cache, as after a restart."""
    return Bodies(w.ctx, BodyCache(memory=10 * MIB, spool_above=MIB))


def octets(body: Body | None) -> bytes:
    assert body is not None
    return body.read(0, body.size)


async def one(w: World, mime: bytes = PLAIN) -> MessageRow:
    w.graph.put("inbox", mime)
    return (await w.sync("inbox"))[-1]


async def test_first_octets_are_pinned_before_they_are_given_out(w: World) -> None:
    row = await one(w)
    assert octets(await bodies(w).body(row, w.folder("inbox"))) == PLAIN
    assert await w.store.pinned(ACCOUNT, row.id) == pin_of(PLAIN)


async def test_a_header_that_exchange_renders_anew_stays_as_it_was_first_seen(w: World) -> None:
    row = await one(w)
    await bodies(w).body(row, w.folder("inbox"))
    w.graph.outlook(row.id, mime=HEADER[:-2] + b"Keywords: Red category\r\n\r\n" + REST)
    later = bodies(w)
    assert octets(await later.body(row, w.folder("inbox"))) == PLAIN and later.rerendered == 0


async def test_the_loser_adopts_the_winners_octets(w: World) -> None:
    row = await one(w)
    first = HEADER[:-2] + b"X-First: yes\r\n\r\n"
    await w.store.pin(ACCOUNT, row.id, pin_of(first + REST))  # by another node, a moment ago
    assert octets(await bodies(w).body(row, w.folder("inbox"))) == first + REST


async def test_what_was_appended_is_served_without_a_request(w: World) -> None:
    row = await one(w)
    await w.store.put_original(ACCOUNT, row.id, b"as it came\n")
    assert octets(await bodies(w).body(row, w.folder("inbox"))) == b"as it came\n" and w.graph.calls == []


async def test_one_fetch_while_it_is_near_at_hand(w: World) -> None:
    row, near = await one(w), bodies(w)
    for _ in range(3):
        await near.body(row, w.folder("inbox"))
    assert w.graph.count("mime") == 1


async def test_a_message_that_went_away_has_no_body(w: World) -> None:
    row = await one(w)
    w.graph.messages.clear()
    assert await bodies(w).body(row, w.folder("inbox")) is None


async def test_graphs_trouble_is_no_body_either_but_an_error(w: World) -> None:
    row = await one(w)
    w.graph.fail("mime", Throttled(""))
    with pytest.raises(Throttled):
        await bodies(w).body(row, w.folder("inbox"))
    assert await w.store.pinned(ACCOUNT, row.id) is None


async def test_a_transfer_that_lacks_its_last_boundary_is_asked_for_again(w: World) -> None:
    whole = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"
    row = await one(w, whole[:-6])
    w.graph.during["mime"] = lambda: None
    calls = 0

    async def mime(id: str, *, priority: object = None) -> bytes:
        nonlocal calls
        calls += 1
        return whole[:-6] if calls == 1 else whole

    w.graph.mime = mime  # type: ignore[assignment]
    assert octets(await bodies(w).body(row, w.folder("inbox"))) == whole


@pytest.mark.parametrize(
    ("raw", "cut"),
    [
        (PLAIN, False),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--", False),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b-", True),
        (b"Content-Type: multipart/mixed\r\n\r\nx", False),
    ],
)
def test_cut(raw: bytes, cut: bool) -> None:
    assert is_cut(raw) is cut


@given(st.binary(max_size=200))
def test_header_and_rest_are_the_message(raw: bytes) -> None:
    pin = pin_of(raw)
    assert raw.startswith(pin.header) and len(pin.header) + pin.rest_length == len(raw)


# -- sizes --


async def test_sizes_become_exact_once_and_for_ever(w: World) -> None:
    for _ in range(3):
        w.graph.put("inbox")
    rows = await w.sync("inbox")
    assert not any(row.size_exact for row in rows)
    folder = w.folder("inbox")
    sizes = await bodies(w).exact_sizes(folder, rows)
    assert set(sizes.values()) == {len(PLAIN)} and w.graph.count("mime") == 3
    again = await w.sync("inbox")
    assert [(r.size, r.size_exact) for r in again] == [(len(PLAIN), True)] * 3
    assert [r.modseq for r in again] == [r.modseq for r in rows]  # a size is no change of flags
    await bodies(w).exact_sizes(folder, again)
    assert w.graph.count("mime") == 3


async def test_many_bodies_come_in_order_and_a_few_ahead(w: World) -> None:
    for n in range(9):
        w.graph.put("inbox", PLAIN + b"%d" % n, received=1_700_000_000 + n)
    rows = await w.sync("inbox")
    got = []
    async for row, body in bodies(w).bodies(rows, w.folder("inbox")):
        if not got:
            assert 1 <= w.graph.count("mime") <= 4
        got.append((row.id, octets(body)))
    assert got == [(row.id, w.graph.messages[row.id].mime) for row in rows]
    assert all(row.size_exact for row in await w.rows("inbox"))


async def test_an_abandoned_walk_leaves_nothing_running(w: World) -> None:
    for _ in range(9):
        w.graph.put("inbox")
    walk = bodies(w).bodies(await w.sync("inbox"), w.folder("inbox"))
    await anext(walk)
    await walk.aclose()  # type: ignore[attr-defined]
    assert w.graph.count("mime") < 9


async def test_a_message_expunged_while_it_was_read_does_not_come_back(w: World) -> None:
    row, folder = await one(w), w.folder("inbox")
    await w.store.apply(folder.key, (), [row.id])
    assert octets(await bodies(w).body(row, folder)) == PLAIN
    assert await w.rows("inbox") == []


# -- structures and facts --


async def test_structures_are_rendered_when_mime_is_seen(w: World) -> None:
    row, near = await one(w), bodies(w)
    body = await near.body(row, w.folder("inbox"))
    assert body is not None
    (facts,) = (await w.store.facts(ACCOUNT, [row.id])).values()
    assert facts.header == HEADER and facts.structure is not None
    assert await near.structures(row, body) == (facts.structure, facts.basic_structure)


async def test_header_fields_agree_with_mime_where_mime_was_seen_first(w: World) -> None:
    row, near = await one(w), bodies(w)
    await near.body(row, w.folder("inbox"))
    (meta,) = (await near.metas([row])).values()
    assert meta.header == HEADER and w.graph.count("get") == 0


# -- placeholders --


async def unrenderable(w: World, *files: tuple[str, str, bytes]) -> MessageRow:
    row = await one(w)
    w.graph.messages[row.id].attachments = [
        {
            "id": f"A{n}",
            "name": name,
            "contentType": kind,
            "data": data,
            "@odata.type": "#microsoft.graph.fileAttachment",
        }
        for n, (name, kind, data) in enumerate(files)
    ]
    for _ in range(4):
        w.graph.fail("mime", PermanentFailure("", status=500, code="ErrorMimeContentConversionFailed"))
    return row


async def test_a_message_exchange_cannot_render_is_shown_with_its_attachments(w: World) -> None:
    row = await unrenderable(w, ("a ü.pdf", "application/pdf", b"PDF"), ("note", "text/plain", b"x"))
    near = bodies(w)
    raw = octets(await near.body(row, w.folder("inbox")))
    part = scan(raw)
    assert (part.type, part.subtype, len(part.children)) == (b"multipart", b"mixed", 3)
    assert MARKER.encode() in raw and b"Subject: one\r\n" in raw and b"UERG" in raw and not is_cut(raw)
    assert near.placeholders == 1
    assert await w.store.pinned(ACCOUNT, row.id) is None
    assert not (await w.rows("inbox"))[0].size_exact


async def test_a_placeholder_is_remembered_for_a_while_and_not_for_ever(w: World) -> None:
    row, near = await unrenderable(w), bodies(w)
    first = octets(await near.body(row, w.folder("inbox")))
    assert octets(await near.body(row, w.folder("inbox"))) == first and w.graph.count("mime") == 1
    w.clock.now += 3600
    w.graph.faults["mime"].clear()  # Exchange has learnt it
    assert octets(await near.body(row, w.folder("inbox"))) == PLAIN and await w.store.pinned(
        ACCOUNT, row.id
    ) == pin_of(PLAIN)


async def test_opaque_smime_is_put_together_again(w: World) -> None:
    row = await unrenderable(w, ("smime.p7m", "application/pkcs7-mime", b"\x30\x80" * 60))
    raw = octets(await bodies(w).body(row, w.folder("inbox")))
    part = scan(raw)
    assert (part.type, part.subtype, part.encoding) == (b"application", b"pkcs7-mime", b"base64")
    assert b"Message-ID: <1@example.com>" in raw

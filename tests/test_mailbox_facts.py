"""META: which header block is pinned, and what thousands of headers cost (decision 11)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mailbox_world import ACCOUNT, PLAIN, World, world

from gateway.graph.errors import NotFound, Throttled
from gateway.graph.mail import PR_TRANSPORT_HEADERS
from gateway.graph.model import EmailAddress, ExtendedProperty, Header, Message, Recipient
from gateway.graph.props import parse_property
from gateway.mailbox.facts import encoded, facts_of, facts_of_octets, is_whole, metas
from gateway.mime.header import Fields, decoded
from tests.store_support import put_original

BLOCK = "Received: by x\r\n\tfolded\r\nFrom: Bob <bob@example.com>\r\nSubject: one\r\n\r\n"


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


def message(block: str = "", listed: list[tuple[str, str]] | None = None, **facts: Any) -> Message:
    properties = [ExtendedProperty("String 0x7d", block)] if block else None
    headers = [Header(name, value) for name, value in listed] if listed else None
    return Message(
        id="A", internet_message_headers=headers, single_value_extended_properties=properties, **facts
    )


def person(address: str, name: str = "") -> Recipient:
    return Recipient(email_address=EmailAddress(name or None, address))


THREE = [("Received", "by x folded"), ("From", "Bob <bob@example.com>"), ("Subject", "one")]


def test_the_raw_block_is_taken_if_it_is_whole() -> None:
    assert facts_of(message(BLOCK, THREE)).header == BLOCK.encode()


@pytest.mark.parametrize("block", [BLOCK[:40], BLOCK[:15], BLOCK[:-24], "Received: by x\r\n\tfolded\r\n\r\n"])
def test_a_truncated_block_is_not(block: str) -> None:
    header = facts_of(message(block, THREE)).header
    assert header == b"Received: by x folded\r\nFrom: Bob <bob@example.com>\r\nSubject: one\r\n\r\n"


def test_whole() -> None:
    assert is_whole(BLOCK.encode(), 3) and not is_whole(BLOCK.encode(), 4) and not is_whole(b"A: b", 1)


def test_fields_that_exchange_left_out_are_added_from_json() -> None:
    told = message(
        "Subject: one\r\n", [("Subject", "one")], from_=person("bob@example.com"), internet_message_id="<1@e>"
    )
    fields = Fields(facts_of(told).header)
    assert fields.first(b"from") == b"bob@example.com" and fields.all(b"subject") == [b"one"]
    assert fields.first(b"message-id") == b"<1@e>"
    assert b"bob" in facts_of(told).envelope


def test_a_draft_gets_a_header_from_json() -> None:
    draft = message(
        subject="Grüße",
        sent_date_time="2026-01-02T03:04:05Z",
        from_=person("me@example.com", "Me"),
        sender=person("other@example.com"),
        to_recipients=[person("b@example.com", 'B "x"'), person("c@example.com", "Çelik")],
        bcc_recipients=[person("d@example.com")],
        body_preview="p" * 300,
    )
    facts = facts_of(draft)
    fields = Fields(facts.header)
    assert facts.header.isascii() and facts.header.endswith(b"\r\n\r\n") and len(facts.preview) == 200
    assert decoded(fields.first(b"subject") or b"") == "Grüße"
    assert fields.first(b"date") == b"Fri, 02 Jan 2026 03:04:05 +0000"
    assert fields.first(b"sender") == b"other@example.com" and fields.first(b"bcc") == b"d@example.com"
    assert decoded(fields.first(b"to") or b"") == r'"B \"x\"" <b@example.com>, Çelik <c@example.com>'


def test_nothing_at_all_is_still_a_header_block() -> None:
    facts = facts_of(message())
    assert facts.header == b"\r\n" and facts.envelope.startswith(b"(NIL NIL ")


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), max_size=200))
def test_encoded_words_hold_any_text(text: str) -> None:
    words = encoded(text)
    assert words.isascii() and all(
        len(word) <= 75 for word in words.split(" ") if word.startswith("=?utf-8?B?")
    )
    if not text.isascii():
        assert decoded(words.encode()) == text


def test_mime_with_bare_line_feeds_and_no_end() -> None:
    assert facts_of_octets(b"Subject: x\nTo: y").header == b"Subject: x\r\nTo: y\r\n\r\n"
    assert facts_of_octets(b"").header == b"\r\n"


# -- what it costs --


async def test_a_few_are_one_batch_and_asked_once(w: World) -> None:
    for _ in range(5):
        w.graph.put("inbox")
    rows = await w.sync("inbox")
    for _ in range(2):
        found = await metas(w.ctx, rows)
        assert len(found) == 5 and all(b"Subject: one" in meta.header for meta in found.values())
    assert [name for name, _ in w.graph.calls] == ["get"]


async def test_messages_that_are_gone_are_left_out(w: World) -> None:
    w.graph.put("inbox")
    w.graph.put("inbox")
    rows = await w.sync("inbox")
    del w.graph.messages[rows[0].id]
    assert set(await metas(w.ctx, rows)) == {rows[1].id}


async def test_graphs_trouble_is_an_error_not_an_absence(w: World) -> None:
    w.graph.put("inbox")
    rows = await w.sync("inbox")
    w.graph.fail("get", Throttled(""), id=rows[0].id)
    with pytest.raises(Throttled):
        await metas(w.ctx, rows)
    w.graph.fail("get", NotFound(""), id=rows[0].id)
    assert await metas(w.ctx, rows) == {}


async def test_appended_mail_has_its_own_header(w: World) -> None:
    w.graph.put("inbox")
    rows = await w.sync("inbox")
    await put_original(w.store, ACCOUNT, rows[0].id, b"Subject: mine\r\n\r\nx")
    (meta,) = (await metas(w.ctx, rows)).values()
    assert meta.header == b"Subject: mine\r\n\r\n" and w.graph.calls == []


async def test_what_was_pinned_first_stays(w: World) -> None:
    stored = w.graph.put("inbox", PLAIN)
    stored.props[parse_property(PR_TRANSPORT_HEADERS)] = BLOCK
    stored.headers = THREE
    rows = await w.sync("inbox")
    before = await metas(w.ctx, rows)
    assert before[rows[0].id].header.startswith(BLOCK.encode()[:-2])
    w.graph.outlook(stored.id, headers=[("Subject", "other")])
    assert (await metas(w.ctx, rows))[rows[0].id] == before[rows[0].id]

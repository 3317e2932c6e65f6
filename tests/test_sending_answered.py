"""What a submission answers or forwards is marked so, if its client does not do it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mailbox_world import ACCOUNT, Held, World, world

from gateway.core.types import FlagChange, FlagOp, Flags
from gateway.graph.errors import Throttled
from gateway.mailbox.changes import store_flags
from gateway.mailbox.facts import facts_from
from gateway.mailbox.sending import answered, deliver
from gateway.mailbox.sending.answered import DELAY, marks_of
from gateway.mailbox.sending.courier import Courier
from gateway.mailbox.values import Envelope
from gateway.mailbox.work import settled
from gateway.mime.header import Fields

ORIGINAL = b"From: b@x.com\r\nTo: a@x.com\r\nSubject: ?\r\nMessage-ID: <q@x.com>\r\n\r\nwhy\r\n"
HEAD = b"From: a@x.com\r\nTo: b@x.com\r\nDate: Thu, 1 Jan 2026 10:00:00 +0000\r\nMessage-ID: <s@x.com>\r\n"
ANSWER = b"In-Reply-To: <q@x.com>\r\nReferences: <q@x.com>\r\n"
FORWARD = b"References: <q@x.com>\r\nX-Forwarded-Message-Id: <q@x.com>\r\n"
VERB = "Integer 0x1081"
BOTH = Flags.of([b"\\Answered", b"$Forwarded"])


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made
        await settled()


async def known(w: World, folder: str = "inbox") -> str:
    """A message whose header a client has read."""
    stored = w.graph.put(folder, ORIGINAL)
    (row,) = [row for row in await w.sync(folder) if row.id == stored.id]
    await w.store.put_facts(ACCOUNT, {row.id: await facts_from(ORIGINAL)})
    return stored.id


async def submit(w: World, fields: bytes = ANSWER) -> None:
    queue_id = await deliver.submit(
        w.ctx, Envelope("a@x.com", ("b@x.com",)), Held(HEAD + fields + b"\r\nhi\r\n")
    )
    await deliver.heard(w.ctx, queue_id)
    del w.graph.calls[:]


async def courier(w: World, after: float = DELAY + 1) -> float | None:
    w.clock.now += after
    return await Courier(w.ctx).round()


def calls(w: World) -> list[str]:
    return [name for name, _ in w.graph.calls]


@pytest.mark.parametrize(
    ("fields", "flag", "verb"), [(ANSWER, b"\\Answered", "102"), (FORWARD, b"$Forwarded", "104")]
)
async def test_the_original_is_marked_in_one_request(w: World, fields: bytes, flag: bytes, verb: str) -> None:
    id = await known(w)
    await submit(w, fields)
    assert (await courier(w, 1.0) or 99) <= DELAY and calls(w) == []  # the client may do it itself
    await courier(w)
    assert calls(w) == ["patch"] and w.graph.messages[id].prop(VERB) == verb
    assert await w.flags("inbox") == [Flags.of([flag])]
    await courier(w)
    assert calls(w) == ["patch"]


async def test_an_answer_and_a_forward_of_one_message_are_both_marked(w: World) -> None:
    await known(w)
    await submit(w)
    await submit(w, FORWARD)
    await courier(w)
    assert await w.flags("inbox") == [BOTH]


async def test_what_the_client_has_marked_is_left_alone(w: World) -> None:
    await known(w)
    await submit(w)
    change = FlagChange(FlagOp.ADD, Flags.of([b"\\Answered"]))
    await store_flags(w.ctx, await w.fresh("inbox"), await w.rows("inbox"), change)
    del w.graph.calls[:]
    await courier(w)
    assert calls(w) == []


async def test_it_is_found_in_whatever_folder_and_in_inbox_first(w: World) -> None:
    await known(w, "sentitems")
    await submit(w)
    await courier(w)
    assert await w.flags("sentitems") == [Flags.of([b"\\Answered"])]
    await known(w)
    await known(w, "deleteditems")
    await submit(w)
    await courier(w)
    assert await w.flags("inbox") == [Flags.of([b"\\Answered"])] and await w.flags("deleteditems") == [
        Flags()
    ]


@pytest.mark.parametrize("fields", [b"", b"In-Reply-To: <other@x.com>\r\n", b"In-Reply-To: your mail\r\n"])
async def test_an_original_that_is_not_known_costs_nothing(w: World, fields: bytes) -> None:
    await known(w)
    await submit(w, fields)
    await courier(w)
    assert calls(w) == [] and await w.flags("inbox") == [Flags()]


async def test_it_can_be_switched_off(w: World) -> None:
    w.settings.mark_answered = False
    await known(w)
    await submit(w)
    await courier(w)
    assert calls(w) == []


async def test_graph_in_trouble_concerns_nobody(w: World) -> None:
    id = await known(w)
    await submit(w)
    w.graph.fail("patch", Throttled(""), id=id)
    await courier(w)
    assert calls(w)[0] == "patch" and not w.ctx.outgoing.answers and await w.flags("inbox") == [Flags()]


async def test_marks_that_wait_are_bounded(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answered, "BOUND", 2)
    for number in range(4):
        await submit(w, b"In-Reply-To: <%d@x.com>\r\n" % number)
    assert [name for name, _ in w.ctx.outgoing.answers] == [b"<2@x.com>", b"<3@x.com>"]


def test_what_a_header_says() -> None:
    def said(text: bytes) -> dict[bytes, bool]:
        return marks_of(Fields(text + b"\r\n"))

    assert said(b"In-Reply-To: <a@x>\r\n <b@x> (of yesterday)\r\n") == {b"<a@x>": False, b"<b@x>": False}
    assert said(b"In-Reply-To: <a@x>\r\nX-Forwarded-Message-Id: <a@x>\r\n") == {b"<a@x>": True}
    assert said(b"References: <a@x>\r\nSubject: <b@x>\r\n") == {}
    assert len(said(b"In-Reply-To: " + b"".join(b" <%d@x>" % n for n in range(99)) + b"\r\n")) == 5

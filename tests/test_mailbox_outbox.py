"""The outbox: accepted is sent, in order, however long Graph is away; or the sender hears of it (RFC 3464)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from crashing import CrashError, mortal
from mailbox_world import ACCOUNT, Held, World, world

from gateway.core.errors import SubmissionRefused
from gateway.core.limits import DEFAULT_LIMITS
from gateway.graph.errors import (
    BadRecipients,
    GraphError,
    OutcomeUnknown,
    QuotaExceeded,
    SignInFailed,
    Throttled,
    Unreachable,
)
from gateway.mailbox.outgoing import Outgoing
from gateway.mailbox.sending import deliver
from gateway.mailbox.sending.courier import LINGER, REMEMBERED, Courier
from gateway.mailbox.values import Asked, Dsn, Envelope
from gateway.mailbox.work import settled

HEAD = (
    b"From: a@x.com\r\nTo: b@x.com\r\nDate: Thu, 1 Jan 2026 10:00:00 +0000\r\nMessage-ID: <%b@x.com>\r\n\r\n"
)
TO_B = Envelope("a@x.com", ("b@x.com",))
DAY = 86_400.0


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, limits=replace(DEFAULT_LIMITS)) as made:
        made.settings.submission_mode = "queue"
        yield made
        await settled()


def letter(name: str = "s", body: bytes = b"hi\r\n") -> bytes:
    return HEAD % name.encode() + body


async def submit(w: World, raw: bytes = b"", envelope: Envelope = TO_B, *, heard: bool = True) -> str:
    queue_id = await deliver.submit(w.ctx, envelope, Held(raw or letter()))
    await deliver.heard(w.ctx, queue_id) if heard else deliver.lost(w.ctx, queue_id)
    return queue_id


async def work(w: World, after: float = 0.0) -> float | None:
    w.clock.now += after
    return await Courier(w.ctx).round()


async def depth(w: World) -> int:
    return (await w.store.queue_totals()).depth


def reports(w: World) -> list[bytes]:
    return [m.json["internetMessageId"].encode() for m in w.graph.inside("inbox")]


async def report(w: World) -> bytes:
    """The octets of the one report."""
    (message,) = w.graph.inside("inbox")
    assert not message.draft and not message.read
    octets = await w.store.original(ACCOUNT, message.id)  # type: ignore[arg-type]
    assert octets is not None
    return octets


# -- accepted and sent --


async def test_accepted_is_a_row_and_octets_and_no_request(w: World) -> None:
    await submit(w)
    assert w.graph.calls == [] and await depth(w) == 1 and w.ctx.outgoing.wake.is_set()
    await work(w)
    assert w.graph.sent == [letter()] and await depth(w) == 0


async def test_what_cannot_be_sent_is_refused_at_once(w: World) -> None:
    with pytest.raises(SubmissionRefused) as caught:
        await submit(w, letter(), Envelope("a@x.com", ("c@x.com",)))
    assert caught.value.status == 550 and await depth(w) == 0


async def test_in_the_order_in_which_they_came(w: World) -> None:
    letters = [letter(str(n)) for n in range(5)]
    for each in letters:
        await submit(w, each)
    w.graph.fail("send_draft", Throttled("", retry_after=90.0))
    pause = await work(w)
    assert pause is not None and w.graph.sent == []
    await work(w, 89)
    assert w.graph.sent == []
    await work(w, 3)
    assert w.graph.sent == letters


async def test_it_survives_a_restart(w: World) -> None:
    await submit(w)
    await w.restarted()
    assert await w.store.submission_accounts() == [ACCOUNT]
    await work(w)
    assert w.graph.sent == [letter()]


async def test_the_octets_are_given_back(w: World) -> None:
    await submit(w)
    await work(w)
    (row,) = await w.store.submissions(ACCOUNT)
    assert row.blob == b""


async def test_it_backs_off(w: World) -> None:
    await submit(w)
    waits = []
    for _ in range(9):
        w.graph.fail("create_from_mime", Throttled(""))
        await work(w)
        (row,) = await w.store.submissions(ACCOUNT)
        waits.append(row.due - w.clock.now)
        w.clock.now = float(row.due)
    assert waits[:3] == [31, 61, 121] and waits[-1] == 1801
    await work(w)
    assert w.graph.sent == [letter()] and w.graph.count("find_by_message_id") == 0


@pytest.mark.parametrize("error", [Throttled(""), Unreachable(""), SignInFailed(""), QuotaExceeded("")])
async def test_whatever_may_pass_is_waited_for(w: World, error: GraphError) -> None:
    await submit(w)
    for method in ("create_from_mime", "send_draft"):
        for _ in range(4):
            w.graph.fail(method, error)
    for _ in range(12):
        await work(w, 1801)
    assert w.graph.sent == [letter()] and w.graph.inside("drafts") == [] == w.graph.inside("inbox")


# -- retries of clients --


async def test_the_retry_of_a_client_that_did_not_hear(w: World) -> None:
    first = await submit(w, heard=False)
    assert await submit(w) == first
    assert await submit(w) != first
    await work(w)
    assert len(w.graph.sent) == 2


async def test_also_after_it_was_sent(w: World) -> None:
    first = await submit(w, heard=False)
    await work(w)
    assert await submit(w) == first
    await work(w)
    assert len(w.graph.sent) == 1


# -- what comes back --


async def test_refused_for_good_the_sender_hears_of_it(w: World) -> None:
    await submit(w, letter("bad"))
    await submit(w, letter("good"))
    w.graph.fail("send_draft", BadRecipients(""))
    await work(w)
    assert w.graph.sent == [letter("good")], "the next one does not wait"
    told = await report(w)
    assert (
        b"Action: failed" in told and b"Status: 5.1.3" in told and b"Final-Recipient: rfc822; b@x.com" in told
    )
    assert b"Message-ID: <bad@x.com>" in told and b"To: <a@x.com>" in told
    assert w.graph.inside("drafts") == [] and await depth(w) == 0
    await work(w, REMEMBERED + 1)
    assert [row.state for row in await w.store.submissions(ACCOUNT)] == []


async def test_after_days_it_gives_up(w: World) -> None:
    await submit(w)
    for _ in range(49):
        w.graph.fail("create_from_mime", Throttled(""))
        await work(w, 3600)
    assert b"Status: 4.4.7" in await report(w) and b"451 4.3.2" in await report(w)
    assert w.graph.sent == [] and await depth(w) == 0


async def test_what_was_sent_after_all_is_not_reported(w: World) -> None:
    await submit(w)
    w.graph.fail("send_draft", OutcomeUnknown(""), when="after")
    w.graph.fail("get", Throttled(""), id="AAkA0001")
    await work(w)
    for _ in range(2):
        w.graph.fail("get", Throttled(""), id="AAkA0001")
    await work(w, 3 * DAY)
    assert await depth(w) == 1
    await work(w, 3 * DAY)
    assert w.graph.inside("inbox") == [] and await depth(w) == 0 and len(w.graph.sent) == 1


async def test_a_report_that_cannot_be_landed_waits_and_holds_up_nobody(w: World) -> None:
    await submit(w, letter("bad"))
    w.graph.fail("send_draft", BadRecipients(""))
    w.graph.fail("find_by_message_id", Unreachable(""))
    await work(w)
    await submit(w, letter("good"))
    await work(w)
    assert w.graph.sent == [letter("good")] and w.graph.inside("inbox") == []
    await work(w, 1802)
    assert len(reports(w)) == 1 and await depth(w) == 0


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Asked(frozenset()), False),
        (Asked(frozenset({"SUCCESS"})), False),
        (Asked(frozenset({"FAILURE"}), "rfc822;b@old.example"), True),
    ],
)
async def test_only_what_was_asked_for(w: World, asked: Asked, told: bool) -> None:
    envelope = Envelope("a@x.com", ("b@x.com",), Dsn("FULL", "QQ314159", (("b@x.com", asked),)))
    await submit(w, letter(), envelope)
    w.graph.fail("send_draft", BadRecipients(""))
    await work(w)
    assert (len(w.graph.inside("inbox")) == 1) == told and await depth(w) == 0
    if told:
        octets = await report(w)
        assert b"Original-Envelope-Id: QQ314159" in octets
        assert b"Original-Recipient: rfc822; b@old.example" in octets
        assert letter() in octets


async def test_the_null_path_hears_nothing(w: World) -> None:
    await submit(w, letter(), Envelope("", ("b@x.com",)))
    w.graph.fail("send_draft", BadRecipients(""))
    await work(w)
    assert w.graph.inside("inbox") == [] and await depth(w) == 0


# -- nodes and crashes --


async def test_what_another_node_is_sending_is_not_sent_here_nor_overtaken(w: World) -> None:
    await submit(w, letter("1"))
    await submit(w, letter("2"))
    first, _ = await w.store.submissions(ACCOUNT)
    now = int(w.clock.now)
    assert await w.store.submission_claim(first.id, "other", now, now + 90)
    await work(w)
    assert w.graph.sent == []
    await work(w, 91)
    assert w.graph.sent == [letter("1"), letter("2")]


async def test_two_nodes_on_one_queue_send_each_message_once_and_in_order(w: World) -> None:
    letters = [letter(str(n)) for n in range(8)]
    for each in letters:
        await submit(w, each)
    nodes = [replace(w.ctx, node=name, outgoing=Outgoing()) for name in ("a", "b", "c")]
    for _ in range(8):
        await asyncio.gather(*(Courier(node).round() for node in nodes))
        w.clock.now += 1
    assert w.graph.sent == letters


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("failure", [None, BadRecipients("")])
async def test_wherever_the_process_dies(w: World, done: bool, failure: GraphError | None) -> None:
    """Sent once, or reported once; never neither."""
    for at in range(1, 80):
        raw = letter(f"{at}-{done}")
        before, told = len(w.graph.sent), len(w.graph.inside("inbox"))
        accepted = True
        if failure is not None:
            w.graph.fail("send_draft", failure)
        with mortal(w.graph, w.store) as watched:
            watched.at, watched.done = at, done
            try:
                deliver.lost(w.ctx, await deliver.submit(w.ctx, TO_B, Held(raw)))
                await Courier(w.ctx).round()
            except CrashError:
                pass
        reached = watched.steps
        await settled()
        await w.restarted()
        deliver.lost(w.ctx, await deliver.submit(w.ctx, TO_B, Held(raw))) if accepted else None
        for _ in range(4):
            await work(w, LINGER + 1)
        w.graph.faults.clear()
        sent, reported = len(w.graph.sent) - before, len(w.graph.inside("inbox")) - told
        assert (sent, reported) in ([(1, 0)] if failure is None else [(0, 1), (1, 1), (1, 0)]), (
            at,
            sent,
            reported,
        )
        assert w.graph.inside("drafts") == [], at
        await work(w, w.ctx.settings.retry_window + 1)
        if reached < at:
            break
    assert at > 8

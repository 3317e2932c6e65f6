"""Submission, exactly once: a draft, its sending, what a lost answer means, who counts as a retry (contract section
10.2; mission "never" 1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from crashing import CrashError, mortal
from mailbox_world import ACCOUNT, Held, World, world

from gateway.core.errors import SubmissionRefused
from gateway.core.limits import DEFAULT_LIMITS, KIB
from gateway.graph.errors import (
    BadRecipients,
    Denied,
    GraphError,
    Invalid,
    NotFound,
    OutcomeUnknown,
    QuotaExceeded,
    SendLimit,
    SignInFailed,
    Throttled,
    TooLarge,
    Unreachable,
)
from gateway.mailbox.outgoing import Outgoing, peer_alive
from gateway.mailbox.sending import deliver
from gateway.mailbox.sending.courier import LINGER, REMEMBERED, Courier
from gateway.mailbox.sending.ending import KEPT
from gateway.mailbox.sending.record import DRAFTING, SENDING, SENT
from gateway.mailbox.values import Envelope
from gateway.mailbox.work import settled

RAW = b"From: a@x.com\r\nTo: b@x.com\r\nDate: Thu, 1 Jan 2026 10:00:00 +0000\r\nMessage-ID: <s@x.com>\r\n\r\nhi\r\n"
TO_B = Envelope("a@x.com", ("b@x.com",))
LOST = [OutcomeUnknown(""), Unreachable("")]


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, limits=replace(DEFAULT_LIMITS, request_body=100 * KIB)) as made:
        yield made
        await settled()


async def submit(w: World, raw: bytes = RAW, envelope: Envelope = TO_B, *, heard: bool = True) -> str:
    """One submission whose client goes on after the 250, or is gone without a sign that it heard it."""
    queue_id = await deliver.submit(w.ctx, envelope, Held(raw))
    if heard:
        await deliver.heard(w.ctx, queue_id)
    else:
        deliver.lost(w.ctx, queue_id)
    return queue_id


async def refused(w: World, raw: bytes = RAW, envelope: Envelope = TO_B) -> SubmissionRefused:
    with pytest.raises(SubmissionRefused) as caught:
        await submit(w, raw, envelope)
    return caught.value


async def states(w: World) -> list[str]:
    return [row.state for row in await w.store.submissions(ACCOUNT)]


async def tidy(w: World, after: float = LINGER + 1) -> None:
    """A round of the courier when nobody has come again for a while."""
    w.clock.now += after
    await Courier(w.ctx).round()


def in_drafts(w: World) -> int:
    return len(w.graph.inside("drafts"))


def calls(w: World) -> list[str]:
    return [name for name, _ in w.graph.calls]


# -- in the ordinary case --


async def test_a_submission_is_two_requests(w: World) -> None:
    queue_id = await submit(w)
    assert queue_id.isalnum() and w.graph.sent == [RAW]
    assert calls(w) == ["create_from_mime", "send_draft"]
    assert await states(w) == [SENT] and in_drafts(w) == 0


async def test_what_is_heard_is_forgotten_soon_and_what_is_not_within_the_window(w: World) -> None:
    await submit(w)
    await submit(w, RAW + b"2", heard=False)
    await tidy(w, REMEMBERED + 1)
    assert await states(w) == [SENT]
    await tidy(w, w.ctx.settings.retry_window)
    assert await states(w) == []
    assert calls(w)[4:] == []  # nothing was asked for that


async def test_too_big_and_nobody(w: World) -> None:
    assert (await refused(w, RAW + b"x" * 100_000)).status == 552
    assert (await refused(w, RAW, Envelope("a@x.com", ()))).status == 554
    assert w.graph.calls == [] and await states(w) == []


# -- lost answers --


@pytest.mark.parametrize("error", LOST)
async def test_a_draft_whose_creation_nobody_confirmed_is_found_and_sent(w: World, error: GraphError) -> None:
    w.graph.fail("create_from_mime", error, when="after")
    await submit(w)
    assert w.graph.sent == [RAW] and calls(w)[0:2] == ["create_from_mime", "find_by_message_id"]
    assert w.graph.count("create_from_mime") == 1 and in_drafts(w) == 0


async def test_a_draft_that_was_not_created_is_created_again(w: World) -> None:
    w.graph.fail("create_from_mime", OutcomeUnknown(""))
    await submit(w)
    assert w.graph.sent == [RAW] and in_drafts(w) == 0


async def test_a_draft_that_turns_up_late_is_discarded(w: World) -> None:
    w.graph.fail("create_from_mime", OutcomeUnknown(""))
    await submit(w)
    w.graph.put("drafts", RAW, draft=True)  # the first one, after all
    await tidy(w)
    assert in_drafts(w) == 0 and w.graph.sent == [RAW]
    assert len(w.graph.inside("recoverableitemsdeletions")) == 1


async def test_a_stray_for_other_recipients_is_never_sent_in_its_place(w: World) -> None:
    """Devices use one Message-ID again and again."""
    to_c = Envelope("a@x.com", ("c@x.com",))
    raw = RAW.replace(b"To: b@x.com", b"To: undisclosed-recipients:;")
    w.graph.fail("create_from_mime", OutcomeUnknown(""))
    await submit(w, raw)
    stray = w.graph.put("drafts", w.graph.sent[0], draft=True)
    w.graph.fail("create_from_mime", OutcomeUnknown(""))
    await submit(w, raw, to_c)
    assert [b"b@x.com" in sent for sent in w.graph.sent] == [True, False] and stray.draft
    await tidy(w)
    await tidy(w)
    assert in_drafts(w) == 0 and len(w.graph.sent) == 2
    await tidy(w, REMEMBERED)
    assert await states(w) == []


async def test_two_that_were_given_up_at_the_same_step_do_not_wait_for_each_other(w: World) -> None:
    for envelope in (TO_B, Envelope("a@x.com", ("b@x.com", "c@x.com"))):
        for _ in range(2):
            w.graph.fail("create_from_mime", OutcomeUnknown(""))
        assert (await refused(w, RAW, envelope)).status == 451
        w.graph.put("drafts", RAW, draft=True)
    assert await states(w) == [DRAFTING, DRAFTING]
    await tidy(w)
    await tidy(w)
    assert await states(w) == [] and in_drafts(w) == 0 and w.graph.sent == []


async def test_a_clients_own_draft_of_that_message_id_is_nobodys_but_his(w: World) -> None:
    w.graph.put("drafts", RAW, draft=True)
    await w.sync("drafts")
    w.graph.fail("create_from_mime", OutcomeUnknown(""), when="after")
    await submit(w)
    w.graph.fail("create_from_mime", OutcomeUnknown(""))
    await submit(w, RAW + b"2")
    await tidy(w)
    assert in_drafts(w) == 1 and len(w.graph.sent) == 2


@pytest.mark.parametrize("error", LOST)
async def test_a_lost_answer_to_the_sending_is_found_out_by_the_id(w: World, error: GraphError) -> None:
    w.graph.fail("send_draft", error, when="after")
    await submit(w)
    assert w.graph.sent == [RAW] and calls(w) == ["create_from_mime", "send_draft", "get"]


@pytest.mark.parametrize("error", LOST)
async def test_what_was_not_sent_is_sent_again_after_two_looks(w: World, error: GraphError) -> None:
    w.graph.fail("send_draft", error)
    await submit(w)
    assert w.graph.sent == [RAW]
    assert calls(w) == ["create_from_mime", "send_draft", "get", "get", "send_draft"]
    assert sum(w.clock.slept) >= 1.0


async def test_a_copy_that_is_late_is_waited_for(w: World) -> None:
    w.graph.deliver_sent_copy = False
    w.graph.fail("send_draft", OutcomeUnknown(""), when="after")
    w.graph.during["get"] = lambda: w.graph.during.update(get=w.graph.arrive)
    await submit(w)
    assert w.graph.sent == [RAW] and w.graph.count("get") == 2


async def test_an_outcome_that_cannot_be_seen_is_a_451_and_the_retry_looks(w: World) -> None:
    w.graph.deliver_sent_copy = False
    w.graph.fail("send_draft", OutcomeUnknown(""), when="after")
    assert (await refused(w)).status == 451
    assert await states(w) == [SENDING]
    w.clock.now += 300
    w.graph.arrive()
    await submit(w)
    assert w.graph.sent == [RAW] and w.graph.count("create_from_mime") == 1


async def test_what_is_gone_from_drafts_for_a_minute_was_sent(w: World) -> None:
    """Its copy was moved on by a rule, or removed by its owner."""
    w.graph.deliver_sent_copy = False
    w.graph.fail("send_draft", OutcomeUnknown(""), when="after")
    await refused(w)
    await tidy(w, 61)
    assert await states(w) == [SENT]
    await submit(w)
    assert w.graph.sent == [RAW]


async def test_the_retry_goes_on_with_the_draft_there_is(w: World) -> None:
    for _ in range(3):
        w.graph.fail("send_draft", OutcomeUnknown(""))
    assert (await refused(w)).status == 451 and in_drafts(w) == 1
    w.clock.now += 60
    await submit(w)
    assert w.graph.sent == [RAW] and w.graph.count("create_from_mime") == 1 and in_drafts(w) == 0


async def test_no_retry_comes_and_the_draft_goes(w: World) -> None:
    for _ in range(3):
        w.graph.fail("send_draft", OutcomeUnknown(""))
    await refused(w)
    await tidy(w, 10)
    assert in_drafts(w) == 1
    await tidy(w)
    assert in_drafts(w) == 0 and await states(w) == [] and w.graph.sent == []
    await submit(w)  # a late retry begins anew
    assert w.graph.sent == [RAW]


async def test_a_draft_that_somebody_took_away_is_made_again(w: World) -> None:
    w.graph.fail("send_draft", NotFound("", status=404))
    assert (await refused(w)).status == 451
    assert await states(w) == [DRAFTING]
    await submit(w)
    await tidy(w)
    assert w.graph.sent == [RAW] and in_drafts(w) == 0


async def test_a_refusal_after_a_lost_answer_is_believed_only_if_the_draft_is_there(w: World) -> None:
    """A send of what is no draft any more is refused: it was sent."""
    w.graph.fail("send_draft", OutcomeUnknown(""))
    w.graph.during["send_draft"] = lambda: None
    w.graph.fail("send_draft", Invalid("", status=400), when="after")
    await submit(w)
    assert len(w.graph.sent) == 1
    w.graph.fail("send_draft", OutcomeUnknown(""))
    w.graph.fail("send_draft", Denied("", code="ErrorSendAsDenied"))
    assert (await refused(w, RAW + b"2")).status == 550
    assert len(w.graph.sent) == 1 and in_drafts(w) == 0


async def test_graph_cannot_be_asked_what_became_of_it(w: World) -> None:
    w.graph.fail("send_draft", OutcomeUnknown(""), when="after")
    (id,) = [f"AAkA{1:04d}"]
    w.graph.fail("get", Denied(""), id=id)
    assert (await refused(w)).status == 451, "a refusal to look is no refusal to send"
    await submit(w)
    assert w.graph.sent == [RAW]


# -- refusals --


@pytest.mark.parametrize(
    ("error", "status", "enhanced"),
    [
        (Denied("", code="ErrorSendAsDenied"), 550, "5.7.60"),
        (BadRecipients(""), 550, "5.1.3"),
        (QuotaExceeded(""), 452, "4.2.2"),
        (SendLimit(""), 452, "4.5.3"),
        (TooLarge(""), 552, "5.3.4"),
        (SignInFailed(""), 535, "5.7.8"),
        (Throttled(""), 451, "4.3.2"),
    ],
)
@pytest.mark.parametrize("method", ["create_from_mime", "send_draft"])
async def test_a_refusal_is_clear_and_leaves_nothing(
    w: World, error: GraphError, status: int, enhanced: str, method: str
) -> None:
    w.graph.fail(method, error)
    answer = await refused(w)
    assert (answer.status, answer.enhanced) == (status, enhanced) and w.graph.sent == []
    await tidy(w)
    assert await states(w) == [] and in_drafts(w) == 0
    await submit(w)
    assert w.graph.sent == [RAW]


async def test_a_draft_that_cannot_be_discarded_now_is_discarded_later(w: World) -> None:
    w.graph.fail("send_draft", Denied("", code="ErrorSendAsDenied"))
    w.graph.fail("move", Throttled(""), id="AAkA0001")
    assert (await refused(w)).status == 550
    assert in_drafts(w) == 1
    await tidy(w, 1)
    assert in_drafts(w) == 0 and await states(w) == []


# -- who comes again --


async def test_identical_alarms_are_as_many_messages(w: World) -> None:
    for _ in range(3):
        await submit(w)
    assert len(w.graph.sent) == 3


async def test_identical_alarms_at_the_same_time_are_as_many_messages(w: World) -> None:
    await asyncio.gather(submit(w), submit(w))
    assert len(w.graph.sent) == 2


async def test_a_retry_whose_250_was_lost_is_answered_and_not_sent(w: World) -> None:
    first = await submit(w, heard=False)
    assert await submit(w) == first
    assert len(w.graph.sent) == 1
    await submit(w)  # it heard the second 250: this is another alarm
    assert len(w.graph.sent) == 2


async def test_after_a_restart_too(w: World) -> None:
    first = await submit(w, b"Subject: scan\r\n\r\nx\r\n", heard=False)
    await w.restarted()
    assert await submit(w, b"Subject: scan\r\n\r\nx\r\n") == first
    assert len(w.graph.sent) == 1


async def test_what_was_heard_is_heard_after_a_restart(w: World) -> None:
    await submit(w)
    await w.restarted()
    await submit(w)
    assert len(w.graph.sent) == 2


async def test_two_lost_replies_are_two_retries(w: World) -> None:
    one, two = [await deliver.submit(w.ctx, TO_B, Held(RAW)) for _ in range(2)]
    deliver.lost(w.ctx, one)
    deliver.lost(w.ctx, two)
    again = [await deliver.submit(w.ctx, TO_B, Held(RAW)) for _ in range(2)]
    assert sorted(again) == sorted([one, two]) and len(w.graph.sent) == 2


async def test_a_lost_reply_to_the_retry_is_a_lost_reply(w: World) -> None:
    first = await submit(w, heard=False)
    assert [await submit(w, heard=False) for _ in range(3)] == [first] * 3
    assert len(w.graph.sent) == 1


async def test_a_connection_that_lives_beside_makes_it_another_message(w: World) -> None:
    await deliver.submit(w.ctx, TO_B, Held(RAW))
    await submit(w)
    assert len(w.graph.sent) == 2 and sum(w.clock.slept) > 0


async def test_the_window_has_an_end(w: World) -> None:
    await submit(w, heard=False)
    await tidy(w, w.ctx.settings.retry_window + 1)
    await submit(w)
    assert len(w.graph.sent) == 2


async def test_each_lost_reply_opens_the_window_anew(w: World) -> None:
    first = await submit(w, heard=False)
    for _ in range(3):
        await tidy(w, w.ctx.settings.retry_window - 10)
        assert await submit(w, heard=False) == first
    assert len(w.graph.sent) == 1


async def test_other_recipients_or_octets_are_another_message(w: World) -> None:
    await submit(w, heard=False)
    await submit(w, RAW, Envelope("a@x.com", ("b@x.com", "c@x.com")))
    await submit(w, RAW + b"!")
    await submit(w, RAW, Envelope("A@x.com", ("B@X.com",)))  # the same: Exchange does not tell cases apart
    assert len(w.graph.sent) == 3


async def test_a_client_that_hangs_up_while_it_is_sent_and_comes_again(w: World) -> None:
    """The 250 would come too late: its retry waits for the end of the first, and takes its answer."""
    gate, there = asyncio.Event(), True
    send = w.graph.send_draft

    async def slow(id: str) -> None:
        await gate.wait()
        await send(id)

    w.graph.send_draft = slow  # type: ignore[method-assign]
    peer_alive.set(lambda: there)
    first = asyncio.create_task(deliver.submit(w.ctx, TO_B, Held(RAW)))
    await asyncio.sleep(0.05)
    there = False
    peer_alive.set(lambda: True)
    second = asyncio.create_task(deliver.submit(w.ctx, TO_B, Held(RAW)))
    await asyncio.sleep(0.05)
    gate.set()
    deliver.lost(w.ctx, await first)
    assert await second == await first and len(w.graph.sent) == 1


async def test_a_cancelled_submission_goes_on_and_its_retry_finds_it(w: World) -> None:
    gate = asyncio.Event()
    send = w.graph.send_draft

    async def slow(id: str) -> None:
        await gate.wait()
        await send(id)

    w.graph.send_draft = slow  # type: ignore[method-assign]
    first = asyncio.create_task(deliver.submit(w.ctx, TO_B, Held(RAW)))
    await asyncio.sleep(0.05)
    first.cancel()
    gate.set()
    await submit(w)
    assert len(w.graph.sent) == 1


async def test_a_retry_after_a_4xx_is_known_for_days(w: World) -> None:
    w.graph.deliver_sent_copy = False
    w.graph.fail("send_draft", OutcomeUnknown(""), when="after")
    await refused(w)
    await tidy(w)
    w.clock.now += KEPT - 2 * LINGER - 100
    await tidy(w)
    await submit(w)
    assert len(w.graph.sent) == 1


# -- one request: submission.path = "mime" --


@pytest.fixture
def by_mime(w: World) -> World:
    w.settings.submission_path = "mime"
    return w


async def test_by_mime_a_submission_is_one_request(by_mime: World) -> None:
    w = by_mime
    await submit(w)
    await submit(w)
    assert w.graph.sent == [RAW, RAW] and calls(w) == ["send_mime"] * 2


@pytest.mark.parametrize("error", LOST)
async def test_by_mime_a_lost_answer_is_found_out_by_the_copy(by_mime: World, error: GraphError) -> None:
    w = by_mime
    await submit(w)
    w.graph.fail("send_mime", error, when="after")
    await submit(w)
    assert len(w.graph.sent) == 2 and await states(w) == [SENT, SENT]


async def test_by_mime_the_retry_looks_first(by_mime: World) -> None:
    w = by_mime
    w.graph.deliver_sent_copy = False
    w.graph.fail("send_mime", OutcomeUnknown(""), when="after")
    assert (await refused(w)).status == 451
    await tidy(w)
    assert await states(w) == [SENDING]
    w.graph.put("sentitems", RAW, created=int(w.clock.now) - 200)
    await submit(w)
    assert len(w.graph.sent) == 1


async def test_by_mime_without_a_trace_the_retry_sends_and_without_a_retry_nothing_does(
    by_mime: World,
) -> None:
    w = by_mime
    w.graph.fail("send_mime", OutcomeUnknown(""))
    await refused(w)
    await submit(w)
    assert w.graph.sent == [RAW]
    w.graph.fail("send_mime", OutcomeUnknown(""))
    await refused(w, RAW + b"2")
    await tidy(w, KEPT + 1)
    assert len(w.graph.sent) == 1 and SENDING not in await states(w)


async def test_by_mime_a_refusal_leaves_nothing(by_mime: World) -> None:
    w = by_mime
    w.graph.fail("send_mime", Throttled(""))
    assert (await refused(w)).status == 451
    assert await states(w) == []


# -- several nodes --


async def test_a_retry_at_another_node_waits_for_the_first(w: World) -> None:
    await submit(w, heard=False)
    (row,) = await w.store.submissions(ACCOUNT)
    row.state, row.holder, row.lease = SENDING, "other", int(w.clock.now) + 600
    await w.store.submission_put(row)
    assert (await refused(w)).status == 451
    await tidy(w, 1)
    assert await states(w) == [SENDING], "it is another node's to find out"
    row.state = SENT
    await w.store.submission_put(row)
    await submit(w)
    assert len(w.graph.sent) == 1


async def test_a_dead_nodes_submission_is_taken_over(w: World) -> None:
    await submit(w, heard=False)
    (row,) = await w.store.submissions(ACCOUNT)
    row.state, row.holder, row.lease = SENDING, "other", int(w.clock.now) + 600
    await w.store.submission_put(row)
    await tidy(w, 601)
    assert await states(w) == [SENT]


async def test_what_one_node_left_unsettled_goes_on_at_another(w: World) -> None:
    here, there = (replace(w.ctx, node=name, outgoing=Outgoing()) for name in ("here", "there"))
    for _ in range(3):
        w.graph.fail("send_draft", OutcomeUnknown(""))
    with pytest.raises(SubmissionRefused):
        await deliver.submit(here, TO_B, Held(RAW))
    await Courier(here).round()
    await deliver.submit(there, TO_B, Held(RAW))
    assert w.graph.sent == [RAW] and w.graph.count("create_from_mime") == 1


# -- crash points --


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("retry", [False, True])
async def test_wherever_the_process_dies(w: World, tmp_path: Path, done: bool, retry: bool) -> None:
    """At every call to Graph or the store, done or not: with a retry it is sent once, without one at most once, and no
    draft stays."""
    for at in range(1, 40):
        raw = RAW.replace(b"<s@", b"<s%d%d%d@" % (at, done, retry))
        before = len(w.graph.sent)
        with mortal(w.graph, w.store) as watched:
            watched.at, watched.done = at, done
            try:
                deliver.lost(w.ctx, await deliver.submit(w.ctx, TO_B, Held(raw)))
            except CrashError:
                pass
            else:
                break
        await w.restarted()
        if retry:
            await submit(w, raw)
            assert len(w.graph.sent) == before + 1, at
        await tidy(w)
        await tidy(w)
        assert len(w.graph.sent) - before in ((1,) if retry else (0, 1)), at
        assert in_drafts(w) == 0 and set(await states(w)) <= {SENT}, at
    assert at == 7

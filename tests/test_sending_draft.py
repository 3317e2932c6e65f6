"""A submission as a draft: in as few requests as can be, whole whatever is lost on the way, and never left behind."""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from emulator_kit import ALICE, BOB, CAROL
from mailbox_world import FakeHubs, Held
from sending_support import leaves

from gateway.core.errors import SubmissionRefused
from gateway.core.types import AccountId, FolderId, SpecialUse
from gateway.emulator.mime_out import render
from gateway.emulator.serve import CLIENT_ID, CLIENT_SECRET, EmulatorOptions, EmulatorThread, RunningEmulator
from gateway.graph.client import GraphClient
from gateway.graph.errors import GraphError, OutcomeUnknown, QuotaExceeded, TooLarge, UploadRefused
from gateway.graph.mail import GraphMailbox
from gateway.graph.model import Message
from gateway.graph.token import MsalTokens, SignIn, app_scopes
from gateway.mailbox.clock import SystemClock
from gateway.mailbox.context import AccountContext, Settings
from gateway.mailbox.replies import submission_refusal
from gateway.mailbox.sealed import CHUNK
from gateway.mailbox.sending import deliver
from gateway.mailbox.sending.draft import create_draft, discard_draft, find_draft, prepare
from gateway.mailbox.spool import MailSpool, SpoolBudget
from gateway.mailbox.values import Envelope
from gateway.mailbox.work import settled
from gateway.store.api import FolderUpsert
from gateway.store.sqlite import SqliteStore
from tests.account_world import NO_LAG, QUICK, Outlook

RNG = random.Random(3)
BIG, BIGGER = RNG.randbytes(9_000), RNG.randbytes(14_000)
TOKEN = "queueid"
LIMITS = replace(QUICK, request_body=8_000, inline_attachment=6_000)
UPLOADS = "attachments/createUploadSession"


@pytest.fixture(scope="module")
def emulator() -> Iterator[RunningEmulator]:
    with EmulatorThread(EmulatorOptions(port=0, http=True)) as running:
        yield running


class Token:
    """Signed in once for all tests."""

    def __init__(self, emulator: RunningEmulator) -> None:
        scopes = tuple(app_scopes(f"{emulator.base_url}/v1.0"))
        sign_in = SignIn(
            authority=emulator.authority, client_id=CLIENT_ID, scopes=scopes, credential=CLIENT_SECRET,
            ca_file=emulator.ca_file,
        )  # fmt: skip
        self._token = asyncio.run(MsalTokens(sign_in).token())

    async def token(self, *, claims: str | None = None, force: bool = False) -> str:
        return self._token


@pytest.fixture(scope="module")
def token(emulator: RunningEmulator) -> Token:
    return Token(emulator)


@dataclass
class Desk:
    """One account before the emulator: no servers, nothing in the background."""

    ctx: AccountContext
    outlook: Outlook


@pytest.fixture
async def s(
    emulator: RunningEmulator, token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    monkeypatch.setattr("gateway.graph.upload.CHUNK", 4_000)
    monkeypatch.setattr("gateway.mailbox.sending.draft._LOOKS", (0.01, 0.02))
    base_url = f"{emulator.base_url}/v1.0"
    store = SqliteStore(tmp_path / "state.db", key=bytes(32), clock=time.time)
    await store.open()
    async with httpx.AsyncClient(base_url=f"{emulator.control_url}/", timeout=30) as http:
        client = GraphClient(base_url, token, limits=LIMITS)
        ctx = AccountContext(
            AccountId(ALICE), GraphMailbox(client, ALICE), store, FakeHubs(), Settings(), LIMITS, SystemClock(),
            random.Random(1),
        )  # fmt: skip
        desk = Desk(ctx, Outlook(emulator, http))
        await desk.outlook.limits(
            **NO_LAG, body_bytes=8_000, attachment_bytes=6_000, upload_chunk_bytes=4_001, send_bytes=10**6
        )
        await _clean(desk)
        yield desk
        await client.aclose()
        await store.close()


async def _clean(desk: Desk) -> None:
    await desk.outlook.heal()
    for user in (ALICE, BOB, CAROL):
        box = desk.outlook.emulator.tenant.box(user)
        box.known_headers.clear()
        for item in list(box.items.values()):
            box.destroy(item)
    drafts = await desk.ctx.graph.get_folder("drafts")
    row = FolderUpsert(
        FolderId(drafts.id), FolderId("root"), "Drafts", "drafts", hidden=False, total=0, unread=0
    )
    (desk.ctx.special[SpecialUse.DRAFTS],) = await desk.ctx.store.put_folders(
        desk.ctx.account, [row], (), link=""
    )


async def context(s: Desk) -> AccountContext:
    await s.outlook.forget()
    return s.ctx


def letter(*files: tuple[str, bytes], extra: str = "", message_id: str = "<m@example.com>") -> bytes:
    head = (
        f"From: {ALICE}\r\nTo: {BOB}\r\nSubject: s\r\nMessage-ID: {message_id}\r\n"
        f"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\n{extra}MIME-Version: 1.0\r\n"
    )
    parts = [b"Content-Type: text/plain\r\n\r\nText."]
    for name, data in files:
        about = f'Content-Type: application/pdf\r\nContent-Disposition: attachment; filename="{name}"\r\n'
        coded = base64.encodebytes(data).replace(b"\n", b"\r\n")
        parts.append(f"{about}Content-Transfer-Encoding: base64\r\n\r\n".encode() + coded)
    inside = b"".join(b"--b\r\n%b\r\n" % part for part in parts)
    return f"{head}Content-Type: multipart/mixed; boundary=b\r\n\r\n".encode() + inside + b"--b--\r\n"


async def made(ctx: AccountContext, raw: bytes, *to: str, token: str = TOKEN, **rest: Any) -> Message:
    prepared = await _prepared(ctx, raw, *to, **rest)
    return await create_draft(ctx, prepared, token)


async def _prepared(ctx: AccountContext, raw: bytes, *to: str, **rest: Any) -> Any:
    envelope = Envelope(ALICE, to or (BOB,), **rest)
    return await prepare(ctx, envelope, Held(raw), now=1_800_000_000, message_id="<g@x>")


async def found(
    ctx: AccountContext, token: str = TOKEN, message_id: str = "<m@example.com>"
) -> Message | None:
    return await find_draft(ctx, token, message_id, int(ctx.clock.time()), set())


async def asked(s: Desk) -> list[str]:
    """Requests, without ids."""
    return [f"{r['method']} {r['path'].rsplit('/', 1)[-1][:20]}" for r in await s.outlook.log()]


def whole(s: Desk, draft: Message) -> dict[str, bytes]:
    """The files of the draft, by name."""
    box = s.outlook.box
    raw = render(box.item_by_id(draft.id), box.mint.guid)
    return {leaf[1]: leaf[4] for leaf in leaves(raw) if leaf[1]}


async def drafts(s: Desk) -> int:
    return len(await s.outlook.listing("drafts"))


# -- requests --


async def test_a_small_message_is_one_request(s: Desk) -> None:
    ctx = await context(s)
    draft = await made(ctx, letter())
    assert draft.is_draft and await asked(s) == ["POST messages"]


async def test_fields_that_would_be_dropped_cost_one_more_until_the_mailbox_knows_them(s: Desk) -> None:
    ctx = await context(s)
    first = await made(ctx, letter(extra="X-Ticket: 4711\r\n"))
    assert [line.split()[0] for line in await asked(s)] == ["POST", "PATCH"]
    await s.outlook.forget()
    second = await made(ctx, letter(extra="X-Ticket: 4712\r\n", message_id="<n@example.com>"))
    assert await asked(s) == ["POST messages"]
    for draft, value in ((first, b"4711"), (second, b"4712")):
        raw = render(s.outlook.box.item_by_id(draft.id), s.outlook.box.mint.guid)
        assert raw.lower().count(b"x-ticket: " + value) == 1


async def test_a_large_message_is_a_draft_its_fields_and_its_files(s: Desk) -> None:
    ctx = await context(s)
    raw = letter(("a.pdf", b"small"), ("b.pdf", BIG), ("c.pdf", b"c" * 3000), ("d.pdf", BIGGER))
    draft = await made(ctx, raw)
    assert whole(s, draft) == {"a.pdf": b"small", "b.pdf": BIG, "c.pdf": b"c" * 3000, "d.pdf": BIGGER}
    verbs = [line.split()[0] for line in await asked(s)]
    assert verbs == ["POST", "POST", "PUT", "PUT", "PUT", "POST", "PUT", "PUT", "PUT", "PUT"]


async def test_the_fields_of_a_large_message_are_set_each_time(s: Desk) -> None:
    ctx = await context(s)
    for number in (1, 2):
        await s.outlook.forget()
        draft = await made(ctx, letter(("b.pdf", BIG), extra="X-A: 1\r\nList-Id: <l.example.com>\r\n"))
        assert [line.split()[0] for line in await asked(s)][:2] == ["POST", "PATCH"], number
        raw = render(s.outlook.box.item_by_id(draft.id), s.outlook.box.mint.guid).lower()
        assert raw.count(b"x-a: 1\r\n") == 1 and raw.count(b"list-id: <l.example.com>\r\n") == 1


async def test_a_time_to_send_is_set(s: Desk) -> None:
    ctx = await context(s)
    later = int(ctx.clock.time()) + 3600
    draft = await made(ctx, letter(), hold_until=later)
    (answer,) = await ctx.graph.get([draft.id], properties=("SystemTime 0x3FEF",))
    assert isinstance(answer, Message) and answer.single_value_extended_properties


# -- lost answers --

STEPS = [
    ("POST", "/attachments$", 0),
    ("POST", UPLOADS, 0),
    ("PUT", "/upload/", 0),
    ("PATCH", "/messages/", 0),
]
WAYS = [
    {"mode": "error", "status": 503},
    {"mode": "reset"},
    {"mode": "commit-then-fail", "status": 504},
    {"mode": "commit-then-fail", "status": 0},
    {"mode": "error", "status": 429, "retry_after": 0},
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way['mode']}-{way.get('status', '')}")
@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step[0]} {step[1]}")
async def test_whatever_is_lost_on_the_way_each_file_is_there_once(
    s: Desk, step: tuple[str, str, int], way: dict[str, Any]
) -> None:
    ctx = await context(s)
    files = (("b.pdf", BIG), ("c.pdf", b"c" * 5000), ("c.pdf", b"C" * 5000), ("d.pdf", BIGGER))
    raw = letter(*files, extra="X-A: 1\r\n")
    await s.outlook.fault(step[0], step[1], **way)
    try:
        draft = await made(ctx, raw)
    except OutcomeUnknown:
        again = await found(ctx)
        assert again is not None
        draft = await create_draft(ctx, await _prepared(ctx, raw), TOKEN, again)
    box = s.outlook.box
    files = sorted(
        (leaf[1], leaf[4]) for leaf in leaves(render(box.item_by_id(draft.id), box.mint.guid)) if leaf[1]
    )
    assert files == [("b.pdf", BIG), ("c.pdf", b"C" * 5000), ("c.pdf", b"c" * 5000), ("d.pdf", BIGGER)]
    assert await drafts(s) == 1


async def test_the_last_chunk_lost_and_taken_is_looked_for(s: Desk) -> None:
    ctx = await context(s)
    original = ctx.graph.add_attachment
    calls = []

    async def once(id: str, attachment: Any, content: Any) -> None:
        calls.append(attachment["name"])
        await original(id, attachment, content)
        if len(calls) == 1:
            raise OutcomeUnknown("lost")

    ctx.graph.add_attachment = once  # type: ignore[method-assign, assignment]
    draft = await made(ctx, letter(("b.pdf", BIG)))
    assert calls == ["b.pdf"] and whole(s, draft) == {"b.pdf": BIG}


async def test_a_session_that_expires_is_begun_anew(s: Desk) -> None:
    ctx = await context(s)
    await s.outlook.fault("PUT", "/upload/", status=404, code="ErrorItemNotFound")
    draft = await made(ctx, letter(("b.pdf", BIG)))
    assert whole(s, draft) == {"b.pdf": BIG}
    assert await s.outlook.calls("POST", UPLOADS) == 2


async def test_what_an_interrupted_try_made_is_found_and_finished(s: Desk) -> None:
    ctx = await context(s)
    raw = letter(("b.pdf", BIG), ("c.pdf", b"c" * 5000))
    prepared = await _prepared(ctx, raw)
    draft = await ctx.graph.create_from_mime(prepared.mime)
    await ctx.graph.add_attachment(
        draft.id, prepared.files[0].json, prepared.files[0]
    )  # and then the power went
    again = await found(ctx)
    assert again is not None and again.id == draft.id
    await s.outlook.forget()
    done = await create_draft(ctx, await _prepared(ctx, raw), TOKEN, again)
    assert done.id == draft.id and whole(s, done) == {"b.pdf": BIG, "c.pdf": b"c" * 5000}
    assert await s.outlook.calls("PUT", "/upload/") == 0


async def test_a_marked_draft_is_found_by_its_token_among_others_of_its_message_id(s: Desk) -> None:
    ctx = await context(s)
    first = await made(ctx, letter(extra="X-A: 1\r\n"), token="one")
    ctx.known_fields.clear()
    second = await made(ctx, letter(extra="X-A: 1\r\n"), token="two")
    assert [(await found(ctx, token)).id for token in ("two", "one")] == [second.id, first.id]  # type: ignore[union-attr]
    assert await found(ctx, "three") is None


async def test_what_was_made_a_moment_ago_may_not_be_visible_yet(s: Desk) -> None:
    ctx = await context(s)
    await s.outlook.limits(fresh_404_seconds=0.2)
    draft = await made(ctx, letter(("b.pdf", BIG), ("c.pdf", b"c" * 5000), extra="X-A: 1\r\n"))
    assert whole(s, draft) == {"b.pdf": BIG, "c.pdf": b"c" * 5000}


async def test_files_of_one_name_and_nearly_one_size_are_told_apart(s: Desk) -> None:
    ctx = await context(s)
    files = [("f", bytes([n]) * size) for n, size in enumerate((5000, 5100, 40, 5050))]
    raw = letter(*files)
    prepared = await _prepared(ctx, raw)
    assert [len(file) for file in prepared.files] == [5000, 5100, 5050]
    for done in range(4):
        draft = await ctx.graph.create_from_mime(prepared.mime)
        for file in prepared.files[:done]:
            await ctx.graph.add_attachment(draft.id, file.json, file)
        await create_draft(ctx, prepared, TOKEN, draft)
        raw = render(s.outlook.box.item_by_id(draft.id), s.outlook.box.mint.guid)
        assert sorted(leaf[4] for leaf in leaves(raw) if leaf[1]) == sorted(data for _, data in files)


async def test_a_draft_that_is_anothers_is_not_found(s: Desk) -> None:
    ctx = await context(s)
    draft = await made(ctx, letter())
    began = int(ctx.clock.time())
    assert await find_draft(ctx, TOKEN, "<m@example.com>", began, {draft.id}) is None
    assert await find_draft(ctx, TOKEN, "<m@example.com>", began + 3600, set()) is None
    assert await found(ctx, message_id="<other@example.com>") is None


# -- refusals leave nothing --


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "error"),
    [
        ("PATCH", "/messages/", 403, "ErrorQuotaExceeded", QuotaExceeded),
        ("POST", UPLOADS, 413, "ErrorMessageSizeExceeded", TooLarge),
        ("PUT", "/upload/", 403, "ErrorQuotaExceeded", QuotaExceeded),
        ("POST", UPLOADS, 403, "ErrorAccessDenied", UploadRefused),
    ],
)
async def test_what_graph_refuses_half_way_is_taken_away_again(
    s: Desk, method: str, path: str, status: int, code: str, error: type[GraphError]
) -> None:
    ctx = await context(s)
    await s.outlook.fault(method, path, status=status, code=code, count=None, retry_after=60)
    with pytest.raises(error):
        await made(ctx, letter(("b.pdf", BIG), ("c.pdf", b"c" * 5000), extra="X-A: 1\r\n"))
    await s.outlook.heal()
    assert await drafts(s) == 0 and len(await s.outlook.listing("deleteditems")) == 0


async def test_a_file_too_large_for_a_request_and_too_small_for_a_session_is_refused(s: Desk) -> None:
    ctx = await context(s)
    with pytest.raises(TooLarge):
        await made(ctx, letter(("b.pdf", b"b" * 5_995)))
    assert await drafts(s) == 0
    assert whole(s, await made(ctx, letter(("b.pdf", b"b" * 5_700)))) == {"b.pdf": b"b" * 5_700}


async def test_a_shared_mailbox_is_named_in_the_refusal() -> None:
    told = submission_refusal(UploadRefused())
    assert (told.status, told.enhanced) == (552, "5.3.4") and "shared" in str(told)


async def test_a_draft_that_cannot_be_taken_away_is_not_forgotten(s: Desk) -> None:
    ctx = await context(s)
    await s.outlook.fault("PATCH", "/messages/", status=403, code="ErrorQuotaExceeded")
    await s.outlook.fault("POST", "/move$", status=403, code="ErrorAccessDenied")
    with pytest.raises(OutcomeUnknown):
        await made(ctx, letter(extra="X-A: 1\r\n"))
    again = await found(ctx)
    assert again is not None
    await discard_draft(ctx, again.id)
    await discard_draft(ctx, again.id)  # gone already is fine
    assert await drafts(s) == 0


# -- as the mailbox sends it --


async def test_a_client_that_leaves_amid_the_upload_takes_nothing_with_it(s: Desk) -> None:
    """The front end closes the spool; what reads from it goes on."""
    ctx = await context(s)
    raw = letter(("b.pdf", BIG), ("d.pdf", BIGGER))
    budget = SpoolBudget(10**9)
    spool = MailSpool(budget, memory=CHUNK)
    await spool.write(raw)
    begun = asyncio.Event()
    original = ctx.graph.add_attachment

    async def noticed(*args: Any) -> None:
        begun.set()
        await original(*args)

    ctx.graph.add_attachment = noticed  # type: ignore[method-assign, assignment]
    task = asyncio.create_task(deliver.submit(ctx, Envelope(ALICE, (BOB,)), spool))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    await spool.close()
    await settled()
    (copy,) = await s.outlook.listing("inbox", BOB)
    assert copy["subject"] == "s" and len(await s.outlook.listing("sentitems")) == 1
    assert await drafts(s) == 0 and not budget.used


@pytest.mark.parametrize("large", [False, True])
async def test_sent_to_everybody_once_and_bcc_told_to_nobody(s: Desk, large: bool) -> None:
    ctx = await context(s)
    draft = await made(ctx, letter(("b.pdf", BIG)) if large else letter(), BOB, CAROL)
    await ctx.graph.send_draft(draft.id)
    for user in (BOB, CAROL):
        (_,) = await s.outlook.listing("inbox", user)
        box = s.outlook.emulator.tenant.box(user)
        raw = render(next(iter(box.members(box.special["inbox"]))), box.mint.guid)
        assert CAROL.encode() not in raw and b"Message-ID: <m@example.com>" in raw
        assert ("b.pdf" in {leaf[1] for leaf in leaves(raw)}) is large
    (kept,) = await s.outlook.listing("sentitems")
    assert kept["id"] == draft.id and await drafts(s) == 0


async def test_a_size_that_exchange_refuses_is_a_refusal(s: Desk) -> None:
    ctx = await context(s)
    await s.outlook.limits(send_bytes=10_000)
    draft = await made(ctx, letter(("b.pdf", BIG)))
    with pytest.raises(TooLarge):
        await ctx.graph.send_draft(draft.id)


async def test_the_log_names_what_is_lost_and_nothing_else(
    s: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    ctx = await context(s)
    await made(ctx, letter(extra="Auto-Submitted: auto-replied; secret\r\nX-Private: secret\r\n"))
    told = capsys.readouterr().out
    assert "auto-submitted" in told and "secret" not in told and "x-private" not in told


async def test_refusals_of_content_cost_no_request(s: Desk) -> None:
    ctx = await context(s)
    with pytest.raises(SubmissionRefused):
        await _prepared(ctx, letter(), CAROL)
    assert await asked(s) == []

"""GraphMailbox against the strict emulator, over TLS and with msal's own sign-in: every call, and its faults."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from gateway.core.limits import DEFAULT_LIMITS, MIB, Limits
from gateway.emulator.serve import (
    CLIENT_ID,
    CLIENT_SECRET,
    PUBLIC_CLIENT_ID,
    EmulatorOptions,
    EmulatorThread,
    RunningEmulator,
)
from gateway.graph.client import CallRecord, GraphClient
from gateway.graph.errors import (
    AlreadyExists,
    GraphError,
    NotFound,
    OutcomeUnknown,
    ResyncNeeded,
    SignInFailed,
    TooLarge,
    Unreachable,
)
from gateway.graph.mail import IMAP_DELETED, GraphMailbox, Patch
from gateway.graph.model import Message, Priority
from gateway.graph.props import parse_property, props
from gateway.graph.seal import Sealed
from gateway.graph.token import (
    DevicePrompt,
    MsalTokens,
    SignedIn,
    SignIn,
    app_scopes,
    delegated_scopes,
    device_login,
)

ALICE = "alice@example.com"
MAIL = (
    b"From: Alice <alice@example.com>\r\nTo: Bob <bob@example.com>\r\nSubject: Hello\r\n"
    b"Message-ID: <%b@example.net>\r\nDate: Fri, 15 Jan 2027 07:59:58 +0000\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGood morning.\r\n"
)
QUICK = replace(DEFAULT_LIMITS, graph_timeout=0.6, graph_patience=6.0)


@pytest.fixture(scope="module")
def emulator() -> Iterator[RunningEmulator]:
    with EmulatorThread(EmulatorOptions(port=0, messages=120)) as running:
        for rule in ("delta-lag", "create-then-404"):  # most tests wait for no clock
            running.world.rules.set(rule, False)
        yield running


class Control:
    """The emulator's control API. It lives in a thread of its own, so that waiting for it here is harmless."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def forget(self) -> None:
        self._client.delete("/log")

    def heal(self) -> None:
        self._client.delete("/faults")

    def log(self) -> Any:
        return self._client.get("/log").json()

    def paths(self) -> list[str]:
        return [f"{entry['method']} {entry['path'].partition('?')[0]}" for entry in self.log()["requests"]]

    def fault(self, method: str, path: str, mode: str, *, count: int = 1, **how: object) -> None:
        fault = {"method": method, "path": path, "mode": mode, "count": count, **how}
        self._client.post("/faults", json=fault).raise_for_status()

    def expire(self, what: str) -> None:
        self._client.post(f"/{what}/expire").raise_for_status()


@pytest.fixture
def control(emulator: RunningEmulator) -> Iterator[Control]:
    with httpx.Client(base_url=emulator.control_url, verify=_tls(emulator)) as client:
        control = Control(client)
        control.forget()
        yield control
        control.heal()


def _tls(emulator: RunningEmulator) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=emulator.ca_file)


class Bench:
    """A client with its records, and mailboxes on it."""

    def __init__(self, emulator: RunningEmulator, limits: Limits = DEFAULT_LIMITS) -> None:
        base_url = f"{emulator.base_url}/v1.0"
        self.sign_in = SignIn(
            authority=emulator.authority,
            client_id=CLIENT_ID,
            scopes=tuple(app_scopes(base_url)),
            credential=CLIENT_SECRET,
            ca_file=emulator.ca_file,
        )
        self.records: list[CallRecord] = []
        self.tokens = MsalTokens(self.sign_in)
        self.client = GraphClient(
            base_url, self.tokens, ca_file=emulator.ca_file, limits=limits, metrics=self.records.append
        )
        self.alice = GraphMailbox(self.client, ALICE)


@pytest.fixture
async def bench(emulator: RunningEmulator) -> AsyncIterator[Bench]:
    made = Bench(emulator)
    yield made
    await made.client.aclose()


@pytest.fixture
async def quick(emulator: RunningEmulator) -> AsyncIterator[Bench]:
    made = Bench(emulator, QUICK)
    yield made
    await made.client.aclose()


async def ids_of(mailbox: GraphMailbox, folder: str) -> list[str]:
    page = await mailbox.list_page(folder)
    return [message.id for message in page.value]


async def fill(mailbox: GraphMailbox, name: str, count: int) -> tuple[str, list[str]]:
    """A folder of its own with so many landed messages."""
    folder = (await mailbox.create_folder("msgfolderroot", name)).id
    body = {"subject": "s", "singleValueExtendedProperties": [{"id": "Integer 0x0E07", "value": "1"}]}
    made = await asyncio.gather(*(mailbox.create(folder, body) for _ in range(count)))
    return folder, [message.id for message in made]


def good(results: list[Message | GraphError]) -> list[Message]:
    assert all(isinstance(result, Message) for result in results), results
    return [result for result in results if isinstance(result, Message)]


async def test_listing_pages_carry_immutable_ids_and_properties(bench: Bench) -> None:
    page = await bench.alice.list_page("inbox", size=50, count=True)
    assert len(page.value) == 50
    assert page.count == 120
    assert page.next_link is not None
    rest = await bench.alice.list_page("inbox", link=page.next_link, size=50)
    assert not {m.id for m in page.value} & {m.id for m in rest.value}
    assert all(len(m.id) == 68 for m in page.value)
    assert parse_property("Integer 0x0E08") in props(page.value[0])


async def test_delta_walks_and_falls_back_without_expand(bench: Bench) -> None:
    assert bench.alice.delta_expands
    pages = [page async for page in bench.alice.delta("inbox", None, size=50)]
    assert not bench.alice.delta_expands
    assert len({m.id for page in pages for m in page.value}) == 120
    link = pages[-1].delta_link
    assert link is not None
    assert all(page.delta_link is None for page in pages[:-1])
    _, ids = await fill(bench.alice, "delta", 1)
    await bench.alice.move(ids, "inbox")
    changed = [m async for page in bench.alice.delta("inbox", link) for m in page.value]
    assert ids[0] in {m.id for m in changed}


async def test_a_dead_delta_link_is_a_resync_whatever_its_dress(bench: Bench, control: Control) -> None:
    for folder in ("drafts", "junkemail", "archive"):
        try:
            pages = [page async for page in bench.alice.delta(folder, None)]
        except NotFound:
            continue
        control.expire("delta")
        with pytest.raises(ResyncNeeded):
            [page async for page in bench.alice.delta(folder, pages[-1].delta_link)]


async def test_folder_delta_and_tree_agree(bench: Bench) -> None:
    parent = await bench.alice.create_folder("msgfolderroot", "Parent")
    child = await bench.alice.create_folder(parent.id, "Child")
    with pytest.raises(AlreadyExists):
        await bench.alice.create_folder(parent.id, "child")
    pages = [page async for page in bench.alice.folder_delta(None)]
    walked = {folder.id: folder.parent_folder_id for page in pages for folder in page.value}
    tree = {folder.id: folder.parent_folder_id for folder in await bench.alice.folder_tree()}
    assert walked[child.id] == tree[child.id] == parent.id
    assert set(tree) <= set(walked)
    renamed = await bench.alice.rename_folder(child.id, "Kind")
    assert (renamed.id, renamed.display_name) == (child.id, "Kind")
    moved = await bench.alice.move_folder(child.id, "inbox")
    assert moved.id == child.id
    await bench.alice.delete_folder(child.id)
    link = pages[-1].delta_link
    changed = [f async for page in bench.alice.folder_delta(link) for f in page.value]
    assert child.id in {folder.id for folder in changed}


async def test_well_known_folders_come_in_a_batch(bench: Bench, control: Control) -> None:
    names = (
        "inbox",
        "drafts",
        "sentitems",
        "deleteditems",
        "junkemail",
        "outbox",
        "clutter",
        "msgfolderroot",
    )
    found = await bench.alice.well_known(names)
    assert {"inbox", "drafts", "sentitems", "deleteditems", "junkemail"} <= set(found)
    inbox = await bench.alice.get_folder("inbox")
    assert inbox.id == found["inbox"].id
    absent = len(names) - len(found)
    assert control.paths().count("POST /v1.0/$batch") <= 1 + absent


async def test_patch_of_a_hundred_costs_seven_requests(bench: Bench, control: Control) -> None:
    _, ids = await fill(bench.alice, "hundred", 100)
    control.forget()
    results = good(await bench.alice.patch([Patch(id, {"isRead": False}) for id in ids]))
    assert [message.id for message in results] == ids
    assert all(message.is_read is False and message.etag for message in results)
    log = control.log()
    assert [entry["path"] for entry in log["requests"]].count("/v1.0/$batch") == 7
    assert len(log["requests"]) == 7
    assert log["max_in_flight"] <= 4
    back = good(await bench.alice.get(ids))
    assert [message.id for message in back] == ids


async def test_a_batch_goes_on_behind_what_fails(bench: Bench) -> None:
    folder, ids = await fill(bench.alice, "holes", 30)
    await bench.alice.permanent_delete(ids[3])
    await bench.alice.permanent_delete(ids[17])
    property = {"id": IMAP_DELETED, "value": "1"}
    body = {"singleValueExtendedProperties": [property]}
    elsewhere = GraphMailbox(bench.client, ALICE)  # one that did not make them: a 404 is no lag
    results = await elsewhere.patch([Patch(id, body) for id in ids])
    failed = [n for n, result in enumerate(results) if isinstance(result, GraphError)]
    assert failed == [3, 17]
    assert all(isinstance(results[n], NotFound) for n in failed)
    page = await bench.alice.list_page(folder)
    assert len(page.value) == 28
    assert all(props(m)[parse_property(IMAP_DELETED)] == "1" for m in page.value)


async def test_if_match_conflicts_are_results(bench: Bench) -> None:
    _, ids = await fill(bench.alice, "match", 2)
    (first,) = good(await bench.alice.get(ids[:1]))
    (second,) = good(await bench.alice.patch([Patch(ids[0], {"isRead": False}, first.etag)]))
    assert second.etag != first.etag
    results = await bench.alice.patch(
        [Patch(ids[0], {"isRead": True}, first.etag), Patch(ids[1], {"isRead": False})]
    )
    assert isinstance(results[0], GraphError)
    assert isinstance(results[1], Message)


async def test_move_keeps_and_copy_makes_ids(bench: Bench) -> None:
    folder, ids = await fill(bench.alice, "from", 25)
    target = (await bench.alice.create_folder("msgfolderroot", "to")).id
    moved = good(await bench.alice.move(ids, target))
    assert [message.id for message in moved] == ids
    again = good(await bench.alice.move(ids[:1], target))
    assert again[0].id == ids[0]
    copies = good(await bench.alice.copy(ids[:3], folder))
    assert not {message.id for message in copies} & set(ids)
    assert sorted(await ids_of(bench.alice, folder)) == sorted(message.id for message in copies)


async def test_mime_draft_is_read_back_and_sent(bench: Bench) -> None:
    draft = await bench.alice.create_from_mime(MAIL % b"draft")
    assert draft.is_draft
    content = await bench.alice.mime(draft.id)
    assert b"Good morning." in content
    assert content == await bench.alice.mime(draft.id, priority=Priority.BULK)
    found = await bench.alice.find_by_message_id("<draft@example.net>")
    assert draft.id in [message.id for message in found]
    await bench.alice.send_draft(draft.id)
    with pytest.raises(GraphError):
        await bench.alice.send_draft("AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A" + "A" * 32)


async def test_send_mime_and_delete_once(bench: Bench, control: Control) -> None:
    await bench.alice.send_mime(MAIL % b"sent")
    _, ids = await fill(bench.alice, "gone", 1)
    await bench.alice.delete(ids[0])
    (held,) = good(await bench.alice.get(ids))
    trash = await bench.alice.get_folder("deleteditems")
    assert held.parent_folder_id == trash.id


async def test_a_404_for_what_was_just_made_is_waited_out(bench: Bench, emulator: RunningEmulator) -> None:
    emulator.world.rules.set("create-then-404", True)
    try:
        folder, ids = await fill(bench.alice, "fresh", 3)
        good(await bench.alice.patch([Patch(id, {"isRead": False}) for id in ids]))
        draft = await bench.alice.create_from_mime(MAIL % b"fresh")
        await bench.alice.add_attachment(draft.id, {"name": "a", "contentType": "text/plain"}, b"x")
        other = await bench.alice.create_from_mime(MAIL % b"fresh2")
        await bench.alice.permanent_delete(other.id)
    finally:
        emulator.world.rules.set("create-then-404", False)
    assert len(await ids_of(bench.alice, folder)) == 3


async def test_too_large_mime_never_leaves(bench: Bench, control: Control) -> None:
    with pytest.raises(TooLarge):
        await bench.alice.send_mime(b"x" * (3 * MIB + 1))
    assert control.paths() == []


async def test_attachments_small_and_by_upload_session(bench: Bench) -> None:
    draft = await bench.alice.create_from_mime(MAIL % b"attached")
    large = bytes(range(256)) * (9 * 4096)  # 9 MiB: three chunks
    await bench.alice.add_attachment(
        draft.id,
        {"name": "a.txt", "contentType": "text/plain", "isInline": True, "contentId": "cid1"},
        b"small",
    )
    await bench.alice.add_attachment(
        draft.id, {"name": "b.bin", "contentType": "application/octet-stream", "isInline": False}, large
    )
    listed = {entry["name"]: entry for entry in await bench.alice.attachments(draft.id)}
    assert set(listed) == {"a.txt", "b.bin"}
    assert listed["a.txt"]["isInline"] is True
    assert "contentBytes" not in listed["b.bin"]
    assert await bench.alice.attachment_value(draft.id, str(listed["a.txt"]["id"])) == b"small"
    assert await bench.alice.attachment_value(draft.id, str(listed["b.bin"]["id"])) == large


async def test_no_more_than_four_in_flight(bench: Bench, control: Control) -> None:
    ids = await ids_of(bench.alice, "inbox")
    control.forget()
    await asyncio.gather(*(bench.alice.get([id]) for id in ids[:40]))
    log = control.log()
    assert log["max_in_flight"] <= 4
    assert all(entry["status"] == 200 for entry in log["requests"])


async def test_reads_survive_faults(quick: Bench, control: Control) -> None:
    ids = await ids_of(quick.alice, "inbox")
    faults: list[tuple[str, dict[str, object]]] = [
        ("reset", {}),
        ("cut", {}),
        ("hang", {}),
        ("error", {"status": 503, "retry_after": 0.1}),
        ("error", {"status": 429, "retry_after": 0.25}),
        ("error", {"status": 401}),
    ]
    for fault, how in faults:
        control.fault("GET", "/messages/", fault, **how)
        (message,) = await quick.alice.get(ids[:1])
        assert isinstance(message, Message), fault
        assert quick.records[-1].tries == 2, fault


async def test_mime_cut_short_is_fetched_again(quick: Bench, control: Control) -> None:
    ids = await ids_of(quick.alice, "inbox")
    whole = await quick.alice.mime(ids[0])
    control.fault("GET", "value", "cut")
    assert await quick.alice.mime(ids[0]) == whole


@pytest.mark.parametrize("mode", ["reset", "commit-then-fail", "hang", "cut"])
async def test_what_must_not_be_repeated_is_sent_once(quick: Bench, control: Control, mode: str) -> None:
    control.fault("POST", "sendMail", mode)
    control.forget()
    try:
        await quick.alice.send_mime(MAIL % b"once")
    except OutcomeUnknown:
        pass
    else:
        assert mode == "cut"  # half of an empty 202 is all of it
    assert len(control.paths()) == 1


async def test_a_copy_whose_answer_is_lost_is_unknown(quick: Bench, control: Control) -> None:
    folder, ids = await fill(quick.alice, "copies", 3)
    control.fault("POST", "batch", "commit-then-fail", status=0)
    results = await quick.alice.copy(ids, folder)
    assert all(isinstance(result, OutcomeUnknown) for result in results)
    assert len(await ids_of(quick.alice, folder)) == 6  # each copied once, none twice


async def test_a_batch_survives_a_reset_of_absolute_patches(quick: Bench, control: Control) -> None:
    _, ids = await fill(quick.alice, "absolute", 30)
    for mode in ("reset", "cut", "commit-then-fail"):
        control.fault("POST", "batch", mode, status=503)
        good(await quick.alice.patch([Patch(id, {"isRead": False}) for id in ids]))


async def test_an_inner_429_is_repeated(quick: Bench, control: Control) -> None:
    _, ids = await fill(quick.alice, "inner", 20)
    control.fault("PATCH", "/messages/", "error", count=3, status=429, retry_after=0.125)
    good(await quick.alice.patch([Patch(id, {"isRead": False}) for id in ids]))


async def test_throttled_beyond_patience_is_typed(quick: Bench, control: Control) -> None:
    control.fault("GET", "mailFolders", "error", status=429, retry_after=60)
    with pytest.raises(GraphError) as caught:
        await quick.alice.get_folder("inbox")
    assert type(caught.value).__name__ == "Throttled"
    assert caught.value.retry_after == 60


async def test_expired_tokens_are_renewed_once(bench: Bench, control: Control) -> None:
    await bench.alice.get_folder("inbox")
    control.expire("tokens")
    await asyncio.gather(*(bench.alice.get_folder("inbox") for _ in range(8)))
    assert sum("/token" in line for line in control.paths()) <= 2


async def test_a_wrong_secret_names_its_aadsts_number(emulator: RunningEmulator) -> None:
    sign_in = replace(Bench(emulator).sign_in, credential="wrong")
    with pytest.raises(SignInFailed) as caught:
        await MsalTokens(sign_in).token()
    assert caught.value.code.startswith("AADSTS")
    assert "wrong" not in str(caught.value)


async def test_no_authority_is_unreachable(emulator: RunningEmulator) -> None:
    sign_in = replace(Bench(emulator).sign_in, authority="https://127.0.0.1:9/tenant")
    with pytest.raises(Unreachable):
        await MsalTokens(sign_in).token()


async def test_an_untrusted_certificate_ends_at_once(emulator: RunningEmulator) -> None:
    bench = Bench(emulator)
    client = GraphClient(f"{emulator.base_url}/v1.0", bench.tokens)
    with pytest.raises(Unreachable) as caught:
        await GraphMailbox(client, ALICE).get_folder("inbox")
    assert caught.value.code == "Certificate"
    await client.aclose()


async def test_device_login_signs_in_for_good(emulator: RunningEmulator, control: Control) -> None:
    base_url = f"{emulator.base_url}/v1.0"
    sign_in = SignIn(
        authority=emulator.authority,
        client_id=PUBLIC_CLIENT_ID,
        scopes=tuple(delegated_scopes(base_url)),
        ca_file=emulator.ca_file,
    )
    kept: list[bytes] = []
    sealed = Sealed(b"k" * 32, ALICE, lambda: kept[-1] if kept else None, kept.append)
    with pytest.raises(SignInFailed) as caught:
        await MsalTokens(sign_in, sealed=sealed).token()
    assert caught.value.code == "NotSignedIn"
    steps = device_login(sign_in, sealed)
    prompt = await anext(steps)
    assert isinstance(prompt, DevicePrompt)
    approve(emulator, prompt)
    done = await anext(steps)
    assert isinstance(done, SignedIn)
    assert done.username == ALICE
    assert kept
    assert b"refresh" not in kept[-1].lower()
    tokens = MsalTokens(sign_in, sealed=Sealed(b"k" * 32, ALICE, lambda: kept[-1], kept.append))
    client = GraphClient(base_url, tokens, ca_file=emulator.ca_file)
    me = GraphMailbox(client, None)
    assert (await me.get_folder("inbox")).id
    control.expire("tokens")
    assert (await me.get_folder("inbox")).id
    await client.aclose()


def approve(emulator: RunningEmulator, prompt: DevicePrompt) -> None:
    """What the user does in the browser."""
    with httpx.Client(verify=_tls(emulator)) as browser:
        browser.post(prompt.url, data={"user_code": prompt.code, "username": ALICE}).raise_for_status()


def landing(n: int) -> dict[str, Any]:
    properties = [{"id": "Integer 0x0E07", "value": "1"}]
    return {"subject": f"landed {n}", "internetMessageId": f"<landed-{n}@example.com>",
            "singleValueExtendedProperties": properties}  # fmt: skip


async def test_many_are_created_in_batches_in_order(bench: Bench) -> None:
    inbox = (await bench.alice.get_folder("inbox")).id
    made = good(await bench.alice.create_all(inbox, [landing(n) for n in range(23)]))
    assert [
        message.subject
        for message in good(await bench.alice.get([each.id for each in made], fields=("id", "subject")))
    ] == [f"landed {n}" for n in range(23)]


async def test_creates_whose_answer_is_lost_are_unknown(quick: Bench, control: Control) -> None:
    inbox = (await quick.alice.get_folder("inbox")).id
    control.fault("POST", "batch", "commit-then-fail", status=0)
    results = await quick.alice.create_all(inbox, [landing(n) for n in range(2)])
    assert all(isinstance(result, OutcomeUnknown) for result in results)

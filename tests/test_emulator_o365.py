"""The emulator driven by python-o365, a public Graph client it was not written for.

What the library asked for and understood is compared with the emulator's own listing (its control API).
"""

from __future__ import annotations

import contextlib
import hashlib
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from msal import ConfidentialClientApplication
from O365 import Account, MSGraphProtocol
from O365.mailbox import MailBox
from O365.utils.token import MemoryTokenBackend
from requests import HTTPError

from gateway.emulator.serve import CLIENT_ID, CLIENT_SECRET, TENANT_ID, EmulatorOptions, EmulatorThread

ALICE, BOB = "alice@example.com", "bob@example.com"
IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}
MESSAGES = 30
MAIL = (
    b"Received: from mx.example.net by mail.example.com; Mon, 02 Nov 2026 10:00:01 +0000\r\n"
    b"From: Dora <dora@example.net>\r\nTo: Alice <alice@example.com>\r\nSubject: Minutes of the meeting\r\n"
    b"Message-ID: <minutes-1@example.net>\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    b"We met; cr\xc3\xa8me br\xc3\xbbl\xc3\xa9e.\r\n"
)


class Lab:
    """An emulator, what it says of itself, and an account of the library on it."""

    def __init__(self, running: Any, control: httpx.Client, account: Account) -> None:
        self.running = running
        self.control = control
        self.account = account

    @property
    def mailbox(self) -> MailBox:
        return self.account.mailbox(ALICE)

    def listing(self, folder: str = "inbox", user: str = ALICE) -> dict[str, dict[str, Any]]:
        rows = self.control.get(f"users/{user}/messages", params={"folder": folder}).raise_for_status().json()
        return {row["id"]: row for row in rows}

    def deliver(self, mime: bytes = MAIL, user: str = ALICE) -> str:
        answer = self.control.post(f"users/{user}/messages", params={"folder": "inbox"}, content=mime)
        return str(answer.raise_for_status().json()["id"])

    def url(self, path: str) -> str:
        return f"{self.running.base_url}/v1.0/users/{ALICE}{path}"


def account_on(running: Any, **headers: str) -> Account:
    """The library's own Account. It has Graph's address and the authority as constants: only those are changed
    (its msal client is made here, because instance discovery asks Microsoft)."""

    class Local(MSGraphProtocol):
        _protocol_url = f"{running.base_url}/"

    account = Account(
        (CLIENT_ID, CLIENT_SECRET),
        protocol=Local(),
        auth_flow_type="credentials",
        tenant_id=TENANT_ID,
        token_backend=MemoryTokenBackend(),
        verify_ssl=running.ca_file,
        requests_delay=0,
        timeout=20,
        default_headers=headers or dict(IMMUTABLE),
    )
    account.con._msal_client = ConfidentialClientApplication(
        CLIENT_ID,
        client_credential=CLIENT_SECRET,
        authority=running.authority,
        token_cache=account.con.token_backend,
        verify=running.ca_file,
        instance_discovery=False,
    )
    assert account.authenticate(requested_scopes=["https://graph.microsoft.com/.default"])
    return account


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    options = EmulatorOptions(port=0, messages=MESSAGES, state_dir=tmp_path_factory.mktemp("emulator"))
    with pytest.MonkeyPatch.context() as patch, EmulatorThread(options) as running:
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # requests prefers these to a session's own
            patch.delenv(name, raising=False)
        trust = ssl.create_default_context(cafile=running.ca_file)
        with httpx.Client(base_url=f"{running.control_url}/", verify=trust, timeout=20) as control:
            yield Lab(running, control, account_on(running))


def soon(check: Callable[[], Any], seconds: float = 15.0) -> Any:
    """What the service does in its own time: a Sent copy, an index, a new draft everywhere."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(HTTPError):
            if value := check():
                return value
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.1)


def test_folders_are_listed_and_the_well_known_ones_resolve(lab: Lab):
    known = {f["id"]: f for f in lab.control.get(f"users/{ALICE}/folders").json()}
    top = list(lab.mailbox.get_folders(limit=100))
    assert {f.folder_id for f in top} <= set(known)
    assert {"Inbox", "Drafts", "Sent Items", "Deleted Items"} <= {f.name for f in top}
    inbox = lab.mailbox.get_folder(folder_name="Inbox")
    assert known[inbox.folder_id]["wellKnownName"] == "inbox"
    assert inbox.total_items_count == known[inbox.folder_id]["totalItemCount"]
    assert inbox.unread_items_count == known[inbox.folder_id]["unreadItemCount"]


def test_a_folder_is_made_renamed_and_deleted(lab: Lab):
    parent = lab.mailbox.get_folder(folder_name="Inbox")
    made = parent.create_child_folder("Projects 2026")
    assert made.parent_id == parent.folder_id
    assert made.update_folder_name("Projects O'Hara") and made.name == "Projects O'Hara"
    assert [f.name for f in parent.get_folders(limit=50)].count("Projects O'Hara") == 1
    with pytest.raises(HTTPError) as refused:
        parent.create_child_folder("projects o'hara")
    assert refused.value.response.status_code == 409
    assert made.delete()
    assert "Projects O'Hara" not in [f.name for f in parent.get_folders(limit=50)]


def test_messages_are_paged_to_the_end_each_once(lab: Lab):
    everything = lab.listing()
    seen = [m.object_id for m in lab.mailbox.inbox_folder().get_messages(limit=None, batch=7)]
    assert sorted(seen) == sorted(everything)
    times = [m.received for m in lab.mailbox.inbox_folder().get_messages(limit=20)]
    assert times == sorted(times, reverse=True)


def test_one_message_with_body_headers_and_mime(lab: Lab):
    identity = lab.deliver()
    message = lab.mailbox.get_message(object_id=identity)
    assert (message.subject, message.sender.address) == ("Minutes of the meeting", "dora@example.net")
    assert [str(to.address) for to in message.to] == [ALICE]
    assert message.internet_message_id == "<minutes-1@example.net>"
    assert "crème brûlée" in message.get_body_text() and message.body_type.lower() == "html"
    assert not message.is_read and not message.is_draft and not message.has_attachments
    raw = message.get_mime_content()
    row = lab.listing()[identity]
    assert (hashlib.sha256(raw).hexdigest(), len(raw)) == (row["sha256"], row["size"])
    query = lab.mailbox.new_query().select("internetMessageHeaders")
    headers = lab.mailbox.get_message(object_id=identity, query=query).message_headers
    assert [h["name"] for h in headers][:2] == ["Received", "From"]


def test_filters_of_the_librarys_query_builder(lab: Lab):
    lab.deliver(MAIL.replace(b"Minutes of the meeting", b"It's a filtered one"))
    query = lab.mailbox.new_query().contains(
        "subject", "It''s a filtered"
    )  # the library leaves quoting to us
    found = list(lab.mailbox.inbox_folder().get_messages(limit=10, query=query))
    assert [m.subject for m in found] == ["It's a filtered one"]
    unread = lab.mailbox.new_query().equals("isRead", False)
    ids = {m.object_id for m in lab.mailbox.inbox_folder().get_messages(limit=None, query=unread)}
    assert ids == {k for k, row in lab.listing().items() if not row["isRead"]}


def test_read_marks_flags_and_categories(lab: Lab):
    identity = lab.deliver()
    message = lab.mailbox.get_message(object_id=identity)
    assert message.mark_as_read() and lab.listing()[identity]["isRead"]
    assert message.mark_as_unread() and not lab.listing()[identity]["isRead"]
    message.categories = ["Blue category", "Accounts, 2026"]
    message.flag.set_flagged()
    assert message.save_message()
    row = lab.listing()[identity]
    assert (row["flag"], row["categories"]) == ("flagged", ["Blue category", "Accounts, 2026"])
    again = lab.mailbox.get_message(object_id=identity)
    assert again.flag.is_flagged and again.categories == ["Blue category", "Accounts, 2026"]


def test_move_copy_and_delete(lab: Lab):
    identity = lab.deliver()
    message = lab.mailbox.get_message(object_id=identity)
    copied = message.copy("archive")
    assert copied.object_id != identity and copied.object_id in lab.listing("archive")
    assert message.move("junkemail") and message.object_id == identity
    assert identity in lab.listing("junkemail") and identity not in lab.listing()
    assert message.delete()
    assert identity in lab.listing("deleteditems"), "the first DELETE goes to Deleted Items"
    assert lab.mailbox.delete_message(identity)
    assert identity not in lab.listing("deleteditems")


def test_without_the_preference_a_move_changes_the_id(lab: Lab):
    account = account_on(lab.running, Accept="application/json")
    lab.deliver(MAIL.replace(b"minutes-1@", b"regular-1@"))
    query = "internetMessageId eq '<regular-1@example.net>'"
    [message] = list(account.mailbox(ALICE).inbox_folder().get_messages(limit=2, query=query))
    before = message.object_id
    assert len(before) == 152 and message.move("archive") and message.object_id != before
    with pytest.raises(HTTPError) as gone:
        account.mailbox(ALICE).get_message(object_id=before)
    assert gone.value.response.status_code == 404


def test_send_with_an_attachment_reaches_the_other_mailbox(lab: Lab, tmp_path: Path):
    paper = tmp_path / "budget.csv"
    paper.write_bytes(b"year,sum\r\n2026,42\r\n")
    message = lab.account.new_message(ALICE)
    message.to.add(BOB)
    message.subject = "The budget, sent by a library"
    message.body = "<p>Attached.</p>"
    message.attachments.add(str(paper))
    assert message.send()

    def arrived() -> list[str]:
        return [k for k, row in lab.listing(user=BOB).items() if row["subject"] == message.subject]

    [identity] = soon(arrived)
    received = lab.account.mailbox(BOB).get_message(object_id=identity, download_attachments=True)
    [attachment] = received.attachments
    assert (attachment.name, attachment.content) == ("budget.csv", "eWVhcixzdW0NCjIwMjYsNDINCg==")
    assert received.sender.address == ALICE and "Attached." in received.body
    soon(lambda: [r for r in lab.listing("sentitems").values() if r["subject"] == message.subject])


def test_a_draft_is_made_changed_given_attachments_and_sent(lab: Lab, tmp_path: Path):
    draft = lab.account.new_message(ALICE)
    draft.to.add(BOB)
    draft.subject = "A draft"
    draft.body = "first words"
    assert draft.save_draft()
    row = soon(lambda: lab.listing("drafts").get(draft.object_id))
    assert row["isDraft"] and row["subject"] == "A draft"
    paper = tmp_path / "big.bin"
    paper.write_bytes(bytes(range(256)) * 16_000)  # 4 MB: goes by an upload session
    draft.subject = "A draft, grown"
    draft.attachments.add(str(paper))
    assert soon(draft.save_draft)
    query = lab.mailbox.new_query().expand("attachments")
    stored = lab.mailbox.get_message(object_id=draft.object_id, query=query)
    assert stored.subject == "A draft, grown" and stored.has_attachments
    assert draft.send()
    assert draft.object_id not in lab.listing("drafts")
    soon(lambda: draft.object_id in lab.listing("sentitems"))

    def arrived() -> list[str]:
        return [k for k, row in lab.listing(user=BOB).items() if row["subject"] == "A draft, grown"]

    [identity] = soon(arrived)
    received = lab.account.mailbox(BOB).get_message(object_id=identity)
    assert received.attachments.download_attachments()
    assert [a.size >= 4_096_000 for a in received.attachments] == [True]


def test_a_reply_keeps_the_thread(lab: Lab):
    identity = lab.deliver(MAIL.replace(b"minutes-1@", b"thread-1@"))
    answer = lab.mailbox.get_message(object_id=identity).reply(to_all=False)
    assert [str(to.address) for to in answer.to] == ["dora@example.net"] and answer.is_draft
    assert answer.conversation_id == lab.mailbox.get_message(object_id=identity).conversation_id
    answer.body = "Thank you."
    assert soon(answer.save_draft)
    assert soon(answer.send)
    soon(lambda: lab.listing()[identity]["verb"] == 102)


def walk(lab: Lab, link: str) -> tuple[list[dict[str, Any]], str]:
    """A delta round by the library's connection, every link as it came."""
    rows: list[dict[str, Any]] = []
    while True:
        page = lab.account.con.get(link, headers={"Prefer": "odata.maxpagesize=9"}).json()
        rows += page["value"]
        if "@odata.deltaLink" in page:
            return rows, str(page["@odata.deltaLink"])
        link = page["@odata.nextLink"]


def test_delta_round_then_what_changed(lab: Lab):
    lab.control.post("limits", json={"delta_lag_seconds": 0}).raise_for_status()
    rows, link = walk(lab, lab.url("/mailFolders/inbox/messages/delta?$select=subject,isRead"))
    assert {r["id"] for r in rows if "@removed" not in r} == set(lab.listing())
    identity = lab.deliver(MAIL.replace(b"Minutes", b"Later"))
    moved = next(iter(lab.listing()))
    lab.control.post(f"users/{ALICE}/messages/{moved}/move", json={"destinationId": "archive"})

    def both() -> bool:
        nonlocal link
        later, link = walk(lab, link)
        said.update({r["id"]: "@removed" in r for r in later})
        return len(said) >= 2

    said: dict[str, bool] = {}
    soon(both)
    assert said[identity] is False and said[moved] is True


def test_errors_reach_the_library_as_the_contract_says(lab: Lab):
    with pytest.raises(HTTPError) as me:
        lab.account.mailbox("me").get_message(object_id="x")
    assert me.value.response.status_code == 400, "/me needs a delegated token"
    with pytest.raises(HTTPError) as bad:
        lab.mailbox.get_message(object_id="not-an-id")
    error = bad.value.response.json()["error"]
    assert (bad.value.response.status_code, error["code"]) == (400, "ErrorInvalidIdMalformed")

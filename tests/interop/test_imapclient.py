"""IMAPClient: a library that uses what the server announces."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from imapclient import SEEN, IMAPClient

from interop.lab import ALICE, BOB, HOST, PASSWORD, Demo, digest, eventually, mail


@pytest.fixture
def client(demo: Demo) -> Iterator[IMAPClient]:
    with IMAPClient(HOST, demo.ports["imaps"], ssl=True, ssl_context=demo.tls, timeout=60) as made:
        made.login(ALICE, PASSWORD)
        yield made


def uid_of(client: IMAPClient, subject: str) -> int:
    def found() -> list[int]:
        client.noop()
        return list(client.search(["SUBJECT", subject]))

    [uid] = eventually(found)
    return int(uid)


def test_capabilities_are_known_after_login(client: IMAPClient):
    for name in (b"IDLE", b"UIDPLUS", b"MOVE", b"SPECIAL-USE", b"NAMESPACE", b"UNSELECT", b"ID"):
        assert client.has_capability(name), name
    assert client.namespace().personal[0][1] == "/"
    assert client.id_({"name": "lab"})


def test_folders_and_special_use(demo: Demo, client: IMAPClient):
    names = {name: set(flags) for flags, _, name in client.list_folders()}
    assert "INBOX" in names
    assert client.find_special_folder(b"\\Sent") and client.find_special_folder(b"\\Trash")
    client.create_folder("Büro/2026")
    assert client.folder_exists("Büro/2026")
    assert "2026" in [f["displayName"] for f in demo.folders()]
    client.rename_folder("Büro/2026", "Büro/2027")
    assert "2027" in [f["displayName"] for f in demo.folders()]
    client.subscribe_folder("Büro/2027")
    assert "Büro/2027" in [name for _, _, name in client.list_sub_folders()]
    client.delete_folder("Büro/2027")
    assert not client.folder_exists("Büro/2027")


def test_envelope_and_bodystructure_of_every_message(demo: Demo, client: IMAPClient):
    info = client.select_folder("INBOX", readonly=True)
    assert info[b"EXISTS"] >= 500 and info[b"UIDVALIDITY"] > 0
    uids = client.search("ALL")
    answers = client.fetch(uids, ["ENVELOPE", "INTERNALDATE", "FLAGS", "RFC822.SIZE"])
    assert sorted(answers) == sorted(uids)
    some = client.fetch(uids[:60], ["BODYSTRUCTURE"])
    for each in some.values():
        assert each[b"BODYSTRUCTURE"].is_multipart in (True, False)


def test_search_and_fetch_the_whole(demo: Demo, client: IMAPClient):
    demo.deliver(mail("IMAPClient sucht: größte Übersicht"))
    client.select_folder("INBOX", readonly=True)
    uid = uid_of(client, "IMAPClient sucht")
    assert client.search(["SUBJECT", "größte Übersicht"], charset="UTF-8") == [uid]
    assert client.search(["FROM", "eve@example.net", "SUBJECT", "IMAPClient"]) == [uid]
    assert uid not in client.search(["NOT", "SUBJECT", "IMAPClient"])
    [row] = [r for r in demo.listing() if "IMAPClient sucht" in r["subject"]]
    answer = client.fetch([uid], ["BODY.PEEK[]", "RFC822.SIZE", "ENVELOPE"])[uid]
    assert digest(answer[b"BODY[]"]) == row["sha256"] and answer[b"RFC822.SIZE"] == row["size"]
    assert answer[b"ENVELOPE"].from_[0].mailbox == b"eve"


def test_idle_hears_of_new_mail_and_of_a_flag(demo: Demo):
    with IMAPClient(HOST, demo.ports["imap"], ssl=False, timeout=60) as client:
        client.login(BOB, PASSWORD)
        before = client.select_folder("INBOX")[b"EXISTS"]
        client.idle()
        identity = demo.deliver(mail("While idling"), user=BOB)
        assert (before + 1, b"EXISTS") in eventually(lambda: client.idle_check(timeout=1))
        demo.control.patch(f"users/{BOB}/messages/{identity}", json={"isRead": True}).raise_for_status()
        said = eventually(lambda: [r for r in client.idle_check(timeout=1) if r[1] == b"FETCH"])
        assert said[0][0] == before + 1 and b"\\Seen" in str(said[0][2]).encode()
        text, _ = client.idle_done()
        assert b"IDLE" in text.upper() or text


def test_move_goes_with_its_uid_told(demo: Demo, client: IMAPClient):
    demo.deliver(mail("Moved by IMAPClient"))
    if not client.folder_exists("Moved"):
        client.create_folder("Moved")
    client.select_folder("INBOX")
    uid = uid_of(client, "Moved by IMAPClient")
    client.move([uid], "Moved")
    assert not demo.find("Moved by IMAPClient") and len(demo.find("Moved by IMAPClient", "Moved")) == 1
    assert client.search(["UID", str(uid)]) == []
    client.select_folder("Moved")
    assert len(client.search(["SUBJECT", "Moved by IMAPClient"])) == 1


def test_append_flags_copy_and_uid_expunge(demo: Demo, client: IMAPClient):
    when = datetime(2019, 3, 4, 5, 6, 7, tzinfo=UTC)
    for name in ("Kept", "Copied"):
        client.create_folder(name)
    for number in (1, 2):
        client.append("Kept", mail(f"Kept {number}"), [SEEN, "Angebot"], when)
    client.select_folder("Kept")
    one, two = client.search("ALL")
    assert {b"\\Seen", b"Angebot"} <= set(client.get_flags([one])[one])
    assert client.fetch([one], ["INTERNALDATE"])[one][b"INTERNALDATE"].timestamp() == when.timestamp()
    client.copy([one, two], "Copied")
    assert {r["subject"] for r in demo.listing("Copied")} == {"Kept 1", "Kept 2"}
    client.add_flags([one, two], [b"\\Deleted"])
    client.uid_expunge([one])
    assert [r["subject"] for r in demo.listing("Kept")] == ["Kept 2"]
    client.select_folder("Copied", readonly=True)
    bodies = client.fetch(client.search("ALL"), ["BODY.PEEK[]"])
    assert {b[b"BODY[]"] for b in bodies.values()} == {mail("Kept 1"), mail("Kept 2")}


def test_sort_thread_and_changes_since(demo: Demo, client: IMAPClient):
    client.create_folder("Sorted")
    for name in ("c", "a", "b"):
        client.append("Sorted", mail(f"Sorted {name}"))
    client.select_folder("Sorted")
    one, two, three = client.search("ALL")
    assert client.sort("SUBJECT") == [two, three, one]
    assert client.sort(["REVERSE SUBJECT"], "ALL", "UTF-8") == [one, three, two]
    assert sorted(client.thread("REFERENCES")) == [(one,), (two,), (three,)]
    assert len(client.thread("ORDEREDSUBJECT")) == 3
    before = client.folder_status("Sorted", ["HIGHESTMODSEQ"])[b"HIGHESTMODSEQ"]
    client.add_flags([two], [SEEN])
    changed = client.fetch([one, two, three], ["FLAGS"], [f"CHANGEDSINCE {before}"])
    assert list(changed) == [two] and SEEN in changed[two][b"FLAGS"] and changed[two][b"MODSEQ"][0] > before


def test_several_messages_in_one_append(demo: Demo, client: IMAPClient):
    client.create_folder("Several")
    said = client.multiappend("Several", [mail("Several 1"), {"msg": mail("Several 2"), "flags": [SEEN]}])
    assert "APPENDUID" in str(said)
    rows = {row["subject"]: row["isRead"] for row in demo.listing("Several")}
    assert rows == {"Several 1": False, "Several 2": True}

"""Python's imaplib, as old scripts use it."""

from __future__ import annotations

import imaplib
import re
import time
from collections.abc import Iterator

import pytest

from interop.lab import ALICE, BOB, CAROL, HOST, PASSWORD, Demo, digest, eventually, mail


@pytest.fixture
def box(demo: Demo) -> Iterator[imaplib.IMAP4]:
    with imaplib.IMAP4(HOST, demo.ports["imap"], timeout=60) as made:
        made.login(ALICE, PASSWORD)
        yield made


def uid_of(box: imaplib.IMAP4, subject: str) -> str:
    """The UID of the one message with this subject, once the selected mailbox has heard of it."""

    def found() -> list[bytes]:
        box.noop()
        return box.uid("SEARCH", "SUBJECT", f'"{subject}"')[1][0].split()  # type: ignore[no-any-return]

    [uid] = eventually(found)
    return uid.decode()


def appended(box: imaplib.IMAP4, folder: str, mime: bytes, flags: str = "", when: object = None) -> bytes:
    """APPEND; the UID of APPENDUID."""
    status, [said] = box.append(folder, flags, when, mime)  # type: ignore[arg-type]
    found = re.search(rb"\[APPENDUID \d+ (\d+)\]", said)
    assert status == "OK" and found
    return found[1]


def test_login_in_every_form(demo: Demo):
    with imaplib.IMAP4_SSL(HOST, demo.ports["imaps"], ssl_context=demo.tls, timeout=30) as box:
        box.login(f'"{ALICE}"', PASSWORD)
        assert box.state == "AUTH"
    with imaplib.IMAP4(HOST, demo.ports["imap"], timeout=30) as box:
        assert box.starttls(demo.tls)[0] == "OK"
        box.authenticate("PLAIN", lambda _: f"\0{ALICE}\0{PASSWORD}".encode())
        assert box.select("INBOX")[0] == "OK"
    with imaplib.IMAP4(HOST, demo.ports["imap"], timeout=30) as box:
        answers = iter([BOB.encode(), PASSWORD.encode()])
        box.authenticate("LOGIN", lambda _: next(answers))
        status, [count] = box.select("INBOX")
        assert status == "OK" and int(count) == len(demo.listing(user=BOB))


def test_a_wrong_password_is_refused_and_the_connection_lives(demo: Demo):
    with imaplib.IMAP4(HOST, demo.ports["imap"], timeout=30) as box:
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            box.login(ALICE, "guess")
        box.login(ALICE, PASSWORD)
        assert box.noop()[0] == "OK"


def test_list_and_select(demo: Demo, box: imaplib.IMAP4):
    status, lines = box.list()
    names = b"\n".join(line for line in lines if isinstance(line, bytes))
    assert status == "OK" and rb"\Sent" in names and rb"\Drafts" in names and b"INBOX" in names
    status, [count] = box.select("INBOX", readonly=True)
    assert status == "OK" and int(count) >= 500
    assert box.response("UIDVALIDITY")[1] != [None]
    assert box.status("INBOX", "(MESSAGES UNSEEN UIDNEXT)")[0] == "OK"


def test_search_by_key_and_by_literal(demo: Demo, box: imaplib.IMAP4):
    demo.deliver(mail("Grüße aus dem Süden, zuvor"))
    box.select("INBOX", readonly=True)
    uid = uid_of(box, ", zuvor")
    rows = demo.listing()
    assert len(box.search(None, "UNSEEN")[1][0].split()) == sum(not r["isRead"] for r in rows)
    assert len(box.search(None, "ALL")[1][0].split()) == len(rows)
    box.literal = "Grüße aus dem Süden".encode()
    status, [found] = box.uid("SEARCH", "CHARSET", "UTF-8", "SUBJECT")
    assert status == "OK" and found.decode() == uid


def test_fetch_forms_give_the_same_octets_as_the_mailbox(demo: Demo, box: imaplib.IMAP4):
    identity = demo.deliver(mail("To be read by imaplib"))
    box.select("INBOX")
    uid = uid_of(box, "To be read by imaplib")
    [row] = demo.find("To be read by imaplib")
    assert row["id"] == identity

    def fetched(item: str) -> bytes:
        status, data = box.uid("FETCH", uid, f"({item})")
        assert status == "OK"
        return bytes(data[0][1])

    whole = fetched("BODY.PEEK[]")
    assert digest(whole) == row["sha256"] and len(whole) == row["size"]
    assert fetched("BODY.PEEK[HEADER]") + fetched("BODY.PEEK[TEXT]") == whole
    assert fetched("BODY.PEEK[]<0.10>") == whole[:10]
    assert not demo.find("To be read by imaplib")[0]["isRead"], "PEEK reads nothing"
    assert fetched("RFC822") == whole
    eventually(lambda: demo.find("To be read by imaplib")[0]["isRead"])


def test_fetch_of_many_by_sequence_number(demo: Demo, box: imaplib.IMAP4):
    eventually(lambda: int(box.select("INBOX", readonly=True)[1][0]) == len(demo.listing()))
    count = len(demo.listing())
    status, data = box.fetch("1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE)")
    assert status == "OK" and len(data) == count
    uids = [int(re.search(rb"UID (\d+)", line)[1]) for line in data]  # type: ignore[index]
    assert uids == sorted(set(uids))


def test_store_goes_to_the_mailbox(demo: Demo, box: imaplib.IMAP4):
    demo.deliver(mail("Flags by imaplib"))
    box.select("INBOX")
    uid = uid_of(box, "Flags by imaplib")
    assert box.uid("STORE", uid, "+FLAGS", r"(\Flagged \Seen Projekt)")[0] == "OK"
    [row] = demo.find("Flags by imaplib")
    assert (row["flag"], row["isRead"], row["categories"]) == ("flagged", True, ["Projekt"])
    assert box.uid("STORE", uid, "-FLAGS", r"\Seen")[0] == "OK"
    assert not demo.find("Flags by imaplib")[0]["isRead"]
    assert b"Projekt" in box.uid("FETCH", uid, "(FLAGS)")[1][0]


def test_append_comes_back_byte_for_byte_with_date_and_flags(demo: Demo, box: imaplib.IMAP4):
    mime = mail("Appended by imaplib", "Body with 8-bit: ÄÖÜ\nand a second line.")
    box.create("imaplib")
    uid = appended(box, "imaplib", mime, r"(\Seen \Flagged)", imaplib.Time2Internaldate(1_500_000_000))
    box.select("imaplib")
    _, data = box.uid("FETCH", uid.decode(), "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
    said = data[0][0] + data[-1] if isinstance(data[-1], bytes) else data[0][0]
    assert data[0][1] == mime
    assert rb"\Seen" in said and rb"\Flagged" in said and rb"\Draft" not in said
    assert f"RFC822.SIZE {len(mime)}".encode() in said
    assert time.mktime(imaplib.Internaldate2tuple(said)) == 1_500_000_000
    [row] = demo.find("Appended by imaplib", "imaplib")
    assert (row["isRead"], row["flag"], row["isDraft"]) == (True, "flagged", False)
    assert row["receivedDateTime"] == "2017-07-14T02:40:00Z"


def test_append_without_such_a_folder_says_trycreate(box: imaplib.IMAP4):
    status, [said] = box.append("nowhere", "", None, mail("Nowhere"))  # type: ignore[arg-type]
    assert status == "NO" and b"[TRYCREATE]" in said


def test_copy_and_expunge(demo: Demo, box: imaplib.IMAP4):
    demo.deliver(mail("Filed by imaplib"))
    box.create("Filed")
    box.select("INBOX")
    uid = uid_of(box, "Filed by imaplib")
    assert box.uid("COPY", uid, "Filed")[0] == "OK"
    assert len(demo.find("Filed by imaplib", "Filed")) == 1
    assert box.uid("STORE", uid, "+FLAGS", r"(\Deleted)")[0] == "OK"
    assert len(demo.find("Filed by imaplib")) == 1, "only EXPUNGE removes"
    status, gone = box.expunge()
    assert status == "OK" and gone != [None]
    assert not demo.find("Filed by imaplib") and len(demo.find("Filed by imaplib", "Filed")) == 1
    assert box.uid("SEARCH", "UID", uid)[1] == [b""]


def test_new_mail_shows_at_noop(demo: Demo):
    with imaplib.IMAP4(HOST, demo.ports["imap"], timeout=30) as box:
        box.login(CAROL, PASSWORD)
        _, [count] = box.select("INBOX")
        demo.deliver(mail("New for carol"), user=CAROL)

        def announced() -> bool:
            box.noop()
            return box.response("EXISTS")[1][-1] == b"%d" % (int(count) + 1)

        assert eventually(announced)

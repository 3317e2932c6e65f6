"""imap-tools: what scripts of the last years use on top of imaplib."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from imap_tools import AND, NOT, OR, MailBox, MailMessageFlags

from interop.lab import ALICE, BOB, HOST, PASSWORD, Demo, arrived, eventually, mail

ATTACHED = """\
From: Eve <eve@example.net>
To: alice@example.com, Bob <bob@example.com>
Cc: carol@example.com
Subject: =?utf-8?q?imap-tools_liest_Anh=C3=A4nge?=
Date: Mon, 02 Nov 2026 10:00:00 +0000
Message-ID: <imap-tools-attached@example.net>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Zwei Anhänge.
--b
Content-Type: text/csv; name="zahlen.csv"
Content-Disposition: attachment; filename="zahlen.csv"
Content-Transfer-Encoding: base64

MSwyLDMK
--b
Content-Type: application/pdf; name*=utf-8''B%C3%BCro.pdf
Content-Disposition: attachment; filename*=utf-8''B%C3%BCro.pdf
Content-Transfer-Encoding: base64

JVBERi0xLjQK
--b--
"""


@pytest.fixture
def box(demo: Demo) -> Iterator[MailBox]:
    with MailBox(HOST, demo.ports["imaps"], timeout=60, ssl_context=demo.tls).login(ALICE, PASSWORD) as made:
        yield made


def refreshed(box: MailBox, subject: str) -> str:
    """The UID of the one message with this subject, once this session has heard of it."""

    def found() -> list[str]:
        box.client.noop()
        return box.uids(AND(subject=subject))

    [uid] = eventually(found)
    return str(uid)


def test_the_newest_messages_come_parsed(demo: Demo, box: MailBox):
    messages = list(box.fetch(limit=40, reverse=True, mark_seen=False, bulk=True))
    assert len(messages) == 40 and all(m.uid for m in messages)
    assert [int(m.uid) for m in messages] == sorted((int(m.uid) for m in messages), reverse=True)
    sizes = {row["size"] for row in demo.listing()}
    exact = [m for m in messages if m.size_rfc822 in sizes]
    assert len(exact) >= 38, "the size told is the size held, placeholders aside"


def test_text_and_attachments(demo: Demo, box: MailBox):
    demo.deliver(ATTACHED.replace("\n", "\r\n").encode())
    uid = refreshed(box, "imap-tools liest")
    [message] = box.fetch(AND(uid=uid), mark_seen=False)
    assert message.subject == "imap-tools liest Anhänge" and message.text.strip() == "Zwei Anhänge."
    assert message.from_ == "eve@example.net" and message.to == (ALICE, BOB)
    assert [(a.filename, a.payload) for a in message.attachments] == [
        ("zahlen.csv", b"1,2,3\n"),
        ("Büro.pdf", b"%PDF-1.4\n"),
    ]
    [row] = demo.find("imap-tools liest Anhänge")
    assert not row["isRead"]
    list(box.fetch(AND(uid=uid), mark_seen=True))
    assert demo.find("imap-tools liest Anhänge")[0]["isRead"]


def test_searches_it_builds_are_answered_exactly(demo: Demo, box: MailBox):
    for name in ("eins", "zwei", "drei"):
        demo.deliver(
            mail(f"imap-tools sucht {name}", f"Das Wort ist {name}.", sender=f"{name}@suche.example")
        )
    arrived(demo, "imap-tools sucht drei")
    box.folder.set("INBOX")
    uid = {name: refreshed(box, f"imap-tools sucht {name}") for name in ("eins", "zwei", "drei")}
    ours = AND(subject="imap-tools sucht")
    assert box.uids(ours) == sorted(uid.values(), key=int)
    assert box.uids(AND(from_="zwei@suche.example")) == [uid["zwei"]]
    either = OR(from_=["eins@suche.example", "drei@suche.example"])
    assert box.uids(either) == sorted((uid["eins"], uid["drei"]), key=int)
    assert box.uids(AND(ours, NOT(from_="zwei@suche.example"))) == box.uids(either)
    assert box.uids(AND(text="Wort ist drei")) == [uid["drei"]]
    assert box.uids(AND(ours, sent_date_gte=date(2026, 11, 2), sent_date_lt=date(2026, 11, 3), seen=False))
    assert not box.uids(AND(ours, sent_date_gte=date(2026, 11, 3)))
    assert not box.uids(AND(ours, size_gt=100_000))
    assert not box.uids(AND(ours, keyword="imap-tools-nobody"))


def test_flags_keywords_move_copy_and_delete(demo: Demo, box: MailBox):
    for folder in ("imap-tools", "imap-tools/Kopien"):
        box.folder.create(folder)
    for name in ("a", "b", "c"):
        demo.deliver(mail(f"imap-tools ordnet {name}"))
    uid = {name: refreshed(box, f"imap-tools ordnet {name}") for name in ("a", "b", "c")}
    box.flag([uid["a"], uid["b"]], [MailMessageFlags.FLAGGED, MailMessageFlags.SEEN, "Rechnung"], True)
    for name in ("a", "b"):
        [row] = demo.find(f"imap-tools ordnet {name}")
        assert row["flag"] == "flagged" and row["isRead"] and row["categories"] == ["Rechnung"]
    assert box.uids(AND(keyword="Rechnung", subject="imap-tools ordnet")) == [uid["a"], uid["b"]]
    box.copy([uid["a"]], "imap-tools/Kopien")
    box.move([uid["a"], uid["b"]], "imap-tools")
    box.delete([uid["c"]])
    assert sorted(r["subject"] for r in demo.listing("imap-tools")) == [
        "imap-tools ordnet a", "imap-tools ordnet b",
    ]  # fmt: skip
    assert [r["subject"] for r in demo.listing("Kopien")] == ["imap-tools ordnet a"]
    assert not demo.find("imap-tools ordnet c") and demo.find("imap-tools ordnet c", "deleteditems")


def test_folders(demo: Demo, box: MailBox):
    names = {each.name: each for each in box.folder.list()}
    assert "\\Sent" in names["Sent Items"].flags and names["INBOX"].delim == "/"
    box.folder.create("imap-tools 1/Äpfel & Birnen")
    assert box.folder.exists("imap-tools 1/Äpfel & Birnen")
    box.folder.rename("imap-tools 1/Äpfel & Birnen", "imap-tools 1/Obst")
    assert "Obst" in [row["displayName"] for row in demo.folders()]
    status = box.folder.status("INBOX")
    assert status["MESSAGES"] == len(demo.listing()) and status["UIDNEXT"] > status["MESSAGES"]
    box.folder.delete("imap-tools 1/Obst")
    assert not box.folder.exists("imap-tools 1/Obst")


def test_append_keeps_date_flags_and_bytes(demo: Demo, box: MailBox):
    box.folder.create("imap-tools-neu")
    when = datetime(2015, 6, 7, 8, 9, 10, tzinfo=UTC)
    box.append(
        mail("imap-tools legt ab"), "imap-tools-neu", dt=when, flag_set=[MailMessageFlags.SEEN, "Privat"]
    )
    box.folder.set("imap-tools-neu")
    [message] = box.fetch(mark_seen=False)
    assert message.obj.as_bytes().replace(b"\r\n", b"\n") == mail("imap-tools legt ab").replace(
        b"\r\n", b"\n"
    )
    [row] = demo.listing("imap-tools-neu")
    assert row["receivedDateTime"] == "2015-06-07T08:09:10Z" and row["isRead"] and not row["isDraft"]
    assert row["categories"] == ["Privat"]


def test_idle_of_a_polling_script(demo: Demo):
    with MailBox(HOST, demo.ports["imaps"], timeout=60, ssl_context=demo.tls).login(BOB, PASSWORD) as box:
        box.idle.start()
        demo.deliver(mail("imap-tools hört davon"), user=BOB)
        assert eventually(lambda: [said for said in box.idle.poll(timeout=5) if b"EXISTS" in said])
        box.idle.stop()
        assert len(box.uids(AND(subject="imap-tools hört davon"), charset="UTF-8")) == 1

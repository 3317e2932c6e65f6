"""Thunderbird: what a person does in its window. One start for all; each test finds its own mail."""

from __future__ import annotations

import base64
import email
import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.lab import ALICE, BOB, Demo, digest, eventually, mail
from interop.thunderbird import Thunderbird

INBOX, SENT, DRAFTS, TRASH, JUNK, ARCHIVE = 0x1000, 0x200, 0x400, 0x100, 0x40000000, 0x4000
WELL_KNOWN = {
    INBOX: "inbox", SENT: "sentitems", DRAFTS: "drafts", TRASH: "deleteditems", JUNK: "junkemail",
    ARCHIVE: "archive",
}  # fmt: skip
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAFklEQVR42mP8z0AaYCJR/aiGUQ1DSAMAQC4CH5Z0TpYAAAAASUVORK5CYII="
)
ILLUSTRATED = """\
From: Eve <eve@example.net>
To: alice@example.com
Subject: Thunderbird shows pictures
Date: Mon, 02 Nov 2026 10:00:00 +0000
Message-ID: <thunderbird-pictures@example.net>
MIME-Version: 1.0
Content-Type: multipart/related; boundary=r; type="text/html"

--r
Content-Type: text/html; charset=utf-8

<p>Zwei Bilder: <img id="one" src="cid:one@example.net"> und <img id="two" src="cid:two@example.net">.</p>
--r
Content-Type: image/png; name=one.png
Content-ID: <one@example.net>
Content-Disposition: inline; filename=one.png
Content-Transfer-Encoding: base64

{png}
--r
Content-Type: image/png; name=two.png
Content-ID: <two@example.net>
Content-Disposition: inline; filename=two.png
Content-Transfer-Encoding: base64

{png}
--r--
"""
MIB = 1024 * 1024
STATUS = re.compile(rb"\A(X-Mozilla-(Status|Status2|Keys):[^\n]*\n)*")  # its own lines in what it stores

# JavaScript used by several tests: `arrived`, `ended`, `until` and the rest are the driver's.
SHOW = """
const show = async hdr => {
  const p = pane();
  if (p.gFolder != hdr.folder) p.displayFolder(hdr.folder.URI);
  const row = await until(() => {
    const n = p.gDBView?.findIndexOfMsgHdr(hdr, true) ?? 0xffffffff;
    return n != 0xffffffff && n < p.gDBView.rowCount ? { n } : null;
  }, "row");
  p.threadTree.selectedIndex = row.n;
  p.threadTree.scrollToIndex(row.n, true);
  const browser = await until(() => p.messageBrowser.contentWindow?.getMessagePaneBrowser?.(), "message pane");
  await until(() => browser.currentURI.spec != "about:blank" && !browser.webProgress.isLoadingDocument, "load");
  return browser;
};
"""
COMPOSE = """
const compose = async (type, uris, change) => {
  win.ComposeMessage(type, Ci.nsIMsgCompFormat.PlainText, root.getFolderWithFlags(0x1000), uris);
  const w = await opened("msgcompose");
  await until(() => w.gMsgCompose?.editor && w.composeEditorReady !== false && w.gLoadingComplete !== false);
  await sleep(300);
  await change?.(w);
  return w;
};
"""


@pytest.fixture(scope="module")
def thunderbird(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Thunderbird]:
    home = tmp_path_factory.mktemp("thunderbird")
    shots = Path(os.environ.get("GATEWAY_LAB_SHOTS") or home / "shots")
    shots.mkdir(parents=True, exist_ok=True)
    running = Thunderbird(demo, home, shots)
    try:
        running.script("server.performExpand(win.msgWindow); await until(() => folder('Projects'))")
        yield running
    finally:
        running.end()


def made(demo: Demo, thunderbird: Thunderbird, name: str) -> str:
    """A new folder of the mailbox that Thunderbird knows; its id."""
    identity = demo.make_folder(name)
    thunderbird.script("server.performExpand(win.msgWindow); await until(() => folder(args[0]))", name)
    return identity


def test_folders_are_found_and_special_ones_recognised(demo: Demo, thunderbird: Thunderbird):
    rows = {row["wellKnownName"]: row for row in demo.folders()}
    for flag, name in WELL_KNOWN.items():
        uri = thunderbird.script("return root.getFolderWithFlags(args[0])?.URI", flag)
        assert uri, f"{name} is not known for what it is"
        wanted = "INBOX" if name == "inbox" else rows[name]["displayName"]
        assert uri.rpartition("/")[2] == wanted
    # A subscription outlives its mailbox: such a name comes as one that cannot be opened.
    names = thunderbird.script("return all().filter(f => !(f.flags & 0x01000000)).map(f => f.name)")
    assert {"Projects", "Alpha", "Reisen & Fotos"} <= set(names)
    there = Counter(row["displayName"].casefold() for row in demo.folders())
    assert Counter(each.casefold() for each in names) - there == Counter(), (
        "none of its own beside the mailbox's"
    )
    fcc = thunderbird.script("return identity.fccFolderURI ?? identity.fccFolder")
    assert fcc.endswith(("/Sent%20Items", "/Sent Items"))
    thunderbird.script(
        'await until(() => pane().document.querySelectorAll("#folderTree li").length >= args[0])', 10
    )
    thunderbird.shot("folders")


def test_the_inbox_opens_with_all_its_mail(demo: Demo, thunderbird: Thunderbird):
    total, unread, subjects = thunderbird.script(
        """
        const inbox = root.getFolderWithFlags(0x1000);
        pane().displayFolder(inbox.URI);
        const here = () => messages(inbox).length;
        await until(() => here() >= 500 && inbox.getTotalMessages(false) == here());
        await until(() => pane().gDBView?.rowCount > 100);
        return [inbox.getTotalMessages(false), inbox.getNumUnread(false),
                messages(inbox).map(m => m.mime2DecodedSubject)];
        """
    )
    rows = demo.listing()
    assert total == len(rows) == len(subjects)
    assert unread == sum(not row["isRead"] for row in rows)
    plain = Counter(
        row["subject"] for row in rows if re.fullmatch(r"\w+( \w+)* #\d+", row["subject"], re.ASCII)
    )
    assert len(plain) > 100
    assert plain - Counter(" ".join(each.split()) for each in subjects) == Counter()
    thunderbird.shot("inbox")


def test_all_of_it_is_compressed(thunderbird: Thunderbird):
    assert re.search(r"SendData: \d+ COMPRESS DEFLATE", thunderbird.protocol())
    assert re.search(r"OK DEFLATE active", thunderbird.protocol())


def test_a_message_is_read_with_its_pictures(demo: Demo, thunderbird: Thunderbird):
    letter = ILLUSTRATED.replace("{png}", base64.b64encode(PNG).decode()).replace("\n", "\r\n")
    demo.deliver(letter.encode())
    widths, text = thunderbird.script(
        SHOW
        + """
        const browser = await show(await arrived(root.getFolderWithFlags(0x1000), "Thunderbird shows pictures"));
        const doc = browser.contentDocument;
        await until(() => doc.getElementById("two")?.naturalWidth);
        return [Array.from(doc.querySelectorAll("p img"), i => i.naturalWidth), doc.body.textContent];
        """
    )
    thunderbird.shot("pictures")
    assert widths == [16, 16] and "Zwei Bilder" in text
    eventually(lambda: demo.find("Thunderbird shows pictures")[0]["isRead"])


def test_new_mail_shows_by_itself(demo: Demo, thunderbird: Thunderbird):
    thunderbird.script(SHOW + "const p = pane(); p.displayFolder(root.getFolderWithFlags(0x1000).URI)")
    demo.deliver(mail("Thunderbird hears of this"))
    thunderbird.script(
        "await until(() => message(root.getFolderWithFlags(0x1000), 'Thunderbird hears of this'))"
    )
    assert re.search(r"SendData: \d+ IDLE", thunderbird.protocol())


def test_a_reply_goes_out_and_marks_the_original(demo: Demo, thunderbird: Thunderbird):
    demo.deliver(mail("Thunderbird answers this", sender=BOB))
    thunderbird.script(
        COMPOSE
        + """
        const hdr = await arrived(root.getFolderWithFlags(0x1000), "Thunderbird answers this");
        const w = await compose(Ci.nsIMsgCompType.ReplyToSender, [hdr.folder.getUriForMsg(hdr)], w => {
          w.GetCurrentEditor().beginningOfDocument();
          w.GetCurrentEditor().insertText("Geschrieben in Thunderbird.\\n");
        });
        return true;
        """
    )
    thunderbird.shot("reply")
    thunderbird.script(
        """
        const w = await opened("msgcompose");
        w.SendMessage();
        await until(() => w.closed);
        """
    )
    [answer] = eventually(lambda: demo.find("Re: Thunderbird answers this", user=BOB))
    raw = demo.value(answer["id"], BOB)
    assert b"In-Reply-To: <" in raw and b"Geschrieben in Thunderbird." in raw
    eventually(lambda: demo.find("Thunderbird answers this")[0]["verb"] == 102)
    copies = eventually(lambda: demo.find("Re: Thunderbird answers this", "sentitems"))
    assert 1 <= len(copies) <= 2 and all(row["isRead"] and not row["isDraft"] for row in copies)


def test_a_message_is_moved(demo: Demo, thunderbird: Thunderbird):
    target = made(demo, thunderbird, "tb-moved")
    demo.deliver(mail("Thunderbird moves this"))
    thunderbird.script(
        """
        const hdr = await arrived(root.getFolderWithFlags(0x1000), "Thunderbird moves this");
        await ended(l => MailServices.copy.copyMessages(
          hdr.folder, [hdr], folder("tb-moved"), true, l, win.msgWindow, true));
        await until(() => !message(root.getFolderWithFlags(0x1000), "Thunderbird moves this"));
        await arrived(folder("tb-moved"), "Thunderbird moves this");
        """
    )
    # The window shows the move before the server has made it.
    eventually(lambda: not demo.find("Thunderbird moves this"))
    assert len(eventually(lambda: demo.find("Thunderbird moves this", target))) == 1


def test_a_message_is_deleted_into_trash(demo: Demo, thunderbird: Thunderbird):
    demo.deliver(mail("Thunderbird deletes this"))
    thunderbird.script(
        """
        const hdr = await arrived(root.getFolderWithFlags(0x1000), "Thunderbird deletes this");
        await ended(l => hdr.folder.deleteMessages([hdr], win.msgWindow, false, false, l, true));
        await arrived(root.getFolderWithFlags(0x100), "Thunderbird deletes this");
        """
    )
    eventually(lambda: not demo.find("Thunderbird deletes this"))
    assert len(eventually(lambda: demo.find("Thunderbird deletes this", "deleteditems"))) == 1


def test_tags_and_stars_go_both_ways(demo: Demo, thunderbird: Thunderbird):
    identity = demo.deliver(mail("Thunderbird tags this"))
    thunderbird.script(
        SHOW
        + """
        const hdr = await arrived(root.getFolderWithFlags(0x1000), "Thunderbird tags this");
        hdr.folder.addKeywordsToMessages([hdr], "$label1 $label3");
        hdr.folder.markMessagesFlagged([hdr], true);
        await show(hdr);
        """
    )
    thunderbird.shot("tags")
    eventually(lambda: len(demo.find("Thunderbird tags this")[0]["categories"]) == 2)
    eventually(lambda: demo.find("Thunderbird tags this")[0]["flag"] == "flagged")
    [row] = demo.find("Thunderbird tags this")
    change = {"categories": row["categories"][:1], "flag": {"flagStatus": "notFlagged"}}
    demo.control.patch(f"users/{ALICE}/messages/{identity}", json=change).raise_for_status()
    thunderbird.script(
        """
        const hdr = message(root.getFolderWithFlags(0x1000), "Thunderbird tags this");
        await until(async () => {
          await updated(hdr.folder);
          const words = hdr.getStringProperty("keywords").split(" ");
          return !hdr.isFlagged && words.filter(w => w.startsWith("$label")).length == 1;
        }, "tags");
        """
    )


def test_a_search_on_the_server_finds_what_it_should(demo: Demo, thunderbird: Thunderbird):
    demo.deliver(mail("Thunderbird sucht A", "Darin steht Übermorgenland."))
    demo.deliver(mail("Thunderbird sucht B", "Darin steht es nicht."))
    hits = thunderbird.script(
        """
        const inbox = root.getFolderWithFlags(0x1000);
        await arrived(inbox, "Thunderbird sucht A");
        await arrived(inbox, "Thunderbird sucht B");
        const look = async (attrib, text) => {
          const search = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
          search.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, inbox);
          const term = search.createTerm();
          const value = term.value;
          value.attrib = attrib;
          value.str = text;
          term.attrib = attrib;
          term.op = Ci.nsMsgSearchOp.Contains;
          term.value = value;
          search.appendTerm(term);
          const found = [];
          await new Promise(done => {
            search.registerListener({
              QueryInterface: ChromeUtils.generateQI(["nsIMsgSearchNotify"]),
              onSearchHit(hdr) { found.push(hdr.mime2DecodedSubject); },
              onSearchDone: done, onNewSearch() {},
            });
            search.search(win.msgWindow);
          });
          return found.sort();
        };
        const A = Ci.nsMsgSearchAttrib;
        return [await look(A.Body, "übermorgenLAND"), await look(A.Subject, "Thunderbird sucht"),
                await look(A.Subject, "nobody wrote this")];
        """
    )
    assert hits == [["Thunderbird sucht A"], ["Thunderbird sucht A", "Thunderbird sucht B"], []]
    assert re.search(r"SendData: \d+ UID SEARCH", thunderbird.protocol(), re.I)


def test_a_folder_is_downloaded_byte_for_byte(demo: Demo, thunderbird: Thunderbird):
    target = made(demo, thunderbird, "tb-offline")
    letters = [demo.value(row["id"]) for row in demo.listing()[:250:10] if row["sha256"]]
    # What it stores is an mbox: a line that begins with From is changed there.
    letters = [each for each in letters if b"\r\n\r\n" in each and not re.search(rb"^From ", each, re.M)]
    letters.append(mail("Thunderbird downloads this", "Zeile mit Ünïcode.\n" * 20_000))
    for each in letters:
        demo.deliver(each, target)
    texts = thunderbird.script(
        """
        const f = folder("tb-offline");
        f.setFlag(0x08000000);
        await until(async () => { await updated(f); return messages(f).length == args[0]; });
        await ended(l => f.downloadAllForOffline(l, win.msgWindow));
        await until(() => messages(f).every(m => m.flags & 0x80));
        return messages(f).map(m => {
          const stream = f.getMsgInputStream(m, {});
          const reader = Cc["@mozilla.org/binaryinputstream;1"].createInstance(Ci.nsIBinaryInputStream);
          reader.setInputStream(stream);
          let said = "", n;
          while ((n = reader.available())) said += reader.readBytes(n);
          return btoa(said);
        });
        """,
        len(letters),
    )
    stored = [re.sub(rb"\r?\n", b"\r\n", base64.b64decode(text)) for text in texts]
    kept = [STATUS.sub(b"", each) for each in stored]
    assert Counter(map(digest, kept)) == Counter(digest(re.sub(rb"\r?\n", b"\r\n", each)) for each in letters)


def test_a_big_message_read_in_chunks_is_whole(demo: Demo, thunderbird: Thunderbird):
    lines = "".join(f"Zeile {n} mit Ünïcode\n" for n in range(20_000))
    demo.deliver(mail("Thunderbird reads in chunks", lines))
    text = thunderbird.script(
        SHOW
        + """
        const hdr = await arrived(root.getFolderWithFlags(0x1000), "Thunderbird reads in chunks");
        const browser = await show(hdr);
        await until(() => browser.contentDocument.body.textContent.includes("Zeile 19999 "));
        return browser.contentDocument.body.textContent;
        """
    )
    assert re.findall(r"Zeile \d+ mit Ünïcode", text) == lines.splitlines()
    assert re.search(r"BODY\[\]<\d+\.\d+>", thunderbird.protocol())


WRITE = (
    COMPOSE
    + """
    await compose(Ci.nsIMsgCompType.New, [], w => {
      const file = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
      file.initWithPath(args[1]);
      const a = Cc["@mozilla.org/messengercompose/attachment;1"].createInstance(Ci.nsIMsgAttachment);
      a.url = Services.io.newFileURI(file).spec;
      a.name = file.leafName;
      a.size = file.fileSize;
      w.document.getElementById("msgSubject").value = args[0];
      w.addressRowAddRecipientsArray(w.document.getElementById("addressRowTo"), [args[2]]);
      w.GetCurrentEditor().insertText("Anbei.");
      return w.AddAttachments([a]);
    });
    """
)


def test_an_attachment_is_sent(demo: Demo, thunderbird: Thunderbird, tmp_path: Path):
    data = random.Random(2).randbytes(2 * MIB)
    path = tmp_path / "zwei.bin"
    path.write_bytes(data)
    thunderbird.script(WRITE, "Thunderbird sends 2 MiB", str(path), BOB)
    thunderbird.shot("attachment")
    thunderbird.script('const w = await opened("msgcompose"); w.SendMessage(); await until(() => w.closed)')
    [row] = eventually(lambda: demo.find("Thunderbird sends 2 MiB", user=BOB))
    raw = demo.value(row["id"], BOB)
    encoded = raw[raw.index(b"zwei.bin") :]
    body = encoded[encoded.index(b"\r\n\r\n") :].partition(b"\r\n--")[0]
    assert base64.b64decode(body) == data


def test_a_draft_with_ten_megabytes_is_kept(demo: Demo, thunderbird: Thunderbird, tmp_path: Path):
    data = random.Random(11).randbytes(10 * MIB)
    path = tmp_path / "entwurf.bin"
    path.write_bytes(data)
    thunderbird.script(WRITE, "Thunderbird keeps 10 MiB", str(path), BOB)
    thunderbird.script(
        """
        const w = await opened("msgcompose");
        w.SaveAsDraft();
        await until(() => !w.gSaveOperationInProgress && !w.gContentChanged, "saved");
        """
    )
    [row] = eventually(lambda: demo.find("Thunderbird keeps 10 MiB", "drafts"))
    thunderbird.script('const w = await opened("msgcompose"); w.close(); await until(() => w.closed)')
    assert row["isDraft"] and row["size"] > 13 * MIB


def test_an_attachment_that_one_request_does_not_hold_is_sent(
    demo: Demo, thunderbird: Thunderbird, tmp_path: Path
):
    data = random.Random(10).randbytes(10 * MIB)
    path = tmp_path / "zehn.bin"
    path.write_bytes(data)
    thunderbird.script(WRITE, "Thunderbird sends 10 MiB", str(path), BOB)
    thunderbird.script('const w = await opened("msgcompose"); w.SendMessage(); await until(() => w.closed)')
    [row] = eventually(lambda: demo.find("Thunderbird sends 10 MiB", user=BOB))
    read = email.message_from_bytes(demo.value(row["id"], BOB))
    (attached,) = [part for part in read.walk() if part.get_filename() == "zehn.bin"]
    assert attached.get_payload(decode=True) == data
    texts = [part.get_payload(decode=True) for part in read.walk() if part.get_content_type() == "text/plain"]
    assert any(b"Anbei." in text for text in texts)
    eventually(lambda: demo.find("Thunderbird sends 10 MiB", "sentitems"))
    assert not demo.find("Thunderbird sends 10 MiB", "drafts")

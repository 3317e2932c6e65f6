"""neomutt with its header cache: what it has once, it does not ask again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from interop.lab import ALICE, BOB, PASSWORD, Demo, arrived, environment, eventually, mail

RC = """\
set imap_user="{user}" imap_pass="{password}" smtp_pass="{password}"
set folder="imaps://localhost:{imaps}/" spoolfile="+INBOX" record="+Sent Items" postponed="+Drafts"
set smtp_url="smtp://{quoted}@localhost:{smtp}/" ssl_force_tls=yes ssl_starttls=yes
set certificate_file="{ca}" ssl_ca_certificates_file="{ca}"
set from="{user}" realname="Alice" use_from=yes editor="{editor}"
set header_cache="{home}/headers" message_cachedir="{home}/bodies" message_cache_clean=yes
set imap_condstore=yes imap_qresync=yes imap_idle={idle} imap_pipeline_depth=15
set mail_check=1 timeout=1 sort=date-received imap_check_subscribed=no
set wait_key=no beep=no confirmappend=no confirmcreate=no delete=yes move=no quit=yes mark_old=no
set pager_stop=yes abort_unmodified=no copy=yes status_on_top=no help=no
set status_format="FOLDER=%f MSGS=%?m?%m&0? FLAGGED=%F" pager_format="PAGER %s"
set index_format="%4C %Z %g %s"
"""
EDITOR = """\
#!/bin/sh
printf 'Written in neomutt.\\n' >> "$1"
"""
DEBUG = 3  # level at which neomutt's log has the lines of the protocol


class Neomutt:
    """neomutt in a pseudo-terminal of 30 lines, with its own log of what it sent."""

    def __init__(self, demo: Demo, home: Path, *, idle: bool = False) -> None:
        editor = home / "editor"
        editor.write_text(EDITOR)
        editor.chmod(0o755)
        for each in ("headers", "bodies"):
            (home / each).mkdir(exist_ok=True)
        (home / "neomuttrc").write_text(
            RC.format(
                user=ALICE, quoted=ALICE.replace("@", "%40"), password=PASSWORD, ca=demo.ca_file, home=home,
                imaps=demo.ports["imaps"], smtp=demo.ports["smtp"], editor=editor,
                idle="yes" if idle else "no",
            )
        )  # fmt: skip
        self.trace = home / "trace0"
        self.trace.unlink(missing_ok=True)
        argv = ["-n", "-F", str(home / "neomuttrc"), "-d", str(DEBUG), "-l", str(home / "trace")]
        self.child = pexpect.spawn(
            "neomutt", argv, env=environment(home), cwd=str(home), dimensions=(30, 160), timeout=40
        )
        self.log = (home / "screen.log").open("wb")
        self.child.logfile_read = self.log
        self.see(r"FOLDER=\S* MSGS=\d+")

    def see(self, pattern: str) -> None:
        self.child.expect(pattern)

    def keys(self, text: str) -> None:
        self.child.send(text)

    def goto(self, subject: str) -> None:
        self.keys(f"/~s '{subject}'\r")

    def said(self) -> str:
        """Its log: commands sent, with `imap` in front, and answers."""
        return self.trace.read_text(errors="replace")

    def end(self) -> None:
        self.child.close(force=True)
        self.log.close()

    def leave(self) -> None:
        self.keys("q")
        self.child.expect(pexpect.EOF)
        self.child.wait()
        assert self.child.exitstatus == 0


@pytest.fixture
def start(demo: Demo, tmp_path: Path) -> Iterator[Callable[..., Neomutt]]:
    made: list[Neomutt] = []

    def started(*, idle: bool = False) -> Neomutt:
        made.append(Neomutt(demo, tmp_path, idle=idle))
        return made[-1]

    yield started
    for each in made:
        each.end()


def test_a_second_start_asks_for_no_header_again(demo: Demo, start: Callable[..., Neomutt]):
    first = start()
    first.leave()
    assert "BODY.PEEK[HEADER.FIELDS" in first.said()
    demo.forget()
    second = start()
    second.leave()
    assert "BODY.PEEK[HEADER.FIELDS" not in second.said()
    assert demo.bodies_read() == 0


def test_a_second_start_hears_only_what_has_changed(demo: Demo, start: Callable[..., Neomutt]):
    """By QRESYNC: no FETCH of all flags. (Where mail came and went, this neomutt mistrusts its cache and reads all
    flags again, whatever the server said: that is its `imap_verify_qresync`.)"""
    identity = demo.deliver(mail("neomutt, resync"))
    arrived(demo, "neomutt, resync")
    first = start()
    first.leave()
    assert "ENABLE QRESYNC" in first.said() and "Handling ENABLED" in first.said()
    demo.control.patch(f"users/{ALICE}/messages/{identity}", json={"isRead": True}).raise_for_status()
    arrived(demo, "neomutt, resync", also="SEEN")
    second = start()
    second.leave()
    said = second.said()
    assert re.search(r"UID FETCH 1:\d+ \(FLAGS\) \(CHANGEDSINCE \d+ VANISHED\)", said)
    assert not re.search(r"UID FETCH 1:\d+ \(UID FLAGS\)", said)
    assert said.count("Handling FETCH") < 20, "flags of the whole folder"


def test_the_cache_follows_what_happened_meanwhile(demo: Demo, start: Callable[..., Neomutt]):
    ids = [demo.deliver(mail(f"neomutt, meanwhile {n}")) for n in (1, 2)]
    arrived(demo, "neomutt, meanwhile 2")
    start().leave()
    demo.control.patch(
        f"users/{ALICE}/messages/{ids[0]}", json={"flag": {"flagStatus": "flagged"}}
    ).raise_for_status()
    demo.control.delete(f"users/{ALICE}/messages/{ids[1]}").raise_for_status()
    demo.deliver(mail("neomutt, meanwhile 3"))
    arrived(demo, "neomutt, meanwhile 3")
    again = start()
    again.keys("l~s 'neomutt, meanwhile'\r")
    again.keys("\x0c")
    again.see(r"!.{0,8}neomutt, meanwhile 1")
    again.see("neomutt, meanwhile 3")
    again.keys("l~s 'neomutt, meanwhile 2'\r")
    again.see("No messages matched")
    again.leave()


def test_a_person_reads_flags_files_and_deletes(demo: Demo, start: Callable[..., Neomutt]):
    for subject in ("neomutt reads this", "neomutt files this", "neomutt deletes this"):
        demo.deliver(mail(subject, f"The text of: {subject}."))
    arrived(demo, "neomutt deletes this")
    neomutt = start()
    neomutt.goto("neomutt reads this")
    neomutt.keys("\r")
    neomutt.see("The text of: neomutt reads this")
    neomutt.keys("Fi")
    neomutt.goto("neomutt files this")
    neomutt.keys("s\x15=neomutt-filed\r")
    neomutt.see("neomutt-filed")
    neomutt.goto("neomutt deletes this")
    neomutt.keys("d$")
    eventually(lambda: demo.find("neomutt deletes this", "deleteditems"))
    eventually(lambda: not demo.find("neomutt files this"))
    [row] = demo.find("neomutt reads this")
    assert row["isRead"] and row["flag"] == "flagged"
    assert not demo.find("neomutt deletes this")
    assert len(demo.find("neomutt files this", "neomutt-filed")) == 1
    neomutt.leave()


def test_new_mail_shows_while_idling(demo: Demo, start: Callable[..., Neomutt]):
    neomutt = start(idle=True)
    demo.deliver(mail("neomutt hears of this", "Heard of."))
    neomutt.see("New mail in this mailbox")
    assert "IDLE" in neomutt.said()
    neomutt.goto("neomutt hears of this")
    neomutt.keys("\r")
    neomutt.see("Heard of")
    neomutt.keys("i")
    neomutt.leave()


def test_a_message_is_sent_and_kept_once(demo: Demo, start: Callable[..., Neomutt]):
    subject = "From neomutt"
    neomutt = start()
    neomutt.keys("m")
    neomutt.see("To:")
    neomutt.keys(f"{BOB}\r")
    neomutt.see("Subject:")
    neomutt.keys(f"{subject}\r")
    neomutt.see("y:Send|Attachments")
    neomutt.keys("y")
    neomutt.see("Mail sent")
    [row] = eventually(lambda: demo.find(subject, user=BOB))
    assert b"Written in neomutt." in demo.value(row["id"], BOB)
    assert 1 <= len(eventually(lambda: demo.find(subject, "sentitems"))) <= 2
    neomutt.leave()

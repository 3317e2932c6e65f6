"""mutt in a terminal: what a person does with it."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from interop.lab import ALICE, BOB, PASSWORD, Demo, arrived, environment, eventually, mail

MUTTRC = """\
set imap_user="{user}" imap_pass="{password}" smtp_pass="{password}"
set folder="imaps://localhost:{imaps}/" spoolfile="+INBOX" record="+Sent Items" postponed="+Drafts"
set smtp_url="smtp://{quoted}@localhost:{smtp}/" ssl_force_tls=yes ssl_starttls=yes
set certificate_file="{ca}" ssl_ca_certificates_file="{ca}"
set from="{user}" realname="Alice" use_from=yes editor="{editor}" header_cache="{home}/headers"
set message_cachedir="{home}/bodies" mail_check=1 timeout=1 imap_idle=no sort=date-received
set wait_key=no beep=no confirmappend=no confirmcreate=no delete=yes move=no quit=yes mark_old=no
set pager_stop=yes abort_unmodified=no copy=yes status_on_top=no help=no
set status_format="FOLDER=%f MSGS=%?m?%m&0? FLAGGED=%F" pager_format="PAGER %s"
set index_format="%4C %Z %s"
"""
EDITOR = """\
#!/bin/sh
printf 'Written in mutt.\\nÄÖÜ\\n' >> "$1"
"""


class Mutt:
    """mutt in a pseudo-terminal of 30 lines."""

    def __init__(self, demo: Demo, home: Path, *arguments: str) -> None:
        editor = home / "editor"
        editor.write_text(EDITOR)
        editor.chmod(0o755)
        rc = home / "muttrc"
        rc.write_text(
            MUTTRC.format(
                user=ALICE, quoted=ALICE.replace("@", "%40"), password=PASSWORD, ca=demo.ca_file, home=home,
                imaps=demo.ports["imaps"], smtp=demo.ports["smtp"], editor=editor,
            )
        )  # fmt: skip
        argv = ["-n", "-F", str(rc), *arguments]
        env = environment(home) | {"LC_ALL": "C.UTF-8"}
        self.child = pexpect.spawn("mutt", argv, env=env, cwd=str(home), dimensions=(30, 160), timeout=40)
        self.log = (home / "screen.log").open("wb")
        self.child.logfile_read = self.log

    def see(self, pattern: str) -> None:
        self.child.expect(pattern)

    def keys(self, text: str) -> None:
        self.child.send(text)

    def send(self) -> None:
        """Send what was composed. Where the editor's file has changed in another second mutt asks once more."""
        self.keys("y")
        while self.child.expect(["Mail sent", "Update encoding"]):
            self.keys("y")

    def goto(self, subject: str) -> None:
        """Search the index for a subject: the cursor stands on it."""
        self.keys(f"/~s '{subject}'\r")

    def end(self) -> None:
        self.child.close(force=True)
        self.log.close()

    def leave(self) -> None:
        """Quit; what was marked is written."""
        self.keys("q")
        self.child.expect(pexpect.EOF)
        self.child.wait()
        assert self.child.exitstatus == 0


@pytest.fixture
def start(demo: Demo, tmp_path: Path) -> Iterator[Callable[..., Mutt]]:
    made: list[Mutt] = []

    def started(*arguments: str) -> Mutt:
        mutt = Mutt(demo, tmp_path, *arguments)
        made.append(mutt)
        mutt.see(r"FOLDER=\S* MSGS=\d+")
        return mutt

    yield started
    for each in made:
        each.end()


def test_a_person_reads_flags_files_and_deletes(demo: Demo, start: Callable[..., Mutt]):
    for subject in ("mutt reads this", "mutt files this", "mutt deletes this"):
        demo.deliver(mail(subject, f"The text of: {subject}."))
    arrived(demo, "mutt deletes this")
    mutt = start()
    mutt.goto("mutt reads this")
    mutt.keys("\r")
    mutt.see("The text of: mutt reads this")
    mutt.keys("Fi")  # flag it in the pager, back to the index
    mutt.goto("mutt files this")
    mutt.keys("s\x15=mutt-filed\r")
    mutt.see("to mutt-filed")
    mutt.goto("mutt deletes this")
    mutt.keys("d$")
    mutt.see("2 deleted")
    [row] = demo.find("mutt reads this")
    assert row["isRead"] and row["flag"] == "flagged"
    assert not demo.find("mutt deletes this") and not demo.find("mutt files this")
    assert len(demo.find("mutt files this", "mutt-filed")) == 1
    assert len(demo.find("mutt deletes this", "deleteditems")) == 1
    mutt.leave()


def test_new_mail_shows_in_an_open_folder(demo: Demo, start: Callable[..., Mutt]):
    mutt = start()
    demo.deliver(mail("mutt hears of this", "Heard of."))
    mutt.see("New mail in this mailbox")
    mutt.goto("mutt hears of this")
    mutt.keys("\r")
    mutt.see("Heard of")
    mutt.keys("i")
    mutt.leave()


def test_a_message_is_written_and_sent(demo: Demo, start: Callable[..., Mutt]):
    subject = "Grüße aus mutt"
    mutt = start()
    mutt.keys("m")
    mutt.see("To:")
    mutt.keys(f"{BOB}\r")
    mutt.see("Subject:")
    mutt.keys(f"{subject}\r")
    mutt.see("y:Send|Attachments")
    mutt.send()
    [row] = eventually(lambda: demo.find(subject, user=BOB))
    assert "Written in mutt." in base64_free(demo.value(row["id"], BOB))
    # mutt appends its own copy too: the folder must not hold a third one.
    assert 1 <= len(eventually(lambda: demo.find(subject, "sentitems"))) <= 2
    mutt.leave()


def test_a_reply_marks_the_original_answered(demo: Demo, start: Callable[..., Mutt]):
    demo.deliver(mail("mutt answers this", sender=BOB))
    arrived(demo, "mutt answers this")
    mutt = start()
    mutt.goto("mutt answers this")
    mutt.keys("r")
    mutt.see("To:")
    mutt.keys("\r")
    mutt.see("Subject:")
    mutt.keys("\r")
    mutt.see(r"Include message")
    mutt.keys("n")
    mutt.see("y:Send|Attachments")
    mutt.send()
    mutt.keys("$")
    [answer] = eventually(lambda: demo.find("Re: mutt answers this", user=BOB))
    assert b"In-Reply-To: <" in demo.value(answer["id"], BOB)
    eventually(lambda: demo.find("mutt answers this")[0]["verb"] == 102)
    mutt.leave()


def test_a_message_is_postponed_and_resumed(demo: Demo, start: Callable[..., Mutt]):
    mutt = start()
    mutt.keys("m")
    mutt.see("To:")
    mutt.keys(f"{BOB}\r")
    mutt.see("Subject:")
    mutt.keys("mutt postpones this\r")
    mutt.see("y:Send|Attachments")
    mutt.keys("P")
    mutt.see("postponed")
    [draft] = eventually(lambda: demo.find("mutt postpones this", "drafts"))
    assert draft["isDraft"] and not demo.find("mutt postpones this", user=BOB)
    mutt.keys("m")
    mutt.see("Recall postponed message")
    mutt.keys("y")
    mutt.see("y:Send|Attachments|mutt postpones this")
    mutt.send()
    assert len(eventually(lambda: demo.find("mutt postpones this", user=BOB))) == 1
    eventually(lambda: not demo.find("mutt postpones this", "drafts"))
    mutt.leave()


def base64_free(raw: bytes) -> str:
    """The decoded text of a message of one part."""
    return email.message_from_bytes(raw, policy=email.policy.default).get_content()  # type: ignore[attr-defined, no-any-return]

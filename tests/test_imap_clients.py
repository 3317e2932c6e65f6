"""Real client libraries against the front end: Python's imaplib, which most scripts use, and IMAPClient."""

from __future__ import annotations

import asyncio
import imaplib
from collections.abc import Callable
from typing import Any

from imap_support import ALICE, serving
from imapclient import IMAPClient


async def in_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, work)


async def test_imaplib_reads_flags_appends_and_searches() -> None:
    async with serving(messages=3) as world:
        port = world.port

        def script() -> None:
            with imaplib.IMAP4("127.0.0.1", port) as imap:
                assert imap.login(ALICE, "demo")[0] == "OK"
                assert imap.select("INBOX") == ("OK", [b"3"])
                assert imap.search(None, "UNSEEN") == ("OK", [b"1 2 3"])
                assert imap.fetch("1", "(RFC822)")[1][0][1].startswith(b"From: ")
                assert imap.search(None, "UNSEEN") == ("OK", [b"2 3"])
                assert imap.store("2", "+FLAGS", "\\Deleted")[0] == "OK"
                assert imap.expunge() == ("OK", [b"2"])
                assert imap.append("INBOX", "(\\Seen)", None, b"Subject: x\r\n\r\nx\r\n")[0] == "OK"
                assert imap.uid("SEARCH", None, "ALL") == ("OK", [b"1 3 4"])
                assert imap.uid("MOVE", "1", "Archive")[0] == "OK"
                for _ in range(100):
                    assert imap.noop()[0] == "OK"

        await in_thread(script)


async def test_imapclient_reads_lists_copies_and_idles() -> None:
    async with serving(messages=2) as world:
        port = world.port

        def script() -> None:
            with IMAPClient("127.0.0.1", port, ssl=False) as imap:
                imap.login(ALICE, "demo")
                assert ((b"\\HasNoChildren", b"\\Sent"), b"/", "Sent Items") in imap.list_folders()
                assert imap.find_special_folder(b"\\Trash") == "Deleted Items"
                chosen = imap.select_folder("INBOX")
                assert chosen[b"EXISTS"] == 2 and chosen[b"READ-WRITE"]
                data = imap.fetch([1, 2], ["ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE", "BODY.PEEK[HEADER]"])
                assert data[1][b"ENVELOPE"].subject == b"One"
                assert data[2][b"RFC822.SIZE"] == 43
                imap.add_flags([1], [b"\\Flagged", b"Keyword"])
                assert imap.get_flags([1])[1] == (b"\\Recent", b"\\Flagged", b"Keyword")
                assert imap.search(["FLAGGED", "SUBJECT", "One"]) == [1]
                imap.copy([1, 2], "Archive")
                assert imap.folder_status("Archive", ["MESSAGES"]) == {b"MESSAGES": 2}
                imap.create_folder("Größe/Ünder")
                assert imap.folder_exists("Größe/Ünder")
                imap.idle()
                assert imap.idle_check(timeout=0.01) == []
                imap.idle_done()

        await in_thread(script)

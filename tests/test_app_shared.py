"""A mailbox that several people share, opened by one who signs in (contract sections 1.3 and 10.6)."""

from __future__ import annotations

from pathlib import Path

from cli_support import PASSWORD, Program, control, settings, started, write_config
from test_app import sign_in

CAROL, BOB = "carol@example.com", "bob@example.com"
MAIL = "From: carol@example.com\r\nTo: alice@example.com\r\nSubject: from the desk\r\n\r\nhi\r\n"


def sent(emulator: Program, user: str) -> list[str]:
    folders = control(emulator, "GET", f"users/{user}/folders")
    [folder] = [row["id"] for row in folders if row["wellKnownName"] == "sentitems"]
    listed = control(emulator, "GET", f"users/{user}/messages", params={"folder": folder})
    return [row["subject"] for row in listed]


def test_it_sends_as_itself_and_keeps_the_copy(tmp_path: Path) -> None:
    """Who signs in has full access to it and may send as it: the copy lies in its Sent Items, not in his."""
    with started(tmp_path, "emulator", "--port", "0", "--messages", "5") as emulator:
        for right in ("full_access", "send_as"):
            body = {"right": right, "owner": CAROL, "delegate": BOB}
            control(emulator, "POST", "rights", json=body)
        control(emulator, "POST", "limits", json={"sent_copy_seconds": 0})
        public = {"client_id": emulator.facts["public_client_id"], "client_secret": None}
        account = {"user": "desk", "mailbox": CAROL, "auth": "delegated", "shared": True}
        sections = settings(emulator.facts, tmp_path / "state", graph=public)
        config = write_config(tmp_path / "c.toml", sections, account)
        assert sign_in(emulator, config, BOB, account="desk") == 0
        with started(tmp_path, "serve", "--config", str(config)) as program:
            with program.smtp() as peer:
                peer.login("desk", PASSWORD)
                assert not peer.sendmail(CAROL, ["alice@example.com"], MAIL)
            assert program.terminate() == 0
        assert sent(emulator, CAROL).count("from the desk") == 1
        assert "from the desk" not in sent(emulator, BOB)

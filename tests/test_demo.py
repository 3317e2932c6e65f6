"""`gateway demo`: one command, three users with mail, ports of one's choice, a ready file, a clean end."""

from __future__ import annotations

import imaplib
import json
import smtplib
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cli_support import Program, started

from gateway.app import Ports
from gateway.demo import PASSWORD, demo_config, instructions

USERS = ["alice@example.com", "bob@example.com", "carol@example.com"]
ANY_PORTS = tuple(
    word for name in ("imap", "imaps", "smtp", "smtps", "graph", "web") for word in (f"--{name}-port", "0")
)
MESSAGES = 7


def words(*more: str) -> tuple[str, ...]:
    return ("demo", *ANY_PORTS, "--messages", str(MESSAGES), *more)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with started(tmp_path_factory.mktemp("demo"), *words()) as program:
        yield program


def test_the_ready_file_has_all_that_a_script_needs(demo: Program) -> None:
    facts = demo.facts
    assert facts["pid"] == demo.process.pid
    assert facts["users"] == USERS
    assert facts["password"] == PASSWORD
    assert facts["ports"].keys() == {"imap", "imaps", "smtp", "smtps", "web"}
    assert all(facts["ports"].values())
    assert Path(facts["ca_file"]).read_text().startswith("-----BEGIN CERTIFICATE-----")
    trust = ssl.create_default_context(cafile=facts["ca_file"])
    log = httpx.get(f"{facts['emulator_url']}/_emulator/log", verify=trust).json()
    assert log.keys() >= {"requests", "max_in_flight"}


def test_the_emulator_url_has_both_names(demo: Program) -> None:
    assert demo.facts["emulator"] == demo.facts["emulator_url"]


def test_every_user_logs_in_on_every_port(demo: Program) -> None:
    trust = ssl.create_default_context(cafile=demo.facts["ca_file"])
    ports = demo.ports
    for user in USERS:
        with demo.logged_in(user, PASSWORD) as box:
            assert box.select("INBOX")[0] == "OK"
    with imaplib.IMAP4_SSL("127.0.0.1", ports["imaps"], ssl_context=trust) as box:
        box.login(USERS[0], PASSWORD)
        assert box.select("INBOX") == ("OK", [str(MESSAGES).encode()])
    with demo.smtp() as smtp:
        assert smtp.login(USERS[1], PASSWORD)[0] == 235
    with smtplib.SMTP_SSL("127.0.0.1", ports["smtps"], context=trust) as smtp:
        assert smtp.login(USERS[2], PASSWORD)[0] == 235
    assert demo.web("/readyz").status_code == 200


def test_the_screen_says_how_to_point_a_program_at_it(demo: Program) -> None:
    for word in (
        f":{demo.ports['imap']}",
        f":{demo.ports['smtps']}",
        "mutt",
        "Thunderbird",
        "imaplib",
        demo.facts["ca_file"],
    ):
        assert word in demo.stdout
    assert demo.stderr == ""


def test_json_on_the_screen_and_a_state_folder_that_stays(tmp_path: Path) -> None:
    state = tmp_path / "state"
    options = words("--json", "--state", str(state), "--rtt-ms", "1", "--service-ms", "1", "--item-us", "1")
    with started(tmp_path, *options) as program:
        shown = json.loads(program.stdout)
        assert shown["ready"] is True
        assert shown["users"] == USERS
        with program.logged_in(USERS[0], PASSWORD) as box:
            assert box.select("INBOX") == ("OK", [str(MESSAGES).encode()])
        assert program.terminate() == 0
        assert "Traceback" not in program.stderr
    assert (state / "gateway.db").exists()


def test_a_temporary_state_folder_is_taken_away(tmp_path: Path) -> None:
    with started(tmp_path, *words()) as program:
        folder = Path(program.facts["ca_file"]).parent.parent
        assert (folder / "gateway.db").exists()
        assert program.terminate() == 0
        assert not folder.exists()


def test_the_configuration_is_for_loopback_and_allows_plain_text(tmp_path: Path) -> None:
    emulator = {
        "base_url": "https://127.0.0.1:8443", "authority": "https://127.0.0.1:8443/tenant",
        "ca_file": str(tmp_path / "ca.pem"), "client_id": "app", "client_secret": "secret", "users": USERS,
    }  # fmt: skip
    ports = {"imap": 1143, "imaps": 1993, "smtp": 1587, "smtps": 1465, "web": 8080}
    config = demo_config(emulator, "127.0.0.1", ports, tmp_path)
    assert config.graph.base_url == "https://127.0.0.1:8443/v1.0"
    assert (config.imap.host, config.imap.allow_plaintext, config.submission.allow_plaintext) == (
        "127.0.0.1",
        True,
        True,
    )
    assert [account.user for account in config.accounts] == USERS


def test_the_python_in_the_instructions_is_python() -> None:
    facts = {"users": USERS, "emulator": "https://127.0.0.1:1", "ca_file": "/ca.pem"}
    text = instructions(Ports(1, 2, 3, 4, 5), facts, "127.0.0.1")
    lines = text.split("Python\n")[1].split("\n\n")[0].splitlines()
    compile("\n".join(line.strip() for line in lines), "instructions", "exec")

"""The command line as a user sees it: what it prints, where, and with which exit status."""

from __future__ import annotations

import json
import socket
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from cli_support import HASH, run, settings, spawn, write_config

from gateway import __version__

NOWHERE = {
    "base_url": "https://127.0.0.1:9",
    "authority": "https://127.0.0.1:9/example.com",
    "ca_file": None,
    "client_id": "app",
    "client_secret": "s3cret-word",
}
ALICE = {"user": "alice@example.com"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """In front of a Graph that does not answer; nothing here asks it."""
    return write_config(tmp_path / "gateway.toml", settings(NOWHERE, tmp_path / "state", graph={}), ALICE)


def changed(tmp_path: Path, **changes: dict[str, object]) -> Path:
    return write_config(tmp_path / "gateway.toml", settings(NOWHERE, tmp_path / "state", **changes), ALICE)


def refused(*words: str, status: int = 2, env: dict[str, str] | None = None) -> str:
    """The one line a refusal prints."""
    done = run(*words, env=env)
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("gateway: ")
    return line


# -- version, check-config, account hash --


def test_version() -> None:
    assert spawn("version").stdout == f"{__version__}\n"
    assert json.loads(run("version", "--json").stdout) == {"version": __version__}


def test_no_command_shows_what_there_is() -> None:
    done = run()
    assert done.returncode == 2
    for name in ("demo", "serve", "check-config", "emulator", "version", "account"):
        assert name in done.stdout + done.stderr


def test_a_good_configuration(config: Path) -> None:
    done = run("check-config", "--config", str(config))
    assert (done.returncode, done.stderr) == (0, "")
    assert "fine, 1 account\n" in done.stdout
    assert json.loads(run("check-config", "--config", str(config), "--json").stdout) == {
        "ok": True,
        "accounts": 1,
    }


def test_a_bad_configuration_names_line_and_key(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text('[imap]\nprot = 3\n[web]\nport = "x"\n')
    done = run("check-config", "--config", str(path))
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith(f"gateway: {path}:2: imap.prot: unknown key")
    assert second.startswith(f"{path}:4: web.port: ")
    as_json = run("check-config", "--config", str(path), "--json")
    assert as_json.returncode == 1
    answer = json.loads(as_json.stdout)
    assert answer["ok"] is False
    assert len(answer["problems"]) == 2


def test_check_config_opens_the_files_it_names(tmp_path: Path) -> None:
    missing = {"client_secret": None, "client_secret_file": str(tmp_path / "none")}
    line = refused("check-config", "--config", str(changed(tmp_path, graph=missing)), status=1)
    assert "graph.client_secret_file" in line
    assert "No such file" in line
    tls = {"certificate": str(tmp_path / "none"), "key": str(tmp_path / "none")}
    assert "tls.certificate" in refused("check-config", "--config", str(changed(tmp_path, tls=tls)), status=1)
    authorities = tmp_path / "ca.pem"
    authorities.write_text("no certificate")
    line = refused(
        "check-config", "--config", str(changed(tmp_path, graph={"ca_file": str(authorities)})), status=1
    )
    assert "graph.ca_file" in line


def test_accounts_without_an_application_are_refused(tmp_path: Path) -> None:
    for gap, word in (
        ({"client_id": None}, "graph.client_id"),
        ({"client_secret": None}, "graph.client_secret"),
    ):
        assert word in refused("check-config", "--config", str(changed(tmp_path, graph=gap)), status=1)


def test_what_the_environment_sets_wrong_is_said_to_come_from_there(config: Path) -> None:
    line = refused("check-config", "--config", str(config), status=1, env={"GATEWAY_IMAP__PROT": "1"})
    assert "environment GATEWAY_IMAP__PROT: imap.prot: unknown key" in line
    line = refused("check-config", "--config", str(config), status=1, env={"GATEWAY_ACCOUNTS": "[{"})
    assert "accounts" in line
    assert "JSON" in line


def test_a_secret_in_a_bad_configuration_is_not_shown(tmp_path: Path) -> None:
    path = changed(tmp_path, graph={"client_secret_fil": "x"})
    assert "s3cret-word" not in refused("check-config", "--config", str(path), status=1)


def test_hash_of_a_password_on_standard_input() -> None:
    hashed, verifier = run("account", "hash", text="correct horse \n").stdout.strip().split(" ")
    assert PasswordHasher().verify(hashed, "correct horse ")
    assert verifier.startswith("SCRAM-SHA-256$65536:")  # what Cyrus SASL computes at most
    as_json = json.loads(run("account", "hash", "--json", "--no-scram", text="pw\n").stdout)
    assert PasswordHasher().verify(as_json["password_hash"], "pw")


def test_a_password_that_scram_cannot_carry_has_no_verifier() -> None:
    done = run("account", "hash", text="bell\x07\n")
    assert PasswordHasher().verify(done.stdout.strip(), "bell\x07")
    assert "SCRAM cannot carry" in done.stderr


def test_no_hash_of_what_cannot_log_in() -> None:
    for text in ("\n", "", "x" * 1025 + "\n"):
        done = run("account", "hash", text=text)
        assert (done.returncode, done.stdout) == (2, "")
        assert "1 to 1024" in done.stderr


# -- reasons not to start --


def test_a_configuration_that_is_not_there() -> None:
    assert "/none/x.toml: cannot be read" in refused("serve", "--config", "/none/x.toml")
    done = spawn("serve", "--config", "/none/x.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gateway: /none/x.toml: cannot be read: No such file or directory\n"


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for section in ("imap", "submission", "web"):
            line = refused("serve", "--config", str(changed(tmp_path, **{section: {"port": port}})))
            assert f"127.0.0.1:{port} ({section}.port) is taken by another program" in line
            assert "choose another port" in line
        assert f"{port} (--port)" in refused("emulator", "--port", str(port), "--messages", "0")
        line = refused("demo", "--graph-port", str(port), "--messages", "0")
        assert f"127.0.0.1:{port} (--graph-port) is taken" in line


def test_a_host_that_is_not_ours(tmp_path: Path) -> None:
    line = refused("serve", "--config", str(changed(tmp_path, imap={"host": "192.0.2.1", "port": 0})))
    assert "192.0.2.1:0 (imap.port) is not an address of this machine" in line


def test_a_state_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = refused(
        "serve", "--config", str(changed(tmp_path, state={"dir": str(tmp_path / "file" / "state")}))
    )
    assert str(tmp_path / "file") in line


def test_a_state_key_that_is_none(config: Path, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "key").write_bytes(b"short")
    assert "is not a key of 32 octets" in refused("serve", "--config", str(config))


def test_the_state_of_another_key(tmp_path: Path) -> None:
    """A port that is taken ends the first start, after the store was made."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused("serve", "--config", str(changed(tmp_path, web={"port": taken.getsockname()[1]})))
    key = tmp_path / "state" / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.write_bytes(bytes(32))
    assert "another state key" in refused("serve", "--config", str(changed(tmp_path)))


def test_a_database_that_is_none_and_one_of_a_newer_program(config: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "gateway.db").write_bytes(b"no database at all\n" * 500)
    assert "the state folder cannot be used: file is not a database" in refused(
        "serve", "--config", str(config)
    )
    (state / "gateway.db").unlink()
    with closing(sqlite3.connect(state / "gateway.db")) as db:
        db.execute("PRAGMA user_version = 999")
    assert "use a newer program" in refused("serve", "--config", str(config))


# -- signing in, before anybody is asked --


def test_sign_in_of_an_unknown_account_names_those_there_are(config: Path) -> None:
    line = refused("account", "login", "nobody@example.com", "--config", str(config))
    assert "no account 'nobody@example.com'" in line
    assert "alice@example.com" in line


def test_sign_in_of_an_account_that_needs_none(config: Path) -> None:
    assert 'auth = "app"' in refused("account", "login", "alice@example.com", "--config", str(config))


def test_sign_in_where_nobody_answers(tmp_path: Path) -> None:
    path = write_config(
        tmp_path / "gateway.toml", settings(NOWHERE, tmp_path / "state"), {**ALICE, "auth": "delegated"}
    )
    line = refused("account", "login", "ALICE@example.com", "--config", str(path))
    assert "sign-in failed: the sign-in service does not answer" in line


def test_the_hash_in_these_tests_is_one_that_the_program_takes(config: Path) -> None:
    assert HASH in config.read_text()

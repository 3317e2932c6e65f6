"""The whole program in front of the emulator, each a process of its own: signing in to Graph in every way, state on
disk, starting, stopping, and what the log may not hold."""

from __future__ import annotations

import asyncio
import imaplib
import json
import shutil
import smtplib
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cli_support import (
    PASSWORD,
    Program,
    command,
    control,
    environment,
    settings,
    spawn,
    started,
    write_config,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from gateway.app import Gateway
from gateway.config import from_values
from gateway.mailbox.credentials import hash_password
from gateway.store.sqlite import SqliteStore
from tests import postgres_server

ALICE, BOB = {"user": "alice@example.com"}, {"user": "bob@example.com"}
MESSAGES = 12
RELAY = """
[[relay]]
port = 0
networks = ["127.0.0.0/8"]
account = "alice@example.com"
send_as = "alice@example.com"
recipients = ["*@example.com"]
per_hour = 2
"""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    words = ("emulator", "--port", "0", "--messages", str(MESSAGES))
    with started(tmp_path_factory.mktemp("emulator"), *words) as program:
        yield program


@pytest.fixture(scope="module")
def gateway(emulator: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The usual one: app-only with a secret, two accounts, at log level debug."""
    folder = tmp_path_factory.mktemp("gateway")
    sections = settings(emulator.facts, folder / "state", log={"level": "debug"})
    config = write_config(folder / "gateway.toml", sections, ALICE, BOB)
    config.write_text(config.read_text() + RELAY)
    with started(folder, "serve", "--config", str(config)) as program:
        yield program


def count(box: imaplib.IMAP4, mailbox: str = "INBOX") -> int:
    status, data = box.select(mailbox)
    assert status == "OK", data
    assert data[0] is not None
    return int(data[0])


def uids(box: imaplib.IMAP4) -> tuple[list[bytes | None], list[bytes]]:
    """UIDVALIDITY and the UIDs of INBOX."""
    count(box)
    validity = box.response("UIDVALIDITY")[1]
    return validity, box.uid("SEARCH", "ALL")[1][0].split()


def body(box: imaplib.IMAP4, number: int) -> bytes:
    """A message's octets, taken as scripts take them: out of the first pair."""
    status, data = box.fetch(str(number), "(BODY[] ENVELOPE)")
    assert status == "OK", data
    assert isinstance(data[0], tuple), data
    return data[0][1]


# -- running --


def test_the_ready_file_says_what_listens(gateway: Program) -> None:
    assert gateway.facts["pid"] == gateway.process.pid
    assert gateway.ports.keys() == {"imap", "imaps", "smtp", "smtps", "web"}
    assert gateway.ports["imaps"] == gateway.ports["smtps"] == 0  # no certificate, no TLS ports
    with gateway.imap() as box:
        assert b"IMAP4rev1" in box.welcome
    with gateway.smtp() as smtp:
        assert smtp.noop()[0] == 250


def test_mail_is_read_and_sent(gateway: Program, emulator: Program) -> None:
    sent = b"From: alice@example.com\r\nTo: bob@example.com\r\nSubject: a word\r\n\r\nhello\r\n"
    with gateway.logged_in("bob@example.com") as box:
        before = count(box)
        with gateway.smtp() as smtp:
            smtp.login("alice@example.com", PASSWORD)
            smtp.sendmail("alice@example.com", ["bob@example.com"], sent)
        until = time.monotonic() + 20
        while count(box) == before and time.monotonic() < until:
            time.sleep(0.1)
        assert b"Subject: a word" in body(box, before + 1)


def test_a_device_sends_without_a_login(gateway: Program) -> None:
    """And hears, sooner or later, that it has sent enough."""
    (port,) = gateway.facts["relays"]
    scan = b"From: Copier <copier@printer.local>\nSubject: a scan\n\n1 page\n"
    with gateway.logged_in("bob@example.com") as box, smtplib.SMTP("127.0.0.1", port, timeout=20) as device:
        before = count(box)
        device.helo("copier")
        device.sendmail("copier", ["bob@example.com"], scan)
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            device.sendmail("copier", ["bob@example.org"], scan)
        device.sendmail("copier", ["bob@example.com"], scan)
        with pytest.raises(smtplib.SMTPSenderRefused) as enough:
            device.sendmail("copier", ["bob@example.com"], scan)
        assert (enough.value.smtp_code, enough.value.smtp_error[:5]) == (452, b"4.7.1")
        until = time.monotonic() + 20
        while count(box) < before + 2 and time.monotonic() < until:
            time.sleep(0.1)
        assert b'From: "Copier" <alice@example.com>' in body(box, before + 2)


def test_a_wrong_password_is_refused_by_both(gateway: Program) -> None:
    with gateway.imap() as box, pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        box.login("alice@example.com", "wrong")
    with gateway.smtp() as smtp, pytest.raises(smtplib.SMTPAuthenticationError) as caught:
        smtp.login("alice@example.com", "wrong")
    assert caught.value.smtp_code == 535


def test_the_web_port_answers(gateway: Program) -> None:
    assert gateway.web("/healthz").json() == {"status": "ok"}
    assert gateway.web("/readyz").json() == {"ready": True, "reasons": []}
    with gateway.logged_in() as box:
        count(box)
        box.fetch("1", "(BODY.PEEK[])")
        text = gateway.web("/metrics").text
    assert 'gateway_connections{protocol="imap"} 1.0' in text
    assert 'gateway_imap_commands_total{command="FETCH"}' in text
    assert 'gateway_logins_total{protocol="imap",result="ok"}' in text
    assert 'gateway_graph_requests_total{method="GET",status="200"}' in text
    assert "gateway_accounts 1.0" in text or "gateway_accounts 2.0" in text
    assert "alice" not in text


def test_an_appended_message_counts_among_the_originals(gateway: Program) -> None:
    message = b"Subject: kept\r\n\r\n" + b"x" * 5000 + b"\r\n"
    with gateway.logged_in() as box:
        before = originals(gateway)
        assert box.append("Drafts", "", imaplib.Time2Internaldate(1_700_000_000), message)[0] == "OK"
        assert originals(gateway) - before == len(message)


def originals(gateway: Program) -> float:
    (line,) = [
        row
        for row in gateway.web("/metrics").text.splitlines()
        if row.startswith("gateway_originals_octets ")
    ]
    return float(line.split()[1])


# -- stopping and starting again --


def test_sigterm_says_bye_and_ends_with_0(emulator: Program, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml", settings(emulator.facts, tmp_path / "state"), ALICE)
    with (
        started(tmp_path, "serve", "--config", str(config)) as program,
        socket.create_connection(("127.0.0.1", program.ports["imap"]), timeout=30) as raw,
        raw.makefile("rwb") as stream,
    ):
        stream.write(f"a LOGIN alice@example.com {PASSWORD}\r\nb SELECT INBOX\r\nc IDLE\r\n".encode())
        stream.flush()
        while not stream.readline().startswith(b"+"):
            pass
        with program.smtp() as smtp:
            assert program.terminate() == 0
            assert any(line.startswith(b"* BYE") for line in stream)
            assert smtp.getreply()[0] == 421
        assert "Traceback" not in program.stderr


def test_a_restart_keeps_uids_and_the_state_is_private(emulator: Program, tmp_path: Path) -> None:
    state = tmp_path / "deep" / "state"
    config = write_config(tmp_path / "c.toml", settings(emulator.facts, state), ALICE)
    with started(tmp_path, "serve", "--config", str(config)) as program:
        with program.logged_in() as box:
            before = uids(box)
            box.fetch("1:3", "(BODY.PEEK[])")
        assert program.terminate() == 0
    with started(tmp_path, "serve", "--config", str(config)) as program, program.logged_in() as box:
        assert uids(box) == before
        assert len(before[1]) == MESSAGES
    assert {path.name for path in state.iterdir()} >= {"key", "gateway.db", "cache"}
    for path in [state, *state.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_everything_by_environment(emulator: Program, tmp_path: Path) -> None:
    """An empty file; sections and a table of accounts from the environment."""
    sections = settings(emulator.facts, tmp_path / "state", imap={"port": 1})
    account = {**ALICE, "password_hash": HASH_OF_PW}
    env = {
        f"GATEWAY_{section}__{key}".upper(): str(value).lower() if isinstance(value, bool) else str(value)
        for section, keys in sections.items()
        for key, value in keys.items()
    }
    env |= {"GATEWAY_IMAP__PORT": "0", "GATEWAY_ACCOUNTS": json.dumps([account])}
    config = tmp_path / "empty.toml"
    config.write_text("[imap]\nport = 1\n")
    with (
        started(tmp_path, "serve", "--config", str(config), env=env) as program,
        program.logged_in(password="pw") as box,
    ):
        assert count(box) == MESSAGES


HASH_OF_PW = hash_password("pw")


# -- ways to sign in to Graph --


def test_a_client_secret_in_a_file_and_tls_in_front(emulator: Program, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(emulator.facts["client_secret"] + "\n")
    pem = make_certificate(tmp_path / "tls.pem")
    sections = settings(
        emulator.facts, tmp_path / "state",
        graph={"client_secret": None, "client_secret_file": str(secret)},
        imap={"tls_port": 0, "allow_plaintext": False}, submission={"tls_port": 0, "allow_plaintext": False},
        tls={"certificate": str(pem), "key": str(pem)},
    )  # fmt: skip
    config = write_config(tmp_path / "c.toml", sections, ALICE)
    trust = ssl.create_default_context(cafile=str(pem))
    with started(tmp_path, "serve", "--config", str(config)) as program:
        with imaplib.IMAP4_SSL("localhost", program.ports["imaps"], ssl_context=trust) as box:
            box.login("alice@example.com", PASSWORD)
            assert count(box) == MESSAGES
        with program.imap() as plain:
            assert "LOGINDISABLED" in plain.capabilities
            plain.starttls(trust_any_name(pem))
            plain.login("alice@example.com", PASSWORD)
        with smtplib.SMTP_SSL("localhost", program.ports["smtps"], context=trust) as smtp:
            assert smtp.login("alice@example.com", PASSWORD)[0] == 235


def test_a_certificate_instead_of_a_secret(emulator: Program, tmp_path: Path) -> None:
    pem = make_certificate(tmp_path / "app.pem")
    control(emulator, "POST", "apps", json={"client_id": "by-certificate", "certificate": pem.read_text()})
    graph = {"client_id": "by-certificate", "client_secret": None, "certificate_file": str(pem)}
    config = write_config(
        tmp_path / "c.toml", settings(emulator.facts, tmp_path / "state", graph=graph), ALICE
    )
    with started(tmp_path, "serve", "--config", str(config)) as program, program.logged_in() as box:
        assert count(box) == MESSAGES


def test_a_secret_that_entra_refuses_is_an_answer_and_no_end(emulator: Program, tmp_path: Path) -> None:
    sections = settings(emulator.facts, tmp_path / "state", graph={"client_secret": "not-this-one"})
    config = write_config(tmp_path / "c.toml", sections, ALICE)
    with started(tmp_path, "serve", "--config", str(config)) as program, program.logged_in() as box:
        status, data = box.select("INBOX")
        assert (status, data) == ("NO", [b"[UNAVAILABLE] The gateway cannot sign in to the mailbox"])
        assert box.noop()[0] == "OK"
        assert "not-this-one" not in program.stderr
        assert "Traceback" not in program.stderr


def test_a_delegated_account_from_device_code_to_mail(emulator: Program, tmp_path: Path) -> None:
    """The gateway runs before anybody has signed in, and sees the sign-in when it is there."""
    state = tmp_path / "state"
    public = {"client_id": emulator.facts["public_client_id"], "client_secret": None}
    sections = settings(emulator.facts, state, graph=public)
    config = write_config(tmp_path / "c.toml", sections, {**ALICE, "auth": "delegated"})
    with started(tmp_path, "serve", "--config", str(config)) as program:
        with program.logged_in() as box:
            assert box.select("INBOX") == ("NO", [b"[UNAVAILABLE] The gateway cannot sign in to the mailbox"])
            assert box.noop()[0] == "OK"
        assert sign_in(emulator, config, "alice@example.com") == 0
        control(emulator, "DELETE", "log")
        with program.logged_in() as box:
            assert count(box) == MESSAGES
        asked = [entry["path"] for entry in control(emulator, "GET", "log")["requests"]]
        assert any(path.startswith("/v1.0/me/") for path in asked)
        assert not any(path.startswith("/v1.0/users/") for path in asked)
        assert program.terminate() == 0
    with started(tmp_path, "serve", "--config", str(config)) as program, program.logged_in() as box:
        assert count(box) == MESSAGES  # signed in still
    tokens = list((state / "tokens").iterdir())
    assert len(tokens) == 1
    for path in [path for path in state.rglob("*") if path.is_file()]:
        octets = path.read_bytes()
        for word in (b"refresh_token", b"RefreshToken", b"AccessToken", b"eyJ"):
            assert word not in octets, (path, word)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def sign_in(
    emulator: Program, config: Path, user: str, decision: str = "approve", *, account: str = ""
) -> int:
    """`gateway account login`, its code entered at the emulator; the exit status. `account`: as the gateway calls
    it, if not as `user`."""
    words = command("account", "login", account or user, "--config", str(config), "--json")
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as login:
        assert login.stdout is not None
        prompt = json.loads(login.stdout.readline())
        assert prompt["url"].startswith("https://")
        assert prompt["expires_in"] > 0
        choice = {"user_code": prompt["code"], "user": user, "decision": decision}
        control(emulator, "POST", "devicecode", json=choice)
        out, err = login.communicate(timeout=30)
        if decision == "approve":
            assert json.loads(out) == {"signed_in": user}
        else:
            (line,) = err.splitlines()
            assert line.startswith("gateway: sign-in failed: ")
        return login.returncode


def test_a_sign_in_that_is_declined_is_one_line(emulator: Program, tmp_path: Path) -> None:
    public = {"client_id": emulator.facts["public_client_id"], "client_secret": None}
    sections = settings(emulator.facts, tmp_path / "state", graph=public)
    config = write_config(tmp_path / "c.toml", sections, {**ALICE, "auth": "delegated"})
    assert sign_in(emulator, config, "alice@example.com", "decline") == 2
    assert not (tmp_path / "state" / "tokens").exists()


# -- the log --


def test_the_log_holds_no_mail_and_no_secret(gateway: Program, emulator: Program) -> None:
    appended = (
        b"From: frommark@outside.example\r\nTo: tomark@outside.example\r\nSubject: subjectmark\r\n"
        b"Message-ID: <idmark@outside.example>\r\nX-Odd: headermark\r\n\r\nbodymark\r\n"
    )
    sent = b"From: alice@example.com\r\nTo: rcptmark@outside.example\r\nSubject: sentmark\r\n\r\nsentbodymark\r\n"
    with gateway.imap() as box:
        with pytest.raises(imaplib.IMAP4.error):
            box.login("usermark@example.com", "passmark")
        box.login("alice@example.com", PASSWORD)
        assert box.append("INBOX", r"(\Seen keywordmark)", None, appended)[0] == "OK"
        total = count(box)
        assert b"bodymark" in body(box, total)
        box.search(None, "SUBJECT", "searchmark")
        box.create("foldermark")
        box.select("nosuchmark")
        with pytest.raises(imaplib.IMAP4.error):
            box.xatom("XMARK", "garbagemark")
    with gateway.smtp() as smtp:
        with pytest.raises(smtplib.SMTPAuthenticationError):
            smtp.login("usermark@example.com", "passmark")
        smtp.login("alice@example.com", PASSWORD)
        smtp.sendmail("alice@example.com", ["rcptmark@outside.example"], sent)
        stranger = (
            b"From: alice@example.com\r\nTo: strangermark@outside.example\r\nSubject: sentmark\r\n\r\nx\r\n"
        )
        with pytest.raises(smtplib.SMTPDataError):
            smtp.sendmail("alice@example.com", ["rcptmark@outside.example"], stranger)
    log = gateway.stderr
    assert '"event": "graph call"' in log
    assert '"event": "smtp.submission"' in log
    for line in log.splitlines():
        assert "event" in json.loads(line)
    assert "mark" not in log
    for secret in (PASSWORD, emulator.facts["client_secret"], "Bearer", "eyJ", "$argon2id"):
        assert secret not in log


# -- certificates --


def make_certificate(path: Path) -> Path:
    """A private key and a certificate of its own for localhost, in one PEM file."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    path.chmod(0o600)
    return path


def trust_any_name(pem: Path) -> ssl.SSLContext:
    """imaplib's STARTTLS checks the name it connected to, which is an address here."""
    context = ssl.create_default_context(cafile=str(pem))
    context.check_hostname = False
    return context


async def test_originals_nobody_refers_to_are_swept_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = asyncio.Semaphore(0)

    async def sweep(store: SqliteStore) -> int:
        swept.release()
        return 0

    monkeypatch.setattr("gateway.app.SWEEP_EVERY", 0.0)
    monkeypatch.setattr(SqliteStore, "sweep", sweep)
    nowhere = {"imap": {"port": None}, "submission": {"port": None}, "web": {"port": None}}
    gateway = Gateway(from_values({**nowhere, "state": {"dir": tmp_path}}, origin="test"))
    await gateway.start()
    try:
        for _ in range(3):
            await asyncio.wait_for(swept.acquire(), 10)
    finally:
        await gateway.stop()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "sweep" and not task.cancelling()]


def test_of_an_unknown_exception_type_and_place_are_logged(capfd: pytest.CaptureFixture[str]) -> None:
    script = (
        "import structlog; from gateway.app import configure_logging; configure_logging('info', '{style}')\n"
        "try: raise ValueError('Dear Alice') from KeyError('token')\n"
        "except ValueError: structlog.get_logger().exception('poll failed')"
    )
    for style in ("json", "console"):
        subprocess.run([sys.executable, "-c", script.format(style=style)], check=True)
        said = capfd.readouterr().err
        assert "ValueError" in said
        assert "<string>:2" in said
        assert "Alice" not in said and "token" not in said


# -- PostgreSQL --


def test_state_in_postgresql_outlives_the_process(emulator: Program, tmp_path: Path) -> None:
    """Another state folder with the same key is the same gateway: it serves the same UIDs."""
    pytest.importorskip("asyncpg")
    url = postgres_server.shared().database()

    def configured(name: str) -> Path:
        sections = settings(emulator.facts, tmp_path / name, store={"url": url})
        return write_config(tmp_path / f"{name}.toml", sections, ALICE)

    first, second = configured("first"), configured("second")
    with started(tmp_path, "serve", "--config", str(first)) as program:
        with program.logged_in() as box:
            before = uids(box)
            box.store("1", "+FLAGS", "(Kept)")
        assert not (tmp_path / "first" / "gateway.db").exists()
        program.process.kill()
        program.process.wait(20)
    refused = spawn("serve", "--config", str(second))  # with a key of its own
    assert refused.returncode == 2 and "key" in refused.stderr
    shutil.copy(tmp_path / "first" / "key", tmp_path / "second" / "key")
    with started(tmp_path, "serve", "--config", str(second)) as program, program.logged_in() as box:
        assert uids(box) == before
        assert box.search(None, "KEYWORD", "Kept")[1] == [b"1"]


def test_a_database_that_is_not_there_is_one_line_without_its_password(
    emulator: Program, tmp_path: Path
) -> None:
    sections = settings(emulator.facts, tmp_path, store={"url": "postgresql://me:sesame@127.0.0.1:1/x"})
    refused = spawn("serve", "--config", str(write_config(tmp_path / "c.toml", sections, ALICE)))
    assert refused.returncode == 2
    assert refused.stderr.startswith("gateway: store.url: PostgreSQL: ")
    assert len(refused.stderr.splitlines()) == 1
    assert "sesame" not in refused.stderr

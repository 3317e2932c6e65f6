"""The demo as a process, the emulator's control API, and running a client program in a home of its own."""

from __future__ import annotations

import email
import email.policy
import hashlib
import imaplib
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx

from gateway.emulator.serve import CLIENT_ID, CLIENT_SECRET, TENANT_ID

HOST = "127.0.0.1"
ALICE, BOB, CAROL = "alice@example.com", "bob@example.com", "carol@example.com"
PASSWORD = "demo"
MESSAGES = 500
ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {"GATEWAY_IMAP__POLL_INTERVAL": "1"}  # the rest of the demo as it is for everybody
# Of the environment a client gets only what finds programs; its home and its trust are the test's.
KEPT = ("PATH", "LANG", "SYSTEMROOT", "TZ")


@dataclass(frozen=True)
class Client:
    """A client of the lab: the program it needs (None = a library of the test extra) and how it says its version."""

    program: str | None
    version: Callable[[], str]
    also: tuple[str, ...] = ()  # other programs its tests start
    perl: str = ""  # a Perl module it is
    files: tuple[Path, ...] = ()  # what it is made of, where that is no program


def _line(*argv: str, number: int = 0) -> Callable[[], str]:
    def ask() -> str:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        return (done.stdout or done.stderr).splitlines()[number].strip()

    return ask


def _package(name: str) -> Callable[[], str]:
    def ask() -> str:
        from importlib.metadata import version

        return version(name)

    return ask


def _python() -> str:
    return "Python " + sys.version.split()[0]


# Installed by `npm install --prefix .venv/node nodemailer`, and by Debian.
NODE_MODULES = ROOT / ".venv/node/node_modules"
PHPMAILER = Path("/usr/share/php/libphp-phpmailer")
GIT_SEND_EMAIL = Path("/usr/lib/git-core/git-send-email")


def _manifest(target: Path) -> Callable[[], str]:
    return lambda: str(json.loads(target.read_text())["version"])


CLIENTS: Mapping[str, Client] = {
    "imaplib": Client(None, _python),
    "smtplib": Client(None, _python),
    "imapclient": Client(None, _package("IMAPClient")),
    "aiosmtplib": Client(None, _package("aiosmtplib")),
    "aioimaplib": Client(None, _package("aioimaplib")),
    "imap_tools": Client(None, _package("imap-tools")),
    "curl": Client("curl", _line("curl", "--version")),
    "mutt": Client("mutt", _line("mutt", "-v")),
    "mbsync": Client("mbsync", _line("mbsync", "--version")),
    "msmtp": Client("msmtp", _line("msmtp", "--version")),
    "swaks": Client("swaks", _line("swaks", "--version")),
    "neomutt": Client("neomutt", _line("neomutt", "-v")),
    "offlineimap": Client("offlineimap", _line("offlineimap", "--version")),
    "getmail": Client("getmail", _line("getmail", "--version")),
    "fetchmail": Client("fetchmail", _line("fetchmail", "--version")),
    "mail_imapclient": Client(
        "perl",
        _line("perl", "-MMail::IMAPClient", "-e", "print $Mail::IMAPClient::VERSION"),
        perl="Mail::IMAPClient",
    ),
    "snail": Client("s-nail", _line("s-nail", "--version")),
    "git_send_email": Client("git", _line("git", "--version"), perl="Authen::SASL", files=(GIT_SEND_EMAIL,)),
    "nodemailer": Client(
        "node",
        _manifest(NODE_MODULES / "nodemailer/package.json"),
        files=(NODE_MODULES / "nodemailer/package.json",),
    ),
    "phpmailer": Client(
        "php",
        _line("dpkg-query", "-W", "-f", "${Version}", "libphp-phpmailer"),
        files=(PHPMAILER / "autoload.php",),
    ),
    "postfix": Client("postfix", _line("postconf", "-dh", "mail_version"), ("postconf", "postqueue")),
    "thunderbird": Client("thunderbird", _line("thunderbird", "--version"), ("Xvfb", "import")),
}


def missing(name: str) -> bool:
    client = CLIENTS[name]
    wanted = (*client.also, client.program) if client.program else client.also
    return (
        any(shutil.which(program) is None for program in wanted)
        or not _has_perl_module(client.perl)
        or not all(target.exists() for target in client.files)
    )


def _has_perl_module(name: str) -> bool:
    return (
        not name
        or subprocess.run(["perl", f"-M{name}", "-e1"], capture_output=True, check=False).returncode == 0
    )


@dataclass
class Demo:
    """A running `gateway demo`: where it listens and what the mailboxes behind it hold."""

    process: subprocess.Popen[bytes]
    ports: dict[str, int]
    ca_file: str
    control: httpx.Client
    errors: Path
    folder_ids: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)

    def listing(self, folder: str = "inbox", user: str = ALICE) -> list[dict[str, Any]]:
        """Every message of a folder (well-known name, id, or displayName)."""
        answer = self.control.get(f"users/{user}/messages", params={"folder": self.folder(folder, user)})
        rows: list[dict[str, Any]] = answer.raise_for_status().json()
        return rows

    def folder(self, name: str, user: str = ALICE) -> str:
        for row in self.folders(user):
            if name in (row["wellKnownName"], row["displayName"]):
                return str(row["id"])
        return name

    def folders(self, user: str = ALICE) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.control.get(f"users/{user}/folders").raise_for_status().json()
        return rows

    def make_folder(self, name: str, user: str = ALICE) -> str:
        """A folder made over IMAP; its id."""
        with imaplib.IMAP4(HOST, self.ports["imap"], timeout=60) as box:
            box.login(user, PASSWORD)
            said = box.create(f'"{name}"')
            assert said[0] == "OK", said
        return self.folder(name, user)

    def listed(self, user: str = ALICE) -> str:
        """What LIST tells; a folder that was deleted is in Deleted Items for Graph."""
        with imaplib.IMAP4(HOST, self.ports["imap"], timeout=60) as box:
            box.login(user, PASSWORD)
            return str(box.list('""', "%")[1])

    def drop_folder(self, name: str, user: str = ALICE) -> None:
        """Deleted over IMAP."""
        with imaplib.IMAP4(HOST, self.ports["imap"], timeout=60) as box:
            box.login(user, PASSWORD)
            said = box.delete(f'"{name}"')
            assert said[0] == "OK", said

    def find(self, subject: str, folder: str = "inbox", user: str = ALICE) -> list[dict[str, Any]]:
        return [row for row in self.listing(folder, user) if row["subject"] == subject]

    def deliver(self, mime: bytes, folder: str = "inbox", user: str = ALICE) -> str:
        where = {"folder": self.folder(folder, user)}
        answer = self.control.post(f"users/{user}/messages", params=where, content=mime)
        return str(answer.raise_for_status().json()["id"])

    def outside(self) -> list[dict[str, Any]]:
        """Mail that left for addresses nobody has here."""
        rows: list[dict[str, Any]] = self.control.get("outside").raise_for_status().json()
        return rows

    def sent_to(self, address: str, subject: str) -> list[str]:
        """Texts of the mail that left for this address, with this subject."""
        wanted = f"Subject: {subject}\r\n"
        return [m["mime"] for m in self.outside() if m["recipient"] == address and wanted in m["mime"]]

    def log(self) -> list[str]:
        """Graph requests since `forget`, those inside a batch by themselves."""
        said = []
        for request in self.control.get("log").raise_for_status().json()["requests"]:
            said.append(f"{request['method']} {request['path']}")
            said += [f"{inner['method']} {inner['url']}" for inner in request["inner"]]
        return said

    def value(self, identity: str, user: str = ALICE) -> bytes:
        """`$value` of a message, asked of Graph without the gateway."""
        base = str(self.control.base_url).removesuffix("/_emulator/")
        form = {
            "grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
            "scope": "https://graph.microsoft.com/.default",
        }  # fmt: skip
        token = (
            self.control.post(f"{base}/{TENANT_ID}/oauth2/v2.0/token", data=form).raise_for_status().json()
        )
        headers = {"Authorization": f"Bearer {token['access_token']}"}
        answer = self.control.get(f"{base}/v1.0/users/{user}/messages/{identity}/$value", headers=headers)
        return answer.raise_for_status().content

    def parsed(self, identity: str, user: str = ALICE) -> EmailMessage:
        return email.message_from_bytes(self.value(identity, user), policy=email.policy.default)  # type: ignore[return-value]

    def text(self, identity: str, user: str = ALICE) -> str:
        """The text a reader sees: of every text part."""
        parts = [part for part in self.parsed(identity, user).walk() if part.get_content_maintype() == "text"]
        return "\n".join(part.get_content() for part in parts)

    def attachment(self, identity: str, user: str = ALICE) -> bytes:
        """The octets of the one part that is neither text nor a multipart."""
        parts = [part for part in self.parsed(identity, user).walk() if not part.is_multipart()]
        [found] = [part for part in parts if part.get_content_maintype() != "text"]
        return bytes(found.get_content())

    def forget(self) -> None:
        self.control.delete("log").raise_for_status()

    def bodies_read(self) -> int:
        return sum("$value" in line for line in self.log())


def start_demo(folder: Path, *options: str) -> Demo:
    """Start and wait until it listens."""
    ready, errors = folder / "ready.json", folder / "errors.log"
    ports = [f"--{name}-port=0" for name in ("imap", "imaps", "smtp", "smtps", "graph", "web")]
    argv = [
        sys.executable,
        "-m",
        "gateway",
        "demo",
        "--ready-file",
        str(ready),
        "--state",
        str(folder / "state"),
    ]
    with errors.open("wb") as log:
        process = subprocess.Popen(
            [*argv, *ports, *options], stdout=log, stderr=log, cwd=ROOT, env={**os.environ, **SETTINGS}
        )
    try:
        eventually(lambda: ready.exists() or process.poll() is not None, 60)
        assert process.poll() is None, errors.read_text()
    except BaseException:
        process.kill()
        raise
    told = json.loads(ready.read_text())
    trust = ssl.create_default_context(cafile=told["ca_file"])
    control = httpx.Client(base_url=f"{told['emulator']}/_emulator/", verify=trust, timeout=60)
    return Demo(process, told["ports"], told["ca_file"], control, errors)


def stop_demo(demo: Demo) -> None:
    """SIGTERM must end it, with status 0, and nothing but what is expected in its log."""
    demo.control.close()
    demo.process.send_signal(signal.SIGTERM)
    try:
        status = demo.process.wait(30)
    except subprocess.TimeoutExpired:
        demo.process.kill()
        demo.process.wait(10)
        raise
    said = demo.errors.read_text()
    assert status == 0, f"exit status {status}: {said[-2000:]}"
    assert "Traceback" not in said, said[said.index("Traceback") - 2000 :][:6000]


def eventually(check: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The value of `check()` once it is true; an assertion if that takes too long."""
    end = time.monotonic() + seconds
    while not (value := check()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)
    return value


def arrived(demo: Demo, subject: str, user: str = ALICE, also: str = "ALL") -> None:
    """Wait until a client that opens INBOX now finds a message with this subject, and `also` by SEARCH."""
    with imaplib.IMAP4(HOST, demo.ports["imap"], timeout=60) as box:
        box.login(user, PASSWORD)
        box.select("INBOX", readonly=True)
        eventually(lambda: box.noop() and box.search(None, also, "SUBJECT", f'"{subject}"')[1][0])


def environment(home: Path) -> dict[str, str]:
    home.mkdir(parents=True, exist_ok=True)
    return {"HOME": str(home), "LC_ALL": "C.UTF-8", "TERM": "vt100"} | {
        name: os.environ[name] for name in KEPT if name in os.environ
    }


def run(
    argv: Sequence[str | Path], home: Path, *, stdin: bytes = b"", status: int | None = 0, timeout: float = 60
) -> subprocess.CompletedProcess[bytes]:
    """Run a client to its end; `status` None = any. Its output is in the failure."""
    done = subprocess.run(
        [str(each) for each in argv], input=stdin, capture_output=True, timeout=timeout, env=environment(home),
        cwd=home, check=False,
    )  # fmt: skip
    assert status is None or done.returncode == status, (
        f"{argv[0]} ended with {done.returncode}\n{done.stdout[-3000:].decode(errors='replace')}\n"
        f"{done.stderr[-3000:].decode(errors='replace')}"
    )
    return done


DELIVER = """\
#!/bin/sh
cat > "{home}/delivered/$$"
sleep {linger}
"""


@dataclass
class Delivered:
    """A local delivery program, and the messages it was given.

    `linger`: seconds before it ends. getmail6 waits out its time limit where a program ends before getmail
    begins to wait for it.
    """

    home: Path
    linger: float = 0

    @property
    def program(self) -> Path:
        path = self.home / "deliver"
        if not path.exists():
            (self.home / "delivered").mkdir(parents=True)
            path.write_text(DELIVER.format(home=self.home, linger=self.linger))
            path.chmod(0o755)
        return path

    @property
    def messages(self) -> list[bytes]:
        """With LF line ends, sorted."""
        return sorted(p.read_bytes() for p in (self.home / "delivered").iterdir())


def mail(subject: str, body: str = "Hello.", *, sender: str = "eve@example.net", to: str = ALICE) -> bytes:
    """A small message in CRLF, with a Message-ID of its own."""
    number = hashlib.sha256(f"{subject}\0{body}".encode()).hexdigest()[:20]
    text = (
        f"From: Eve <{sender}>\nTo: {to}\nSubject: {subject}\nDate: Mon, 02 Nov 2026 10:00:00 +0000\n"
        f"Message-ID: <{number}@example.net>\nMIME-Version: 1.0\n"
        f"Content-Type: text/plain; charset=utf-8\n\n{body}\n"
    )
    return text.replace("\n", "\r\n").encode()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

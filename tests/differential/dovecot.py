"""A Dovecot 2.3 of our own: one process in the foreground, on loopback, on its own configuration and folder.

It runs as whoever runs the tests. Dovecot refuses to open mail as root: where root runs the tests, its
processes and the mail belong to the users that Debian's package has made.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAM = shutil.which("dovecot") or "/usr/sbin/dovecot"
PASSWORD = "demo"
AT_START = ("INBOX", "Outbox")  # Exchange has an Outbox; IMAP has no name for its use
SPECIAL = {
    "Archive": "\\Archive", "Deleted Items": "\\Trash", "Drafts": "\\Drafts", "Junk Email": "\\Junk",
    "Sent Items": "\\Sent",
}  # fmt: skip

CONFIG = """\
protocols = imap
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
ssl = no
disable_plaintext_auth = no
default_login_user = {login}
default_internal_user = {internal}
default_internal_group = {group}
first_valid_uid = 1
mail_location = sdbox:{folder}/mail/%u
mail_fsync = never
mail_attribute_dict = file:{folder}/mail/%u-attributes
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
{mailboxes}
}}
service imap-login {{
  chroot =
  service_count = 0
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service imap {{
  process_limit = 100
}}
service auth {{
  client_limit = 5000
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
protocol imap {{
  imap_metadata = yes
  mail_max_userip_connections = 100
}}
"""


def missing() -> bool:
    return not os.access(PROGRAM, os.X_OK) or not Path("/usr/lib/dovecot/imap").exists()


def version() -> str:
    return subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def _config(folder: Path, port: int) -> str:
    me = pwd.getpwuid(os.getuid())
    mail = me if me.pw_uid else pwd.getpwnam("dovecot")
    login = me if me.pw_uid else pwd.getpwnam("dovenull")
    uses = {name: f"    special_use = {use}\n" for name, use in SPECIAL.items()} | dict.fromkeys(AT_START, "")
    boxes = "\n".join(f'  mailbox "{name}" {{\n{use}    auto = subscribe\n  }}' for name, use in uses.items())
    for child in ("mail", "home"):
        (folder / child).mkdir()
        os.chown(folder / child, mail.pw_uid, mail.pw_gid)
    return CONFIG.format(
        folder=folder, port=port, password=PASSWORD, uid=mail.pw_uid, gid=mail.pw_gid, mailboxes=boxes,
        login=login.pw_name, internal=mail.pw_name, group=grp.getgrgid(mail.pw_gid).gr_name,
    )  # fmt: skip


@contextlib.contextmanager
def dovecot() -> Iterator[int]:
    """The port of a running server; every user exists, and is empty at first."""
    folder = Path(tempfile.mkdtemp(prefix="dovecot-"))
    folder.chmod(0o755)  # its processes are other users'
    port = _port()
    config = folder / "dovecot.conf"
    config.write_text(_config(folder, port))
    process = subprocess.Popen(
        [PROGRAM, "-F", "-c", str(config)], stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _wait(process, port, folder / "log")
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as probe:
            if probe.recv(100).startswith(b"* OK"):
                return
        time.sleep(0.05)
    text = log.read_text() if log.exists() else ""
    raise RuntimeError(f"Dovecot did not start (exit code {process.poll()}):\n{text}")

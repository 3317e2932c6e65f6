"""What `gateway demo` configures and says: a gateway in front of the emulator, with everything on loopback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.app import Ports
from gateway.config import Config, from_values
from gateway.mailbox.credentials import hash_password

PASSWORD = "demo"  # noqa: S105  (printed on the screen)


def demo_config(emulator: Mapping[str, Any], host: str, ports: Mapping[str, int], state: Path) -> Config:
    """`emulator` is the emulator's own description of itself (its ready file)."""
    certificates = Path(emulator["ca_file"]).parent
    hashed = hash_password(PASSWORD)
    return from_values(
        {
            "graph": {
                "base_url": f"{emulator['base_url']}/v1.0",
                "authority": emulator["authority"],
                "ca_file": emulator["ca_file"],
                "client_id": emulator["client_id"],
                "client_secret": emulator["client_secret"],
            },
            "state": {"dir": state, "cache_mib": 256},
            "tls": {"certificate": certificates / "graph-server.pem", "key": certificates / "graph-server.key"},
            "imap": {
                "host": host, "port": ports["imap"], "tls_port": ports["imaps"], "allow_plaintext": True,
                "poll_interval": 5.0, "login_delay": 1.0,
            },
            "submission": {
                "host": host, "port": ports["smtp"], "tls_port": ports["smtps"], "allow_plaintext": True,
            },
            "web": {"host": host, "port": ports["web"]},
            "accounts": [{"user": user, "password_hash": hashed} for user in emulator["users"]],
        },
        origin="demo",
    )  # fmt: skip


def instructions(ports: Ports, facts: Mapping[str, Any], host: str) -> str:
    """How to point mutt, Thunderbird and imaplib at the demo."""
    user = facts["users"][0]
    quoted = user.replace("@", "%40")
    return f"""\
The gateway is up. Users: {", ".join(facts["users"])}; password: {PASSWORD}

  IMAP  {host}:{ports.imap} (plain or STARTTLS)   {host}:{ports.imaps} (TLS)
  SMTP  {host}:{ports.smtp} (plain or STARTTLS)   {host}:{ports.smtps} (TLS)
  web   http://{host}:{ports.web}/healthz /readyz /metrics
  Graph {facts["emulator"]} (emulated; its log: {facts["emulator"]}/_emulator/log)
  CA    {facts["ca_file"]}

mutt
  mutt -n -F /dev/null -e 'set ssl_starttls=no ssl_force_tls=no' \\
       -e 'set imap_pass={PASSWORD} smtp_pass={PASSWORD} from={user}' \\
       -e 'set smtp_url=smtp://{quoted}@{host}:{ports.smtp} copy=no' \\
       -e 'set folder=imap://{quoted}@{host}:{ports.imap}/' -f =INBOX

Thunderbird
  New account {user}; incoming IMAP {host} port {ports.imap}, connection security None, normal password;
  outgoing SMTP {host} port {ports.smtp}, the same. (Or import the CA file and use the TLS ports.)

Python
  import imaplib
  box = imaplib.IMAP4("{host}", {ports.imap}); box.login("{user}", "{PASSWORD}")
  print(box.select("INBOX"), box.fetch("1", "(ENVELOPE)"))

Ctrl-C or SIGTERM ends it.
"""

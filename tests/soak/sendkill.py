"""`kill -9` while smtplib sends over a socket, and Graph fails: each accepted message is sent once.

    python -m tests.soak.sendkill --kills 40 --seed 1 [--mode direct|queue]

Several clients send numbered letters, each until it has heard a final reply; one of them sends identical alarms, of
which as many must arrive as were accepted. A client whose connection breaks sends again, as SMTP clients do.
"""

from __future__ import annotations

import argparse
import random
import smtplib
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from tests.soak.processes import ALICE, HOST, PASSWORD, Lab, eventually

BOB = "bob@example.com"
CLIENTS = 3
FAULTS = (
    {"mode": "error", "status": 429, "retry_after": 0.4},
    {"mode": "error", "status": 503},
    {"mode": "error", "status": 504},
    {"mode": "reset"},
    {"mode": "cut"},
    {"mode": "error", "status": 200, "body": ""},
    {"mode": "commit-then-fail", "status": 504},
    {"mode": "commit-then-fail", "status": 0},
)
STEPS = ("/messages$", "/send$", "/messages/[^/]+$", "/move$")


class Client:
    """`lost`: 250s whose QUIT may not have arrived: of alarms the next one alike may pass for a retry."""

    def __init__(self, lab: Lab, number: int, stop: threading.Event) -> None:
        self.lab = lab
        self.name = f"client{number}"
        self.alarm = number == 0
        self.stop = stop
        self.accepted: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.refused: list[str] = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        count = 0
        while not self.stop.is_set():
            count += 1
            subject = "alarm" if self.alarm else f"{self.name} {count}"
            while not self._sent(subject):
                time.sleep(0.1)

    def _sent(self, subject: str) -> bool:
        identity = "" if self.alarm else f"Message-ID: <{subject.replace(' ', '.')}@example.com>\r\n"
        raw = f"From: {ALICE}\r\nTo: {BOB}\r\nSubject: {subject}\r\nX-Run: 1\r\n{identity}\r\nHello.\r\n"
        try:
            client = smtplib.SMTP(HOST, self.lab.gateway.told["ports"]["smtp"], timeout=60)
            client.login(ALICE, PASSWORD)
            client.sendmail(ALICE, [BOB], raw)
        except smtplib.SMTPResponseException as error:
            if error.smtp_code >= 500:
                self.refused.append(f"{subject}: {error.smtp_code} {error.smtp_error!r}")
            return error.smtp_code >= 500
        except (OSError, smtplib.SMTPException):
            return False
        self.accepted[subject] += 1
        try:
            client.quit()
        except (OSError, smtplib.SMTPException):
            self.lost[subject] += 1
        return True


def run(folder: Path, kills: int, seed: int, mode: str) -> dict[str, int]:
    """AssertionError names what was lost or doubled."""
    rng = random.Random(seed)
    stop = threading.Event()
    with Lab(folder, rtt_ms=3, service_ms=5) as lab:
        config = folder / "gateway.toml"
        config.write_text(config.read_text().replace("[submission]", f'[submission]\nmode = "{mode}"'))
        lab.gateway.kill()
        lab.gateway.start()
        clients = [Client(lab, n, stop) for n in range(CLIENTS)]
        try:
            for _ in range(kills):
                for _ in range(rng.randint(0, 3)):
                    fault = {"method": "*", "path": rng.choice(STEPS), "count": 1, **rng.choice(FAULTS)}
                    lab.mailbox.http.post("faults", json=fault).raise_for_status()
                time.sleep(rng.uniform(0.4, 3.0))
                lab.gateway.kill()
                lab.gateway.start()
        finally:
            stop.set()
        lab.mailbox.http.delete("faults")
        for client in clients:
            client.thread.join(120)
            assert not client.thread.is_alive(), f"{client.name} hears nothing"
            assert not client.refused, client.refused
        return _judge(lab, clients)


def _judge(lab: Lab, clients: list[Client]) -> dict[str, int]:
    accepted = sum((client.accepted for client in clients), Counter[str]())
    lost = sum((client.lost for client in clients), Counter[str]())

    def wrong() -> list[str]:
        boxes = {"Sent": _subjects(lab, ALICE, "sentitems"), "bob's inbox": _subjects(lab, BOB, "inbox")}
        return [
            f"{name}: {subject} {box[subject]} times, accepted {count}, of these perhaps unheard {lost[subject]}"
            for name, box in boxes.items()
            for subject, count in (accepted | (box - accepted)).items()
            if not max(min(accepted[subject], 1), accepted[subject] - lost[subject])
            <= box[subject]
            <= accepted[subject]
        ]

    assert not eventually(lambda: None if wrong() else [], 30) and not wrong(), wrong()[:10]
    return {"accepted": accepted.total(), "perhaps unheard": lost.total(), "alarms": accepted["alarm"]}


def _subjects(lab: Lab, user: str, folder: str) -> Counter[str]:
    rows = lab.mailbox.http.get(f"users/{user}/messages", params={"folder": folder}).raise_for_status().json()
    return Counter(row["subject"] for row in rows)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--kills", type=int, default=40)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--mode", choices=("direct", "queue"), default="direct")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(given.mode, run(Path(folder), given.kills, given.seed, given.mode))
    return 0


if __name__ == "__main__":
    sys.exit(main())

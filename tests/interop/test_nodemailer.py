"""nodemailer: the mail library of Node.js programs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from interop.lab import ALICE, BOB, CAROL, HOST, NODE_MODULES, PASSWORD, Demo, environment, eventually

SCRIPT = """
const {transport, messages} = JSON.parse(require("fs").readFileSync(0, "utf8"));
const mailer = require("nodemailer").createTransport(transport);
(async () => {
  const said = [];
  for (const each of messages) {
    try { said.push((await mailer.sendMail(each)).response); }
    catch (e) { said.push(`${e.code} ${e.responseCode} ${e.response}`); }
  }
  mailer.close();
  console.log(JSON.stringify(said));
})();
"""


def send(demo: Demo, home: Path, *messages: dict[str, Any], secure: bool = True, **options: Any) -> list[str]:
    transport = {
        "host": HOST, "port": demo.ports["smtps" if secure else "smtp"], "secure": secure, "requireTLS": True,
        "auth": {"user": ALICE, "pass": PASSWORD}, "tls": {"ca": Path(demo.ca_file).read_text()}, **options,
    }  # fmt: skip
    asked = json.dumps({"transport": transport, "messages": messages}).encode()
    environ = environment(home) | {"NODE_PATH": os.fspath(NODE_MODULES)}
    done = subprocess.run(["node", "-e", SCRIPT], input=asked, capture_output=True, env=environ, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    said: list[str] = json.loads(done.stdout)
    return said


@pytest.mark.parametrize("secure", [True, False])
def test_send(demo: Demo, tmp_path: Path, secure: bool):
    subject = f"nodemailer, implicit TLS {secure}: Grüße"
    letter = {"from": ALICE, "to": BOB, "subject": subject, "text": "Täglich.", "html": "<p>Täglich.</p>"}
    [said] = send(demo, tmp_path, letter, secure=secure)
    assert said.startswith("250 2.0.0")
    [row] = eventually(lambda: demo.find(subject, user=BOB))
    assert "Täglich." in demo.text(row["id"], BOB)


def test_a_pool_of_connections(demo: Demo, tmp_path: Path):
    """Identical alarms are as many mails as were sent."""
    letter = {"from": ALICE, "to": BOB, "subject": "nodemailer alarm", "text": "Door open."}
    said = send(demo, tmp_path, *[letter] * 5, pool=True)
    assert all(each.startswith("250") for each in said)
    eventually(lambda: len(demo.find("nodemailer alarm", user=BOB)) == 5)
    eventually(lambda: len(demo.find("nodemailer alarm", "sentitems")) == 5)


def test_attachment_inline_image_and_bcc(demo: Demo, tmp_path: Path):
    image = bytes(range(256)) * 20
    letter = {
        "from": ALICE, "to": BOB, "bcc": CAROL, "subject": "nodemailer with a picture",
        "html": '<img src="cid:logo">', "headers": {"X-Lab": "kept"},
        "attachments": [{"filename": "logo.png", "cid": "logo", "encoding": "base64",
                         "content": __import__("base64").b64encode(image).decode()}],
    }  # fmt: skip
    [said] = send(demo, tmp_path, letter)
    assert said.startswith("250")
    for user in (BOB, CAROL):
        assert len(eventually(lambda user=user: demo.find("nodemailer with a picture", user=user))) == 1
    [row] = demo.find("nodemailer with a picture", user=BOB)
    value = demo.value(row["id"], BOB)
    assert CAROL.encode() not in value and b"<logo>" in value and b"x-lab: kept" in value.lower()
    assert demo.attachment(row["id"], BOB) == image


def test_refusals(demo: Demo, tmp_path: Path):
    letter = {"from": ALICE, "to": BOB, "subject": "nodemailer, never", "text": "no"}
    [said] = send(demo, tmp_path, letter, auth={"user": ALICE, "pass": "guess"})
    assert said.startswith("EAUTH 535")
    stranger = letter | {"to": CAROL, "envelope": {"from": ALICE, "to": [BOB]}}
    [said] = send(demo, tmp_path, stranger)
    assert " 550 550 5.6.0" in said
    for user in (BOB, CAROL):
        assert not demo.find("nodemailer, never", user=user)

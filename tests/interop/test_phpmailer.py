"""PHPMailer: the contact form of half of the web."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interop.lab import ALICE, BOB, CAROL, HOST, PASSWORD, PHPMAILER, Demo, eventually, run

SCRIPT = """<?php
require "{autoload}";
$asked = json_decode(stream_get_contents(STDIN), true);
$mail = new PHPMailer\\PHPMailer\\PHPMailer(true);
$mail->isSMTP();
$mail->Host = $asked["host"]; $mail->Port = $asked["port"]; $mail->SMTPAuth = true;
$mail->Username = $asked["user"]; $mail->Password = $asked["password"];
$mail->SMTPSecure = $asked["secure"]; $mail->SMTPKeepAlive = true; $mail->CharSet = "UTF-8";
$mail->SMTPOptions = ["ssl" => ["cafile" => $asked["ca_file"]]];
$mail->Encoding = $asked["encoding"];
try {{
  $mail->setFrom($asked["from"], "Shop");
  foreach ($asked["to"] as $to) $mail->addAddress($to);
  foreach ($asked["bcc"] as $to) $mail->addBCC($to);
  $mail->addReplyTo("customer@example.net", "Kunde");
  $mail->Subject = $asked["subject"]; $mail->Body = $asked["body"]; $mail->AltBody = strip_tags($asked["body"]);
  $mail->isHTML(true);
  if ($asked["attach"]) $mail->addAttachment($asked["attach"], "Rechnung März.pdf");
  for ($i = 0; $i < $asked["times"]; $i++) $mail->send();
  $mail->smtpClose();
  echo "sent";
}} catch (Exception $e) {{ echo $mail->ErrorInfo; }}
"""


def send(demo: Demo, home: Path, subject: str, **options: Any) -> str:
    asked = {
        "host": HOST, "port": demo.ports["smtp"], "secure": "tls", "user": ALICE, "password": PASSWORD,
        "ca_file": demo.ca_file, "from": ALICE, "to": [BOB], "bcc": [], "subject": subject, "attach": "",
        "body": "<p>Bestellung für Größe 42 &amp; mehr</p>", "times": 1, "encoding": "8bit", **options,
    }  # fmt: skip
    script = home / "send.php"
    script.write_text(SCRIPT.format(autoload=PHPMAILER / "autoload.php"))
    return run(["php", script], home, stdin=json.dumps(asked).encode()).stdout.decode()


@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
def test_send(demo: Demo, tmp_path: Path, encoding: str):
    """The words arrive in each of its encodings: Exchange spoils quoted-printable HTML that it is given."""
    subject = f"PHPMailer {encoding} für alle"
    assert send(demo, tmp_path, subject, encoding=encoding) == "sent"
    [row] = eventually(lambda: demo.find(subject, user=BOB))
    assert "Bestellung für Größe 42" in demo.text(row["id"], BOB)
    assert b"customer@example.net" in demo.value(row["id"], BOB)


def test_implicit_tls_attachment_and_bcc(demo: Demo, tmp_path: Path):
    invoice = tmp_path / "invoice.pdf"
    invoice.write_bytes(b"%PDF-1.4\n" + bytes(range(256)) * 100)
    options = {"secure": "ssl", "port": demo.ports["smtps"], "attach": str(invoice), "bcc": [CAROL]}
    assert send(demo, tmp_path, "PHPMailer invoice", **options) == "sent"
    [row] = eventually(lambda: demo.find("PHPMailer invoice", user=BOB))
    assert demo.attachment(row["id"], BOB) == invoice.read_bytes()
    assert len(eventually(lambda: demo.find("PHPMailer invoice", user=CAROL))) == 1
    assert CAROL.encode() not in demo.value(row["id"], BOB)


def test_one_connection_for_many(demo: Demo, tmp_path: Path):
    assert send(demo, tmp_path, "PHPMailer newsletter", times=4) == "sent"
    eventually(lambda: len(demo.find("PHPMailer newsletter", user=BOB)) == 4)


def test_a_wrong_password(demo: Demo, tmp_path: Path):
    assert "Could not authenticate" in send(demo, tmp_path, "PHPMailer, never", password="guess")
    assert not demo.find("PHPMailer, never", user=BOB)

"""Python's smtplib, as scripts and devices' software use it."""

from __future__ import annotations

import email
import random
import smtplib
import ssl
from collections.abc import Iterator
from email.message import EmailMessage

import pytest

from interop.lab import ALICE, BOB, CAROL, HOST, PASSWORD, Demo, eventually, mail

OUTSIDE, HIDDEN = "zoe@example.net", "hidden@example.net"


@pytest.fixture
def smtp(demo: Demo) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP(HOST, demo.ports["smtp"], timeout=60) as made:
        made.starttls(context=demo.tls)
        made.login(ALICE, PASSWORD)
        yield made


def letter(subject: str, to: str = BOB) -> bytes:
    return mail(subject, "Sent by smtplib.", sender=ALICE, to=to)


def test_starttls_with_a_verified_certificate(demo: Demo):
    with smtplib.SMTP(HOST, demo.ports["smtp"], timeout=30) as smtp:
        smtp.ehlo()
        assert smtp.has_extn("starttls") and smtp.has_extn("size")
        smtp.starttls(context=demo.tls)
        smtp.ehlo()
        assert set(smtp.esmtp_features["auth"].split()) == {"PLAIN", "LOGIN", "SCRAM-SHA-256"}
        smtp.login(ALICE, PASSWORD)
        assert smtp.sendmail(ALICE, [BOB], letter("smtplib by STARTTLS")) == {}
    [row] = eventually(lambda: demo.find("smtplib by STARTTLS", user=BOB))
    assert not row["isRead"] and not row["isDraft"]
    eventually(lambda: demo.find("smtplib by STARTTLS", "sentitems"))
    assert not demo.find("smtplib by STARTTLS", "drafts")


def test_a_certificate_nobody_trusts_is_seen_by_the_client(demo: Demo):
    with pytest.raises(ssl.SSLCertVerificationError):
        smtplib.SMTP_SSL(
            HOST, demo.ports["smtps"], context=ssl.create_default_context(cafile=None), timeout=30
        )


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("initial", [True, False])
def test_tls_from_the_start_with_each_mechanism(demo: Demo, mechanism: str, initial: bool):
    subject = f"smtplib AUTH {mechanism} {'with' if initial else 'without'} initial response"
    with smtplib.SMTP_SSL(HOST, demo.ports["smtps"], context=demo.tls, timeout=30) as smtp:
        smtp.ehlo()
        smtp.user, smtp.password = ALICE, PASSWORD
        answer = getattr(smtp, f"auth_{mechanism.lower()}")
        assert smtp.auth(mechanism, answer, initial_response_ok=initial)[0] == 235
        smtp.sendmail(ALICE, [BOB], letter(subject))
    eventually(lambda: demo.find(subject, user=BOB))


def test_a_wrong_password_is_refused(demo: Demo):
    with smtplib.SMTP_SSL(HOST, demo.ports["smtps"], context=demo.tls, timeout=30) as smtp:
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            smtp.login(ALICE, "guess")
        assert refused.value.smtp_code == 535 and refused.value.smtp_error.startswith(b"5.7.8")


def test_who_is_only_in_the_envelope_gets_it_and_is_not_disclosed(demo: Demo, smtp: smtplib.SMTP):
    subject = "smtplib, a hidden recipient"
    assert smtp.sendmail(ALICE, [BOB, OUTSIDE, HIDDEN], letter(subject, f"{BOB}, {OUTSIDE}")) == {}
    eventually(lambda: demo.find(subject, user=BOB))
    for address in (OUTSIDE, HIDDEN):
        [text] = eventually(lambda address=address: demo.sent_to(address, subject))
        assert HIDDEN not in text and "Bcc" not in text
    assert not demo.find(subject, user=CAROL)
    assert len(eventually(lambda: demo.find(subject, "sentitems"))) == 1


def test_a_header_recipient_outside_the_envelope_is_refused(demo: Demo, smtp: smtplib.SMTP):
    subject = "smtplib, header and envelope differ"
    with pytest.raises(smtplib.SMTPDataError) as refused:
        smtp.sendmail(ALICE, [BOB], letter(subject, f"{BOB}, {CAROL}"))
    assert refused.value.smtp_code == 550 and refused.value.smtp_error.startswith(b"5.6.0")
    assert smtp.noop()[0] == 250
    smtp.sendmail(ALICE, [BOB], letter("smtplib, after the refusal"))
    eventually(lambda: demo.find("smtplib, after the refusal", user=BOB))
    for user in (BOB, CAROL):
        assert not demo.find(subject, user=user)


def test_the_same_message_id_again_to_another_recipient_is_sent(demo: Demo, smtp: smtplib.SMTP):
    subject = "smtplib, an alarm twice"
    same = letter(subject, "undisclosed-recipients:;")
    smtp.sendmail(ALICE, [BOB], same)
    smtp.sendmail(ALICE, [CAROL], same)
    smtp.sendmail(ALICE, [CAROL], same)
    eventually(lambda: len(demo.find(subject, user=BOB)) == 1)
    eventually(lambda: len(demo.find(subject, user=CAROL)) == 2)


def test_poor_mail_of_a_device(demo: Demo):
    """HELO, no Date, no Message-ID, no To, a line of 2,000 octets, a leading dot."""
    with smtplib.SMTP(HOST, demo.ports["smtp"], timeout=30) as smtp:
        smtp.helo("scanner")
        smtp.user, smtp.password = ALICE, PASSWORD
        smtp.esmtp_features["auth"] = "LOGIN"
        assert smtp.auth("LOGIN", smtp.auth_login, initial_response_ok=False)[0] == 235
        body = b"Subject: scan from the device\r\n\r\n.hidden dot\r\n" + b"x" * 2000 + b"\r\n"
        assert smtp.sendmail(ALICE, [BOB], body) == {}
    [row] = eventually(lambda: demo.find("scan from the device", user=BOB))
    assert row["size"] > 2000


def with_attachment(subject: str, data: bytes) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = ALICE, BOB, subject
    message.set_content("See the attachment.")
    message.add_attachment(data, maintype="application", subtype="pdf", filename="s.pdf")
    return message


def test_size_is_announced_and_true(demo: Demo, smtp: smtplib.SMTP):
    smtp.ehlo()
    limit = int(smtp.esmtp_features["size"])
    code, text = smtp.mail(ALICE, [f"SIZE={limit + 1}"])
    assert code == 552 and text.startswith(b"5.3.4")
    assert smtp.mail(ALICE, [f"SIZE={limit}"])[0] == 250
    smtp.rset()


def test_more_than_one_request_holds_is_sent(demo: Demo, smtp: smtplib.SMTP):
    data = random.Random(6).randbytes(5_000_000)
    assert smtp.send_message(with_attachment("smtplib, large", data)) == {}
    [row] = eventually(lambda: demo.find("smtplib, large", user=BOB))
    read = email.message_from_bytes(demo.value(row["id"], BOB))
    assert [part.get_payload(decode=True) for part in read.walk() if part.get_filename() == "s.pdf"] == [data]
    eventually(lambda: demo.find("smtplib, large", "sentitems"))
    assert not demo.find("smtplib, large", "drafts")

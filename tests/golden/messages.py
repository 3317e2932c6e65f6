"""Messages that transcripts speak of: numbered ones, all alike, and named ones of the shapes that matter."""

from __future__ import annotations

FIRST_DAY = 1_704_103_200  # 2024-01-01 10:00:00 UTC
DAY = 86_400


def crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def standard(number: int) -> bytes:
    """Message `number` (from 1) of a fixture: 10 octets of body, everything else as short as is honest."""
    return crlf(
        f"""From: Sender {number} <sender{number}@example.net>
To: alice@example.com
Subject: Message {number}
Date: Mon, 1 Jan 2024 10:00:00 +0000
Message-ID: <{number}@example.net>

Body of {number}
"""
    )


def received(number: int) -> int:
    """INTERNALDATE of message `number`: one a day from 1 January 2024, 10:00 UTC."""
    return FIRST_DAY + (number - 1) * DAY


NAMED: dict[str, bytes] = {
    "multipart": crlf(
        """From: =?utf-8?q?J=C3=BCrgen?= "The Boss" <boss@example.net>
To: alice@example.com, "Doe, John" <john@example.org>
Cc: undisclosed-recipients:;
Subject: Two parts
Date: Tue, 2 Jan 2024 11:12:13 +0100
Message-ID: <multipart@example.net>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b1"

preamble
--b1
Content-Type: text/plain; charset=utf-8

Hello
--b1
Content-Type: application/octet-stream; name="a.bin"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="a.bin"
Content-Description: Mixed Case "Quoted"

AAECAwQ=
--b1--
"""
    ),
    "forwarded": crlf(
        """From: outer@example.net
To: alice@example.com
Subject: Outer
Date: Wed, 3 Jan 2024 09:00:00 +0000
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: text/plain

See below.
--outer
Content-Type: message/rfc822

From: inner@example.net
Sender: secretary@example.net
To: outer@example.net
Subject: Inner
Date: Tue, 2 Jan 2024 09:00:00 +0000
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain

Plain
--inner
Content-Type: text/html

<p>Rich</p>
--inner--

--outer--
"""
    ),
    "no-headers": b"\r\nJust a body.\r\n",
    "empty-body": b"From: a@example.net\r\nSubject: Nothing below\r\n\r\n",
    "receipt-wanted": crlf(
        """From: Curious <curious@example.net>
To: alice@example.com
Subject: Please confirm
Date: Wed, 3 Jan 2024 09:00:00 +0000
Message-ID: <receipt@example.net>
Disposition-Notification-To: <curious@example.net>

Have you read this?
"""
    ),
    "smime-opaque": crlf(
        """From: Secret <secret@example.net>
To: alice@example.com
Subject: Sealed
Date: Wed, 3 Jan 2024 09:00:00 +0000
Message-ID: <sealed@example.net>
MIME-Version: 1.0
Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="smime.p7m"

MIAGCSqGSIb3DQEHA6CAMIACAQA=
"""
    ),
}

"""Messages that transcripts speak of: numbered ones, all alike, and named ones of the shapes that matter."""

from __future__ import annotations

from golden.mails import SORTED
from golden.searched import SEARCHED

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
    **SEARCHED,
    **SORTED,
    "submitted": crlf(
        """From: <alice@example.com>
To: <bob@example.net>
Subject: Sent
Date: Tue, 2 Jan 2024 11:12:13 +0100
Message-ID: <submitted@example.com>
In-Reply-To: <1@example.net>

Text.
"""
    ),
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
    "encodings": crlf(
        """From: a@example.net
To: alice@example.com
Subject: Every encoding
Date: Wed, 3 Jan 2024 09:00:00 +0000
Message-ID: <encodings@example.net>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b2

--b2
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Gr=C3=BC=C3=9Fe, eine lange =
Zeile
--b2
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

AAECAwQ=
--b2
Content-Type: text/plain
Content-Transfer-Encoding: base64

b25lCnR3bwo=
--b2
Content-Type: application/octet-stream
Content-Transfer-Encoding: x-uuencode

begin 644 a
#86)C
`
end
--b2
Content-Type: message/rfc822

Subject: Inner
Content-Transfer-Encoding: base64

aW5uZXI=
--b2--
"""
    ),
    "newsletter": crlf(
        """From: news@example.net
To: alice@example.com
Subject: News
Date: Wed, 3 Jan 2024 09:00:00 +0000
Message-ID: <news@example.net>
MIME-Version: 1.0
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<html><head><title>Not this</title><style>p { color: red }</style></head>
<body><p>Caf=C3=A9 &amp; <b>Cr</b>oissant</p>

<p>at   nine</p></body></html>
"""
    ),
    "pgp": crlf(
        """From: Secret <secret@example.net>
To: alice@example.com
Subject: Sealed
Date: Wed, 3 Jan 2024 09:00:00 +0000
Message-ID: <pgp@example.net>
MIME-Version: 1.0
Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary=b3

--b3
Content-Type: application/pgp-encrypted

Version: 1
--b3
Content-Type: application/octet-stream

-----BEGIN PGP MESSAGE-----
--b3--
"""
    ),
}

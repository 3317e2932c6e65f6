"""Structures: multiparts of every subtype, nesting, messages in messages, many parts, attachments."""

# ruff: noqa: E501  (the lines of a sample are as long as they are in mail)

from __future__ import annotations

from gateway.emulator.corpus.build import (
    GIF,
    HTML,
    PDF,
    PLAIN,
    PNG,
    ZIP,
    Sample,
    b64,
    letter,
    multipart,
    part,
)


def samples() -> list[Sample]:
    return [*_bodies(), *_multiparts(), *_messages(), *_attachments(), *_wide_and_deep()]


def _type(subtype: str, boundary: str, more: str = "") -> str:
    return f'Content-Type: multipart/{subtype}; boundary="{boundary}"{more}'


def _file(kind: str, name: str, data: bytes, disposition: str = "attachment", more: str = "") -> str:
    fields = f'Content-Type: {kind}; name="{name}"\nContent-Transfer-Encoding: base64\n'
    return part(f'{fields}Content-Disposition: {disposition}; filename="{name}"\n{more}', b64(data))


def _bodies() -> list[Sample]:
    flowed = "Content-Type: text/plain; charset=utf-8; format=flowed; delsp=yes"
    rich = "<bold>Now</bold> is the <italic>time</italic>.\n<nofill>a << b</nofill>\n"
    return [
        letter("plain", "", "Hello Alice.\n", "text", omit=["MIME-Version"]),
        letter("plain-typed", "Content-Type: text/plain; charset=us-ascii", "Hello Alice.\n", "text"),
        letter(
            "html-only",
            "Content-Type: text/html; charset=utf-8",
            "<h1>Offer</h1><p>Only today: 5 €</p>\n",
            "html",
        ),
        letter("empty-body", "Content-Type: text/plain; charset=utf-8", "", "text", "empty"),
        letter("blank-body", "", "\n\n\n", "text", "empty"),
        letter("no-final-line-end", "", "The last line has no end", "text"),
        letter(
            "format-flowed", flowed, "This line flows \nand goes on.\n> quoted \n> text\n-- \nAda\n", "text"
        ),
        letter("text-enriched", "Content-Type: text/enriched; charset=us-ascii", rich, "text"),
        letter("text-rtf", "Content-Type: text/rtf", "{\\rtf1\\ansi Hello \\b Alice\\b0.}\n", "text"),
        letter(
            "text-markdown", "Content-Type: text/markdown; variant=GFM", "# Title\n\n* one\n* two\n", "text"
        ),
        letter("dots", "", ".\n..\n.leading\n\n.\n", "text", "smtp"),
        letter("from-line", "", "From the start of a line\n>From a quoted one\nFrom: not a header\n", "text"),
        letter("looks-like-header", "", "Subject: not a subject\nX-Fake: yes\n\nText\n", "text"),
    ]


def _multiparts() -> list[Sample]:
    alternative = multipart("alt", PLAIN, HTML)
    image = _file("image/png", "logo.png", PNG, "inline", "Content-ID: <logo@corpus>\n")
    html = part("Content-Type: text/html; charset=utf-8", '<img src="cid:logo@corpus"><p>Hi</p>\n')
    related = part(_type("related", "rel", '; type="text/html"'), multipart("rel", html, image))
    nested = part(_type("alternative", "a"), multipart("a", PLAIN, related))
    fork = _file("application/applefile", "%Report", b"\x00\x05\x16\x07\x00\x02\x00\x00" + b"\x00" * 18)
    digest = multipart(
        "d",
        "\nFrom: a@example.org\nSubject: One\n\nFirst.\n",
        "\nFrom: b@example.org\nSubject: Two\n\nSecond.\n",
    )
    report = multipart("p", PLAIN, _file("audio/basic", "hi.au", b".snd" + b"\x00" * 20, "inline"))
    return [
        letter("alternative", _type("alternative", "alt"), alternative, "multipart"),
        letter("inline-image", _type("related", "rel"), multipart("rel", html, image), "multipart", "inline"),
        letter(
            "mixed-alternative-related",
            _type("mixed", "m"),
            multipart("m", nested, _file("application/pdf", "offer.pdf", PDF)),
            "multipart",
            "inline",
            "attachment",
        ),
        letter(
            "appledouble",
            _type("appledouble", "ad"),
            multipart("ad", fork, _file("application/pdf", "Report", PDF)),
            "multipart",
        ),
        letter("digest", _type("digest", "d"), digest, "multipart", "rfc822"),
        letter("parallel", _type("parallel", "p"), report, "multipart"),
        letter("unknown-subtype", _type("x-strange", "s"), multipart("s", PLAIN, HTML), "multipart"),
        letter(
            "form-data",
            _type("form-data", "f"),
            multipart("f", part('Content-Disposition: form-data; name="a"', "1\n")),
            "multipart",
        ),
        letter(
            "preamble-epilogue",
            _type("mixed", "pe"),
            multipart(
                "pe",
                PLAIN,
                preamble="This is a multi-part message in MIME format.\n\n",
                epilogue="\nAn epilogue.\n",
            ),
            "multipart",
        ),
        letter("one-part", _type("mixed", "one"), multipart("one", PLAIN), "multipart"),
        letter(
            "part-without-fields",
            _type("mixed", "b"),
            multipart("b", "\nNo fields at all.\n", HTML),
            "multipart",
        ),
        letter("empty-parts", _type("mixed", "e"), "--e\n\n--e\n\n\n--e--\n", "multipart", "empty"),
        letter(
            "boundary-with-spaces",
            _type("mixed", "a b (c) 'd' +_,-./:=?"),
            multipart("a b (c) 'd' +_,-./:=?", PLAIN),
            "multipart",
        ),
        letter("boundary-70", _type("mixed", "x" * 70), multipart("x" * 70, PLAIN, HTML), "multipart"),
        letter(
            "boundary-prefix",
            _type("mixed", "b"),
            multipart("b", part(_type("alternative", "b1"), multipart("b1", PLAIN, HTML)), PLAIN),
            "multipart",
        ),
        letter(
            "boundary-unquoted",
            "Content-Type: multipart/mixed; boundary=plain_token.1",
            multipart("plain_token.1", PLAIN),
            "multipart",
        ),
        letter(
            "boundary-folded",
            'Content-Type: multipart/mixed;\n boundary="----=_Part_1_2.3"',
            multipart("----=_Part_1_2.3", PLAIN, HTML),
            "multipart",
        ),
        letter(
            "boundary-trailing-blanks",
            _type("mixed", "t"),
            "--t  \n" + PLAIN + "--t\t\n" + HTML + "--t--  \n",
            "multipart",
        ),
    ]


def _messages() -> list[Sample]:
    inner = "Received: by a\nFrom: Bob <bob@example.com>\nTo: ada@example.org\nSubject: The inner one\nDate: Mon, 2 Mar 2020 10:00:00 +0000\n"
    plain = f"{inner}Message-ID: <inner@corpus.example.org>\n\nInner text.\n"
    mixed = f'{inner}MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="in"\n\n' + multipart(
        "in", PLAIN, _file("image/gif", "dot.gif", GIF)
    )
    forwarded = part(
        'Content-Type: message/rfc822\nContent-Disposition: attachment; filename="The inner one.eml"', mixed
    )
    deep = f'{inner}MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="mid"\n\n' + multipart(
        "mid", PLAIN, forwarded
    )
    partial = 'Content-Type: message/partial; number=2; total=3;\n id="oc=jpbe0M2Yt4s@example.org"'
    external = 'Content-Type: message/external-body; access-type=local-file;\n name="/u/pub/RFC1.txt"; expiration="Fri, 14 Jun 1991 19:13:14 -0400"'
    return [
        letter(
            "rfc822",
            _type("mixed", "o"),
            multipart("o", PLAIN, part("Content-Type: message/rfc822", plain)),
            "rfc822",
        ),
        letter(
            "rfc822-with-attachment",
            _type("mixed", "o"),
            multipart("o", PLAIN, forwarded),
            "rfc822",
            "attachment",
        ),
        letter(
            "rfc822-in-rfc822",
            _type("mixed", "o"),
            multipart("o", PLAIN, part("Content-Type: message/rfc822", deep)),
            "rfc822",
        ),
        letter("rfc822-alone", "Content-Type: message/rfc822", plain, "rfc822"),
        letter(
            "rfc822-empty",
            _type("mixed", "o"),
            multipart("o", part("Content-Type: message/rfc822", "")),
            "rfc822",
            "empty",
        ),
        letter(
            "rfc822-base64",
            _type("mixed", "o"),
            multipart(
                "o",
                part("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64", b64(plain.encode())),
            ),
            "rfc822",
        ),
        letter("message-partial", partial, "the second of three\n", "odd"),
        letter(
            "message-external-body",
            external,
            "Content-Type: text/plain\nContent-ID: <id42@example.org>\n\n",
            "odd",
        ),
        letter(
            "message-global",
            _type("mixed", "g"),
            multipart(
                "g", part("Content-Type: message/global", "Subject: Grüße\nFrom: jürgen@example.org\n\nHi\n")
            ),
            "rfc822",
            "utf8",
        ),
    ]


def _attachments() -> list[Sample]:
    def one(name: str, *files: str) -> Sample:
        return letter(name, _type("mixed", "att"), multipart("att", PLAIN, *files), "attachment")

    names = ["../../etc/passwd", "C:\\\\Users\\\\ada\\\\plan.doc", "a/b.txt", ".htaccess", "con.txt", " ", ""]
    return [
        one("one-attachment", _file("application/pdf", "report.pdf", PDF)),
        one("three-attachments", *(_file("application/zip", f"{n}.zip", ZIP) for n in "abc")),
        one(
            "same-name-twice",
            _file("text/csv", "data.csv", b"a;b\r\n"),
            _file("text/csv", "data.csv", b"c;d\r\n"),
        ),
        one("paths-in-names", *(_file("application/octet-stream", n, b"x") for n in names)),
        one("zero-length-attachment", _file("application/octet-stream", "nothing.bin", b"")),
        one(
            "no-name",
            part(
                "Content-Type: application/octet-stream\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64",
                b64(b"x"),
            ),
        ),
        one(
            "name-only-in-type",
            part('Content-Type: image/gif; name="dot.gif"\nContent-Transfer-Encoding: base64', b64(GIF)),
        ),
        one(
            "quoted-name",
            part(
                'Content-Type: text/plain; name="a \\"b\\" \\\\ c.txt"\nContent-Disposition: attachment; filename="a \\"b\\" \\\\ c.txt"',
                "x\n",
            ),
        ),
        one("inline-not-image", _file("application/pdf", "inline.pdf", PDF, "inline")),
        one(
            "text-attachment",
            part(
                'Content-Type: text/plain; charset=utf-8; name="notes.txt"\nContent-Disposition: attachment; filename="notes.txt"',
                "Notes é\n",
            ),
        ),
        one(
            "described",
            _file(
                "image/png",
                "x.png",
                PNG,
                more="Content-Description: =?utf-8?Q?Caf=C3=A9?=\nContent-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\nContent-Language: de, en\nContent-Location: http://example.org/x.png\n",
            ),
        ),
        letter(
            "whole-body-is-attachment",
            'Content-Type: application/pdf; name="scan.pdf"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename="scan.pdf"',
            b64(PDF),
            "attachment",
        ),
        letter(
            "winmail-dat",
            _type("mixed", "tnef"),
            multipart("tnef", PLAIN, _file("application/ms-tnef", "winmail.dat", _tnef())),
            "attachment",
            "odd",
        ),
    ]


def _tnef() -> bytes:
    """The start of a TNEF stream: signature, key, attTnefVersion."""
    return bytes.fromhex("789f3e220100 01 069008000400000000000100 0100".replace(" ", ""))


def _wide_and_deep() -> list[Sample]:
    deep = PLAIN
    for level in range(30):
        deep = part(_type("mixed", f"level{level}"), multipart(f"level{level}", deep))
    fields, _, body = deep.partition("\n\n")
    messages = "From: a@example.org\nSubject: the innermost\n\nText.\n"
    for level in range(12):
        messages = f"From: a@example.org\nSubject: level {level}\nMIME-Version: 1.0\nContent-Type: message/rfc822\n\n{messages}"
    wide = multipart(
        "w", *(part("Content-Type: text/plain; charset=us-ascii", f"Part {n}.\n") for n in range(200))
    )
    return [
        letter("nested-30", fields, body, "multipart", "deep"),
        letter("nested-messages-12", "Content-Type: message/rfc822", messages, "rfc822", "deep"),
        letter("parts-200", _type("mixed", "w"), wide, "multipart", "wide"),
    ]

"""Special kinds: signed and encrypted mail, calendars, reports and receipts, broken multiparts, big ones."""

# ruff: noqa: E501  (the lines of a sample are as long as they are in mail)

from __future__ import annotations

from gateway.emulator.corpus.build import HTML, PLAIN, Sample, b64, from_file, letter, multipart, part


def samples() -> list[Sample]:
    return [*_signed(), *_calendar(), *_reports(), *_broken(), *_big()]


def _signed() -> list[Sample]:
    return [
        from_file("smime-clear-signed", "smime", "signed"),
        from_file("smime-opaque-signed", "smime", "smime-opaque"),
        from_file("smime-encrypted", "smime", "smime-opaque"),
        from_file("pgp-signed", "pgp", "signed"),
        from_file("pgp-encrypted", "pgp"),
        from_file("pgp-inline", "pgp"),
        from_file("pgp-key", "pgp", "attachment"),
    ]


def _event(method: str) -> str:
    return (
        f"BEGIN:VCALENDAR\nPRODID:-//Example//Cal//EN\nVERSION:2.0\nMETHOD:{method}\nBEGIN:VEVENT\nUID:ev-1@example.org\n"
        "DTSTAMP:20200303T081500Z\nDTSTART:20200310T090000Z\nDTEND:20200310T100000Z\nSUMMARY:Budget\nSEQUENCE:0\n"
        "ORGANIZER;CN=Ada:mailto:ada@example.org\nATTENDEE;RSVP=TRUE:mailto:alice@example.com\nEND:VEVENT\nEND:VCALENDAR\n"
    )


def _calendar() -> list[Sample]:
    made = []
    for method in ("REQUEST", "CANCEL", "REPLY"):
        event = part(f"Content-Type: text/calendar; charset=utf-8; method={method}", _event(method))
        body = multipart("cal", PLAIN, HTML, event)
        fields = 'Content-Type: multipart/alternative; boundary="cal"\nSubject: Invitation: Budget'
        made.append(letter(f"calendar-{method.lower()}", fields, body, "calendar", "multipart"))
    alone = "Content-Type: text/calendar; method=REQUEST; charset=utf-8\nContent-Transfer-Encoding: base64"
    made.append(letter("calendar-alone", alone, b64(_event("REQUEST").encode()), "calendar"))
    card = "BEGIN:VCARD\nVERSION:3.0\nFN:Ada Lovelace\nEMAIL:ada@example.org\nEND:VCARD\n"
    attached = part(
        'Content-Type: text/vcard; name="ada.vcf"\nContent-Disposition: attachment; filename="ada.vcf"', card
    )
    made.append(
        letter(
            "vcard",
            'Content-Type: multipart/mixed; boundary="v"',
            multipart("v", PLAIN, attached),
            "attachment",
        )
    )
    return made


def _report(name: str, kind: str, machine: str, text: str) -> Sample:
    fields = f'From: Mail Delivery System <MAILER-DAEMON@mail.example.com>\nReturn-Path: <>\nAuto-Submitted: auto-replied\nContent-Type: multipart/report; report-type={kind}; boundary="rep"'
    original = (
        "From: alice@example.com\nTo: nobody@example.net\nSubject: Lost\nMessage-ID: <lost@example.com>\n"
    )
    returned = part("Content-Type: text/rfc822-headers", original)
    return letter(
        name,
        fields,
        multipart("rep", part("Content-Type: text/plain", text), machine, returned),
        "report",
        "multipart",
    )


def _reports() -> list[Sample]:
    failed = (
        "Reporting-MTA: dns; mail.example.com\nArrival-Date: Tue, 03 Mar 2020 09:00:00 +0000\n\n"
        "Final-Recipient: rfc822; nobody@example.net\nAction: failed\nStatus: 5.1.1\n"
        "Diagnostic-Code: smtp; 550 5.1.1 No such user\n"
    )
    read = (
        "Reporting-UA: Example Mail 1.0\nFinal-Recipient: rfc822; bob@example.com\nOriginal-Message-ID: <lost@example.com>\n"
        "Disposition: manual-action/MDN-sent-manually; displayed\n"
    )
    abuse = "Feedback-Type: abuse\nUser-Agent: Example/1.0\nVersion: 1\n"
    return [
        _report(
            "delivery-report",
            "delivery-status",
            part("Content-Type: message/delivery-status", failed),
            "It failed.\n",
        ),
        _report(
            "read-receipt",
            "disposition-notification",
            part("Content-Type: message/disposition-notification", read),
            "It was read.\n",
        ),
        _report(
            "abuse-report",
            "feedback-report",
            part("Content-Type: message/feedback-report", abuse),
            "It is spam.\n",
        ),
        letter(
            "out-of-office",
            "Auto-Submitted: auto-replied\nX-Auto-Response-Suppress: All\nSubject: Automatic reply: Hello\nPrecedence: bulk",
            "I am away.\n",
            "report",
        ),
    ]


def _broken() -> list[Sample]:
    def mixed(name: str, boundary: str, body: str) -> Sample:
        return letter(name, f"Content-Type: multipart/mixed{boundary}", body, "broken", "multipart")

    inner = part('Content-Type: multipart/alternative; boundary="in"', f"--in\n{PLAIN}--in\n{HTML}")
    return [
        mixed("no-closing-boundary", '; boundary="x"', f"--x\n{PLAIN}--x\n{HTML}"),
        mixed("inner-not-closed", '; boundary="out"', f"--out\n{inner}--out\n{PLAIN}--out--\n"),
        mixed("no-boundary-parameter", "", multipart("x", PLAIN)),
        mixed("empty-boundary", '; boundary=""', f"--\n{PLAIN}----\n"),
        mixed("wrong-boundary", '; boundary="right"', multipart("left", PLAIN, HTML)),
        mixed("boundary-never-used", '; boundary="x"', "Just text, no parts.\n"),
        mixed("only-closing-boundary", '; boundary="x"', "--x--\nEpilogue\n"),
        mixed("text-after-closing", '; boundary="x"', multipart("x", PLAIN) + f"--x\n{HTML}--x--\n"),
        mixed(
            "same-boundary-inside",
            '; boundary="x"',
            multipart("x", part('Content-Type: multipart/mixed; boundary="x"', multipart("x", PLAIN))),
        ),
        mixed("boundary-too-long", f'; boundary="{"y" * 300}"', multipart("y" * 300, PLAIN)),
        mixed("boundary-unquoted-special", "; boundary=a=b/c?d", multipart("a=b/c?d", PLAIN)),
        mixed(
            "boundary-twice",
            '; boundary="one"; boundary="two"',
            multipart("one", PLAIN) + multipart("two", HTML),
        ),
        mixed("empty-multipart", '; boundary="x"', ""),
        mixed(
            "boundary-in-text",
            '; boundary="x"',
            multipart("x", part("Content-Type: text/plain", "a --x b\n --x\n--xy\n--x-- not\n")),
        ),
        mixed("part-header-cut", '; boundary="x"', "--x\nContent-Type: text/plain\n--x--\n"),
        mixed(
            "part-header-garbage",
            '; boundary="x"',
            "--x\nnot a field\nContent-Type: text/plain\n\nText\n--x--\n",
        ),
    ]


def _big() -> list[Sample]:
    block = bytes((n * 7 + (n >> 8)) & 0xFF for n in range(65_536))
    data = (block * 184)[:12_000_000]
    attached = part(
        'Content-Type: application/octet-stream; name="video.bin"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename="video.bin"',
        b64(data),
    )
    medium = part(
        'Content-Type: application/zip; name="photos.zip"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename="photos.zip"',
        b64(data[:600_000]),
    )
    newsletter = (
        "<html><body>"
        + "".join(f"<p style='color:#{n % 999:03}'>Paragraph {n} of news</p>\n" for n in range(3000))
        + "</body></html>\n"
    )
    return [
        letter(
            "attachment-12mb",
            'Content-Type: multipart/mixed; boundary="big"',
            multipart("big", PLAIN, attached),
            "attachment",
            "large",
            "huge",
        ),
        letter(
            "attachment-600k",
            'Content-Type: multipart/mixed; boundary="big"',
            multipart("big", PLAIN, medium),
            "attachment",
            "large",
        ),
        letter(
            "newsletter",
            "Content-Type: text/html; charset=utf-8\nList-Unsubscribe: <https://news.example.org/u>",
            newsletter,
            "html",
            "large",
        ),
    ]

"""Headers: addresses, dates, identifiers, trace fields, sizes, and what is missing or said twice."""

# ruff: noqa: E501  (the lines of a sample are as long as they are in mail)

from __future__ import annotations

from gateway.emulator.corpus.build import Sample, letter, raw, sample, verbatim


def samples() -> list[Sample]:
    return [*_addresses(), *_dates(), *_identifiers(), *_trace(), *_sizes(), *_missing(), *_odd()]


ADDRESSES: tuple[tuple[str, str], ...] = (
    ("groups", "To: Undisclosed recipients:;, Team: bob@example.com, Carol <carol@example.com>;\nCc: A Group:;"),
    ("undisclosed", "To: undisclosed-recipients:;"),
    ("quoted-names", 'From: "Lovelace, Ada" <ada@example.org>\nTo: "Alice \\"Al\\" \\\\ Smith" <alice@example.com>'),
    ("comments", "From: ada@example.org (Ada (the countess) Lovelace)\nTo: (nobody) alice@example.com (A)"),
    ("bare", "From: ada@example.org\nTo: alice@example.com,bob@example.com , , carol@example.com"),
    ("dots-and-quotes", 'From: "a b"@example.org\nTo: "alice"@example.com, a..b@example.com, .x@example.com'),
    ("route", "From: <@relay.example.org,@b.example.org:ada@example.org>"),
    ("domain-literal", "From: Ada <ada@[192.0.2.1]>\nTo: bob@[IPv6:2001:db8::1]"),
    ("no-domain", "From: root\nTo: alice, bob@"),
    ("unfinished", 'From: "Ada <ada@example.org\nTo: <alice@example.com'),
    ("two-froms", "From: ada@example.org, bob@example.com\nSender: ada@example.org"),
    ("from-twice", "From: ada@example.org\nFrom: bob@example.com"),
    ("empty-fields", "From: \nTo:\nCc: \nReply-To: ,"),
    ("all-fields", "Sender: s@example.org\nReply-To: r@example.org, Q <q@example.org>\nCc: c@example.com\nBcc: b@example.com"),
    ("resent", "Resent-From: bob@example.com\nResent-To: alice@example.com\nResent-Date: Wed, 4 Mar 2020 10:00:00 +0000\nResent-Message-ID: <resent-1@example.com>"),
    ("semicolons", "To: alice@example.com; bob@example.com"),
    ("plus-and-slash", "To: alice+tag@example.com, /G=Ada/S=Lovelace/@example.org, a=b?c@example.com"),
    ("upper-case", "From: ADA@EXAMPLE.ORG\nTo: ALICE@Example.COM"),
    ("punycode", "From: Ada <ada@xn--exmple-cua.org>"),
    ("name-is-address", 'From: "boss@example.com" <ada@example.org>'),
)  # fmt: skip


def _addresses() -> list[Sample]:
    made = [letter(f"address-{name}", fields, "Text\n", "address") for name, fields in ADDRESSES]
    many = ",\n\t".join(f'"Person {n}" <person{n}@example.net>' for n in range(1500))
    made.append(letter("address-1500", f"To: {many}", "Text\n", "address", "large"))
    return made


DATES: tuple[tuple[str, str], ...] = (
    ("1970", "Thu, 01 Jan 1970 00:00:00 +0000"),
    ("1969", "Wed, 31 Dec 1969 23:59:59 -0100"),
    ("2038", "Tue, 19 Jan 2038 03:14:08 +0000"),
    ("future", "Fri, 31 Dec 2099 23:59:60 +0000"),
    ("two-digit-year", "1 Jan 99 12:00 EST"),
    ("three-digit-year", "Mon, 01 Jan 120 12:00:00 GMT"),
    ("comment", "Tue, 03 Mar 2020 09:15:00 +0100 (CET)"),
    ("no-zone", "Tue, 03 Mar 2020 09:15:00"),
    ("military-zone", "Tue, 03 Mar 2020 09:15:00 Z"),
    ("odd-zone", "Tue, 03 Mar 2020 09:15:00 +0545"),
    ("minus-zero", "Tue, 03 Mar 2020 09:15:00 -0000"),
    ("wrong-weekday", "Fri, 03 Mar 2020 09:15:00 +0000"),
    ("iso", "2020-03-03T09:15:00Z"),
    ("ctime", "Tue Mar  3 09:15:00 2020"),
    ("leap-day", "Sat, 29 Feb 2020 12:00:00 +1400"),
    ("no-such-day", "Mon, 31 Feb 2020 25:61:61 +9999"),
    ("words", "yesterday around noon"),
    ("empty", ""),
    ("folded", "Tue, 03 Mar 2020\n\t09:15:00\n +0100"),
)


def _dates() -> list[Sample]:
    made = [letter(f"date-{name}", f"Date: {value}", "Text\n", "date") for name, value in DATES]
    made.append(
        letter(
            "date-twice",
            "Date: Tue, 03 Mar 2020 09:15:00 +0100\nDate: Wed, 04 Mar 2020 09:15:00 +0100",
            "Text\n",
            "date",
        )
    )
    return made


def _identifiers() -> list[Sample]:
    same = "Message-ID: <one-and-the-same@corpus.example.org>"
    chain = "\n\t".join(f"<thread-{n}@corpus.example.org>" for n in range(120))
    return [
        letter("duplicate-id-1", f"{same}\nSubject: Same id, first", "The first.\n", "id"),
        letter("duplicate-id-2", f"{same}\nSubject: Same id, second", "The second.\n", "id"),
        letter(
            "identical-1",
            "Message-ID: <alarm@corpus.example.org>\nSubject: Alarm",
            "Temperature high\n",
            "id",
        ),
        letter(
            "identical-2",
            "Message-ID: <alarm@corpus.example.org>\nSubject: Alarm",
            "Temperature high\n",
            "id",
        ),
        letter("no-message-id", "", "Text\n", "id", omit=["Message-ID"]),
        letter("id-without-brackets", "Message-ID: no-brackets@example.org", "Text\n", "id"),
        letter("id-with-spaces", "Message-ID: < spaced out @example.org >", "Text\n", "id"),
        letter("id-long", f"Message-ID: <{'x' * 700}@example.org>", "Text\n", "id"),
        letter("id-folded", "Message-ID:\n <folded@corpus.example.org>", "Text\n", "id"),
        letter("id-quoted", 'Message-ID: <"a b\\"c"@[192.0.2.1]>', "Text\n", "id"),
        letter("id-empty", "Message-ID: <>", "Text\n", "id"),
        letter(
            "thread-root",
            "Message-ID: <thread-0@corpus.example.org>\nSubject: Thread",
            "Start\n",
            "id",
            "thread",
        ),
        letter(
            "thread-reply",
            f"In-Reply-To: <thread-0@corpus.example.org>\nReferences: {chain}\nSubject: Re: Thread",
            "Reply\n",
            "id",
            "thread",
        ),
        letter(
            "reply-with-text",
            "In-Reply-To: Your message of Monday <thread-0@corpus.example.org>\nSubject: AW: Re: RE[2]: Thread",
            "Text\n",
            "id",
            "thread",
        ),
    ]


def _trace() -> list[Sample]:
    hops = "\n".join(
        f"Received: from hop{n}.example.org (hop{n}.example.org [192.0.2.{n}])\n\tby hop{n + 1}.example.org "
        f"(Postfix) with ESMTPS id {n:010X}\n\tfor <alice@example.com>; Tue,  3 Mar 2020 08:{n:02}:00 +0000 (UTC)"
        for n in range(40, 0, -1)
    )
    dkim = (
        "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=sel;\n"
        "\th=from:to:subject:date:message-id; bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=;\n"
        "\tb=" + "\n\t ".join("A" * 60 for _ in range(5)) + "\n"
        "Authentication-Results: mail.example.com; dkim=pass header.d=example.org; spf=pass smtp.mailfrom=example.org\n"
        "ARC-Seal: i=1; a=rsa-sha256; t=1583223300; cv=none; d=example.org; s=arc; b=Zm9v"
    )
    mailing = (
        "List-Id: Gateway users <users.lists.example.org>\nList-Post: <mailto:users@lists.example.org>\n"
        "List-Unsubscribe: <https://lists.example.org/u?x=1>,\n <mailto:users-leave@lists.example.org>\n"
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click\nPrecedence: list\n"
        "Subject: [users] Question\nReply-To: users@lists.example.org\nX-Mailman-Version: 2.1.39"
    )
    outlook = (
        "Thread-Topic: Budget\nThread-Index: AdXxMTr0dXg2kJ3nTtGk1b0cHh8Rkw==\nX-MS-Has-Attach:\n"
        "X-MS-Exchange-Organization-SCL: -1\nX-Originating-IP: [192.0.2.44]\nImportance: high\n"
        "X-Priority: 1 (Highest)\nSensitivity: Company-Confidential\nKeywords: budget, 2020\nAccept-Language: de-DE"
    )
    return [
        letter("received-40", hops, "Text\n", "trace"),
        letter("dkim", dkim, "Signed text\n", "trace"),
        letter("mailing-list", mailing, "Question?\n_______\nusers mailing list\n", "trace"),
        letter("outlook-headers", outlook, "Budget\n", "trace"),
        letter("mbox-from-line", "From ada@example.org Tue Mar  3 09:15:00 2020\nX-A: b", "Text\n", "odd", omit=["Received"]),
        letter("return-path", "Return-Path: <bounce+alice=example.com@example.org>\nDelivered-To: alice@example.com\nAuto-Submitted: auto-generated", "Text\n", "trace"),
        letter("x-headers", "X-TUID: abcDEF0123/+\nX-OfflineIMAP: 12345-67890\nX-Empty:\nX-Spam-Status: No, score=-1.0\n\trequired=5.0", "Text\n", "trace"),
        letter("receipts-asked", "Disposition-Notification-To: ada@example.org\nReturn-Receipt-To: ada@example.org\nRead-Receipt-To: ada@example.org", "Please confirm\n", "receipt"),
    ]  # fmt: skip


def _sizes() -> list[Sample]:
    words = "\n ".join("word" + "x" * 60 for _ in range(32))
    return [
        letter("subject-2000", f"Subject: {words}", "Text\n", "large"),
        letter("subject-2000-unfolded", f"Subject: {'long ' * 400}", "Text\n", "large"),
        letter("subject-255-plus", f"Subject: {'a' * 255}{'b' * 45}", "Text\n", "large"),
        letter("header-30k", "\n".join(f"X-Filler-{n}: {'y' * 280}" for n in range(105)), "Text\n", "large"),
        letter("header-1000-fields", "\n".join(f"X-{n}: {n}" for n in range(1000)), "Text\n", "large"),
        letter("field-20k", f"X-Long: {'z' * 20_000}", "Text\n", "large"),
        letter("line-998", "", "a" * 998 + "\n" + "b" * 998 + "\n", "large"),
        letter("line-20000", "", "c" * 20_000 + "\nshort\n", "large"),
        letter("lines-10000", "", "".join(f"line {n}\n" for n in range(10_000)), "large"),
    ]


def _missing() -> list[Sample]:
    return [
        letter("no-date", "", "Text\n", "missing", omit=["Date"]),
        letter("no-from", "", "Text\n", "missing", omit=["From"]),
        letter("no-to", "", "Text\n", "missing", omit=["To"]),
        letter("no-subject", "", "Text\n", "missing", omit=["Subject"]),
        letter("empty-subject", "Subject:", "Text\n", "missing"),
        letter(
            "printer",
            "",
            "Scan attached\n",
            "missing",
            omit=["Date", "To", "Message-ID", "MIME-Version", "Received"],
        ),
        sample("no-headers", "\nOnly a body, no header at all.\n", "missing"),
        sample(
            "only-headers", "From: ada@example.org\nSubject: No body and no blank line\n", "missing", "empty"
        ),
        sample("only-headers-blank-line", "From: ada@example.org\nSubject: No body\n\n", "missing", "empty"),
        raw("headers-cut-short", b"From: ada@example.org\r\nSubject: cut in the mid", "missing"),
        raw("empty-message", b"", "missing", "empty"),
        raw("only-a-line-end", b"\r\n", "missing", "empty"),
    ]


def _odd() -> list[Sample]:
    return [
        letter("tab-folding", "Subject: folded\n\twith tabs\n\t\tand more\nX-Fold:\n value on the next line", "Text\n", "odd"),
        letter("blank-fold", "Subject: first\n  \n second\nX-A: b", "Text\n", "odd"),
        letter("duplicate-fields", "Subject: One\nSubject: Two\nTo: alice@example.com\nTo: bob@example.com\nContent-Type: text/plain\nContent-Type: text/html", "Text\n", "odd"),
        letter("field-case", "SUBJECT: shouting\nfrom: ada@example.org\ncOnTeNt-TyPe: TEXT/Plain; CHARSET=US-ASCII", "Text\n", "odd"),
        letter("no-space-after-colon", "Subject:tight\nX-Wide:     wide    ", "Text\n", "odd"),
        letter("line-without-colon", "Subject: before\nthis line has no colon\nX-After: yes", "Text\n", "odd"),
        letter("field-name-empty", ": no name\nX-After: yes", "Text\n", "odd"),
        letter("content-type-garbage", "Content-Type: ;;;===garbage///\nContent-Transfer-Encoding: ???\nContent-Disposition: \"", "Text\n", "odd"),
        letter("content-type-no-slash", "Content-Type: text", "Text\n", "odd"),
        letter("content-type-empty", "Content-Type:", "Text\n", "odd"),
        letter("content-type-comment", 'Content-Type: (a) text (b) / (c) plain (d) ; (e) charset (f) = (g) "utf-8" (h)', "Text\n", "odd"),
        letter("mime-version-odd", "MIME-Version: 1.0 (produced by something 2.0)", "Text\n", "odd"),
        verbatim("cr-in-header", b"From: ada@example.org\r\nSubject: a\rb\r\nX-A: c\r\n\r\nText\r\n", "odd", "raw"),
    ]  # fmt: skip

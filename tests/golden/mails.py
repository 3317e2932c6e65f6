"""Messages that differ in what SORT and THREAD look at: `deliver INBOX <name>`."""

from __future__ import annotations


def _mail(subject: str, sender: str, date: str, *more: str, id: str = "") -> bytes:
    lines = [f"From: {sender}", f"Subject: {subject}", *more]
    lines += [f"Date: {date}"] if date else []
    lines += [f"Message-ID: <{id}@example.net>"] if id else []
    return ("\r\n".join([*lines, "", "text", ""])).encode()


def _day(day: int, zone: str = "+0000") -> str:
    return f"{day} Jan 2024 10:00:00 {zone}"


SORTED: dict[str, bytes] = {
    # sorts: base subjects b, a, a, "", Ä
    "plum": _mail(
        "B", "Zoe <adam@example.net>", _day(5), "To: kim@example.com", "Cc: z@example.com", id="plum"
    ),
    "pear": _mail(
        "Re: [list] a (fwd)", "bert@example.net", _day(4, "-1200"), "To: Group: x@y.example;", id="pear"
    ),
    "kiwi": _mail(
        "a", '"_Under" <Carl@example.net>', _day(4, "+1200"), "To: Bob <lee@example.com>", id="kiwi"
    ),
    "lime": _mail("", "=?utf-8?q?=C3=84nne?= <dora@example.net>", "", "Cc: a@example.com", id="lime"),
    "figs": _mail("=?utf-8?q?=C3=84pfel?=", "adam@example.net", _day(1), id="figs"),
    # threads: one-(two-four)(three), five under a message that is not there, six without references
    "one": _mail("Talk", "a@example.net", _day(1), id="one"),
    "two": _mail("Re: Talk", "b@example.net", _day(2), "References: <one@example.net>", id="two"),
    "three": _mail("Re: Talk", "c@example.net", _day(3), "In-Reply-To: <one@example.net>", id="three"),
    "four": _mail(
        "Re: Talk", "d@example.net", _day(4), "References: <one@example.net> <two@example.net>", id="four"
    ),
    "five": _mail("Lost", "e@example.net", _day(5), "References: <gone@example.net>", id="five"),
    "six": _mail("Other", "f@example.net", _day(6), "References: <gone@example.net>", id="six"),
    "seven": _mail("Re: Talk", "g@example.net", _day(7), id="seven"),
    "eight": _mail("Alone", "h@example.net", _day(8)),
    "twin": _mail("Twin", "i@example.net", _day(9), id="one"),
    "loop-a": _mail("Loop A", "j@example.net", _day(1), "References: <loop-b@example.net>", id="loop-a"),
    "loop-b": _mail("Loop B", "k@example.net", _day(2), "References: <loop-a@example.net>", id="loop-b"),
    "self": _mail("Self", "l@example.net", _day(3), "References: <self@example.net>", id="self"),
}

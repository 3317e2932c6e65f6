"""Who gets a message: RCPT TO alone decides, in the header and in the emulator's mailboxes."""

from __future__ import annotations

import itertools
import re

import pytest
from emulator_kit import ALICE, BOB, CAROL, Kit
from hypothesis import given
from hypothesis import strategies as st
from sending_support import inbox, made, prepared, send

from gateway.core.errors import SubmissionRefused
from gateway.mailbox.sending.plan import folded, plan
from gateway.mailbox.values import Envelope
from gateway.mime.address import addr_specs
from gateway.mime.header import Fields, header_end

RAW = b"From: a@x.com\r\nTo: b@x.com\r\nDate: Thu, 1 Jan 2026 10:00:00 +0000\r\nMessage-ID: <s@x.com>\r\n\r\nhi\r\n"


def fields(raw: bytes) -> Fields:
    return Fields(raw[: header_end(raw)])


def refused(raw: bytes, *recipients: str, **rest: object) -> SubmissionRefused:
    with pytest.raises(SubmissionRefused) as caught:
        made(raw, *recipients, **rest)
    return caught.value


# -- the fields --


def test_nothing_to_do_leaves_the_octets_alone() -> None:
    assert made(RAW, "b@x.com") == RAW
    assert made(RAW, "B@X.COM") == RAW  # Exchange does not tell cases apart


def test_recipients_of_the_envelope_alone_become_bcc() -> None:
    assert fields(made(RAW, "b@x.com", "c@x.com", "d@x.com")).first(b"bcc") == b"<c@x.com>, <d@x.com>"


def test_a_bcc_that_is_no_recipient_is_taken_out() -> None:
    raw = b"Bcc: c@x.com, Other <e@x.com>\r\n" + RAW
    assert fields(made(raw, "b@x.com", "c@x.com")).all(b"bcc") == [b"<c@x.com>"]
    assert fields(made(raw, "b@x.com")).first(b"bcc") is None


def test_a_bcc_that_is_right_stays() -> None:
    raw = b"Bcc: Carol <c@x.com>\r\n" + RAW
    assert made(raw, "b@x.com", "c@x.com") == raw


def test_resent_bcc_goes_and_who_is_named_there_gets_it_in_bcc() -> None:
    out = fields(made(b"Resent-Bcc: c@x.com\r\n" + RAW, "b@x.com", "c@x.com"))
    assert (out.first(b"resent-bcc"), out.first(b"bcc")) == (None, b"<c@x.com>")


@pytest.mark.parametrize("name", [b"To", b"Cc", b"Resent-To", b"Resent-Cc"])
def test_somebody_in_the_header_whom_nobody_addressed_is_a_refusal(name: bytes) -> None:
    error = refused(name + b": Eve <eve@x.com>\r\n" + RAW, "b@x.com")
    assert (error.status, error.enhanced) == (550, "5.6.0")
    assert "eve@x.com" in str(error) and "RCPT" in str(error)


def test_a_group_member_counts_and_an_empty_group_does_not() -> None:
    hidden = RAW.replace(b"To: b@x.com", b"To: undisclosed-recipients:;")
    out = fields(made(hidden, "b@x.com"))
    assert (out.first(b"bcc"), out.first(b"to")) == (b"<b@x.com>", b"undisclosed-recipients:;")
    assert refused(RAW.replace(b"To: b@x.com", b"To: team: b@x.com, eve@x.com;"), "b@x.com").status == 550


def test_resent_to_alone_is_not_trusted_to_deliver() -> None:
    raw = b"Resent-To: c@x.com\r\n" + RAW
    assert fields(made(raw, "b@x.com", "c@x.com")).first(b"bcc") == b"<c@x.com>"


@pytest.mark.parametrize(
    ("written", "addressed"),
    [
        ("b@bücher.example", "b@xn--bcher-kva.example"),
        ("b@XN--BCHER-KVA.example", "B@bücher.example"),
        ("jürgen@x.com", "JÜRGEN@x.com"),
        ('"b"@x.com', "b@x.com"),
        ("b@x.com", '"b"@x.com'),
        ('"b c"@x.com', '"B C"@x.com'),
        ("<@relay.example:b@x.com>", "b@x.com"),
        ("(a comment) b@x.com (Bob)", "b@x.com"),
        ("b . c@x.com", "b.c@x.com"),
    ],
)
def test_two_spellings_of_one_address(written: str, addressed: str) -> None:
    raw = RAW.replace(b"b@x.com", written.encode())
    assert fields(made(raw, addressed)).first(b"bcc") is None


@pytest.mark.parametrize(
    ("written", "addressed"),
    [("bob+tag@x.com", "bob@x.com"), ("bob@x.com", "bob+tag@x.com"), ("b@x.com", "b@sub.x.com")],
)
def test_addresses_that_are_not_the_same(written: str, addressed: str) -> None:
    assert refused(RAW.replace(b"b@x.com", written.encode()), addressed).status == 550
    out = fields(made(RAW.replace(b"b@x.com", written.encode()), addressed, mismatch="bcc-copy"))
    assert (out.first(b"to"), out.first(b"bcc")) == (None, f"<{addressed}>".encode())


def test_bcc_copy_keeps_for_display_what_must_not_deliver() -> None:
    raw = RAW.replace(
        b"To: b@x.com", b"To: Eve <eve@x.com>, Bob <b@x.com>, team: c@x.com, f@x.com;\r\nCc: g@x.com"
    )
    out = fields(made(raw, "b@x.com", "c@x.com", "h@x.com", mismatch="bcc-copy"))
    assert out.all(b"to") == [b"Bob <b@x.com>, team: c@x.com;"] and out.all(b"cc") == []
    assert out.all(b"bcc") == [b"<h@x.com>"]
    assert out.first(b"x-submitted-to") == b"Eve <eve@x.com>, Bob <b@x.com>, team: c@x.com, f@x.com;"
    assert out.first(b"x-submitted-cc") == b"g@x.com"


def test_bcc_copy_of_what_agrees_changes_nothing() -> None:
    assert made(RAW, "b@x.com", mismatch="bcc-copy") == RAW


def test_a_forged_display_field_does_not_stay_beside_ours() -> None:
    out = fields(made(b"X-Submitted-To: liar@x.com\r\n" + RAW, "c@x.com", mismatch="bcc-copy"))
    assert out.all(b"x-submitted-to") == [b"b@x.com"]


def test_a_message_that_names_nobody() -> None:
    raw = b"Subject: scan\r\n\r\n"
    alone = fields(made(raw, "b@x.com"))
    assert (alone.first(b"to"), alone.first(b"bcc")) == (b"<b@x.com>", None)
    several = fields(made(raw, "b@x.com", "c@x.com"))
    assert (several.first(b"to"), several.first(b"bcc")) == (
        b"undisclosed-recipients:;",
        b"<b@x.com>, <c@x.com>",
    )


def test_recipients_beyond_the_bound_and_none_at_all() -> None:
    many = [f"u{number}@x.com" for number in range(501)]
    assert (refused(b"\r\n", *many).status, refused(b"\r\n", *many).enhanced) == (452, "4.5.3")
    assert made(b"\r\n", *many[:500]).count(b"@x.com") >= 500
    assert refused(b"\r\n").status == 554


def test_more_addresses_than_can_be_looked_at_are_refused() -> None:
    listed = b", ".join(b"u%d@x.com" % number for number in range(11_000))
    assert refused(b"To: " + listed + b"\r\n\r\n", "b@x.com").status == 552


ADDRESSES = st.sampled_from(["b@x.com", "c@x.com", "D@x.com", "e+f@y.org", "jürgen@bücher.example"])
PEOPLE = st.sets(ADDRESSES)


@given(st.sets(ADDRESSES, min_size=1), PEOPLE, PEOPLE, PEOPLE, PEOPLE, st.booleans())
def test_the_headers_say_what_the_envelope_says(
    envelope: set[str], to: set[str], cc: set[str], bcc: set[str], resent: set[str], copy: bool
) -> None:
    named = (("To", to), ("Cc", cc), ("Bcc", bcc), ("Resent-To", resent))
    head = "".join(f"{n}: {', '.join(sorted(v))}\r\n" for n, v in named if v)
    raw = head.encode() + b"Subject: x\r\n\r\n"
    mode = "bcc-copy" if copy else "refuse"
    if not copy and (to | cc | resent) - envelope:
        with pytest.raises(SubmissionRefused):
            plan(raw, Envelope("a@x.com", tuple(envelope)), mismatch=mode)
        return
    out = Fields(plan(raw, Envelope("a@x.com", tuple(envelope)), mismatch=mode).header)
    shown = {spec for n in (b"to", b"cc") for value in out.all(n) for spec in addr_specs(value)}
    hidden = {spec for value in out.all(b"bcc") for spec in addr_specs(value)}
    assert {*map(folded, shown | hidden)} == {*map(folded, envelope)}
    assert out.all(b"resent-bcc") == []
    silent = not (to | cc | bcc)
    assert {*map(folded, shown)} == {*map(folded, (to | cc) & envelope)} or (silent and len(envelope) == 1)


# -- the mailboxes --

PLACES = ("", "To", "Cc", "Bcc", "Resent-To")
TABLE = [
    ((where_bob, bob), (where_carol, carol))
    for where_bob, bob, where_carol, carol in itertools.product(PLACES, (True, False), PLACES, (True, False))
    if bob or carol
]
TABLE += [
    ((where, bob), ("To", True))
    for where, bob in itertools.product(("Resent-Cc", "Resent-Bcc", "group"), (True, False))
]
DELIVERS = ("To", "Cc", "group")


@pytest.fixture(scope="module")
def kit() -> Kit:
    return Kit()


@pytest.mark.parametrize(
    ("bob", "carol"), TABLE, ids=lambda each: f"{each[0] or 'nowhere'}-{'in' if each[1] else 'out'}"
)
@pytest.mark.parametrize("mode", ["refuse", "bcc-copy"])
def test_who_has_it_and_what_each_sees(
    kit: Kit, mode: str, bob: tuple[str, bool], carol: tuple[str, bool]
) -> None:
    """In the header or not, in the envelope or not: the whole table for two people."""
    who = ((BOB, *bob), (CAROL, *carol))
    written = {"group": "Cc: team: {};\r\n"}
    head = "".join(written.get(where, where + ": {}\r\n").format(user) for user, where, _ in who if where)
    raw = f"From: {ALICE}\r\nSubject: t\r\n{head}\r\nx\r\n".encode()
    envelope = [user for user, _, addressed in who if addressed]
    shown = {user for user, where, _ in who if where in DELIVERS}
    strangers = {
        user
        for user, where, addressed in who
        if where in (*DELIVERS, "Resent-To", "Resent-Cc") and not addressed
    }
    if strangers and mode == "refuse":
        assert refused(raw, *envelope, sender=ALICE, mismatch=mode).status == 550
        return
    before = {user: inbox(kit, user) for user in (ALICE, BOB, CAROL)}
    id = send(kit, prepared(raw, *envelope, sender=ALICE, mismatch=mode))
    after = {user: inbox(kit, user) for user in before}
    copies = {user: after[user][: len(after[user]) - len(before[user])] for user in before}
    assert {user: len(got) for user, got in copies.items()} == {
        ALICE: 0, BOB: int(BOB in envelope), CAROL: int(CAROL in envelope)
    }  # fmt: skip
    silent = not any(where in (*DELIVERS, "Bcc", "Resent-Bcc") for _, where, _ in who)
    for user in envelope:
        head = copies[user][0].partition(b"\r\n\r\n")[0]
        assert b"bcc" not in head.lower()
        told = set(re.findall(rb"(?im)^(?:to|cc):(.*(?:\r\n[ \t].*)*)", head))
        others = {BOB, CAROL} - {user}
        assert {o for o in others if any(o.encode() in line for line in told)} == shown & others & set(
            envelope
        )
        if silent and len(envelope) == 1:
            assert any(user.encode() in line for line in told)
        assert (b"x-submitted-to" in head.lower()) is any(
            where == "To" and not addressed for _, where, addressed in who
        )
    kept = kit.get(f"/messages/{id}").json
    hidden = {
        each["emailAddress"]["address"] for each in kept["bccRecipients"]
    }  # its owner sees whom he sent it to
    assert hidden == ({*envelope} - shown if not (silent and len(envelope) == 1) else set())
    assert kept["parentFolderId"] == kit.get("/mailFolders/sentitems").json["id"]


@pytest.mark.parametrize(
    ("written", "recipient"),
    [("bob+lists@example.com", "bob+lists@example.com"), ("x@bücher.example", "x@xn--bcher-kva.example"),
     ("jürgen@example.org", "jürgen@example.org"), ("BOB@Example.COM", "bob@example.com")],
)  # fmt: skip
def test_addresses_of_all_kinds_arrive_once(written: str, recipient: str) -> None:
    kit = Kit()
    raw = f"From: {ALICE}\r\nTo: {written}, {written}\r\nSubject: t\r\n\r\nx\r\n".encode()
    send(kit, prepared(raw, recipient, recipient.upper() if recipient.isascii() else recipient, sender=ALICE))
    outside = [mail.recipient for mail in kit.tenant.post.outside]
    assert [*map(folded, outside)] == ([] if len(inbox(kit, BOB)) else [folded(recipient)])
    assert len(inbox(kit, BOB)) == (written.lower() == "bob@example.com")

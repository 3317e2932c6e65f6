"""What SORT and THREAD keep of a header block (RFC 5256, RFC 5957)."""

from __future__ import annotations

import pytest

from gateway.mime.sortfacts import REFERENCES, TEXT, SortFacts, message_ids, sort_facts


def facts(*lines: str) -> SortFacts:
    return sort_facts(("\r\n".join(lines) + "\r\n\r\n").encode())


@pytest.mark.parametrize(
    ("value", "plain", "shown"),
    [
        ("bob@example.com", "BOB", "BOB@EXAMPLE.COM"),
        ("Bob <rob@example.com>", "ROB", "BOB"),
        ('"Doe, John" <john@example.com>, x@y.example', "JOHN", "DOE, JOHN"),
        ("a@b.example, c@d.example", "A", "A@B.EXAMPLE"),
        ("=?utf-8?q?=C3=84nne?= <anne@example.com>", "ANNE", "A\u0308NNE"),
        ("x@y.example (A Comment)", "X", "A COMMENT"),
        ("Team: a@b.example, c@d.example;, e@f.example", "TEAM", "TEAM"),
        ("undisclosed-recipients:;", "UNDISCLOSED-RECIPIENTS", "UNDISCLOSED-RECIPIENTS"),
        ("<>", "MISSING_MAILBOX", "MISSING_MAILBOX@MISSING_DOMAIN"),
        ("", "", ""),
    ],
)
def test_the_first_address(value: str, plain: str, shown: str) -> None:
    found = facts(f"From: {value}", f"To: {value}", f"Cc: {value}")
    assert (found.sender, found.to, found.cc) == (plain, plain, plain)
    assert (found.shown_sender, found.shown_to) == (shown, shown)


def test_no_field_is_an_empty_text() -> None:
    assert facts("X: y") == SortFacts("", False, "", "", "", "", "", b"", 0, ())


def test_subjects_are_folded_bases() -> None:
    found = facts("Subject: =?iso-8859-1?q?Re:_Caf=E9?=")
    assert found.subject == "CAFE\u0301" and found.answers


def test_long_texts_stay_apart() -> None:
    one, other = facts("Subject: " + "a" * 300), facts("Subject: " + "a" * 301)
    assert one.subject != other.subject and len(one.subject) == TEXT + 16


@pytest.mark.parametrize(
    ("value", "same"),
    [
        ("<a@b>", "<a@b>"),
        ('<"a"@b>', "<a@b>"),
        ("< a@b >", "<a@b>"),
        ("text (<) <a@b> more", "<a@b>"),
        ('<"a\\"x"@b>', '<"a\\"x"@b>'),
    ],
)
def test_message_ids_that_are_the_same(value: str, same: str) -> None:
    assert message_ids(value.encode())[-1:] == message_ids(same.encode())


@pytest.mark.parametrize("value", ["", "a@b", "<a>", "<@>", "<a b@c>", "<<>>", '<"a@b>'])
def test_what_is_no_message_id(value: str) -> None:
    assert message_ids(value.encode()) == []


def test_case_counts_in_message_ids() -> None:
    assert message_ids(b"<A@b>") != message_ids(b"<a@b>")


def test_references_before_in_reply_to() -> None:
    one, two, three = message_ids(b"<1@x> <2@x> <3@x>")
    assert facts("References: <1@x>", "\t<2@x>", "In-Reply-To: <3@x>").references == (one, two)
    assert facts("References: none", "In-Reply-To: <3@x> <2@x>").references == (three,)
    assert facts("Message-ID: <1@x>").message_id == one


def test_of_many_references_the_first_and_the_last_are_kept() -> None:
    ids = [f"<{number}@x>" for number in range(500)]
    kept = facts("References: " + "\r\n ".join(ids)).references
    assert len(kept) == REFERENCES
    assert kept[0] == message_ids(b"<0@x>")[0] and kept[-1] == message_ids(b"<499@x>")[0]

"""One text for all spellings of a mailbox's name; what the client wrote is kept beside it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.limits import DEFAULT_LIMITS
from gateway.wire import mutf7
from gateway.wire.cursor import Cursor
from gateway.wire.encode import mailbox
from gateway.wire.mailboxname import MailboxName, canonical, normal, supplied

names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40)


@given(names)
def test_all_forms_are_one_name(text: str) -> None:
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    assert len({MailboxName.of(form) for form in (text, *forms)}) == 1


@given(names)
def test_a_name_is_normal_and_remembers_what_was_written(text: str) -> None:
    name = MailboxName.of(text)
    assert unicodedata.is_normalized("NFC", name)
    assert supplied(name) == canonical(text)
    assert (supplied(name) == name) == (normal(canonical(text)) == canonical(text))


@given(names)
def test_both_spellings_of_an_answer_are_read_as_the_same_mailbox(text: str) -> None:
    name = MailboxName.of(text)
    for utf8 in (False, True):
        assert Cursor((mailbox(name, utf8),), DEFAULT_LIMITS, utf8=utf8).mailbox() == name


@given(names)
def test_utf7_and_utf8_of_one_text_are_one_mailbox(text: str) -> None:
    """Before ENABLE a name that is no ASCII is UTF-8."""
    old = Cursor(
        (b'"%b"' % mutf7.encode(text).replace(b"\\", b"\\\\").replace(b'"', b'\\"'),), DEFAULT_LIMITS
    )
    new = Cursor((mailbox(text, True),), DEFAULT_LIMITS, utf8=True)
    assert old.mailbox() == new.mailbox() == MailboxName.of(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("inbox", "INBOX"),
        ("InBox/x", "INBOX/x"),
        ("inboxes", "inboxes"),
        ("a/inbox", "a/inbox"),
        ("ınbox", "ınbox"),
    ],
)
def test_inbox_is_upper_case_as_first_level_only(text: str, name: str) -> None:
    assert MailboxName.of(text) == name
    assert supplied(MailboxName.of(text)) == name


def test_a_last_delimiter_goes_from_both() -> None:
    name = MailboxName.of("Cafe\u0301/").without_last_delimiter()
    assert (name, supplied(name)) == ("Caf\u00e9", "Cafe\u0301")
    assert MailboxName.of("/").without_last_delimiter() == "/"


def test_a_plain_string_was_supplied_as_it_is() -> None:
    assert supplied("x") == "x"

"""LIST and LSUB as values."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gateway.core.types import SpecialUse
from gateway.imap.listing import Selection, ancestors, patterns_of, select, subscribed_entries
from gateway.mailbox.values import MailboxInfo
from gateway.wire.listpattern import ListPattern


def info(
    name: str, *, use: SpecialUse | None = None, on: bool = True, children: bool = False, real: bool = True
) -> MailboxInfo:
    return MailboxInfo(name, use, has_children=children, selectable=real, subscribed=on)


INFOS = [
    info("INBOX", use=SpecialUse.INBOX),
    info("Sent", use=SpecialUse.SENT, on=False),
    info("Work", on=False, children=True),
    info("Work/2024"),
    info("Shared", real=False, children=True, on=False),
]


def lines(pattern: str, selection: Selection, infos: Sequence[MailboxInfo] = INFOS) -> list[bytes]:
    return [entry.line() for entry in select(infos, patterns_of("", [pattern]), selection)]


def test_plain_list_has_special_uses_children_and_noselect() -> None:
    assert lines("*", Selection()) == [
        b'LIST (\\HasNoChildren) "/" INBOX',
        b'LIST (\\HasNoChildren \\Sent) "/" Sent',
        b'LIST (\\HasChildren) "/" Work',
        b'LIST (\\HasNoChildren) "/" Work/2024',
        b'LIST (\\Noselect \\HasChildren) "/" Shared',
    ]


def test_subscribed_names_without_a_mailbox_are_listed_as_such() -> None:
    """RFC 5258 section 3.1, example 7."""
    selection = Selection(frozenset({b"SUBSCRIBED"}), True, frozenset({"Gone/Deep"}))
    assert lines("*", selection) == [
        b'LIST (\\HasNoChildren \\Subscribed) "/" INBOX',
        b'LIST (\\HasNoChildren \\Subscribed) "/" Work/2024',
        b'LIST (\\NonExistent \\Subscribed) "/" Gone/Deep',
    ]


def test_recursivematch_names_parents_also_such_as_do_not_exist() -> None:
    options = frozenset({b"SUBSCRIBED", b"RECURSIVEMATCH"})
    selection = Selection(options, True, frozenset({"Gone/Deep"}))
    assert lines("%", selection) == [
        b'LIST (\\HasNoChildren \\Subscribed) "/" INBOX',
        b'LIST (\\HasChildren) "/" Work ("CHILDINFO" ("SUBSCRIBED"))',
        b'LIST (\\NonExistent) "/" Gone ("CHILDINFO" ("SUBSCRIBED"))',
    ]


def test_selection_options_combine_by_intersection() -> None:
    both = Selection(frozenset({b"SUBSCRIBED", b"SPECIAL-USE"}), True)
    assert lines("*", both) == []
    assert lines("*", Selection(frozenset({b"SPECIAL-USE"}))) == [b'LIST (\\HasNoChildren \\Sent) "/" Sent']


def test_the_reference_stands_in_front_of_every_pattern() -> None:
    patterns = patterns_of("Work/", ["%", "x"])
    assert [entry.name for entry in select(INFOS, patterns, Selection())] == ["Work/2024"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", [b'LSUB (\\HasNoChildren) "/" INBOX', b'LSUB (\\HasNoChildren) "/" Work/2024',
               b'LSUB (\\Noselect) "/" Gone/Deep']),
        ("%", [b'LSUB (\\HasNoChildren) "/" INBOX', b'LSUB (\\Noselect) "/" Work', b'LSUB (\\Noselect) "/" Gone']),
        ("Nope*", []),
    ],
)  # fmt: skip
def test_lsub(pattern: str, expected: list[bytes]) -> None:
    names = ["INBOX", "Work/2024", "Gone/Deep"]
    assert [e.line(b"LSUB") for e in subscribed_entries(names, INFOS, ListPattern.of(pattern))] == expected


def test_ancestors() -> None:
    assert list(ancestors("a/b/c")) == ["a/b", "a"]
    assert list(ancestors("a")) == []

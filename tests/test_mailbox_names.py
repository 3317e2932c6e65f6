"""Mailbox names: one path for each folder, whatever its display name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import CannotDo, NoSuchMailbox
from gateway.core.types import AccountId, FolderId, ModSeq, SpecialUse
from gateway.mailbox.names import Tree, canonical, escape, split_new, unescape
from gateway.store.api import FolderRow
from gateway.wire.mailboxname import normal


def folder(
    key: int, name: str, parent: str = "root", well_known: str = "", *, hidden: bool = False
) -> FolderRow:
    return FolderRow(
        key=key, account=AccountId("a"), id=FolderId(f"f{key}"), parent=FolderId(parent), name=name,
        well_known=well_known, hidden=hidden, total=0, unread=0, uid_validity=1, uid_next=1, modseq=ModSeq(1),
        reserved=0, ready=True, delta_link="", recent_from=1, synced_at=0, mailbox_id="m",
    )  # fmt: skip


def names(*rows: FolderRow) -> list[str]:
    return [entry.name for entry in Tree(rows).entries()]


@given(st.text())
def test_escaping_a_display_name_loses_nothing(name: str) -> None:
    level = escape(name)
    assert "/" not in level
    assert normal(level) == level
    assert unescape(level) == normal(name)


@given(st.text(), st.text())
def test_two_display_names_never_escape_to_one(one: str, other: str) -> None:
    assert (escape(one) == escape(other)) == (normal(one) == normal(other))


@pytest.mark.parametrize(
    ("display", "level"),
    [
        ("e\u0301", "\u00e9"),
        ("a\u2028b", "a=E2=80=A8b"),
        ("\x85", "=C2=85"),
        ("\n\u0300", "=0A=CC=80"),
        ("=FF", "=3DFF"),
    ],
    ids=["decomposed", "line-separator", "c1", "mark-after-escape", "looks-escaped"],
)
def test_a_level_is_net_unicode_without_controls(display: str, level: str) -> None:
    assert escape(display) == level


def test_an_escape_that_is_no_utf_8_stands_for_itself() -> None:
    assert unescape("=FF=41") == "=FF=41"


def test_folders_whose_names_differ_in_their_form_only_are_twins() -> None:
    assert names(folder(1, "\u00e9"), folder(2, "e\u0301")) == ["\u00e9", "\u00e9 (2)"]
    assert Tree([folder(1, "e\u0301")]).find("e\u0301").name == "\u00e9"


@pytest.mark.parametrize("name", ["a\x7fb", "\x85", "a/b\u2029/c", "x\tb"])
def test_no_name_is_made_with_a_control_character(name: str) -> None:
    with pytest.raises(CannotDo):
        split_new(name)


def test_a_localised_inbox_is_inbox() -> None:
    tree = Tree([folder(1, "Posteingang", well_known="inbox"), folder(2, "Gesendet", well_known="sentitems")])
    assert tree.find("inbox").use is SpecialUse.INBOX
    assert tree.find("Gesendet").use is SpecialUse.SENT


def test_inbox_comes_first_and_its_children_follow() -> None:
    rows = [folder(1, "Archive"), folder(2, "Inbox", well_known="inbox"), folder(3, "Sub", parent="f2")]
    assert names(*rows) == ["INBOX", "INBOX/Sub", "Archive"]


def test_a_slash_in_a_display_name_is_not_a_level() -> None:
    assert names(folder(1, "a/b")) == ["a=2Fb"]


def test_siblings_of_one_name_differ_by_a_number_and_the_oldest_has_none() -> None:
    assert names(folder(2, "Twin"), folder(1, "twin")) == ["twin", "Twin (2)"]


def test_a_folder_that_calls_itself_inbox_is_not_the_inbox() -> None:
    rows = [folder(1, "INBOX"), folder(2, "Boîte de réception", well_known="inbox")]
    tree = Tree(rows)
    assert tree.find("INBOX").row.key == 2
    assert tree.find("INBOX (2)").row.key == 1


def test_hidden_and_housekeeping_folders_and_what_is_below_are_not_listed() -> None:
    rows = [
        folder(1, "Sync Issues", well_known="syncissues"),
        folder(2, "Conflicts", parent="f1"),
        folder(3, "Secret", hidden=True),
        folder(4, "Below", parent="f3"),
        folder(5, "Teams", well_known="conversationhistory"),
        folder(6, "Plain"),
    ]
    assert names(*rows) == ["Plain"]


def test_a_cycle_of_parents_ends() -> None:
    assert len(names(folder(1, "a", parent="f2"), folder(2, "b", parent="f1"))) == 2


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(NoSuchMailbox):
        Tree([]).find("Nothing")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", ("", "a")),
        ("a/b/c", ("a/b", "c")),
        ("a=2Fb/c", ("a=2Fb", "c")),
        ("inbox/x", ("INBOX", "x")),
        ("a=2Fb", ("", "a/b")),
    ],
)
def test_a_new_name_is_parent_and_display_name(name: str, expected: tuple[str, str]) -> None:
    assert split_new(name) == expected


@pytest.mark.parametrize("name", ["", "/", "/a", "//a", "a//b", "a/", "a//", " a", "a ", "x/ ", "y" * 256])
def test_names_that_exchange_refuses_are_refused_before(name: str) -> None:
    with pytest.raises(CannotDo):
        split_new(name)


def test_canonical_touches_only_the_inbox_level() -> None:
    assert canonical("iNbOx/inbox") == "INBOX/inbox"
    assert canonical("Inboxes") == "Inboxes"

"""Flags and keywords between IMAP and Graph (decision 7, contract section 6.2)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.types import FlagChange, FlagOp, Flags, MessageId, ModSeq, SystemFlag, Uid
from gateway.graph.model import ExtendedProperty, FollowupFlag, Message
from gateway.mailbox.local import (
    MACHINE_NAMES,
    KeywordMap,
    email_id,
    epoch,
    flags_of,
    graph_time,
    merged_local,
    upsert_of,
)
from gateway.mailbox.patches import (
    Aspect,
    Change,
    changed_aspects,
    local_of,
    named_aspects,
    patch_of,
    wanted_flags,
)
from gateway.store.api import Local, MessageRow
from gateway.wire.chars import ATOM_CHAR_CLASS

MAP = KeywordMap(("Important", "Work"))
DELETED_ID = "Integer {00062008-0000-0000-C000-000000000046} Id 0x8570"
NOW = 1_780_000_000


def message(**facts: Any) -> Message:
    properties = [ExtendedProperty(id, value) for id, value in facts.pop("props", {}).items()]
    return Message(id="AAkA1", single_value_extended_properties=properties or None, **facts)


def flags(*names: bytes) -> Flags:
    return Flags.of(names)


# -- keywords --


@given(st.text(min_size=1, max_size=60))
def test_category_survives_being_a_keyword(category: str) -> None:
    keyword = MAP.keyword(category)
    assert re.fullmatch(rb"[" + ATOM_CHAR_CLASS + rb"]+", keyword)
    if category.casefold() not in ("important", "work"):
        assert MAP.category(keyword) == category
    assert not MAP.is_machine(keyword)


@given(st.text(min_size=1, max_size=60))
def test_a_client_that_folds_case_still_names_the_same_category(category: str) -> None:
    folded = MAP.category(MAP.keyword(category).lower())
    assert (
        folded.encode("utf-8", "surrogatepass").lower() == category.encode("utf-8", "surrogatepass").lower()
    )


@given(st.text("abcXYZ=3d0", min_size=1, max_size=12))
def test_canonical_spelling_is_stable(name: str) -> None:
    once = MAP.canonical(name.encode())
    assert MAP.canonical(once) == once


@pytest.mark.parametrize(
    ("category", "keyword"),
    [
        ("Rechnung", b"Rechnung"),
        ("Red category", b"Red=20category"),
        ("Überfällig", b"=C3=9Cberf=C3=A4llig"),
        ("a=b", b"a=b"),
        ("a=20b", b"a=3D20b"),
        ("Junk", b"=4Aunk"),  # a person's category is not the machine's keyword
        ("$label1", b"=24label1"),
        ("important", b"$label1"),
        ("Work", b"$label2"),
    ],
)
def test_keyword_of_category(category: str, keyword: bytes) -> None:
    assert MAP.keyword(category) == keyword


def test_octets_that_are_no_utf8_are_still_some_category() -> None:
    assert MAP.category(b"x=FF") == "x=FF"


def test_machine_keywords_are_never_categories() -> None:
    everything = Flags(SystemFlag(0), frozenset({*MACHINE_NAMES, b"$Forwarded", b"mine"}))
    assert MAP.categories(everything) == ["mine"]
    assert MAP.machine(everything) == frozenset(MACHINE_NAMES)


# -- reading --


def test_flags_as_graph_has_them() -> None:
    seen = message(
        is_read=True,
        is_draft=False,
        flag=FollowupFlag("flagged"),
        categories=["Red category", "Work"],
        props={"Integer 0x1081": "103", DELETED_ID: "1"},
    )
    expected = flags(b"\\Seen", b"\\Flagged", b"\\Answered", b"\\Deleted", b"Red=20category", b"$label2")
    assert flags_of(seen, None, MAP) == expected


@pytest.mark.parametrize(
    ("verb", "name"), [("102", b"\\Answered"), ("103", b"\\Answered"), ("104", b"$Forwarded")]
)
def test_verbs(verb: str, name: bytes) -> None:
    assert flags_of(message(props={"Integer 0x1081": verb}), None, MAP) == flags(name)


def test_a_completed_task_is_not_flagged() -> None:
    assert flags_of(message(flag=FollowupFlag("complete")), None, MAP) == flags()


def test_an_outside_verb_adds_to_what_was() -> None:
    forwarded = message(props={"Integer 0x1081": "104"})
    after = merged_local(forwarded, Local(answered=True))
    assert after == Local(answered=True, forwarded=True)
    assert flags_of(forwarded, Local(answered=True), MAP) == flags(b"\\Answered", b"$Forwarded")


def test_a_verb_that_is_gone_outside_stays_here() -> None:
    assert merged_local(message(props={"Integer 0x1081": "0"}), Local(answered=True)) is None


def test_the_machine_property_is_the_truth_where_it_is_there() -> None:
    name = "String {00020329-0000-0000-C000-000000000046} Name X-Gateway-Keywords"
    after = merged_local(message(props={name: "$mdnsent nonsense"}), Local(keywords=frozenset({b"Junk"})))
    assert after == Local(keywords=frozenset({b"$MDNSent"}))
    assert merged_local(message(), Local(keywords=frozenset({b"Junk"}))) is None


def test_what_an_answer_does_not_tell_is_kept() -> None:
    known = flags(b"\\Seen", b"\\Deleted", b"\\Flagged", b"mine")
    assert flags_of(message(), None, MAP, expanded=False, known=known) == known
    told = message(is_read=False, categories=[])
    assert flags_of(told, None, MAP, expanded=False, known=known) == flags(b"\\Deleted", b"\\Flagged")
    assert SystemFlag.DELETED not in flags_of(message(), None, MAP, known=known).system


def test_row_of_a_message() -> None:
    listed = message(
        received_date_time="2026-01-02T03:04:05Z",
        last_modified_date_time="2026-01-02T03:04:06.1234567Z",
        conversation_id="C",
        etag='W/"x"',
        props={"Long 0xe08": "x", "Integer 0xe08": "1234"},
    )
    row = upsert_of(listed, None, MAP)
    assert (row.internal_date, row.modified, row.size, row.etag) == (1767323045, 1767323046, 1234, 'W/"x"')
    assert row.email_id == email_id("AAkA1") and row.thread_id and row.email_id != row.thread_id
    assert len(row.email_id) == 25 and row.email_id.isalnum()


@pytest.mark.parametrize(("born_here", "saved"), [(True, 1767323045), (False, 1767409446)])
def test_a_save_date_is_never_too_early(born_here: bool, saved: int) -> None:
    """Only a folder where mail comes into being tells by its creation; elsewhere it may have been moved to."""
    listed = message(created_date_time="2026-01-02T03:04:05Z", last_modified_date_time="2026-01-03T03:04:06Z")
    assert upsert_of(listed, None, MAP, born_here=born_here).save_date == saved
    known = MessageRow(Uid(1), MessageId("AAkA1"), ModSeq(1), flags(), 1, 99, True, "Mx", "", 7, "", 0)
    assert upsert_of(listed, None, MAP, known=known, born_here=born_here).save_date is None


def test_a_known_row_keeps_its_email_id_date_and_exact_size() -> None:
    known = MessageRow(Uid(1), MessageId("AAkA1"), ModSeq(1), flags(), 1, 99, True, "Mx", "", 0, "", 0)
    row = upsert_of(
        message(received_date_time="2026-01-02T03:04:05Z", props={"Integer 0xe08": "5"}),
        None,
        MAP,
        known=known,
    )
    assert (row.email_id, row.internal_date, row.size) == (None, None, None)


@given(st.integers(0, 4_000_000_000))
def test_times_there_and_back(when: int) -> None:
    assert epoch(graph_time(when)) == when


@pytest.mark.parametrize("text", [None, "", "yesterday", "2026-13-01T00:00:00Z"])
def test_unreadable_times(text: str | None) -> None:
    assert epoch(text) is None


# -- writing --


def patched(before: Flags, after: Flags, **settings: Any) -> dict[str, Any] | None:
    return patch_of(Change(before, after, MAP, NOW, **settings), changed_aspects(before, after, MAP))


def props_of(body: dict[str, Any] | None) -> dict[str, str]:
    assert body is not None
    return {each["id"]: each["value"] for each in body.get("singleValueExtendedProperties", ())}


def test_nothing_changed_says_nothing() -> None:
    assert patched(flags(b"\\Seen", b"mine"), flags(b"\\Seen", b"MINE")) is None


def test_only_what_changes_is_sent() -> None:
    before = flags(b"\\Answered", b"mine", b"$MDNSent", b"\\Deleted")
    assert patched(before, Flags(before.system | SystemFlag.FLAGGED, before.keywords)) == {
        "flag": {"flagStatus": "flagged"}
    }
    assert patched(flags(), flags(b"mine")) == {"categories": ["mine"]}


def test_seen_never_sends_a_read_receipt() -> None:
    body = patched(flags(), flags(b"\\Seen"))
    assert body is not None and body["isRead"] is True
    assert props_of(body) == {"Boolean 0x0029": "false", "Boolean 0x0C06": "false"}
    assert patched(flags(), flags(b"\\Seen"), suppress_receipts=False) == {"isRead": True}
    assert patched(flags(b"\\Seen"), flags()) == {"isRead": False}


def test_a_drafts_own_request_for_a_receipt_stays() -> None:
    assert patched(flags(b"\\Draft"), flags(b"\\Draft", b"\\Seen")) == {"isRead": True}


def test_deleted_is_exchanges_own_property() -> None:
    (one,) = props_of(patched(flags(), flags(b"\\Deleted"))).items()
    assert one[0].endswith("Id 0x8570") and one[1] == "1"
    assert list(props_of(patched(flags(b"\\Deleted"), flags())).values()) == ["0"]


@pytest.mark.parametrize(
    ("before", "after", "verb", "icon"),
    [
        ((), (b"\\Answered",), "102", "261"),
        ((), (b"$Forwarded",), "104", "262"),
        ((b"\\Answered",), (b"\\Answered", b"$Forwarded"), "104", "262"),
        ((b"$Forwarded",), (b"\\Answered", b"$Forwarded"), "102", "261"),
        ((b"\\Answered", b"$Forwarded"), (b"\\Answered",), "102", "261"),
        ((b"\\Answered",), (), "0", "256"),
    ],
)
def test_the_one_verb_exchange_holds(
    before: tuple[bytes, ...], after: tuple[bytes, ...], verb: str, icon: str
) -> None:
    sent = props_of(patched(flags(*before), flags(*after)))
    assert (sent["Integer 0x1081"], sent["Integer 0x1080"]) == (verb, icon)
    assert sent["SystemTime 0x1082"] == graph_time(NOW)


def test_machine_keywords_go_to_their_property_only() -> None:
    body = patched(flags(b"mine"), flags(b"mine", b"$MDNSent", b"NonJunk"))
    assert set(body or {}) == {"singleValueExtendedProperties"}
    assert list(props_of(body).values()) == ["$MDNSent NonJunk"]


def test_draft_cannot_change() -> None:
    replace = FlagChange(FlagOp.REPLACE, flags(b"\\Seen"))
    assert wanted_flags(replace, flags(b"\\Draft"), MAP) == flags(b"\\Draft", b"\\Seen")
    add = FlagChange(FlagOp.ADD, flags(b"\\Draft"))
    assert wanted_flags(add, flags(), MAP) == flags()


def test_keywords_are_stored_in_one_spelling() -> None:
    add = FlagChange(FlagOp.ADD, flags(b"$FORWARDED", b"important", b"nonjunk", b"a=41"))
    assert wanted_flags(add, flags(), MAP) == flags(b"$Forwarded", b"$label1", b"NonJunk", b"aA")


def test_a_completed_task_survives_a_replacement_that_does_not_name_flagged() -> None:
    assert Aspect.FLAGGED not in named_aspects(FlagChange(FlagOp.REPLACE, flags(b"\\Seen")), MAP)
    assert Aspect.FLAGGED in named_aspects(FlagChange(FlagOp.REMOVE, flags(b"\\Flagged")), MAP)


def test_local_state_of_flags() -> None:
    assert local_of(flags(b"\\Answered", b"$Forwarded", b"Junk", b"mine"), MAP) == Local(
        True, True, frozenset({b"Junk"})
    )

"""Flags as values, and what STORE's three verbs do to them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.types import FlagChange, FlagOp, Flags, SystemFlag

names = st.sampled_from([b"\\Seen", b"\\SEEN", b"\\Draft", b"$Forwarded", b"$forwarded", b"Work", b"Junk"])
flag_sets = st.lists(names).map(Flags.of)


def folded(flags: Flags) -> set[bytes]:
    return {name.lower() for name in flags.names()}


def test_system_flags_are_read_in_any_case_and_keywords_keep_their_spelling() -> None:
    flags = Flags.of([b"\\sEEn", b"WorK", b"work"])
    assert flags == Flags(SystemFlag.SEEN, frozenset([b"WorK"]))
    assert flags.has_keyword(b"WORK")
    assert not flags.has_keyword(b"wor")


def test_names_come_in_a_stable_order() -> None:
    assert Flags.of([b"z", b"\\Draft", b"a", b"\\Answered"]).names() == [
        b"\\Answered",
        b"\\Draft",
        b"a",
        b"z",
    ]


@given(flag_sets, flag_sets)
def test_changes_are_set_operations(current: Flags, named: Flags) -> None:
    def after(op: FlagOp) -> set[bytes]:
        return folded(FlagChange(op, named).apply(current))

    assert after(FlagOp.REPLACE) == folded(named)
    assert after(FlagOp.ADD) == folded(current) | folded(named)
    assert after(FlagOp.REMOVE) == folded(current) - folded(named)


@given(flag_sets, flag_sets)
def test_a_spelling_once_set_stays(current: Flags, named: Flags) -> None:
    for op in FlagOp:
        kept = FlagChange(op, named).apply(current).keywords
        assert {k for k in kept if current.has_keyword(k)} <= current.keywords

"""Extended property ids in all their spellings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.graph.fields import IMAP_DELETED, INDEX_PROPERTIES, MACHINE_KEYWORDS, PR_MESSAGE_SIZE
from gateway.graph.model import ExtendedProperty, Message
from gateway.graph.props import Property, parse_property, props

GUID = "00062008-0000-0000-c000-000000000046"


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (PR_MESSAGE_SIZE, "Integer 0xe08"),
        ("Integer 0x0E07", "integer 0xe07"),
        (IMAP_DELETED, f"Integer {{{GUID.upper()}}} Id 0x00008570"),
        (IMAP_DELETED, f"Integer {GUID} id 0x8570"),
        (MACHINE_KEYWORDS, MACHINE_KEYWORDS.replace("x-gateway", "X-Gateway").replace("-c000-", "-C000-")),
    ],
)
def test_two_spellings_are_one_property(asked: str, answered: str) -> None:
    assert parse_property(asked) == parse_property(answered)


@given(st.integers(0, 0xFFFFFFFF), st.booleans(), st.integers(0, 3))
def test_tags_compare_as_numbers(tag: int, upper: bool, zeros: int) -> None:
    digits = f"{tag:x}".rjust(min(8, len(f"{tag:x}") + zeros), "0")
    text = f"Integer 0x{digits.upper() if upper else digits}"
    assert parse_property(text) == Property("integer", tag)


def test_ids_we_ask_for_are_all_different() -> None:
    assert len({parse_property(text) for text in INDEX_PROPERTIES}) == len(INDEX_PROPERTIES)


@pytest.mark.parametrize("text", ["", "Integer", "Integer 0x", "Integer 0xG", "0x0E08", f"Integer {GUID}"])
def test_other_text_is_no_property(text: str) -> None:
    with pytest.raises(ValueError):
        parse_property(text)


def test_absent_is_absent() -> None:
    message = Message(
        single_value_extended_properties=[
            ExtendedProperty("Integer 0xe08", "12"),
            ExtendedProperty("Integer 0x1081", None),
            ExtendedProperty("nonsense", "1"),
        ]
    )
    assert props(message) == {parse_property(PR_MESSAGE_SIZE): "12"}
    assert props(Message()) == {}

"""LIST patterns against a model in regular expressions, and in linear time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.listpattern import ListPattern

REGEX = {"*": ".*", "%": "[^/]*"}


def model(pattern: str, name: str) -> bool:
    return re.fullmatch("".join(REGEX.get(c, re.escape(c)) for c in pattern), name, re.DOTALL) is not None


@given(st.text("ab/*%", max_size=7), st.text("ab/", max_size=8))
def test_patterns_are_what_the_rfc_says(pattern: str, name: str) -> None:
    assert ListPattern.of(pattern).matches(name) == model(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name", "wanted"),
    [
        ("*", "a/b/c", True), ("%", "a/b", False), ("%/%", "a/b", True), ("%", "a", True),
        ("", "", True), ("*", "", True), ("", "a", False), ("Sent%", "Sent Items", True),
        ("a*c", "a/b/c", True), ("a%c", "a/c", False), ("ä*", "äöü", True), ("A", "a", False),
        ("a/%", "a/", True), ("*b", "a/b", True), ("inbox", "INBOX", True), ("InB%", "INBOX", True),
        ("inbox/%", "INBOX/a", True), ("inbox/A", "INBOX/a", False), ("in*", "INBOXES", False),
        ("%nbo%", "INBOX", True),
        ("inbox", "INBOXES", False), ("a/inbox", "a/INBOX", False),
    ],
)  # fmt: skip
def test_examples(pattern: str, name: str, wanted: bool) -> None:
    assert ListPattern.of(pattern).matches(name) is wanted


def test_hostile_patterns_cost_what_others_do() -> None:
    begin = time.process_time()
    for pattern in ("*a" * 500 + "b", "%a" * 500 + "b", "*%" * 500 + "b", "*" * 1024):
        ready = ListPattern.of(pattern)
        for _ in range(20):
            ready.matches("a" * 1024)
    assert time.process_time() - begin < 2

"""Object identifiers: RFC 8474's alphabet, stable, different for ids that differ by case."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.objectid import object_id


@given(st.text())
def test_object_ids_follow_rfc_8474_and_never_differ_by_case_only(source: str) -> None:
    assert re.fullmatch(r"M[a-z2-7]{24}", object_id("M", source))


def test_known_value_and_case() -> None:
    assert object_id("M", "AAk") == object_id("M", "AAk")
    assert object_id("M", "AAk").lower() != object_id("M", "AAK").lower()
    assert object_id("F", "AAk") != object_id("M", "AAk")

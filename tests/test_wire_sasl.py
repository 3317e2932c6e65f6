"""PLAIN's message, who acts for whom, and SASLprep."""

from __future__ import annotations

import pytest

from gateway.core.errors import AuthenticationFailed, BadCommand
from gateway.wire.sasl import plain_credentials, same_user, user_name
from gateway.wire.saslprep import prepared, saslprep


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"),
        ("a\u00a0b", "a b"), ("a\u2003b", "a b"), ("\u0627\u0031\u0628", "\u0627\u0031\u0628"), ("", ""),
    ],
)  # fmt: skip
def test_rfc_4013_section_3(text: str, expected: str) -> None:
    assert saslprep(text) == expected


@pytest.mark.parametrize(
    "text", ["\u0007", "a\u0627b", "\u0627\u0031", "\ue000", "\ufffd", "a\u200eb", "\x7f"]
)
def test_what_names_and_passwords_cannot_have(text: str) -> None:
    with pytest.raises(ValueError, match=r"character|letters"):
        saslprep(text)
    assert prepared(text) == text


def test_unassigned_code_points_may_be_asked_for_and_not_stored() -> None:
    assert saslprep("\u0221") == "\u0221"
    with pytest.raises(ValueError, match="Unicode"):
        saslprep("\u0221", stored=True)


def test_plain() -> None:
    assert plain_credentials(b"\0tim\0tanstaaftanstaaf") == (b"tim", b"tanstaaftanstaaf")
    assert plain_credentials(b"Tim\0tim\0pw") == (b"tim", b"pw")
    with pytest.raises(AuthenticationFailed):
        plain_credentials(b"ursel\0kurt\0pw")
    for malformed in (b"", b"tim\0pw", b"\0tim\0pw\0", b"a\0b\0c\0d"):
        with pytest.raises(BadCommand):
            plain_credentials(malformed)


def test_names_of_one_user() -> None:
    assert same_user(b"Alice@Example.com", b"alice@example.com ")
    assert same_user("J\u00fcrgen".encode(), "ju\u0308rgen".encode())
    assert not same_user(b"alice", b"bob")
    assert user_name(" Alice ") == "alice"

"""Arguments of MAIL and RCPT: `gateway.smtp.paths`."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smtp.paths import address, argument
from gateway.smtp.replies import Rejected


def path(text: str, *, utf8: bool = False) -> str:
    return address(argument(text, "TO").path, utf8=utf8, bad="5.1.3")


def refusal(text: str, *, utf8: bool = False) -> tuple[int, str]:
    with pytest.raises(Rejected) as caught:
        path(text, utf8=utf8)
    return caught.value.reply.code, caught.value.reply.enhanced


GOOD = {
    "TO:<bob@example.com>": "bob@example.com",
    "to:<bob@example.com>": "bob@example.com",
    "TO: <bob@example.com>": "bob@example.com",  # devices
    "TO:bob@example.com": "bob@example.com",  # devices
    "TO: bob@example.com ": "bob@example.com",
    "TO:< bob@example.com >": "bob@example.com",
    "TO:<bob+tag@sub.example.com>": "bob+tag@sub.example.com",
    "TO:<o'brien!#$%&*/=?^_`{|}~-@example.com>": "o'brien!#$%&*/=?^_`{|}~-@example.com",
    "TO:<@relay.example,@b.example:bob@example.com>": "bob@example.com",  # RFC 5321 appendix C
    'TO:<"two words"@example.com>': '"two words"@example.com',
    'TO:<"a>b \\" c"@example.com>': '"a>b \\" c"@example.com',
    "TO:<bob@[192.0.2.1]>": "bob@[192.0.2.1]",
    "TO:<bob@[IPv6:2001:db8::1]>": "bob@[IPv6:2001:db8::1]",
    "TO:<a..b.@example.com>": "a..b.@example.com",  # seen at mobile providers
    "TO:<bob@my_host.example.com>": "bob@my_host.example.com",
}


@pytest.mark.parametrize("text", GOOD)
def test_paths_that_are_taken(text: str) -> None:
    assert path(text) == GOOD[text]


@pytest.mark.parametrize(
    "text",
    [
        "TO:<bob>", "TO:<@example.com>", "TO:<bob@>", "TO:<bob@a@b>", "TO:<a b@example.com>", "TO:<bob@exa mple>",
        "TO:<bob,eve@example.com>", "TO:<bob@example..com>", "TO:<bob@-x.com>", "TO:<<bob@example.com>",
        'TO:<"bob"eve@example.com>', "TO:<bob\x7f@example.com>", "TO:<bob@[1.2.3.4>", "TO:<>",
        f"TO:<{'x' * 310}@example.com>", "TO:<b\udcffb@example.com>", "TO:<bob@example.com;eve@example.com>",
    ],
)  # fmt: skip
def test_bad_addresses(text: str) -> None:
    assert refusal(text) == (553, "5.1.3")
    assert refusal(text, utf8=True) == (553, "5.1.3")


@pytest.mark.parametrize(
    "text",
    ["", "TO", "TO <bob@example.com>", "FROM:<bob@example.com>", "TO:", "TO:<bob@example.com",
     "TO:<bob@example.com>SIZE=1", 'TO:<"bob@example.com>'],
)  # fmt: skip
def test_bad_syntax(text: str) -> None:
    assert refusal(text) == (501, "5.5.2")


def test_a_display_name_is_no_part_of_a_path() -> None:
    assert refusal("TO:Bob <bob@example.com>") == (501, "5.5.4")


@pytest.mark.parametrize(
    "text", ["TO:<жанна@example.com>", "TO:<bob@bücher.example>", 'TO:<"ж"@example.com>']
)
def test_addresses_outside_ascii_need_smtputf8(text: str) -> None:
    """RFC 6531 section 3.5."""
    assert refusal(text) == (553, "5.6.7")
    assert path(text, utf8=True) == text[4:-1]


@pytest.mark.parametrize("odd", ["\u2028", "\u00a0", "\u200b", "\x85", "\u3000", "\u202e"])
def test_invisible_characters_are_in_no_address(odd: str) -> None:
    assert refusal(f"TO:<bob{odd}@example.com>", utf8=True) == (553, "5.1.3")
    assert refusal(f"TO:<bob@exam{odd}ple.com>", utf8=True) == (553, "5.1.3")


@given(st.text(max_size=80))
def test_whatever_is_taken_can_stand_in_a_header(text: str) -> None:
    with suppress(Rejected):
        taken = address(text, utf8=True, bad="5.1.3")
        assert taken.isprintable() and "@" in taken and "<" not in taken.replace('"', "").split("@")[-1]

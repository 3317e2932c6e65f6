"""Address lists: every form of RFC 5322, the obsolete ones, and what is none of them."""

from __future__ import annotations

import time
from email.utils import getaddresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import LimitReached
from gateway.mime import address as address_module
from gateway.mime.address import NO_HOST, NO_MAILBOX, Address, Group, addr_specs, parse_addresses


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"bob@example.com", Address(None, b"bob", b"example.com")),
        (b"Bob Roy <bob@example.com>", Address(b"Bob Roy", b"bob", b"example.com")),
        (b'"Roy, \\"B\\" (x)" <b@x>', Address(b'Roy, "B" (x)', b"b", b"x")),
        (b"J. R. Hacker <j@x>", Address(b"J. R. Hacker", b"j", b"x")),
        (b"bob@x (Bob (the) Roy)", Address(b"Bob (the) Roy", b"bob", b"x")),
        (b"Bob <bob@x> (remark)", Address(b"Bob", b"bob", b"x")),
        (b'"john doe"@x', Address(None, b"john doe", b"x")),
        (b"john . doe @ x . org", Address(None, b"john.doe", b"x.org")),
        (b"<@a,@b.c:u@h>", Address(None, b"u", b"h", b"@a,@b.c")),
        (b"u@[192.0.2.1]", Address(None, b"u", b"[192.0.2.1]")),
        (b"=?utf-8?Q?J=C3=B6?= <j@x>", Address(b"=?utf-8?Q?J=C3=B6?=", b"j", b"x")),
        (b"Bob\r\n Roy <b@x>", Address(b"Bob Roy", b"b", b"x")),
        ("Jörg <jörg@müller.de>".encode(), Address("Jörg".encode(), "jörg".encode(), "müller.de".encode())),
        (b"root", Address(None, b"root", NO_HOST)),
        (b"Scan To Mail", Address(b"Scan To Mail", NO_MAILBOX, NO_HOST)),
        (b"<>", Address(None, NO_MAILBOX, NO_HOST)),
        (b"<<b@x>>", Address(None, b"b", b"x")),
        (b"Bob Roy b@x", Address(b"Bob Roy", b"b", b"x")),
        (b'"unterminated', Address(None, b"unterminated", NO_HOST)),
        (b"Bob <b@x", Address(b"Bob", b"b", b"x")),
    ],
)
def test_one_address(value: bytes, expected: Address) -> None:
    assert parse_addresses(value) == [expected]


def test_groups_keep_their_members() -> None:
    found = parse_addresses(b"Team: a@x, B <b@y>;, c@z, undisclosed-recipients:;")
    assert found == [
        Group(b"Team", (Address(None, b"a", b"x"), Address(b"B", b"b", b"y"))),
        Address(None, b"c", b"z"),
        Group(b"undisclosed-recipients", ()),
    ]


@pytest.mark.parametrize("value", [b"", b" ", b",", b",;, ;", b"(nobody)"])
def test_a_list_without_addresses_is_empty(value: bytes) -> None:
    assert parse_addresses(value) == []


@pytest.mark.parametrize(
    ("value", "specs"),
    [
        (b"A <a@x>, b@y; c@z", ["a@x", "b@y", "c@z"]),
        (b"g: a@x, b@y;", ["a@x", "b@y"]),
        (b'"a b"@x, "c\\"d"@y', ['"a b"@x', '"c\\"d"@y']),
        ("jörg@müller.de".encode(), ["jörg@müller.de"]),
        (b"Scan To Mail, bob", ["bob"]),
        (b"<a@x> junk <c@d>", ["a@x", "c@d"]),
        (b"<a@x> c@d, e@f", ["a@x", "c@d", "e@f"]),
        (b"Foo <a@x, b@y>", ["a@x", "b@y"]),
        (b"undisclosed-recipients:;", []),
        (b"(hidden@x) a@b", ["a@b"]),
    ],
)
def test_addr_specs_name_everyone_a_mail_system_might_send_to(value: bytes, specs: list[str]) -> None:
    assert addr_specs(value) == specs


def test_addr_specs_refuses_a_list_it_cannot_read_to_the_end() -> None:
    with pytest.raises(LimitReached):
        addr_specs(b"a@b," * 20_000)
    with pytest.raises(LimitReached):
        addr_specs(b"," * 20_000 + b"hidden@x")


def test_the_number_of_addresses_is_bounded() -> None:
    assert len(parse_addresses(b"a@b," * 50, most=10)) == 10


ATOM = st.text("abcXYZ019!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=8)
ADDRESS = st.builds(lambda a, b, c: f"{a}@{b}.{c}", ATOM, ATOM, ATOM)
NAMED = st.builds(lambda name, spec: f'"{name}" <{spec}>', st.text("ab ,;:<>@.()", max_size=10), ADDRESS)


@given(st.lists(ADDRESS | NAMED, min_size=1, max_size=6))
def test_agrees_with_the_standard_library_on_well_formed_lists(items: list[str]) -> None:
    value = ", ".join(items)
    assert addr_specs(value.encode()) == [spec for _, spec in getaddresses([value])]


@given(st.binary(max_size=200) | st.text('ab <>@,:;."\\()[]', max_size=100).map(str.encode))
def test_any_octets_give_a_list_of_legal_addresses(value: bytes) -> None:
    for item in parse_addresses(value):
        for address in item.members if isinstance(item, Group) else (item,):
            assert address.mailbox and address.host
            assert b"\r" not in address.mailbox + address.host and b"\n" not in address.mailbox + address.host


PIECES = st.sampled_from(
    ["a", "b.c", "d@e", "<f@g.h>", '"i j"', " ", ",", ".", "@", "<", ">", '"', "é", "k "]
)


@given(st.lists(PIECES, max_size=8).map("".join))
def test_the_short_way_gives_what_the_long_way_gives(text: str) -> None:
    value = text.strip().encode()
    short = address_module._usual(value, 100)
    if short is not None:
        assert short == address_module._Parser(value, 100).parse()


def test_hostile_lists_take_linear_time() -> None:
    began = time.perf_counter()
    for piece in (
        b"(",
        b"<",
        b",",
        b"a:",
        b'"',
        b'"\\',
        b"@",
        b"a ",
        b". ",
        b"[",
        b"\\",
        b"<@",
        b"<a@b>",
        b";",
    ):
        parse_addresses(piece * (500_000 // len(piece)))
    assert time.perf_counter() - began < 20

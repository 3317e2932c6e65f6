"""Header blocks in ASCII and short lines that say the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mime.address import addr_specs, parse_addresses
from gateway.mime.header import Fields, decoded
from gateway.mime.headertext import address_list, fit


def test_what_is_fit_already_stays_octet_for_octet() -> None:
    header = b"From:  a@x\r\nSubject: =?utf-8?q?=C3=BC?=\r\n  folded\r\nX-Odd:\r\n\r\n"
    assert fit(header) == header


@pytest.mark.parametrize(
    ("field", "read"),
    [
        ("Subject: grün", "grün"),
        ("Subject: grün " + "wörter " * 40, "grün " + ("wörter " * 40).strip()),
        ("X-Note: =?utf-8?q?=C3=BC?= ü", "ü ü"),
        ("Comments: é\r\n continued", "é continued"),
    ],
)
def test_text_becomes_encoded_words(field: str, read: str) -> None:
    out = fit(f"{field}\r\nX: y\r\n\r\n".encode())
    name = field.partition(":")[0].lower().encode()
    assert out.isascii() and out.endswith(b"\r\nX: y\r\n\r\n") and max(map(len, out.split(b"\r\n"))) <= 78
    assert decoded(Fields(out).all(name)[0]) == read


def test_latin_1_is_read_as_such() -> None:
    out = fit(b"Subject: gr\xfcn\r\n\r\n")
    assert decoded(Fields(out).first(b"subject") or b"") == "grün"


def test_names_of_addresses_are_encoded_and_the_addresses_stay() -> None:
    raw = 'To: Jürgen <j@x.com>, "Ö, P" <p@x.com>, Team: "a b"@x.com, (ü) c@x.com;, jürgen@bücher.example'
    out = fit(f"{raw}\r\n\r\n".encode())
    value = Fields(out).first(b"to") or b""
    assert addr_specs(value) == ["j@x.com", "p@x.com", '"a b"@x.com', "c@x.com", "jürgen@bücher.example"]
    names = [decoded(item.name or b"") for item in parse_addresses(value)]
    assert names[:3] == ["Jürgen", "Ö, P", "Team"]
    assert out.replace("jürgen@bücher.example".encode(), b"").isascii()


def test_parameters_become_extended_ones() -> None:
    out = fit('Content-Disposition: attachment; filename="grün.pdf"; x=y\r\n\r\n'.encode())
    assert out == b"Content-Disposition: attachment; filename*=utf-8''gr%C3%BCn.pdf; x=\"y\"\r\n\r\n"


def test_long_lines_are_folded_and_lines_that_are_no_fields_go() -> None:
    header = (
        b"To: " + b", ".join(b"user%d@example.com" % n for n in range(200)) + b"\r\nnonsense\r\nX: y\r\n\r\n"
    )
    out = fit(header)
    assert max(map(len, out.split(b"\r\n"))) <= 998 and b"nonsense" not in out
    assert Fields(out).first(b"to") == Fields(header).first(b"to")


NAMES = st.text('ab é"\\,(<=?', max_size=8)
LOCALS = st.text('ab.é "\\', min_size=1, max_size=6)


@given(st.lists(st.tuples(NAMES, LOCALS), max_size=4))
def test_addresses_written_are_read_again(people: list[tuple[str, str]]) -> None:
    text = ", ".join(f'"{_quoted(name)}" <"{_quoted(local)}"@x.com>' for name, local in people)
    items = parse_addresses(text.encode())
    again = parse_addresses(address_list(items))
    assert [i.mailbox for i in again] == [i.mailbox for i in items]
    assert [decoded(i.name or b"").split() for i in again] == [decoded(i.name or b"").split() for i in items]


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')

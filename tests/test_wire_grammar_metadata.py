"""GETMETADATA, SETMETADATA, the commands of QUOTA, CREATE with uses, LIST's METADATA: octets to values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import BadCommand, LimitReached
from gateway.core.limits import DEFAULT_LIMITS
from gateway.wire.command import Create, GetMetadata, GetQuota, GetQuotaRoot, List, SetMetadata, SetQuota
from gateway.wire.frame import Frame
from gateway.wire.grammar import parse


def one(*parts: bytes) -> object:
    return parse(Frame(parts))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'GETMETADATA "" /shared/comment', ("", ("/shared/comment",), None, 0)),
        (b"getmetadata inbox (/Shared/A /private/b)", ("INBOX", ("/Shared/A", "/private/b"), None, 0)),
        (b"GETMETADATA (MAXSIZE 5) INBOX /private/a", ("INBOX", ("/private/a",), 5, 0)),
        (b"GETMETADATA INBOX (maxsize 5) (/private/a)", ("INBOX", ("/private/a",), 5, 0)),
        (b"GETMETADATA INBOX (DEPTH infinity) /private", ("INBOX", ("/private",), None, None)),
        (b"GETMETADATA (DEPTH 1 MAXSIZE 0) INBOX /private/a", ("INBOX", ("/private/a",), 0, 1)),
        (b'GETMETADATA INBOX ("/private/a b")', ("INBOX", ("/private/a b",), None, 0)),
        (b"GETMETADATA INBOX (/private/a /PRIVATE/A)", ("INBOX", ("/private/a",), None, 0)),
    ],
)
def test_getmetadata(line: bytes, expected: tuple[object, ...]) -> None:
    found = one(b"a " + line)
    assert isinstance(found, GetMetadata)
    assert (found.mailbox, found.entries, found.max_size, found.depth) == expected


@pytest.mark.parametrize("octet", range(256))
def test_which_octets_a_component_may_have(octet: int) -> None:
    """Printable ASCII but * and %; a slash would begin another (RFC 5464 section 3.2.1)."""
    allowed = 0x20 <= octet < 0x7F and octet not in b"*%/"
    try:
        found = one(b"a GETMETADATA INBOX {11}", b"/private/x%c" % octet, b"")
    except BadCommand:
        assert not allowed
    else:
        assert allowed
        assert found.entries == (f"/private/x{chr(octet)}",)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "entry",
    [b'""', b"/", b"/privat", b"/private/", b"/private//a", b"//private/a", b"/private/a/", b"private/a",
     b"/sharedx", b"/private/a*", b'"/private/%"'],
)  # fmt: skip
def test_what_is_no_entry(entry: bytes) -> None:
    for line in (b"a GETMETADATA INBOX " + entry, b'a SETMETADATA INBOX (%b "x")' % entry):
        with pytest.raises(BadCommand):
            one(line)


def test_setmetadata_takes_strings_literals_binary_and_nil() -> None:
    found = one(
        b'a SETMETADATA "a b" (/Private/A "q\\"" /private/b {3}', b"\r\nx", b" /private/c ~{3}", b"\0\r\n",
        b" /shared/d NIL /PRIVATE/a nil)",
    )  # fmt: skip
    assert found == SetMetadata(
        b"a", "a b",
        (("/private/a", None), ("/private/b", b"\r\nx"), ("/private/c", b"\0\r\n"), ("/shared/d", None)),
    )  # type: ignore[arg-type]  # fmt: skip


@given(st.lists(st.one_of(st.none(), st.binary(max_size=30)), min_size=1, max_size=5))
def test_any_value_arrives_as_it_was_sent(values: list[bytes | None]) -> None:
    parts, line = [], b"a SETMETADATA INBOX ("
    for number, value in enumerate(values):
        line += b"%b/private/%d " % (b" " if number else b"", number)
        if value is None:
            line += b"NIL"
        else:
            parts += [line + b"~{%d}" % len(value), value]
            line = b""
    found = one(*parts, line + b")")
    assert isinstance(found, SetMetadata)
    assert [value for _, value in found.changes] == values


def test_bounds() -> None:
    many = b" ".join(b"/private/%d" % n for n in range(DEFAULT_LIMITS.metadata_entries + 1))
    with pytest.raises(LimitReached):
        one(b"a GETMETADATA INBOX (" + many + b")")
    with pytest.raises(LimitReached):
        one(b"a SETMETADATA INBOX (" + many.replace(b" ", b" NIL ") + b" NIL)")
    with pytest.raises(LimitReached):
        one(b"a GETMETADATA INBOX /private/" + b"x" * DEFAULT_LIMITS.metadata_name)


def test_quota() -> None:
    assert one(b'a GETQUOTA ""') == GetQuota(b"a", b"")
    assert one(b"a GETQUOTAROOT inbox") == GetQuotaRoot(b"a", "INBOX")
    assert one(b'a SETQUOTA "" (storage 512 MESSAGE 9223372036854775807)') == SetQuota(
        b"a", b"", ((b"STORAGE", 512), (b"MESSAGE", 2**63 - 1))
    )
    assert one(b"a SETQUOTA # ()") == SetQuota(b"a", b"#", ())


@pytest.mark.parametrize(
    "line",
    [b"GETQUOTA", b"GETQUOTAROOT", b"GETQUOTAROOT a b", b'SETQUOTA ""', b'SETQUOTA "" (STORAGE)',
     b'SETQUOTA "" (STORAGE x)', b'SETQUOTA "" (STORAGE 1 )', b'SETQUOTA "" (STORAGE 9223372036854775808)',
     b"SETMETADATA INBOX", b"SETMETADATA INBOX ()", b"GETMETADATA INBOX", b"GETMETADATA () INBOX /private/a",
     b"GETMETADATA (DEPTH 2) INBOX /private/a", b"GETMETADATA (DEPTH) INBOX /private/a"],
)  # fmt: skip
def test_what_is_not_in_the_grammar(line: bytes) -> None:
    with pytest.raises(BadCommand):
        one(b"a " + line)


def test_create_with_uses() -> None:
    assert one(b"a CREATE Box (USE (\\Archive \\archive \\Sent))") == Create(
        b"a", "Box", (b"\\Archive", b"\\Sent")
    )
    assert one(b"a CREATE Box (use ())") == Create(b"a", "Box")
    for line in (
        b"(USE (Sent))",
        b"(USE \\Sent)",
        b"(USE)",
        b"()",
        b"(USE (\\Sent) USE (\\Sent))",
        b"USE (\\Sent)",
    ):
        with pytest.raises(BadCommand):
            one(b"a CREATE Box " + line)


def test_list_with_entries() -> None:
    found = one(b'a LIST "" % RETURN (METADATA ("/private/a" /shared/b) CHILDREN)')
    assert isinstance(found, List)
    assert (found.returns, found.entries) == ((b"METADATA", b"CHILDREN"), ("/private/a", "/shared/b"))
    with pytest.raises(BadCommand):
        one(b'a LIST "" % RETURN (METADATA)')

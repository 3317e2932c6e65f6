"""SEARCH: every key, nesting, charsets and bounds; there and back for any tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import BadCommand, LimitReached
from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.core.runs import Runs
from gateway.wire import charset, encode
from gateway.wire.charset import BadCharset
from gateway.wire.command import Search
from gateway.wire.dates import MONTHS
from gateway.wire.framer import Frame
from gateway.wire.grammar import parse
from gateway.wire.searchkey import (
    All,
    And,
    Contains,
    DateIs,
    Field,
    HasFlag,
    HeaderContains,
    Larger,
    ModSeqIs,
    Not,
    Or,
    Recent,
    SearchKey,
    SeqSet,
    Smaller,
    UidSet,
    When,
)

SEEN = HasFlag(b"\\Seen")


def search(*parts: bytes, limits: Limits = DEFAULT_LIMITS) -> Search:
    command = parse(Frame((b"a SEARCH " + parts[0], *parts[1:])), limits)
    assert isinstance(command, Search)
    return command


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (b"ALL", All()),
        (b"answered", HasFlag(b"\\Answered")),
        (b"DELETED", HasFlag(b"\\Deleted")),
        (b"DRAFT", HasFlag(b"\\Draft")),
        (b"FLAGGED", HasFlag(b"\\Flagged")),
        (b"Seen", SEEN),
        (b"UNANSWERED", Not(HasFlag(b"\\Answered"))),
        (b"UNDELETED", Not(HasFlag(b"\\Deleted"))),
        (b"UNDRAFT", Not(HasFlag(b"\\Draft"))),
        (b"UNFLAGGED", Not(HasFlag(b"\\Flagged"))),
        (b"UNSEEN", Not(SEEN)),
        (b"RECENT", Recent()),
        (b"OLD", Not(Recent())),
        (b"NEW", And((Recent(), Not(SEEN)))),
        (b"KEYWORD $Forwarded", HasFlag(b"$Forwarded")),
        (b"UNKEYWORD Junk", Not(HasFlag(b"Junk"))),
        (b"BCC x", Contains(Field.BCC, "x")),
        (b"CC x", Contains(Field.CC, "x")),
        (b'FROM "a b"', Contains(Field.FROM, "a b")),
        (b"TO x@example.com", Contains(Field.TO, "x@example.com")),
        (b'SUBJECT ""', Contains(Field.SUBJECT, "")),
        (b"BODY x", Contains(Field.BODY, "x")),
        (b"TEXT x", Contains(Field.TEXT, "x")),
        (b"HEADER Message-ID <a@b>", HeaderContains(b"Message-ID", "<a@b>")),
        (b'HEADER "X-A" ""', HeaderContains(b"X-A", "")),
        (b"BEFORE 1-Feb-1994", DateIs(When.BEFORE, (1994, 2, 1))),
        (b'ON "01-feb-1994"', DateIs(When.ON, (1994, 2, 1))),
        (b"SINCE 29-Feb-2024", DateIs(When.SINCE, (2024, 2, 29))),
        (b"SENTBEFORE 1-Feb-1994", DateIs(When.BEFORE, (1994, 2, 1), sent=True)),
        (b"SENTON 1-Feb-1994", DateIs(When.ON, (1994, 2, 1), sent=True)),
        (b"SENTSINCE 1-Feb-1994", DateIs(When.SINCE, (1994, 2, 1), sent=True)),
        (b"LARGER 0", Larger(0)),
        (b"SMALLER 9223372036854775807", Smaller(2**63 - 1)),
        (b"UID 5,1:3", UidSet(Runs(((1, 3), (5, 5))))),
        (b"2:4,9", SeqSet(Runs(((2, 4), (9, 9))))),
        (b"*:*", SeqSet(Runs(((0, 0),)))),
        (b"*", SeqSet(Runs(((0, 0),)))),
        (b"MODSEQ 620162338", ModSeqIs(620_162_338)),
        (b'MODSEQ "/flags/\\\\draft" all 5', ModSeqIs(5)),
        (b"NOT SEEN", Not(SEEN)),
        (b"NOT NOT SEEN", Not(Not(SEEN))),
        (b"NOT (SEEN FLAGGED)", Not(And((SEEN, HasFlag(b"\\Flagged"))))),
        (b"OR SEEN ALL", Or(SEEN, All())),
        (b"OR SEEN NOT ALL", Or(SEEN, Not(All()))),
        (b"OR (SEEN ALL) (RECENT)", Or(And((SEEN, All())), Recent())),
        (b"OR OR SEEN ALL RECENT", Or(Or(SEEN, All()), Recent())),
        (b"((SEEN))", SEEN),
        (b"UNSEEN NOT DELETED", And((Not(SEEN), Not(HasFlag(b"\\Deleted"))))),
        (b"UID 1:* SINCE 1-Jan-2024 SMALLER 5",
         And((UidSet(Runs(((1, 0),))), DateIs(When.SINCE, (2024, 1, 1)), Smaller(5)))),
        (b"ALL ", All()),
        # imaplib's `search(None, '(UNSEEN)')`, offlineimap's and K-9's
        (b"(UNSEEN)", Not(SEEN)),
        (b"(UID 5:* SINCE 1-Jan-2024)", And((UidSet(Runs(((5, 0),))), DateIs(When.SINCE, (2024, 1, 1))))),
        (b"1:50 NOT DELETED", And((SeqSet(Runs(((1, 50),))), Not(HasFlag(b"\\Deleted"))))),
    ],
)  # fmt: skip
def test_key(text: bytes, key: SearchKey) -> None:
    assert search(text) == Search(b"a", False, key)
    uid = parse(Frame((b"a UID SEARCH " + text,)))
    assert uid == Search(b"a", True, key)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"FOO", b"ALL  SEEN", b"ALLSEEN", b"(", b"()", b"(ALL", b"ALL)", b"( ALL)", b"(ALL )", b"NOT",
        b"NOT ",
        b"OR ALL", b"OR ALL ", b"OR", b"OR(ALL)(ALL)", b"FROM", b'FROM "x', b"FROM (x)", b"FROM {3}",
        b"KEYWORD",
        b"KEYWORD \\Seen", b'KEYWORD "x"', b"HEADER x", b"SINCE", b"SINCE 31-Feb-2020", b"SINCE yesterday",
        b"SINCE 1-Jan-20", b'SINCE "1-Jan-2020', b"LARGER", b"LARGER x", b"LARGER -1",
        b"LARGER 9223372036854775808",
        b"UID", b"UID x", b"UID 0", b"0", b"1:0", b"MODSEQ", b"MODSEQ x", b'MODSEQ "/flags/x" some 5',
        b'MODSEQ "/flags/x" 5', b"YOUNGER 0", b"OLDER -1", b"$,1", b"1,$", b"UID $:*",
        b"CHARSET", b"CHARSET UTF-8", b"CHARSET UTF-8 ",
        b"RETURN", b"RETURN ALL", b"RETURN (ALL)", b"RETURN (FOO) ALL", b"RETURN (MIN ALL",
        b"RETURN (SAVE)", b"RETURN (PARTIAL) ALL", b"RETURN (PARTIAL 1:2 ALL) ALL", b"RETURN (PARTIAL 1) ALL",
        b"RETURN (PARTIAL 1:2 PARTIAL 1:2) ALL", b"RETURN (PARTIAL 1:-2) ALL", b"RETURN ( MIN) ALL",
        b"RETURN (MIN)ALL", b"CHARSET UTF-8 RETURN (MIN) ALL", b"UNRECENT", b"UNALL", b"SENT 1-Jan-2020",
    ],
)  # fmt: skip
def test_bad(text: bytes) -> None:
    with pytest.raises(BadCommand):
        search(text)


def test_return_options() -> None:
    assert search(b"RETURN (MIN max Count MIN) ALL").returns == (b"MIN", b"MAX", b"COUNT")
    assert search(b"RETURN () CHARSET UTF-8 ALL").returns == (b"ALL",)
    assert search(b"ALL").returns is None


# -- charsets --


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"UTF-8", "Grüße"), (b'"utf-8"', "日本"), (b"iso-8859-1", "Grüße"), (b"ISO-8859-15", "€"),
        (b"windows-1252", "„x“"),
        (b"KOI8-R", "привет"), (b"ISO-2022-JP", "日本語"), (b"Shift_JIS", "日本語"), (b"EUC-KR", "안녕"),
        (b"GB2312", "你好"), (b"Big5", "你好"), (b"us-ascii", "plain"),
    ],
)  # fmt: skip
def test_strings_are_decoded_by_the_charset(name: bytes, text: str) -> None:
    data = text.encode(charset.codec(name.strip(b'"')))
    command = search(b"CHARSET " + name + b" SUBJECT {%d+}" % len(data), data, b"")
    assert command.key == Contains(Field.SUBJECT, text)


def test_a_charset_name_may_be_a_literal_and_covers_every_string() -> None:
    command = search(b"CHARSET {10}", b"ISO-8859-1", b" OR FROM {1}", b"\xe4", b' HEADER X "\xfc"')
    assert command.key == Or(Contains(Field.FROM, "ä"), HeaderContains(b"X", "ü"))


def test_without_a_charset_strings_are_utf8() -> None:
    assert search('SUBJECT "ü"'.encode()).key == Contains(Field.SUBJECT, "ü")


@pytest.mark.parametrize(
    "name", [b"KLINGON", b"base64", b"rot13", b"idna", b"utf-7", b"unicode_escape", b'""', b'"\xff"']
)
def test_an_unknown_charset_is_a_no_with_those_known(name: bytes) -> None:
    with pytest.raises(BadCharset) as caught:
        search(b"CHARSET " + name + b" SUBJECT x")
    assert caught.value.code == b"BADCHARSET (US-ASCII UTF-8)"


def test_every_announced_or_listed_charset_is_one_of_python() -> None:
    for name in (*charset.ANNOUNCED, *(name.encode() for name in charset._CODECS)):
        assert charset.decode(b"plain", charset.codec(name)) == "plain"


def test_text_that_is_not_in_its_charset() -> None:
    for text in (
        b'SUBJECT "\xff"',
        b'CHARSET US-ASCII SUBJECT "\xff"',
        b'CHARSET ISO-2022-JP SUBJECT "\xff"',
    ):
        with pytest.raises(BadCommand):
            search(text)


# -- bounds --


def depth(key: SearchKey) -> int:
    match key:
        case Or(left, right):
            return 1 + max(depth(left), depth(right))
        case And(keys):
            return 1 + max(map(depth, keys))
        case Not(inner):
            return 1 + depth(inner)
    return 1


def test_a_chain_of_ors_becomes_a_shallow_tree() -> None:
    text = b"OR " + b" OR ".join(b"FROM %d" % n for n in range(400)) + b" TO x"
    key = search(text).key
    assert depth(key) <= 10
    leaves: list[str] = []

    def walk(at: SearchKey) -> None:
        if isinstance(at, Or):
            walk(at.left)
            walk(at.right)
        else:
            assert isinstance(at, Contains)
            leaves.append(at.text)

    walk(key)
    assert leaves == [str(n) for n in range(400)] + ["x"]


def test_nesting_has_a_limit() -> None:
    search(b"(" * 32 + b"ALL" + b")" * 32)
    search(b"NOT " * 100 + b"ALL")
    for text in (
        b"(" * 33 + b"ALL" + b")" * 33,
        b"NOT " * 101 + b"ALL",
        b"OR " * 101 + b"ALL " * 101 + b"ALL",
    ):
        with pytest.raises(LimitReached):
            search(text)


def test_keys_have_a_limit() -> None:
    limits = Limits(search_keys=5)
    search(b"ALL ALL ALL ALL ALL", limits=limits)
    for text in (b"ALL " * 5 + b"ALL", b"(ALL ALL ALL ALL ALL)", b"OR ALL OR ALL ALL NOT ALL"):
        with pytest.raises(LimitReached):
            search(text, limits=limits)


# -- there and back --

sets = st.lists(st.integers(1, 2**32 - 1), min_size=1, max_size=4).map(Runs.of)
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)
atoms = st.text("abcXYZ$-", min_size=1, max_size=6).map(str.encode)
days = st.dates().map(lambda found: (found.year, found.month, found.day))
sizes = st.integers(0, 2**63 - 1)
leaves = st.one_of(
    st.just(All()),
    st.just(Recent()),
    st.sampled_from([b"\\Seen", b"\\Answered", b"\\Flagged", b"\\Deleted", b"\\Draft"]).map(HasFlag),
    atoms.map(HasFlag),
    st.builds(Contains, st.sampled_from(Field), texts),
    st.builds(HeaderContains, atoms, texts),
    st.builds(DateIs, st.sampled_from(When), days, st.booleans()),
    sizes.map(Larger),
    sizes.map(Smaller),
    sizes.map(ModSeqIs),
    sets.map(SeqSet),
    sets.map(UidSet),
)
trees = st.recursive(
    leaves,
    lambda inner: (
        inner.map(Not)
        | st.builds(Or, inner, inner)
        | st.lists(inner, min_size=2, max_size=3).map(lambda keys: And(tuple(keys)))
    ),
    max_leaves=8,
)


def format_key(key: SearchKey) -> bytes:
    match key:
        case All() | Recent():
            return type(key).__name__.upper().encode()
        case HasFlag(name):
            return name[1:].upper() if name.startswith(b"\\") else b"KEYWORD " + name
        case Contains(field, text):
            return field.value.encode() + b" " + encode.string(text.encode())
        case HeaderContains(name, text):
            return b"HEADER " + name + b" " + encode.string(text.encode())
        case DateIs(when, (year, month, day), sent):
            word = (b"SENT" if sent else b"") + when.value.encode()
            return b"%b %d-%b-%04d" % (word, day, MONTHS[month - 1], year)
        case Larger(octets) | Smaller(octets):
            return b"%b %d" % (type(key).__name__.upper().encode(), octets)
        case ModSeqIs(modseq):
            return b"MODSEQ %d" % modseq
        case SeqSet(ids):
            return ids.format()
        case UidSet(ids):
            return b"UID " + ids.format()
        case Not(inner):
            return b"NOT " + format_key(inner)
        case Or(left, right):  # the right side in parentheses: a chain would be balanced anew
            return b"OR " + format_key(left) + b" (" + format_key(right) + b")"
        case And(keys):
            return b"(" + b" ".join(map(format_key, keys)) + b")"


def cut(text: bytes) -> tuple[bytes, ...]:
    """The parts of a frame, of what `encode` has written with synchronizing literals."""
    parts: list[bytes] = []
    while b"}\r\n" in text:
        line, _, rest = text.partition(b"\r\n")
        size = int(line[line.rindex(b"{") + 1 : -1])
        parts += [line, rest[:size]]
        text = rest[size:]
    return (*parts, text)


@given(trees)
def test_a_tree_comes_back_as_it_was_written(key: SearchKey) -> None:
    assert search(*cut(format_key(key))).key == key

"""FETCH: macros, attributes, sections, partials and modifiers; there and back for any item."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import BadCommand, LimitReached
from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.core.runs import Runs
from gateway.mime.section import Section, SectionText
from gateway.wire.command import Fetch
from gateway.wire.fetchatt import Att, BodySection, FetchItem, Partial
from gateway.wire.framer import Frame
from gateway.wire.grammar import parse
from gateway.wire.grammar_fetch import parse_items

FAST = (Att.FLAGS, Att.INTERNALDATE, Att.RFC822_SIZE)


def fetch(rest: bytes, limits: Limits = DEFAULT_LIMITS) -> Fetch:
    command = parse(Frame((b"a UID FETCH 1:* " + rest,)), limits)
    assert isinstance(command, Fetch)
    return command


def peek(
    part: tuple[int, ...] = (),
    text: SectionText = SectionText.FULL,
    fields: tuple[bytes, ...] = (),
    partial: Partial | None = None,
) -> BodySection:
    return BodySection(Section(part, text, fields), partial, peek=True)


@pytest.mark.parametrize(
    ("rest", "items"),
    [
        (b"ALL", (*FAST, Att.ENVELOPE)),
        (b"fast", FAST),
        (b"Full", (*FAST, Att.ENVELOPE, Att.BODY)),
        (b"uid", (Att.UID,)),
        (b"(UID rfc822.size Flags)", (Att.UID, Att.RFC822_SIZE, Att.FLAGS)),
        (b"(FLAGS FLAGS)", (Att.FLAGS,)),
        (b"RFC822", (Att.RFC822,)),
        (b"(RFC822.HEADER RFC822.TEXT)", (Att.RFC822_HEADER, Att.RFC822_TEXT)),
        (b"BODY", (Att.BODY,)),
        (b"BODYSTRUCTURE", (Att.BODYSTRUCTURE,)),
        (b"(ENVELOPE MODSEQ EMAILID THREADID SAVEDATE)",
         (Att.ENVELOPE, Att.MODSEQ, Att.EMAILID, Att.THREADID, Att.SAVEDATE)),
        (b"PREVIEW", (Att.PREVIEW,)),
        (b"(PREVIEW (lazy) UID)", (Att.PREVIEW_LAZY, Att.UID)),
        (b"BODY[]", (BodySection(Section()),)),
        (b"body.peek[]", (peek(),)),
        (b"BODY.PEEK[]<65536.65536>", (peek(partial=Partial(65536, 65536)),)),
        (b"BODY[1.2.3]", (BodySection(Section((1, 2, 3))),)),
        (b"BODY.PEEK[1.2.mime]", (peek((1, 2), SectionText.MIME),)),
        (b"BODY.PEEK[4.1.HEADER]<0.1>", (peek((4, 1), SectionText.HEADER, partial=Partial(0, 1)),)),
        (b"BODY.PEEK[TEXT]", (peek((), SectionText.TEXT),)),
        (b"BODY.PEEK[2.TEXT]", (peek((2,), SectionText.TEXT),)),
        (b"BODY.PEEK[HEADER.FIELDS (From x-TO)]", (peek((), SectionText.HEADER_FIELDS, (b"From", b"x-TO")),)),
        (b'BODY.PEEK[header.fields.not ("From" To)]<0.512>',
         (peek((), SectionText.HEADER_FIELDS_NOT, (b"From", b"To"), Partial(0, 512)),)),
        (b"BODY.PEEK[1.HEADER.FIELDS (To)]", (peek((1,), SectionText.HEADER_FIELDS, (b"To",)),)),
        # as K-9, mutt and getmail send it
        (b"(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (date subject from)])",
         (Att.UID, Att.FLAGS, Att.INTERNALDATE, Att.RFC822_SIZE,
          peek((), SectionText.HEADER_FIELDS, (b"date", b"subject", b"from")))),
    ],
)  # fmt: skip
def test_items(rest: bytes, items: tuple[FetchItem, ...]) -> None:
    assert fetch(rest) == Fetch(b"a", True, Runs(((1, 0),)), items)
    assert parse_items(rest) == items


@pytest.mark.parametrize(
    "rest",
    [
        b"", b"()", b"(", b"FOO", b"(FLAGS FOO)", b"(ALL)", b"ALL FLAGS", b"FLAGS UID", b"(FLAGS  UID)",
        b"( FLAGS)",
        b"(FLAGS )", b"(FLAGS", b"FLAGS)", b"(FLAGS))", b"((FLAGS))", b"RFC822.FOO", b"RFC822.PEEK",
        b"BODY.PEEK",
        b"BODYSTRUCTURE[]", b"UID[]", b"RFC822[]", b"BODY[", b"BODY[]]", b"BODY[FOO]", b"BODY[1.FOO]",
        b"BODY[MIME]",
        b"BODY[0]", b"BODY[1.0]", b"BODY[01]", b"BODY[1.]", b"BODY[.1]", b"BODY[1..2]", b"BODY[1TEXT]",
        b"BODY[TEXT.1]", b"BODY[4294967296]", b"BODY[HEADER.FIELDS]", b"BODY[HEADER.FIELDS ()]",
        b"BODY[HEADER.FIELDS (a]", b"BODY[HEADER.FIELDS (a b)", b"BODY[HEADER.FIELDS(a)]",
        b"BODY[HEADER.FIELDS a]",
        b'BODY[HEADER.FIELDS ("a b")]', b'BODY[HEADER.FIELDS ("")]', b'BODY[HEADER.FIELDS ("a) {5}")]',
        b"BODY[HEADER (a)]", b"BODY[]<0>", b"BODY[]<0.0>", b"BODY[]<0.1", b"BODY[]<-1.5>", b"BODY[]<a.b>",
        b"BODY[]<9223372036854775808.1>", b"BODY[] <0.1>", b"BODY []",
        b"PREVIEW (FAST)", b"PREVIEW ()", b"(PREVIEW (LAZY FAST))", b"PREVIEW(LAZY)",
        b"BINARY", b"BINARY[1", b"BINARY[1.TEXT]", b"BINARY[HEADER]", b"BINARY[0]", b"BINARY.MIME[1]",
        b"BINARY.SIZE", b"BINARY.SIZE[1]<0.1>", b"BINARY.PEEK[1]<0.0>",
        b"FLAGS (PARTIAL)", b"FLAGS (PARTIAL 1)", b"FLAGS (PARTIAL 0:1)", b"FLAGS (PARTIAL 1:*)",
        b"FLAGS (PARTIAL -1:1)",
        b"FLAGS (PARTIAL 1:-1)", b"FLAGS (PARTIAL 1:2 PARTIAL 1:2)", b"FLAGS (PARTIAL 1:4294967296)",
        b"FLAGS ()", b"FLAGS (FOO)", b"FLAGS (CHANGEDSINCE)", b"FLAGS (CHANGEDSINCE x)", b"FLAGS (VANISHED)",
        b"FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 2)", b"FLAGS (CHANGEDSINCE 1 VANISHED VANISHED)",
        b"FLAGS (CHANGEDSINCE 9223372036854775808)", b"FLAGS (CHANGEDSINCE 1", b"FLAGS(CHANGEDSINCE 1)",
    ],
)  # fmt: skip
def test_bad(rest: bytes) -> None:
    for _ in range(2):  # what is remembered is never an error
        with pytest.raises(BadCommand):
            fetch(rest)


def test_an_unknown_item_is_named() -> None:
    with pytest.raises(BadCommand, match=r"X-GM-MSGID|Unknown FETCH item X"):
        fetch(b"(FLAGS X)")


def test_modifiers() -> None:
    command = fetch(b"(FLAGS) (CHANGEDSINCE 0)")
    assert (command.changed_since, command.vanished) == (0, False)
    command = fetch(b"FAST (vanished changedsince 9223372036854775807)")
    assert (command.changed_since, command.vanished) == (2**63 - 1, True)


def test_vanished_is_for_uid_fetch_only() -> None:
    with pytest.raises(BadCommand):
        parse(Frame((b"a FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)",)))


def test_field_names_may_be_literals() -> None:
    frame = Frame((b"a FETCH 1 BODY[HEADER.FIELDS ({4+}", b"From", b" {2}", b"To", b")] (CHANGEDSINCE 5)"))
    command = parse(frame)
    assert isinstance(command, Fetch)
    assert command.items == (BodySection(Section((), SectionText.HEADER_FIELDS, (b"From", b"To"))),)
    assert command.changed_since == 5


def test_a_field_name_that_would_break_the_answer_is_refused() -> None:
    frame = Frame((b"a FETCH 1 BODY[HEADER.FIELDS ({12+}", b"a)]\r\nz OK x\r", b")]"))
    with pytest.raises(BadCommand):
        parse(frame)


def test_limits_count_even_for_what_is_remembered() -> None:
    fetch(b"(FLAGS UID ENVELOPE)")
    with pytest.raises(LimitReached):
        fetch(b"(FLAGS UID ENVELOPE)", Limits(list_items=2))
    fetch(b"BODY[1.2.3]")
    with pytest.raises(LimitReached):
        fetch(b"BODY[1.2.3]", Limits(mime_depth=2))


def test_a_list_longer_than_what_is_remembered_is_read_all_the_same() -> None:
    names = b" ".join(b"X-%d" % n for n in range(1000))
    items = fetch(b"(BODY.PEEK[HEADER.FIELDS (" + names + b")])").items
    assert isinstance(items[0], BodySection)
    assert items[0].section.fields == tuple(names.split(b" "))


# -- there and back --

field_names = st.text("abcXYZ-0123456789", min_size=1, max_size=12).map(str.encode)
parts = st.lists(st.integers(1, 2**32 - 1), max_size=4).map(tuple)
partials = st.none() | st.builds(Partial, st.integers(0, 2**63 - 1), st.integers(1, 2**63 - 1))
plain_texts = st.sampled_from([SectionText.FULL, SectionText.HEADER, SectionText.TEXT])
sections = (
    st.builds(Section, parts, plain_texts)
    | st.builds(Section, parts.filter(bool), st.just(SectionText.MIME))
    | st.builds(
        Section,
        parts,
        st.sampled_from([SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT]),
        st.lists(field_names, min_size=1, max_size=4).map(tuple),
    )
)
items = st.sampled_from(Att) | st.builds(BodySection, sections, partials, st.booleans())


def format_item(item: FetchItem) -> bytes:
    if isinstance(item, Att):
        return item.value.encode()
    partial = b"<%d.%d>" % (item.partial.offset, item.partial.count) if item.partial else b""
    return b"BODY%b[%b]%b" % (b".PEEK" if item.peek else b"", item.section.format(), partial)


@given(st.lists(items, min_size=1, max_size=5, unique=True))
def test_items_come_back_as_they_were_written(wanted: list[FetchItem]) -> None:
    assert fetch(b"(" + b" ".join(map(format_item, wanted)) + b")").items == tuple(wanted)

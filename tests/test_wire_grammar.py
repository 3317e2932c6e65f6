"""Every command: what is sent, the value it becomes, and what is refused (RFC 9051 section 9)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import BadCommand, GatewayError, LimitReached
from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.core.runs import Runs
from gateway.core.types import FlagChange, FlagOp, Flags, ModSeq, SystemFlag
from gateway.wire.command import (
    Authenticate,
    Capability,
    Check,
    Close,
    Command,
    Copy,
    Create,
    Delete,
    Enable,
    Examine,
    Expunge,
    Id,
    Idle,
    List,
    Login,
    Logout,
    Lsub,
    Move,
    Namespace,
    Noop,
    Rename,
    Select,
    StartTls,
    Status,
    Store,
    Subscribe,
    UidExpunge,
    Unselect,
    Unsubscribe,
)
from gateway.wire.framer import Continue, Frame, Framer
from gateway.wire.grammar import parse

SEEN = Flags(SystemFlag.SEEN)
ONE = Runs(((1, 1),))


def read(text: bytes, *, utf8: bool = False, limits: Limits = DEFAULT_LIMITS) -> Command:
    """One command as a client sends it, literals (`{n+}`) included."""
    framer = Framer(limits, authenticated=True)
    framer.feed(text + b"\r\n")
    frame = framer.next_event()
    if isinstance(frame, Continue):
        raise BadCommand("The literal never came")
    assert isinstance(frame, Frame), frame
    return parse(frame, limits, utf8=utf8)


def store(
    op: FlagOp,
    flags: Flags,
    *,
    silent: bool = False,
    by_uid: bool = False,
    since: int | None = None,
    ids: Runs = ONE,
) -> Store:
    return Store(b"a", by_uid, ids, FlagChange(op, flags, None if since is None else ModSeq(since)), silent)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        # any state
        (b"a CAPABILITY", Capability(b"a")),
        (b"a noop", Noop(b"a")),
        (b"a.1-]/ Logout", Logout(b"a.1-]/")),
        (b"a ID NIL", Id(b"a", ())),
        (b"a id nil", Id(b"a", ())),
        (b"a ID ()", Id(b"a", ())),
        (b'a ID ("name" "mutt" "os" NIL)', Id(b"a", ((b"name", b"mutt"), (b"os", None)))),
        (b'a ID ("name" {4+}\r\nmutt)', Id(b"a", ((b"name", b"mutt"),))),
        # not authenticated
        (b"a STARTTLS", StartTls(b"a")),
        (b"a AUTHENTICATE plain", Authenticate(b"a", b"PLAIN", None)),
        (b"a AUTHENTICATE PLAIN =", Authenticate(b"a", b"PLAIN", b"=")),
        (b"a authenticate XOAUTH2 dXNlcj0=", Authenticate(b"a", b"XOAUTH2", b"dXNlcj0=")),
        (b"a LOGIN joe pass", Login(b"a", b"joe", b"pass")),
        (b'a LOGIN "joe@example.com" "p \\"a\\\\s"', Login(b"a", b"joe@example.com", b'p "a\\s')),
        (b'a LOGIN {3+}\r\njoe {6+}\r\np\r\n"a(', Login(b"a", b"joe", b'p\r\n"a(')),
        (b'a LOGIN joe ""', Login(b"a", b"joe", b"")),
        ('a LOGIN joe "pä"'.encode(), Login(b"a", b"joe", "pä".encode())),
        (b"a LOGIN a]b+c NIL", Login(b"a", b"a]b+c", b"NIL")),
        # authenticated
        (b"a ENABLE condstore QRESYNC CONDSTORE", Enable(b"a", (b"CONDSTORE", b"QRESYNC"))),
        (b"a ENABLE UTF8=ACCEPT", Enable(b"a", (b"UTF8=ACCEPT",))),
        (b"a SELECT inbox", Select(b"a", "INBOX")),
        (b'a SELECT "InBox/x"', Select(b"a", "INBOX/x")),
        (b"a SELECT {5+}\r\ninbox", Select(b"a", "INBOX")),
        (b"a SELECT &AAo-", Select(b"a", "\n")),  # in the grammar; no mailbox is called so
        (b'a SELECT "a\tb"', Select(b"a", "a\tb")),
        (b"a SELECT {3+}\r\na\nb", Select(b"a", "a\nb")),
        (b'a SELECT "INBOX" (CONDSTORE)', Select(b"a", "INBOX", condstore=True)),
        (b"a SELECT inboxes (condstore)", Select(b"a", "inboxes", condstore=True)),
        (b"a EXAMINE Entw&APw-rfe", Examine(b"a", "Entwürfe")),
        ('a EXAMINE "Entwürfe"'.encode(), Examine(b"a", "Entwürfe")),
        (b"a CREATE a/b", Create(b"a", "a/b")),
        (b"a CREATE a/b/", Create(b"a", "a/b")),
        (b"a DELETE &-", Delete(b"a", "&")),
        (b'a RENAME a "b c"', Rename(b"a", "a", "b c")),
        (b"a RENAME {1+}\r\na {1+}\r\nb", Rename(b"a", "a", "b")),
        (b"a SUBSCRIBE x", Subscribe(b"a", "x")),
        (b"a UNSUBSCRIBE x", Unsubscribe(b"a", "x")),
        (b"a NAMESPACE", Namespace(b"a")),
        (b"a STATUS x (messages UNSEEN Messages)", Status(b"a", "x", (b"MESSAGES", b"UNSEEN"))),
        (
            b"a STATUS x (UIDNEXT UIDVALIDITY UNSEEN RECENT MESSAGES)",
            Status(b"a", "x", (b"UIDNEXT", b"UIDVALIDITY", b"UNSEEN", b"RECENT", b"MESSAGES")),
        ),
        (b"a IDLE", Idle(b"a")),
        # LIST
        (b'a LIST "" *', List(b"a", "", ("*",))),
        (b'a LIST "" ""', List(b"a", "", ("",))),
        (b"a list ~/Mail/ %", List(b"a", "~/Mail/", ("%",))),
        (b'a LIST "" {3+}\r\na*%', List(b"a", "", ("a*%",))),
        (b'a LIST "" Entw&APw-*', List(b"a", "", ("Entwü*",))),
        (
            b'a LIST (SUBSCRIBED) "" "*" RETURN (SPECIAL-USE)',
            List(b"a", "", ("*",), (b"SUBSCRIBED",), (b"SPECIAL-USE",), extended=True),
        ),
        (b'a LIST () "" "*"', List(b"a", "", ("*",), extended=True)),
        (b'a LIST "" "*" RETURN ()', List(b"a", "", ("*",), extended=True)),
        (b'a LIST "" ("INBOX" "Sent/%")', List(b"a", "", ("INBOX", "Sent/%"), extended=True)),
        (
            b'a LIST "" "*" RETURN (SPECIAL-USE STATUS (UNSEEN messages) children)',
            List(
                b"a",
                "",
                ("*",),
                (),
                (b"SPECIAL-USE", b"STATUS", b"CHILDREN"),
                (b"UNSEEN", b"MESSAGES"),
                extended=True,
            ),
        ),
        (
            b'a LIST (recursivematch SUBSCRIBED REMOTE) "" %',
            List(b"a", "", ("%",), (b"RECURSIVEMATCH", b"SUBSCRIBED", b"REMOTE"), extended=True),
        ),
        (b'a LSUB "" "*"', Lsub(b"a", "", "*")),
        # selected
        (b"a CHECK", Check(b"a")),
        (b"a CLOSE", Close(b"a")),
        (b"a UNSELECT", Unselect(b"a")),
        (b"a EXPUNGE", Expunge(b"a")),
        (b"a UID EXPUNGE 3:5,9", UidExpunge(b"a", Runs(((3, 5), (9, 9))))),
        (b"a COPY 2:4 x", Copy(b"a", False, Runs(((2, 4),)), "x")),
        (b"a uid copy *:3 {1+}\r\nx", Copy(b"a", True, Runs(((3, 0),)), "x")),
        (b"a MOVE 1 x", Move(b"a", False, ONE, "x")),
        (b'a UID MOVE 1 "x"', Move(b"a", True, ONE, "x")),
        (b"a STORE 1 FLAGS (\\Seen)", store(FlagOp.REPLACE, SEEN)),
        (b"a STORE 1 FLAGS ()", store(FlagOp.REPLACE, Flags())),
        (b"a STORE 1 +FLAGS \\Seen", store(FlagOp.ADD, SEEN)),
        (
            b"a STORE 1 -flags.silent \\seen \\Deleted $Forwarded work",
            store(
                FlagOp.REMOVE,
                Flags(SystemFlag.SEEN | SystemFlag.DELETED, frozenset([b"$Forwarded", b"work"])),
                silent=True,
            ),
        ),
        (
            b"a UID STORE 1 (UNCHANGEDSINCE 9223372036854775807) +FLAGS.SILENT (\\Seen)",
            store(FlagOp.ADD, SEEN, silent=True, by_uid=True, since=2**63 - 1),
        ),
        (b"a STORE 1 +FLAGS (\\Seen \\Recent \\Junk)", store(FlagOp.ADD, SEEN)),
        (b"a STORE 5,1:3,2:* FLAGS x", store(FlagOp.REPLACE, Flags.of([b"x"]), ids=Runs(((1, 0),)))),
        # spaces at the line's end, as some scripts send them
        (b"a NOOP ", Noop(b"a")),
        (b"a ENABLE X  ", Enable(b"a", (b"X",))),
        (b"a STORE 1 FLAGS \\Seen ", store(FlagOp.REPLACE, SEEN)),
        (b'a LIST "" * ', List(b"a", "", ("*",))),
        (b"a LOGIN a b ", Login(b"a", b"a", b"b")),
        (b"a AUTHENTICATE PLAIN ", Authenticate(b"a", b"PLAIN", None)),
    ],
)
def test_command(text: bytes, command: Command) -> None:
    assert read(text) == command


BAD = [
    b"", b"a", b"a ", b" a NOOP", b"a  NOOP", b"+ NOOP", b"a+ NOOP", b"a FOO", b"a NOOP x", b"a NOOP\0",
    b"a NOOP\r", b"\xff\xfe NOOP", b"a NO\xffOP", b"a NOOPX", b"GET / HTTP/1.1", b"EHLO x",
    b"\x16\x03\x01 x", b"a ID", b"a ID x", b"a ID (x y)", b'a ID ("x")', b'a ID ("x" "y"',
    b'a ID ("x" "y" "z")', b'a ID "x"', b"a LOGIN", b"a LOGIN joe", b"a LOGIN joe pass more",
    b"a LOGIN joe pa(ss", b'a LOGIN joe "pass', b'a LOGIN joe"x" y', b'a LOGIN joe "p\\ass"',
    b"a LOGIN joe {4}", b"a LOGIN  joe pass", b"a LOGIN joe p\xc3\xa4", b"a LOGIN (((((((((((((((",
    b"a LOGIN {3+}\r\na\0b c", b"a LOGIN ~{3+}\r\nabc c", b"a LOGIN {3+}\r\nabcd", b'a LOGIN joe "a\rb"',
    b"a AUTHENTICATE", b"a AUTHENTICATE PLAIN !!!!", b"a AUTHENTICATE PLAIN AAA",
    b"a AUTHENTICATE PLAIN ==", b"a AUTHENTICATE PLAIN AA==BB", b"a STARTTLS x", b"a ENABLE",
    b"a ENABLE (X)", b"a SELECT", b"a SELECT a b", b"a SELECT x (FOO)", b"a SELECT x ()",
    b"a SELECT x (CONDSTORE", b"a SELECT (x)", b"a SELECT %", b"a SELECT a*", b"a SELECT AT&T",
    b"a SELECT &AGE-", b'a SELECT "\xff"',
    b"a SELECT x(CONDSTORE)", b"a SELECT x  (CONDSTORE)", b"a STATUS x", b"a STATUS x ()",
    b"a STATUS x (FOO)", b"a STATUS x MESSAGES", b"a STATUS x (MESSAGES", b"a RENAME x", b"a CREATE",
    b"a DELETE a b", b"a LIST", b'a LIST ""', b'a LIST "" ()', b'a LIST (FOO) "" *',
    b'a LIST (RECURSIVEMATCH) "" *', b'a LIST (RECURSIVEMATCH REMOTE) "" *', b'a LIST "" * RETURN',
    b'a LIST "" * RETURN (FOO)', b'a LIST "" * FOO', b'a LIST "" * RETURN (STATUS)',
    b'a LIST "" * RETURN (STATUS ())', b'a LIST "" * RETURN (CHILDREN', b'a LSUB ""', b'a LIST "" (a (b))',
    b'a LIST "" * RETURN (CHILDREN) x', b"a UID", b"a UID NOOP", b"a UID EXPUNGE", b"a EXPUNGE 1",
    b"a UID UID FETCH 1 FLAGS", b"a COPY 1", b"a COPY x y", b"a MOVE 0 x", b"a COPY 1:0 x", b"a COPY 01 x",
    b"a COPY 1: x", b"a COPY :1 x", b"a COPY 1,,2 x", b"a COPY , x", b"a COPY 1,2, x", b"a COPY 1:2:3 x",
    b"a COPY ** x", b"a COPY 4294967296 x", b"a COPY 99999999999 x", b"a COPY -1 x",
    b"a COPY $,1 x", b"a COPY 1,$ x", b"a STORE $:* FLAGS x",
    b"a COPY 1 2 x", b"a STORE", b"a STORE 1", b"a STORE 1 FLAGS", b"a STORE 1 *FLAGS (x)",
    b"a STORE 1 FLAGS (\\Seen", b"a STORE 1 FLAGS (\\*)", b"a STORE 1 FLAGS (\\)", b"a STORE 1 FLAGS ((x))",
    b"a STORE 1 FLAGS.LOUD (x)", b"a STORE 1 FLAGS (x) y", b"a STORE 1 FLAGS ( x)", b"a STORE 1 FLAGS (x )",
    b"a STORE 1 FLAGS (x  y)", b'a STORE 1 FLAGS ("x")', b"a STORE 1 FLAGS (a]b)",
    b"a STORE 1 (FOO 1) FLAGS (x)", b"a STORE 1 (UNCHANGEDSINCE) FLAGS (x)",
    b"a STORE 1 (UNCHANGEDSINCE 9223372036854775808) FLAGS x", b"a STORE 1 () FLAGS (x)",
    b"a STORE 1 (UNCHANGEDSINCE 5)FLAGS (x)", b"a APPEND x", b"a APPEND x hello", b"a APPEND x (\\Seen)",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_bad(text: bytes) -> None:
    with pytest.raises(BadCommand):
        read(text)


@pytest.mark.parametrize("text", BAD)
def test_the_text_of_an_error_is_for_the_client(text: bytes) -> None:
    """It is short, printable, and holds nothing of a LOGIN."""
    with pytest.raises(BadCommand) as caught:
        read(text)
    message = str(caught.value)
    assert message.isprintable() and message.isascii() and 5 < len(message) < 100
    assert "joe" not in message and "pass" not in message


# -- UTF-8 mailbox names --


def test_after_enable_names_are_utf8_and_an_ampersand_is_one() -> None:
    assert read(b"a SELECT AT&T", utf8=True) == Select(b"a", "AT&T")
    assert read('a SELECT "Entwürfe & so"'.encode(), utf8=True) == Select(b"a", "Entwürfe & so")
    with pytest.raises(BadCommand):
        read(b'a SELECT "\xe9"', utf8=True)


# -- bounds --


@pytest.mark.parametrize(
    "text",
    [
        b"a SELECT " + b"x" * 1025,
        b"a SELECT " + b"/".join([b"x"] * 52),
        b"a STORE 1 FLAGS (" + b" ".join(b"k%d" % n for n in range(101)) + b")",
        b"a STORE 1 FLAGS (" + b"k" * 3073 + b")",
        b"a COPY " + b",".join([b"1"] * 20_001) + b" x",
        b'a LIST "" (' + b" ".join([b"x"] * 101) + b")",
    ],
)
def test_beyond_a_limit_is_a_no_not_a_bad(text: bytes) -> None:
    with pytest.raises(LimitReached):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        b"a SELECT " + b"x" * 1024,
        b"a STORE 1 FLAGS (" + b" ".join(b"k%d" % n for n in range(100)) + b")",
        b"a COPY " + b",".join([b"1"] * 20_000) + b" x",
        b"a STORE 1 FLAGS" + b" \\Seen" * 9_000,
    ],
)
def test_up_to_the_limit_is_fine(text: bytes) -> None:
    read(text)


def test_too_many_fields_of_an_id() -> None:
    with pytest.raises(BadCommand):
        read(b"a ID (" + b" ".join([b'"x" "y"'] * 31) + b")")


# -- hostile input --

FLOODS = [
    b"a LOGIN " + b"(" * 60_000,
    b"a LOGIN " + b'"' + b'\\"' * 30_000,
    b"a LIST " + b"(" * 60_000,
    b"a FETCH 1 " + b"(" * 60_000,
    b"a FETCH 1 (" + b"FLAGS " * 10_000,
    b"a FETCH 1 BODY[" + b"1." * 30_000,
    b"a FETCH 1 BODY[HEADER.FIELDS (" + b"x " * 30_000,
    b"a SEARCH " + b"(" * 60_000,
    b"a SEARCH " + b"NOT " * 15_000 + b"ALL",
    b"a SEARCH " + b"OR " * 20_000 + b"ALL",
    b"a SEARCH " + b"OR ALL " * 9_000 + b"ALL",
    b"a SEARCH " + b"(" * 30_000 + b"ALL" + b")" * 30_000,
    b"a COPY " + b"1," * 30_000,
    b"a COPY " + b"9" * 60_000 + b" x",
    b"a SELECT " + b"&" * 60_000,
    b"a SELECT " + b"&AOQ-" * 12_000,
    b"a SELECT " + b"/" * 60_000,
    b"a ID (" + b'"x" ' * 15_000,
    b"a UID " * 10_000,
    b"a AUTHENTICATE PLAIN " + b"A" * 60_001,
    b"a" * 60_000,
    b" " * 60_000,
    b"a NOOP" + b" " * 60_000 + b"x",
    b'a STATUS x ("' + b"\\" * 60_000,
    b"a SEARCH LARGER " + b"9" * 60_000,
]


@pytest.mark.parametrize("text", FLOODS, ids=lambda text: text[:20].decode())
def test_floods_end_in_a_documented_error_and_soon(text: bytes) -> None:
    begin = time.process_time()
    with pytest.raises(GatewayError):
        read(text)
    assert time.process_time() - begin < 0.5


@given(st.binary(max_size=60))
def test_any_line_is_a_command_or_a_documented_error(line: bytes) -> None:
    for text in (line, b"a " + line):
        try:
            parse(Frame((text,)))
        except (BadCommand, LimitReached):
            pass


# -- the mailbox names of commands come back from the encoder --


@given(st.lists(st.integers(1, 2**32 - 1) | st.just(0), min_size=1, max_size=6))
def test_sequence_sets_round_trip(bounds: list[int]) -> None:
    runs = Runs.merged(zip(bounds, bounds[1:] or bounds, strict=False))
    assert read(b"a UID EXPUNGE " + runs.format()) == UidExpunge(b"a", runs)

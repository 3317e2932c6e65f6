"""Every command survives any split of its octets, in every form of its strings: what is read of the pieces is what is
read of the whole, and what is read with literals is what is read with quoted strings."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire import grammar
from gateway.wire.command import Command
from gateway.wire.framer import Chunk, Continue, Event, Frame, Framer, LiteralHeader
from gateway.wire.grammar import parse
from gateway.wire.grammar_append import command_ends, parse_append, parse_next

# `<x>` is a string: quoted, or a literal of either kind.
COMMANDS = (
    "CAPABILITY", "NOOP", "LOGOUT", "STARTTLS", "NAMESPACE", "IDLE", "CHECK", "CLOSE", "UNSELECT", "EXPUNGE",
    "UNAUTHENTICATE", "ID NIL", "ID (<name> <x> <v> NIL)", "AUTHENTICATE PLAIN", "AUTHENTICATE PLAIN =",
    "AUTHENTICATE PLAIN AAAA", "LOGIN joe pass", "LOGIN <joe> <pa ss>", "ENABLE CONDSTORE UTF8=ACCEPT",
    "COMPRESS DEFLATE", "SELECT inbox", "SELECT <a b> (CONDSTORE)", "EXAMINE <a b>",
    "SELECT <x> (QRESYNC (67890007 90060115194045000 41,43:211))", "CREATE <a b>", "CREATE x (USE (\\Drafts))",
    "DELETE <a b>", "RENAME <a> <b c>", "SUBSCRIBE <a b>", "UNSUBSCRIBE <a b>", "LIST <> *", "LIST <> <%>",
    "LIST (SUBSCRIBED) <> (<a> <b*>) RETURN (CHILDREN STATUS (MESSAGES UNSEEN))", "LSUB <> <*>",
    "STATUS <a b> (MESSAGES UIDNEXT)", "GETMETADATA <> /shared/comment", "GETMETADATA (DEPTH 1) <x> (/private/a)",
    "SETMETADATA <x> (/private/comment <v>)", "GETQUOTA <>", "GETQUOTAROOT <INBOX>", "SETQUOTA <> (STORAGE 5)",
    "ESEARCH IN (mailboxes <a>) SUBJECT <x>", "CANCELUPDATE <A1>", "NOTIFY NONE",
    "NOTIFY SET STATUS (mailboxes (<a b> c) (MessageNew MessageExpunge)) (subtree <x> (MailboxName))",
    "NOTIFY SET (selected (MessageNew (UID BODY.PEEK[HEADER.FIELDS (<To>)]) MessageExpunge FlagChange))",
    "FETCH 1:*,7 (FLAGS UID BODY.PEEK[1.HEADER.FIELDS (<To> Date)]<0.5>)", "FETCH 1 ALL", "FETCH 1 BINARY.SIZE[1]",
    "FETCH 2 FLAGS (CHANGEDSINCE 7)", "STORE 1 +FLAGS.SILENT (\\Seen a)", "STORE 1 FLAGS \\Seen b",
    "STORE 1 (UNCHANGEDSINCE 5) -FLAGS ()", "COPY 1:2 <a b>", "MOVE 1 <x>", "EXPUNGE", "UID EXPUNGE 1:4",
    "SEARCH CHARSET UTF-8 OR SUBJECT <x> (FROM <y z> NOT TEXT <q>)", "SEARCH RETURN (MIN MAX) HEADER <X-A> <b c>",
    "SORT (REVERSE DATE SUBJECT) UTF-8 TEXT <x>", "THREAD REFERENCES UTF-8 ALL",
    "APPEND x (\\Seen) !", "APPEND <a b> (\\Seen) \"17-Jul-1996 02:44:25 -0700\" !", "APPEND x ~! (a) ! ~!",
    "APPEND x UTF8 (~!) UTF8 (~!)", "REPLACE 4 <a b> (\\Draft) ~!", "REPLACE * x !",
    "UID FETCH 1 (FLAGS) (CHANGEDSINCE 5)", "UID STORE 1 FLAGS (a)", "UID COPY 1 <x>", "UID MOVE 1 <x>",
    "UID SEARCH BODY <x>", "UID SORT (ARRIVAL) UTF-8 ALL", "UID THREAD ORDEREDSUBJECT UTF-8 ALL",
    "UID REPLACE 4 <x> \"17-Jul-1996 02:44:25 -0700\" !",
)  # fmt: skip
STRING = re.compile(r"<(?!\d+\.)([^<>]*)>")
MESSAGE = b"a: \r\n\r\n{3+}\r\n"  # octets that look like anything else
FORMS = ("quoted", "{%d}", "{%d+}")


def octets(command: str, form: str) -> bytes:
    def string(found: re.Match[str]) -> str:
        size = len(found[1])
        return f'"{found[1]}"' if form == "quoted" else form % size + f"\r\n{found[1]}"

    text = STRING.sub(string, command).encode()
    plus = b"+" if form == "{%d+}" else b""
    return b"a " + text.replace(b"!", b"{%d%b}\r\n%b" % (len(MESSAGE), plus, MESSAGE)) + b"\r\n"


def read(pieces: list[bytes]) -> list[object]:
    """What a session would make of it."""
    framer, found = Framer(authenticated=True), list[object]()
    for piece in pieces:
        framer.feed(piece)
        while (event := framer.next_event()) is not None:
            _take(framer, event, found)
    return found


def _take(framer: Framer, event: Event, found: list[object]) -> None:
    last = found[-1] if found else None
    if isinstance(event, LiteralHeader):
        first = getattr(found[0], "first", None) if found else None
        found.append(parse_append(event) if first is None else parse_next(event, after=first))
        found.append(b"")
        framer.stream_literal()
    elif isinstance(event, Chunk) and isinstance(last, bytes):
        found[-1] = last + event.data
    elif isinstance(event, Frame):
        started = getattr(found[0], "first", None) if found else None
        found.append(parse(event) if started is None else command_ends(event.parts, started))
    else:
        assert isinstance(event, Continue)


def test_every_verb_is_here() -> None:
    verbs = {command.split()[0].encode() for command in COMMANDS}
    of_uid = {command.split()[1].encode() for command in COMMANDS if command.startswith("UID ")}
    assert verbs == set(grammar._COMMANDS) and of_uid == set(grammar._UID_COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_byte_by_byte_and_at_every_single_split(command: str) -> None:
    for form in FORMS:
        data = octets(command, form)
        whole = read([data])
        assert whole and isinstance(whole[0], Command)
        assert read([b"%c" % octet for octet in data]) == whole
        for at in range(1, len(data)):
            assert read([data[:at], data[at:]]) == whole


@pytest.mark.parametrize("command", [c for c in COMMANDS if STRING.search(c)])
def test_a_string_is_a_string_in_every_form(command: str) -> None:
    first, *others = (read([octets(command, form)]) for form in FORMS)
    assert all(other == first for other in others)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(COMMANDS), st.sampled_from(FORMS)), min_size=1, max_size=4), st.data()
)
def test_pipelined_and_cut_anywhere(commands: list[tuple[str, str]], draw: st.DataObject) -> None:
    data = b"".join(octets(*each) for each in commands)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert events(pieces) == events([data])


def events(pieces: list[bytes]) -> list[Event]:
    framer, found = Framer(authenticated=True), list[Event]()
    for piece in pieces:
        framer.feed(piece)
        while (event := framer.next_event()) is not None:
            if isinstance(event, Chunk) and isinstance(last := found[-1], Chunk) and not last.last:
                found[-1] = Chunk(last.data + event.data, event.last)
            else:
                found.append(event)
            if isinstance(event, LiteralHeader):
                framer.stream_literal()
    return found

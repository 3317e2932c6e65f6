"""APPEND and REPLACE, which stop at each message's literal (RFC 9051 section 6.3.12, RFC 3502, RFC 8508).

    APPEND mailbox 1*([SP flags] [SP date] SP data)
    [UID] REPLACE number mailbox [SP flags] [SP date] SP data
    data = literal / literal8 / "UTF8 (" literal8 ")"       RFC 3516 section 7, RFC 6855 section 4

The framer announces each literal (`LiteralHeader`). After a message's last Chunk comes another announcement,
for `parse_next`, or a Frame, for `command_ends`.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.errors import BadCommand
from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.core.types import Flags
from gateway.wire import dates
from gateway.wire.chars import LITERAL_HEADER
from gateway.wire.command import Announcement, AppendStart, Command, ReplaceStart
from gateway.wire.cursor import Cursor
from gateway.wire.frame import LiteralHeader, tag_of


def parse_append(
    header: LiteralHeader, limits: Limits = DEFAULT_LIMITS, *, utf8: bool = False
) -> AppendStart | ReplaceStart:
    """The command as far as its first message's literal. `utf8`: mailbox names are UTF-8 (after ENABLE).

    BadCommand where the text is not such a command, LimitReached for a name or keyword beyond limits.
    """
    tag = tag_of(header.parts[0])
    if tag is None:
        raise BadCommand("No tag")
    c = Cursor(header.parts, limits, utf8=utf8)
    c.pos = len(tag) + 1
    return _STARTS[c.known_word("a command", tuple(_STARTS))](c, tag, header)


def parse_next(
    header: LiteralHeader, limits: Limits = DEFAULT_LIMITS, *, after: Announcement
) -> Announcement:
    """Of APPEND, the message behind the one announced by `after` (RFC 3502). Errors as above."""
    c = Cursor(header.parts, limits)
    _close(c, after)
    return _announcement(c, header)


def command_ends(rest: tuple[bytes, ...], after: Announcement) -> None:
    """BadCommand unless these parts of a Frame end the command behind the message announced by `after`."""
    c = Cursor(rest, DEFAULT_LIMITS)
    _close(c, after)
    if len(rest) != 1 or rest[0][c.pos :].strip(b" "):
        raise BadCommand("Unexpected text after the message")


def _close(c: Cursor, after: Announcement) -> None:
    if after.utf8:
        c.expect(b")", "a closing parenthesis after the message")


def _append(c: Cursor, tag: bytes, header: LiteralHeader) -> AppendStart:
    c.space()
    return AppendStart(tag, c.mailbox(), _announcement(c, header))


def _replace(c: Cursor, tag: bytes, header: LiteralHeader, *, by_uid: bool = False) -> ReplaceStart:
    c.space()
    id = c.sequence_set()
    if len(id.ranges) != 1 or id.ranges[0][0] != id.ranges[0][1]:
        raise BadCommand("REPLACE takes one message")
    c.space()
    return ReplaceStart(tag, by_uid, id, c.mailbox(), _announcement(c, header))


def _uid(c: Cursor, tag: bytes, header: LiteralHeader) -> ReplaceStart:
    c.space()
    c.known_word("a command", (b"REPLACE",))
    return _replace(c, tag, header, by_uid=True)


_STARTS: dict[bytes, Callable[[Cursor, bytes, LiteralHeader], AppendStart | ReplaceStart]] = {
    b"APPEND": _append,
    b"REPLACE": _replace,
    b"UID": _uid,
}


# -- one message --


def _announcement(c: Cursor, header: LiteralHeader) -> Announcement:
    c.space()
    flags = _flags(c)
    epoch, zone = _date(c)
    utf8 = c.accept_word(b"UTF8")
    if utf8:
        c.expect(b" (", "an opening parenthesis")
    _literal(c, utf8=utf8)
    return Announcement(flags, epoch, header.size, zone, header.binary, utf8)


def _flags(c: Cursor) -> Flags:
    if not c.at(b"("):
        return Flags()
    flags = c.flags()
    c.space()
    return flags


def _date(c: Cursor) -> tuple[int | None, int]:
    if not c.at(b'"'):
        return None, 0
    try:
        found = dates.parse_date_time(c.string())
    except ValueError as error:
        raise BadCommand('Not a date-time, which is like "17-Jul-1996 02:44:25 -0700"') from error
    c.space()
    return found


def _literal(c: Cursor, *, utf8: bool) -> None:
    """The literal header that the framer stopped at, and nothing else, is left of the line."""
    found = LITERAL_HEADER.match(c.text, c.pos)
    if found is None or c.rest_of_line() is None:
        raise BadCommand("Expected the message as a literal")
    if utf8 and not found[1]:
        raise BadCommand("UTF8 takes a literal8")


def parse_without_message(c: Cursor, tag: bytes) -> Command:
    """A whole frame of such a command has no message, or came before login."""
    raise BadCommand("This command needs a login and its message as a literal")

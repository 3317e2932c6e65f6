"""A frame to a command value: the table of commands, and those too small for a module of their own.

`parse` is the only door. What it raises is documented there, and it raises nothing else, whatever the octets;
its time is linear in them. The grammar is RFC 9051 section 9 with what RFC 3501 has beside it. Keywords are
taken in any case, and every astring may be an atom, a quoted string (UTF-8 included) or a literal.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.errors import BadCommand
from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.core.types import FlagChange, FlagOp, ModSeq
from gateway.wire.chars import BASE64
from gateway.wire.command import (
    Authenticate,
    Capability,
    Check,
    Close,
    Command,
    Compress,
    Copy,
    Delete,
    Enable,
    Examine,
    Expunge,
    Id,
    Idle,
    Login,
    Logout,
    Move,
    Namespace,
    Noop,
    Select,
    StartTls,
    Store,
    Subscribe,
    UidExpunge,
    Unauthenticate,
    Unselect,
    Unsubscribe,
)
from gateway.wire.cursor import NUMBER64_MAX, Cursor
from gateway.wire.frame import Frame, tag_of
from gateway.wire.grammar_append import parse_without_message
from gateway.wire.grammar_fetch import parse_fetch
from gateway.wire.grammar_mailbox import (
    parse_create,
    parse_list,
    parse_lsub,
    parse_rename,
    parse_status,
)
from gateway.wire.grammar_metadata import (
    parse_getmetadata,
    parse_getquota,
    parse_getquotaroot,
    parse_setmetadata,
    parse_setquota,
)
from gateway.wire.grammar_notify import parse_notify
from gateway.wire.grammar_search import parse_search
from gateway.wire.grammar_select import parse_select
from gateway.wire.grammar_sort import parse_cancel_update, parse_esearch, parse_sort, parse_thread

Parser = Callable[[Cursor, bytes], Command]

ID_FIELDS = 30  # RFC 2971 section 3.3
STORE_ITEMS: dict[bytes, tuple[FlagOp, bool]] = {
    op.value.encode() + suffix: (op, bool(suffix)) for op in FlagOp for suffix in (b"", b".SILENT")
}


def parse(
    frame: Frame, limits: Limits = DEFAULT_LIMITS, *, utf8: bool = False, one_charset: bool = False
) -> Command:
    """The command that a frame holds. `utf8`: the client has enabled UTF-8 mailbox names; `one_charset`: UTF8=ACCEPT,
    after which SEARCH has no CHARSET.

    BadCommand for anything that is not a command of the grammar (tagged BAD, or `* BAD` where `tag_of` finds
    no tag); LimitReached (NO [LIMIT]) beyond a bound of `limits`; BadCharset (NO [BADCHARSET (...)]).
    """
    tag = tag_of(frame.line)
    if tag is None:
        raise BadCommand("No tag")
    c = Cursor(_without_last_spaces(frame.parts), limits, utf8=utf8, one_charset=one_charset)
    c.pos = len(tag)
    c.space()
    command = _parser(c, _COMMANDS)(c, tag)
    c.end()
    return command


def _without_last_spaces(parts: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Spaces before the line's end, which some scripts send, mean nothing."""
    return (*parts[:-1], parts[-1].rstrip(b" ")) if parts[-1].endswith(b" ") else parts


def _parser(c: Cursor, table: dict[bytes, tuple[Parser, bool]]) -> Parser:
    """The parser of the command that comes next, the cursor at its first argument."""
    found = table.get(c.word("a command"))
    if found is None:
        raise BadCommand("Unknown command")
    parser, has_arguments = found
    if has_arguments:
        c.space()
    return parser


# -- any state, not authenticated --


def _bare(cls: type[Command]) -> Parser:
    return lambda c, tag: cls(tag)


def _id(c: Cursor, tag: bytes) -> Command:
    """RFC 2971: ID NIL, or a list of field and value."""
    fields: list[tuple[bytes, bytes | None]] = []
    if not c.at(b"("):
        if c.nstring() is not None:
            raise BadCommand("Expected NIL or a list")
        return Id(tag, ())
    c.expect(b"(", "a list")
    while not c.accept(b")"):
        if fields:
            c.space()
        name = c.string()
        c.space()
        fields.append((name, c.nstring()))
        if len(fields) > ID_FIELDS:
            raise BadCommand("Too many ID fields")
    return Id(tag, tuple(fields))


def _authenticate(c: Cursor, tag: bytes) -> Command:
    mechanism = c.word("a SASL mechanism")
    if not c.accept(b" "):
        return Authenticate(tag, mechanism, None)
    if c.accept(b"="):  # RFC 4959 section 3: an initial response, and it is empty
        return Authenticate(tag, mechanism, b"=")
    return Authenticate(tag, mechanism, c.match(BASE64, "base64"))


def _login(c: Cursor, tag: bytes) -> Command:
    user = c.astring()
    c.space()
    return Login(tag, user, c.astring())


# -- authenticated --


def _enable(c: Cursor, tag: bytes) -> Command:
    capabilities = [c.word("a capability")]
    while c.accept(b" "):
        capabilities.append(c.word("a capability"))
    return Enable(tag, tuple(dict.fromkeys(capabilities)))


def _one_mailbox(cls: type[Delete] | type[Subscribe] | type[Unsubscribe]) -> Parser:
    return lambda c, tag: cls(tag, c.mailbox())


# -- selected --


def _store(c: Cursor, tag: bytes, *, by_uid: bool) -> Command:
    """store-att-flags takes a list in parentheses or bare flags (RFC 9051 section 9)."""
    ids = c.message_set()
    c.space()
    unchanged_since = _unchanged_since(c) if c.at(b"(") else None
    item = STORE_ITEMS.get(c.word("a STORE item"))
    if item is None:
        raise BadCommand("Unknown STORE item")
    c.space()
    flags = c.flags() if c.at(b"(") else c.bare_flags()
    op, silent = item
    return Store(tag, by_uid, ids, FlagChange(op, flags, unchanged_since), silent)


def _unchanged_since(c: Cursor) -> ModSeq:
    """RFC 7162 section 3.1.3; the only STORE modifier."""
    c.expect(b"(", "a STORE modifier")
    if not c.accept_word(b"UNCHANGEDSINCE"):
        raise BadCommand("Unknown STORE modifier")
    c.space()
    modseq = c.number(NUMBER64_MAX)
    c.expect(b") ", "the modifier's end")
    return ModSeq(modseq)


def _copy_or_move(cls: type[Copy] | type[Move], by_uid: bool) -> Parser:
    def parse_copy(c: Cursor, tag: bytes) -> Command:
        ids = c.message_set()
        c.space()
        return cls(tag, by_uid, ids, c.mailbox())

    return parse_copy


def _uid(c: Cursor, tag: bytes) -> Command:
    return _parser(c, _UID_COMMANDS)(c, tag)


def _on_messages(by_uid: bool) -> dict[bytes, tuple[Parser, bool]]:
    """The commands that exist with and without UID."""
    return {
        b"COPY": (_copy_or_move(Copy, by_uid), True),
        b"MOVE": (_copy_or_move(Move, by_uid), True),
        b"FETCH": (lambda c, tag: parse_fetch(c, tag, by_uid=by_uid), True),
        b"STORE": (lambda c, tag: _store(c, tag, by_uid=by_uid), True),
        b"SEARCH": (lambda c, tag: parse_search(c, tag, by_uid=by_uid), True),
        b"REPLACE": (parse_without_message, True),
        b"SORT": (lambda c, tag: parse_sort(c, tag, by_uid=by_uid), True),
        b"THREAD": (lambda c, tag: parse_thread(c, tag, by_uid=by_uid), True),
    }


_BARE: dict[bytes, type[Command]] = {
    b"CAPABILITY": Capability,
    b"NOOP": Noop,
    b"LOGOUT": Logout,
    b"STARTTLS": StartTls,
    b"NAMESPACE": Namespace,
    b"IDLE": Idle,
    b"CHECK": Check,
    b"CLOSE": Close,
    b"UNSELECT": Unselect,
    b"EXPUNGE": Expunge,
    b"UNAUTHENTICATE": Unauthenticate,
}
_COMMANDS: dict[bytes, tuple[Parser, bool]] = {
    **{word: (_bare(cls), False) for word, cls in _BARE.items()},
    b"ID": (_id, True),
    b"AUTHENTICATE": (_authenticate, True),
    b"LOGIN": (_login, True),
    b"ENABLE": (_enable, True),
    b"COMPRESS": (lambda c, tag: Compress(tag, c.word("an algorithm")), True),
    b"SELECT": (parse_select(Select), True),
    b"EXAMINE": (parse_select(Examine), True),
    b"CREATE": (parse_create, True),
    b"DELETE": (_one_mailbox(Delete), True),
    b"RENAME": (parse_rename, True),
    b"SUBSCRIBE": (_one_mailbox(Subscribe), True),
    b"UNSUBSCRIBE": (_one_mailbox(Unsubscribe), True),
    b"LIST": (parse_list, True),
    b"LSUB": (parse_lsub, True),
    b"STATUS": (parse_status, True),
    b"GETMETADATA": (parse_getmetadata, True),
    b"SETMETADATA": (parse_setmetadata, True),
    b"GETQUOTA": (parse_getquota, True),
    b"GETQUOTAROOT": (parse_getquotaroot, True),
    b"SETQUOTA": (parse_setquota, True),
    b"APPEND": (parse_without_message, True),
    b"ESEARCH": (parse_esearch, True),
    b"NOTIFY": (parse_notify, True),
    b"CANCELUPDATE": (parse_cancel_update, True),
    b"UID": (_uid, True),
    **_on_messages(by_uid=False),
}
_UID_COMMANDS: dict[bytes, tuple[Parser, bool]] = {
    **_on_messages(by_uid=True),
    b"EXPUNGE": (lambda c, tag: UidExpunge(tag, c.message_set()), True),
}

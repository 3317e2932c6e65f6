"""Address lists (RFC 5322 section 3.4, obsolete forms of 4.4): groups, comments, quoted strings, routes.

Whatever the input, the answer is a legal list: garbage becomes the nearest address, never an error. Linear
in the value's length; at most `limits.addresses` addresses are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.core.errors import LimitReached
from gateway.core.limits import DEFAULT_LIMITS
from gateway.mime.header import unfold

# What stands in for the missing half of an address. NIL would mean a group (RFC 9051 section 7.5.2), and
# an empty string is taken for NIL by some clients; these words are the ones clients know from Dovecot.
NO_MAILBOX = b"MISSING_MAILBOX"
NO_HOST = b"MISSING_DOMAIN"


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox. `name` is the phrase or, without one, the comment behind the address: quoting undone,
    encoded words kept. `route` is the obsolete source route as it stands (`@a,@b`)."""

    name: bytes | None
    mailbox: bytes
    host: bytes
    route: bytes | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """`name: a, b;`"""

    name: bytes
    members: tuple[Address, ...]


_TOKEN = re.compile(
    rb'(?P<blank>[ \t\r\n]+)|"(?P<quoted>(?:[^"\\]+|\\.)*)(?:"|\\?\Z)|(?P<comment>\()'
    rb"|(?P<literal>\[[^\]]*\]?)|(?P<special>[<>@,:;.])|(?P<atom>[^ \t\r\n\"(\[<>@,:;.]+)",
    re.DOTALL,
)
_COMMENT_PIECE = re.compile(rb"[^()\\]+|\\.?|[()]", re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_TOKENS_PER_ADDRESS = 20
_DOT_ATOM = re.compile(rb"[^\x00-\x20\"(),.:;<>@\[\\\]\x7f]+(?:\.[^\x00-\x20\"(),.:;<>@\[\\\]\x7f]+)*")


_ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]+"
_DOTTED = rb"%b(?:\.%b)*" % (_ATOM, _ATOM)
_USUAL = re.compile(
    rb'(?:(?:"([^"\\]*)"|(%b(?: %b)*))? ?<(%b)@(%b)>|(%b)@(%b))'
    % (_ATOM, _ATOM, _DOTTED, _DOTTED, _DOTTED, _DOTTED)
)

_COMMA = re.compile(rb"[ \t]*,[ \t]*")


def _usual(value: bytes, most: int) -> list[Address | Group] | None:
    """The short way for what nearly all fields hold: `name <local@domain>` or `local@domain`, with commas between
    them. None: take the long way, which gives the same for these."""
    found: list[Address | Group] = []
    at, end = len(value) - len(value.lstrip(b" \t")), len(value.rstrip(b" \t"))
    while len(found) < most:
        match = _USUAL.match(value, at, end)
        if match is None:
            return None
        quoted, name, mailbox, host, bare_mailbox, bare_host = match.groups()
        name = (quoted or b"").strip(b" \t") or name
        found.append(Address(name or None, mailbox or bare_mailbox, host or bare_host))
        if match.end() == end:
            return found
        comma = _COMMA.match(value, match.end(), end)
        if comma is None:
            return None
        at = comma.end()
    return None


@dataclass(slots=True)
class _Token:
    kind: str  # blank, word, comment, special
    text: bytes


def _tokens(value: bytes) -> Iterator[_Token]:
    at = 0
    while at < len(value):
        match = _TOKEN.match(value, at)
        assert match is not None  # the classes cover every octet
        at = match.end()
        kind = match.lastgroup or ""
        if kind == "comment":
            text, at = _comment(value, at)
            yield _Token("comment", text)
        elif kind == "quoted":
            yield _Token("word", _ESCAPED.sub(rb"\1", match["quoted"]))
        else:
            yield _Token("word" if kind in ("atom", "literal") else kind, match[0])


def _comment(value: bytes, at: int) -> tuple[bytes, int]:
    """The comment whose parenthesis is just before `at`, and its end; nesting is counted, not followed."""
    depth, start = 1, at
    for piece in _COMMENT_PIECE.finditer(value, at):
        depth += {b"(": 1, b")": -1}.get(piece[0], 0)
        if not depth:
            return _ESCAPED.sub(rb"\1", value[start : piece.start()]).strip(), piece.end()
    return _ESCAPED.sub(rb"\1", value[start:]).strip(), len(value)


class _Parser:
    """Collects tokens into the present address until a separator ends it."""

    def __init__(self, value: bytes, most: int) -> None:
        self._value = value
        self._most = most
        self._count = 0
        self.cut = False  # whether a bound ended the reading
        self._list = list[Address | Group]()
        self._group: bytes | None = None
        self._members: list[Address] = []
        self._restart()

    def _restart(self) -> None:
        self._outer: list[_Token] = []  # phrase, or the address itself
        self._angle: list[_Token] | None = None  # between < and >
        self._in_angle = False
        self._after: list[_Token] = []  # behind >
        self._remark: bytes | None = None

    def parse(self) -> list[Address | Group]:
        for number, token in enumerate(_tokens(self._value)):
            if self._count >= self._most or number >= self._most * _TOKENS_PER_ADDRESS:
                self.cut = True
                break
            self._take(token)
        self._flush()
        self._end_group()
        return self._list

    def _take(self, token: _Token) -> None:
        if token.kind == "comment":
            self._remark = self._remark or token.text
        elif token.kind == "special" and self._special(token.text):
            pass
        elif self._in_angle and self._angle is not None:
            self._angle.append(token)
        else:
            (self._outer if self._angle is None else self._after).append(token)

    def _special(self, mark: bytes) -> bool:
        """Whether `mark` was structure; else it is part of the address being collected."""
        routed = (
            self._in_angle and bool(self._angle) and self._angle is not None and self._angle[0].text == b"@"
        )
        if routed and mark in b",:":
            return False
        if mark == b"," or mark == b";":
            self._flush()
            if mark == b";":
                self._end_group()
            return True
        if mark == b":" and not self._in_angle and self._group is None:
            self._group = _phrase(self._outer) or b""
            self._restart()
            return True
        if mark == b"<":
            if self._angle is not None and not self._in_angle:  # `<a@b> <c@d>`: a comma was forgotten
                self._flush()
            self._angle, self._in_angle = self._angle or [], True
            return True
        if mark == b">":
            self._in_angle = False
            return True
        return False

    def _flush(self) -> None:
        self._count += 1
        target: list[Any] = self._list if self._group is None else self._members
        target.extend(self._addresses())
        self._restart()

    def _end_group(self) -> None:
        if self._group is not None:
            self._count += 1
            self._list.append(Group(self._group, tuple(self._members)))
            self._group, self._members = None, []

    def _addresses(self) -> Iterator[Address]:
        """What was collected: no address, one, or two where a comma was forgotten behind `>`."""
        if self._angle is not None:
            route, spec = _split_route(self._angle)
            yield self._built(spec, self._outer, route)
        elif any(token.kind != "blank" for token in self._outer):
            yield self._built(self._outer, [], None)
        if any(token.text == b"@" for token in self._after):
            yield self._built(self._after, [], None)

    def _built(self, spec: list[_Token], phrase: list[_Token], route: bytes | None) -> Address:
        mailbox, host, before = _split_spec(spec)
        name = _phrase(phrase or before) or self._remark
        return Address(name, mailbox or NO_MAILBOX, host or NO_HOST, route)


def _phrase(tokens: list[_Token]) -> bytes | None:
    """Words with single blanks where there were any."""
    pieces = (b" " if token.kind == "blank" else token.text for token in tokens)
    return b"".join(pieces).strip() or None


def _split_route(tokens: list[_Token]) -> tuple[bytes | None, list[_Token]]:
    """`@a,@b:` in front of an address, without the colon (RFC 5322 section 4.4: obs-route)."""
    colon = next((n for n, token in enumerate(tokens) if token.text == b":" and token.kind == "special"), -1)
    if colon < 0 or tokens[0].text != b"@":
        return None, tokens
    return b"".join(t.text for t in tokens[:colon] if t.kind != "blank") or None, tokens[colon + 1 :]


def _split_spec(tokens: list[_Token]) -> tuple[bytes, bytes, list[_Token]]:
    """Local part, domain, and what stands before the local part (a phrase somebody forgot the brackets for).
    One word without a domain is a local part; several are a phrase."""
    at = next((n for n in range(len(tokens) - 1, -1, -1) if tokens[n].text == b"@"), -1)
    if at < 0:
        words = _trim(tokens)
        if any(token.kind == "blank" for token in words):
            return b"", b"", words
        return b"".join(token.text for token in words), b"", []
    host = b"".join(token.text for token in tokens[at + 1 :] if token.kind != "blank")
    left = _trim(tokens[:at])
    first = len(left)
    while first and _joined(left, first - 1):
        first -= 1
    local = b"".join(token.text for token in left[first:] if token.kind != "blank")
    return local, host, left[:first]


def _joined(tokens: list[_Token], at: int) -> bool:
    """Whether this token belongs to the local part behind it: no blank between, or a dot beside it."""
    if tokens[at].kind != "blank":
        return True
    return tokens[at - 1].text == b"." or (at + 1 < len(tokens) and tokens[at + 1].text == b".")


def _trim(tokens: list[_Token]) -> list[_Token]:
    first, end = 0, len(tokens)
    while first < end and tokens[first].kind == "blank":
        first += 1
    while end > first and tokens[end - 1].kind == "blank":
        end -= 1
    return tokens[first:end]


def parse_addresses(value: bytes, most: int = DEFAULT_LIMITS.addresses) -> list[Address | Group]:
    """The addresses and groups of an address field's value (unfolded or not), at most about `most` of them.
    A semicolon outside of a group separates like a comma, as Outlook's users type it."""
    value = unfold(value)
    found = _usual(value, most)
    return _Parser(value, most).parse() if found is None else found


def addr_specs(value: bytes) -> list[str]:
    """Bare addresses of a field, in order, group members included: `local@domain`, the local part quoted
    where RFC 5321 wants it, UTF-8 as in SMTPUTF8 (RFC 6531). A word without a domain is given as it is,
    for a mail system may resolve it; a phrase without any address is left out. LimitReached if there are
    more than `limits.addresses`: an address that was not looked at must not pass for absent."""
    parser = _Parser(unfold(value), DEFAULT_LIMITS.addresses)
    specs: list[str] = []
    for item in parser.parse():
        members = item.members if isinstance(item, Group) else (item,)
        specs += [_spec(member) for member in members if member.mailbox != NO_MAILBOX]
    if parser.cut:
        raise LimitReached("Too many addresses in one field")
    return specs


def _spec(address: Address) -> str:
    local = address.mailbox
    if not _DOT_ATOM.fullmatch(local):
        local = b'"' + local.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    spec = local if address.host == NO_HOST else local + b"@" + address.host
    return spec.decode("utf-8", "replace")

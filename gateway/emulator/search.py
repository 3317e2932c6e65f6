"""`$search`: the part of KQL that mail knows, over whole words (contract section 4).

Terms match words (a trailing `*` a prefix), accents and case folded; nothing matches inside a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from gateway.emulator import times
from gateway.emulator.errors import bad_request
from gateway.emulator.items import Address, Item
from gateway.emulator.mime_in import fold

Test = Callable[[Item], bool]

_TOKEN = re.compile(
    r'\s*(?:(?P<mark>[()])|(?:(?P<name>\w+)(?P<op>:|=|>=|<=|>|<|<>)\s*)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s()"]+)))'
)


def _people(*groups: Iterable[Address]) -> list[str]:
    return fold(" ".join(f"{a.name} {a.address}" for group in groups for a in group))


def _from(item: Item) -> list[str]:
    return _people([a for a in (item.content.author, item.content.sender) if a])


_WORDS: Final[dict[str, Callable[[Item], Iterable[str]]]] = {
    "subject": lambda i: fold(i.subject),
    "body": lambda i: i.content.words,
    "from": _from,
    "to": lambda i: _people(i.content.to),
    "cc": lambda i: _people(i.content.cc),
    "bcc": lambda i: _people(i.content.bcc),
    "recipients": lambda i: _people(i.content.to, i.content.cc, i.content.bcc),
    "participants": lambda i: [*_from(i), *_people(i.content.to, i.content.cc, i.content.bcc)],
    "attachment": lambda i: fold(" ".join(a.name for a in i.content.attachments)),
    "importance": lambda i: [i.state.importance],
    "kind": lambda _: ["email"],
}
_DATES: Final[dict[str, Callable[[Item], int]]] = {
    "received": lambda i: i.received,
    "sent": lambda i: i.sent or i.received,
}


class _Parser:
    def __init__(self, text: str, whole_words: bool) -> None:
        self.tokens = list(_scan(text))
        self.at = 0
        self.whole_words = whole_words

    def peek(self) -> dict[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else {}

    def parse(self) -> Test:
        test = self.either(0)
        if self.peek():
            raise _syntax()
        return test

    def either(self, depth: int) -> Test:
        if depth > 50:
            raise _syntax()
        tests = [self.both(depth)]
        while self.keyword("OR"):
            tests.append(self.both(depth))
        return tests[0] if len(tests) == 1 else lambda item: any(t(item) for t in tests)

    def both(self, depth: int) -> Test:
        tests = [self.one(depth)]
        while True:
            negated = self.peek().get("word") == "NOT"
            if not (self.keyword("AND") or negated or self.more()):
                return tests[0] if len(tests) == 1 else lambda item: all(t(item) for t in tests)
            tests.append(self.one(depth))

    def more(self) -> bool:
        token = self.peek()
        return bool(token) and token.get("mark") != ")" and token.get("word") != "OR"

    def keyword(self, word: str) -> bool:
        if self.peek().get("word") == word and not self.peek().get("name"):
            self.at += 1
            return True
        return False

    def one(self, depth: int) -> Test:
        if self.keyword("NOT"):
            if depth > 50:
                raise _syntax()
            negated = self.one(depth + 1)
            return lambda item: not negated(item)
        token = self.peek()
        self.at += 1
        if not token:
            raise _syntax()
        if token.get("mark") == "(":
            inner = self.either(depth + 1)
            if self.peek().get("mark") != ")":
                raise _syntax()
            self.at += 1
            return inner
        if token.get("mark"):
            raise _syntax()
        return self.term(token)

    def term(self, token: dict[str, str]) -> Test:
        name, value = token.get("name", "").lower(), token.get("phrase", token.get("word", ""))
        if not name:
            return self.words_test(_bare, value)
        if name in ("hasattachment", "hasattachments"):
            wanted = value.lower() == "true"
            return lambda item: item.content.has_attachments is wanted
        if name == "size":
            return _range(lambda item: item.content.size, token["op"], value, int)
        if name in _DATES:
            return _range(_DATES[name], token["op"], value, lambda text: int(_day(text)), span=86400)
        if name in _WORDS:
            return self.words_test(_WORDS[name], value)
        raise bad_request(f"The property '{name}' is not supported in a search.", "BadRequest")

    def words_test(self, get: Callable[[Item], Iterable[str]], value: str) -> Test:
        prefix = value.endswith("*")
        wanted = fold(value)
        if not wanted:
            return lambda _: False
        if self.whole_words:
            return lambda item: _match(list(get(item)), wanted, prefix)
        return lambda item: all(any(w in found for found in get(item)) for w in wanted)


def _bare(item: Item) -> list[str]:
    return [*_from(item), *fold(item.subject), *item.content.words]


def _match(found: list[str], wanted: list[str], prefix: bool) -> bool:
    have = set(found)
    if not all(w in have for w in wanted[:-1]):
        return False
    last = wanted[-1]
    return any(w.startswith(last) for w in have) if prefix else last in have


def _range(
    get: Callable[[Item], int], op: str, value: str, read: Callable[[str], int], span: int = 1
) -> Test:
    low, dots, high = value.partition("..")
    try:
        first = read(low)
        last = read(high) if dots else first
    except ValueError as error:
        raise _syntax() from error
    if op == ">":
        return lambda item: get(item) >= first + span
    if op == ">=":
        return lambda item: get(item) >= first
    if op == "<":
        return lambda item: get(item) < first
    if op == "<=":
        return lambda item: get(item) < first + span
    return lambda item: first <= get(item) < last + span


def _day(text: str) -> float:
    found = times.parse(text)
    if found is None and (match := re.fullmatch(r"(\d\d?)/(\d\d?)/(\d{4})", text)):
        found = times.parse(f"{match.group(3)}-{int(match.group(1)):02}-{int(match.group(2)):02}")
    if found is None:
        raise ValueError(text)
    return found


def _scan(text: str) -> Iterable[dict[str, str]]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            if text[at:].strip():
                raise _syntax()
            return
        yield {k: v for k, v in match.groupdict().items() if v is not None}
        at = match.end()


def _syntax() -> Exception:
    return bad_request("Syntax error in the search clause.", "BadRequest")


def compile_search(text: str, *, whole_words: bool) -> Test:
    """Compile a `$search`: KQL inside double quotes, inner quotes backslash-escaped."""
    value = text.strip()
    if len(value) < 2 or not (value.startswith('"') and value.endswith('"')):
        raise bad_request("The value of $search must be in double quotes.", "BadRequest")
    return _Parser(value[1:-1].replace('\\"', '"').replace("\\\\", "\\"), whole_words).parse()

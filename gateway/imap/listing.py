"""LIST and LSUB as values: which mailboxes match, with which attributes (RFC 9051 section 6.3.9, RFC 3501
section 6.3.9, RFC 5258, RFC 6154, RFC 3348)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.core.types import SPECIAL_USE_ATTRIBUTES
from gateway.mailbox.values import MailboxInfo
from gateway.wire.encode import mailbox
from gateway.wire.listpattern import DELIMITER, ListPattern

SUBSCRIBED = b"SUBSCRIBED"
SPECIAL_USE = b"SPECIAL-USE"
RECURSIVE = b"RECURSIVEMATCH"


@dataclass(frozen=True, slots=True)
class Entry:
    """One LIST or LSUB response. `selectable`: STATUS may be told of it, which it is not of a mailbox that is shown
    for its children alone (RFC 9051 section 6.3.9.8, 11). `children`: the selection options that some descendant
    meets (CHILDINFO)."""

    name: str
    attributes: tuple[bytes, ...]
    selectable: bool
    children: tuple[bytes, ...] = ()

    def line(self, word: bytes = b"LIST", *, utf8: bool = False, old: str = "") -> bytes:
        """`utf8`: how names are spelled. `old`: what the mailbox was called (OLDNAME, RFC 9051 section 6.3.9.7)."""
        items = []
        if self.children:
            items.append(b'"CHILDINFO" (%b)' % b" ".join([b'"%b"' % option for option in self.children]))
        if old:
            items.append(b'"OLDNAME" (%b)' % mailbox(old, utf8))
        extended = b" (%b)" % b" ".join(items) if items else b""
        return b'%b (%b) "/" %b%b' % (word, b" ".join(self.attributes), mailbox(self.name, utf8), extended)


ROOT = b'LIST (\\Noselect) "/" ""'


def patterns_of(reference: str, patterns: Iterable[str]) -> list[ListPattern]:
    """The canonical patterns: the reference is only put in front (RFC 9051 section 6.3.9)."""
    return [ListPattern.of(reference + pattern) for pattern in patterns]


def matches(patterns: Sequence[ListPattern], name: str) -> bool:
    return any(pattern.matches(name) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Selection:
    """What an extended LIST selects by, and whether it asks for \\Subscribed. `ghosts`: names that are
    subscribed but have no mailbox (RFC 9051 section 6.3.7 keeps a subscription beyond its mailbox)."""

    options: frozenset[bytes] = frozenset()
    show_subscribed: bool = False
    ghosts: frozenset[str] = frozenset()

    @property
    def criteria(self) -> frozenset[bytes]:
        return self.options & {SUBSCRIBED, SPECIAL_USE}

    def met(self, info: MailboxInfo) -> frozenset[bytes]:
        found = {SUBSCRIBED} if info.subscribed else set()
        if info.use in SPECIAL_USE_ATTRIBUTES:
            found.add(SPECIAL_USE)
        return self.criteria & found

    def chosen(self, info: MailboxInfo) -> bool:
        """All criteria must be met (RFC 5258 section 3: options combine by intersection)."""
        return self.met(info) == self.criteria


def select(
    infos: Sequence[MailboxInfo], patterns: Sequence[ListPattern], selection: Selection
) -> Iterator[Entry]:
    """The answer to a LIST, in the order of `infos`; ghosts, and parents that do not exist, come last."""
    infos = [*infos, *map(_ghost, sorted(selection.ghosts))]
    parents = _parents_of_chosen(infos, patterns, selection) if RECURSIVE in selection.options else {}
    criteria = tuple(sorted(selection.criteria))
    for info in infos:
        needed = parents.pop(info.name, None)
        if (selection.chosen(info) or needed) and matches(patterns, info.name):
            yield entry_of(info, selection, () if needed is None else criteria)
    for name, needed in sorted(parents.items()):
        if needed and matches(patterns, name):
            yield Entry(name, (b"\\NonExistent",), selectable=False, children=criteria)


def entry_of(info: MailboxInfo, selection: Selection, children: tuple[bytes, ...] = ()) -> Entry:
    """The response for one mailbox, whether `selection` chose it or not."""
    selectable = info.selectable and selection.chosen(info)
    return Entry(info.name, _attributes(info, selection), selectable, children)


def _parents_of_chosen(
    infos: Iterable[MailboxInfo], patterns: Sequence[ListPattern], selection: Selection
) -> dict[str, bool]:
    """Every ancestor of a selected mailbox, and whether one of those is not shown itself: else a parent that is not
    selected is not worth a line (RFC 9051 section 6.3.9.6)."""
    parents: dict[str, bool] = {}
    for info in infos:
        if selection.chosen(info):
            shown = matches(patterns, info.name)
            for parent in ancestors(info.name):
                parents[parent] = parents.get(parent, False) or not shown
    return parents


def ancestors(name: str) -> Iterator[str]:
    """`a/b/c`: `a/b`, then `a`."""
    while DELIMITER in name:
        name = name.rpartition(DELIMITER)[0]
        yield name


def _ghost(name: str) -> MailboxInfo:
    return MailboxInfo(name, None, has_children=False, selectable=False, subscribed=True)


def _attributes(info: MailboxInfo, selection: Selection) -> tuple[bytes, ...]:
    """Special uses and children are told unasked, in plain LIST, too: clients look for them there."""
    words: list[bytes] = []
    if info.name in selection.ghosts:
        words.append(b"\\NonExistent")
    else:
        if not info.selectable:
            words.append(b"\\Noselect")
        if info.no_inferiors:
            words.append(b"\\Noinferiors")
        words.append(b"\\HasChildren" if info.has_children else b"\\HasNoChildren")
    if info.subscribed and selection.show_subscribed:
        words.append(b"\\Subscribed")
    if info.use in SPECIAL_USE_ATTRIBUTES:
        words.append(SPECIAL_USE_ATTRIBUTES[info.use])
    return tuple(words)


# -- LSUB --


def subscribed_entries(
    names: Sequence[str], infos: Sequence[MailboxInfo], pattern: ListPattern
) -> Iterator[Entry]:
    """The answer to an LSUB: subscribed names, and parents of such that only `%` reached, as \\Noselect
    (RFC 3501 section 6.3.9)."""
    known = {info.name: info for info in infos}
    subscribed = frozenset(names)
    for name in _lsub_names(names, pattern):
        info = known.get(name)
        if name not in subscribed or info is None:
            yield Entry(name, (b"\\Noselect",), selectable=False)
        else:
            yield Entry(name, _attributes(info, Selection()), info.selectable)


def _lsub_names(names: Sequence[str], pattern: ListPattern) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        if pattern.matches(name):
            found[name] = None
        else:
            found.update((parent, None) for parent in ancestors(name) if pattern.matches(parent))
    return list(found)

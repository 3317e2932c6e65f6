"""THREAD=ORDEREDSUBJECT and THREAD=REFERENCES (RFC 5256 section 3), over columns, without recursion.

Time is linear but for sorting and the merging of sets: whether a link would close a loop is asked of a union of sets,
not by walking up the tree. For that no link is ever taken back: first every message is put below the last message it
names itself, then the links between those it names fill what is still open. A message that somebody processes one by
one, as the RFC tells it, may be linked by another's References first, and relinked; the outcome differs only where
messages contradict each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count, pairwise

from gateway.mailbox.values import Thread


@dataclass(slots=True)
class Threadables:
    """Messages as columns, one entry each, in the order of numbers. `at`: view positions; `ids`: 0 for none. Inside
    this module a thread's `at` is the place in these columns; the view's positions are put in at the end."""

    at: Sequence[int]
    dates: Sequence[int]
    subjects: Sequence[str]
    answers: Sequence[bool]
    ids: Sequence[int]
    references: Sequence[Sequence[int]]

    def in_view(self, forest: list[Thread]) -> list[Thread]:
        stack = list(forest)
        while stack:
            thread = stack.pop()
            if thread.at is not None:
                thread.at = self.at[thread.at]
            stack += thread.children
        return forest


def by_subject(messages: Threadables) -> list[Thread]:
    """The messages of one base subject: the earliest, and all others below it."""
    groups: dict[str, Thread] = {}
    for place in sorted(range(len(messages.at)), key=messages.dates.__getitem__):
        thread = groups.get(messages.subjects[place])
        if thread is None:
            groups[messages.subjects[place]] = Thread(place)
        else:
            thread.children.append(Thread(place))
    return messages.in_view(list(groups.values()))


# -- REFERENCES --


class _Forest:
    """Step 1. Nodes: 0..n-1 the messages, above them those that are only named. `parent` is -1 for a root."""

    def __init__(self, messages: Threadables) -> None:
        named: dict[int, int] = {}
        for place, own in enumerate(messages.ids):
            if own:
                named.setdefault(own, place)  # a second one of that id is named by nobody
        self.messages = len(messages.ids)
        absent = set(chain.from_iterable(messages.references)) - named.keys()
        named.update(zip(sorted(absent), count(self.messages), strict=False))
        parent = self.parent = [-1] * (self.messages + len(absent))
        self._union = list(range(len(parent)))
        node = named.__getitem__
        paths = [(place, list(map(node, each))) for place, each in enumerate(messages.references) if each]
        for place, path in paths:
            self._link(path[-1], place)
        for _, path in paths:
            for above, below in pairwise(path):
                if parent[below] < 0:
                    self._link(above, below)

    def _link(self, above: int, below: int) -> None:
        """Unless `below` has a parent, or would become one of its own ancestors."""
        if self.parent[below] < 0 and self._root(above) != below:
            self.parent[below] = above
            self._union[below] = above

    def _root(self, node: int) -> int:
        union = self._union
        while union[node] != node:
            union[node] = union[union[node]]
            node = union[node]
        return node

    def top_down(self) -> list[int]:
        """Every node behind its parent."""
        below: dict[int, list[int]] = {}
        for node, parent in enumerate(self.parent):
            below.setdefault(parent, []).append(node)
        order = below.pop(-1, [])
        for node in order:  # grows while it is read
            if node in below:
                order += below[node]
        return order


def by_references(messages: Threadables) -> list[Thread]:
    order = [(date << 32) + place for place, date in enumerate(messages.dates)]
    roots = _joined(_in_order(_pruned(_Forest(messages)), order), order, messages)
    _sort_below(roots, order)
    return messages.in_view(_in_order(roots, order))


def _pruned(forest: _Forest) -> list[Thread]:
    """Steps 2 and 3: nodes of messages that are not there give way to their children, unless several of those would
    become roots. Their lists are merged into the longest, so that no list is copied again and again."""
    held: dict[int, list[Thread]] = {}
    roots: list[Thread] = []
    for node in reversed(forest.top_down()):
        children = held.pop(node, None) or []
        threads = [Thread(node, children)] if node < forest.messages else children
        parent = forest.parent[node]
        if parent >= 0:
            held[parent] = _merged(held[parent], threads) if parent in held else threads
        elif len(threads) > 1:
            roots.append(Thread(None, threads))
        else:
            roots.extend(threads)
    return roots


def _merged(one: list[Thread], other: list[Thread]) -> list[Thread]:
    if len(one) < len(other):
        one, other = other, one
    one.extend(other)
    return one


def _first(thread: Thread, order: Sequence[int]) -> int:
    """The message by which a thread is sorted: its own, or its earliest child (steps 4 and 6)."""
    if thread.at is not None:
        return thread.at
    return min((child.at for child in thread.children if child.at is not None), key=order.__getitem__)


def _in_order(threads: Iterable[Thread], order: Sequence[int]) -> list[Thread]:
    """`order`: what each message is sorted by, its date and then its number."""
    return sorted(threads, key=lambda thread: order[_first(thread, order)])


def _sort_below(roots: Iterable[Thread], order: Sequence[int]) -> None:
    """Step 6."""
    stack = list(roots)
    while stack:
        thread = stack.pop()
        if len(thread.children) > 1:
            thread.children = _in_order(thread.children, order)
        stack += thread.children


def _joined(roots: Sequence[Thread], order: Sequence[int], messages: Threadables) -> list[Thread]:
    """Step 5: threads of one base subject come together. `roots` in order."""
    subjects = [messages.subjects[_first(root, order)] for root in roots]
    table: dict[str, Thread] = {}
    for root, subject in zip(roots, subjects, strict=True):
        held = table.get(subject)
        if subject and (held is None or _better(root, held, messages)):
            table[subject] = root
    kept: dict[int, Thread] = {}
    for root, subject in zip(roots, subjects, strict=True):
        held = table.get(subject)
        if held is None or held is root:
            kept.setdefault(id(root), root)
            continue
        joined = _join(root, held, messages)
        if joined is not held:
            table[subject] = joined
            kept.pop(id(held), None)
            kept[id(joined)] = joined
    return list(kept.values())


def _better(root: Thread, held: Thread, messages: Threadables) -> bool:
    """Whether this thread, not the one held, stands for the subject (step 5 B iii)."""
    if held.at is None:
        return False
    return root.at is None or (messages.answers[held.at] and not messages.answers[root.at])


def _join(root: Thread, held: Thread, messages: Threadables) -> Thread:
    """Step 5 C: where `root` goes; the thread that now stands for the subject."""
    if held.at is None:
        held.children.extend(root.children if root.at is None else [root])
    elif root.at is not None and messages.answers[root.at] and not messages.answers[held.at]:
        held.children.append(root)
    else:
        return Thread(None, [held, root])
    return held

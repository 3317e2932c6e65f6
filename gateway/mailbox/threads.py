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
from itertools import pairwise

from gateway.mailbox.api import Thread


@dataclass(slots=True)
class Threadable:
    """One message, in the order of numbers. `at`: its view position."""

    at: int
    date: int
    subject: str
    answers: bool
    message_id: int  # 0: none
    references: Sequence[int]


def by_subject(messages: Sequence[Threadable]) -> list[Thread]:
    """The messages of one base subject: the earliest, and all others below it."""
    groups: dict[str, Thread] = {}
    dated = sorted(messages, key=lambda message: message.date)
    for message in dated:
        thread = groups.get(message.subject)
        if thread is None:
            groups[message.subject] = Thread(message.at)
        else:
            thread.children.append(Thread(message.at))
    return list(groups.values())


# -- REFERENCES --


class _Forest:
    """Step 1. Nodes: 0..n-1 the messages, above them those that are only named. `parent` is -1 for a root."""

    def __init__(self, messages: Sequence[Threadable]) -> None:
        self.parent = [-1] * len(messages)
        self._union = list(range(len(messages)))
        self._named: dict[int, int] = {}
        for number, message in enumerate(messages):
            if message.message_id:
                self._named.setdefault(
                    message.message_id, number
                )  # a second one of that id is named by nobody
        for number, message in enumerate(messages):
            if message.references:
                self._link(self._node(message.references[-1]), number)
        for message in messages:
            for above, below in pairwise(message.references):
                self._link(self._node(above), self._node(below))

    def _node(self, message_id: int) -> int:
        node = self._named.setdefault(message_id, len(self.parent))
        if node == len(self.parent):
            self.parent.append(-1)
            self._union.append(node)
        return node

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
        below: list[list[int]] = [[] for _ in self.parent]
        order: list[int] = []
        for node, parent in enumerate(self.parent):
            (order if parent < 0 else below[parent]).append(node)
        for node in order:  # grows while it is read
            order.extend(below[node])
        return order


def by_references(messages: Sequence[Threadable]) -> list[Thread]:
    dates = {message.at: (message.date, message.at) for message in messages}
    roots = _pruned(_Forest(messages), messages)
    roots = _joined(_in_order(roots, dates), {message.at: message for message in messages})
    _sort_below(roots, dates)
    return _in_order(roots, dates)


def _pruned(forest: _Forest, messages: Sequence[Threadable]) -> list[Thread]:
    """Steps 2 and 3: nodes of messages that are not there give way to their children, unless several of those would
    become roots. Their lists are merged into the longest, so that no list is copied again and again."""
    held: dict[int, list[Thread]] = {}
    roots: list[Thread] = []
    for node in reversed(forest.top_down()):
        children = held.pop(node, [])
        threads = [Thread(messages[node].at, children)] if node < len(messages) else children
        parent = forest.parent[node]
        if parent >= 0:
            held[parent] = _merged(held.get(parent, []), threads)
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


Dates = dict[int, tuple[int, int]]  # view position: what siblings are sorted by


def _first(thread: Thread, dates: Dates) -> int:
    """The position by which a thread is sorted: its own, or that of its earliest child (steps 4 and 6)."""
    if thread.at is not None:
        return thread.at
    return min((child.at for child in thread.children if child.at is not None), key=dates.__getitem__)


def _in_order(threads: Iterable[Thread], dates: Dates) -> list[Thread]:
    return sorted(threads, key=lambda thread: dates[_first(thread, dates)])


def _sort_below(roots: Iterable[Thread], dates: Dates) -> None:
    """Step 6."""
    stack = list(roots)
    while stack:
        thread = stack.pop()
        if len(thread.children) > 1:
            thread.children = _in_order(thread.children, dates)
        stack.extend(thread.children)


def _joined(roots: Sequence[Thread], known: dict[int, Threadable]) -> list[Thread]:
    """Step 5: threads of one base subject come together. `roots` in order."""
    dates = {at: (message.date, at) for at, message in known.items()}
    subjects = [known[_first(root, dates)].subject for root in roots]
    table: dict[str, Thread] = {}
    for root, subject in zip(roots, subjects, strict=True):
        held = table.get(subject)
        if subject and (held is None or _better(root, held, known)):
            table[subject] = root
    kept: dict[int, Thread] = {}
    for root, subject in zip(roots, subjects, strict=True):
        held = table.get(subject)
        if held is None or held is root:
            kept.setdefault(id(root), root)
            continue
        joined = _join(root, held, known)
        if joined is not held:
            table[subject] = joined
            kept.pop(id(held), None)
            kept[id(joined)] = joined
    return list(kept.values())


def _better(root: Thread, held: Thread, known: dict[int, Threadable]) -> bool:
    """Whether this thread, not the one held, stands for the subject (step 5 B iii)."""
    if held.at is None:
        return False
    return root.at is None or (known[held.at].answers and not known[root.at].answers)


def _join(root: Thread, held: Thread, known: dict[int, Threadable]) -> Thread:
    """Step 5 C: where `root` goes; the thread that now stands for the subject."""
    if held.at is None:
        held.children.extend(root.children if root.at is None else [root])
    elif root.at is not None and known[root.at].answers and not known[held.at].answers:
        held.children.append(root)
    else:
        return Thread(None, [held, root])
    return held

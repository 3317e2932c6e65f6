"""THREAD: against a slow reading of RFC 5256 section 3, and what holds for any messages whatever they claim."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from gateway.imap.threadlist import thread_list
from gateway.mailbox import threads
from gateway.mailbox.threads import Threadables
from gateway.mailbox.values import Thread


class Threadable(NamedTuple):
    at: int
    date: int
    subject: str
    answers: bool
    message_id: int
    references: Sequence[int]


def columns(messages: Sequence[Threadable]) -> Threadables:
    return Threadables(*(list(column) for column in zip(*messages, strict=True))) if messages else EMPTY


def by_references(messages: Sequence[Threadable]) -> list[Thread]:
    return threads.by_references(columns(messages))


def by_subject(messages: Sequence[Threadable]) -> list[Thread]:
    return threads.by_subject(columns(messages))


EMPTY = Threadables([], [], [], [], [], [])


def said(forest: Sequence[Thread]) -> bytes:
    return b"".join(thread_list(forest, lambda at: at + 1))


def message(
    at: int, *references: int, id: int = -1, subject: str = "", answers: bool = False, date: int = -1
) -> Threadable:
    return Threadable(at, at if date < 0 else date, subject, answers, at + 1 if id < 0 else id, references)


# -- a reading of the RFC, message by message, with no care for time --


class Node:
    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.parent: Node | None = None
        self.children: list[Node] = []

    def put_under(self, parent: Node) -> None:
        above: Node | None = parent
        while above is not None:
            if above is self:
                return
            above = above.parent
        self.cut()
        self.parent = parent
        parent.children.append(self)

    def cut(self) -> None:
        if self.parent is not None:
            self.parent.children.remove(self)
            self.parent = None


def slowly(messages: Sequence[Threadable]) -> list[Thread]:
    table: dict[int, Node] = {}
    nodes: list[Node] = []
    for each in messages:
        node = table.setdefault(each.message_id, Node()) if each.message_id else Node()
        if node.at is not None:
            node = Node()
        node.at = each.at
        nodes.append(node)
        named = [table.setdefault(name, Node()) for name in each.references]
        for above, below in pairwise(named):
            if below.parent is None:
                below.put_under(above)
        if named:
            node.cut()
            node.put_under(named[-1])
    every = {id(node): node for node in (*table.values(), *nodes)}
    roots = [node for node in every.values() if node.parent is None]
    pruned = [tree for root in roots for tree in prune(root, top=True)]
    dates = {each.at: (each.date, each.at) for each in messages}

    def in_order(threads: list[Thread]) -> list[Thread]:
        for thread in threads:
            thread.children = in_order(thread.children)
        return sorted(threads, key=lambda t: dates[t.at if t.at is not None else t.children[0].at])  # type: ignore[index]

    return in_order(pruned)


def prune(node: Node, *, top: bool) -> list[Thread]:
    children = [tree for child in node.children for tree in prune(child, top=False)]
    if node.at is not None:
        return [Thread(node.at, children)]
    return [Thread(None, children)] if top and len(children) > 1 else children


@st.composite
def honest(draw: st.DrawFn) -> list[Threadable]:
    """Messages of a true forest, some of them not there, in any order; references may have lost their beginning."""
    count = draw(st.integers(1, 14))
    parents = [draw(st.integers(-1, number - 1)) for number in range(count)]
    order = draw(st.permutations(range(count)))
    there = [number for number in order if draw(st.integers(0, 3))]
    found = []
    for at, number in enumerate(there):
        path: list[int] = []
        above = parents[number]
        while above >= 0:
            path.insert(0, above + 1)
            above = parents[above]
        found.append(
            Threadable(
                at, draw(st.integers(0, 5)), "", False, number + 1, tuple(path[draw(st.integers(0, 3)) :])
            )
        )
    return found


@given(honest())
def test_as_the_rfc_says(messages: list[Threadable]) -> None:
    assert said(by_references(messages)) == said(slowly(messages))


# -- whatever they claim --

ANY = st.builds(
    Threadable,
    at=st.just(0), date=st.integers(0, 4), subject=st.sampled_from(["", "", "A", "B"]), answers=st.booleans(),
    message_id=st.integers(0, 6), references=st.lists(st.integers(1, 9), max_size=5).map(tuple),
)  # fmt: skip


def walk(forest: Sequence[Thread]) -> Iterator[Thread]:
    stack = list(forest)
    while stack:
        thread = stack.pop()
        yield thread
        stack.extend(thread.children)


def numbered(messages: list[Threadable]) -> list[Threadable]:
    return [each._replace(at=10 * at) for at, each in enumerate(messages)]


@given(st.lists(ANY, max_size=12).map(numbered))
def test_every_message_once(messages: list[Threadable]) -> None:
    for forest in (by_references(messages), by_subject(messages)):
        assert sorted(t.at for t in walk(forest) if t.at is not None) == [each.at for each in messages]


@given(st.lists(ANY, max_size=12).map(numbered))
def test_messages_not_there_only_hold_together_at_the_top(messages: list[Threadable]) -> None:
    forest = by_references(messages)
    assert all(thread.at is not None for root in forest for thread in walk(root.children))
    assert all(len(root.children) > 1 for root in forest if root.at is None)


@given(st.lists(ANY, max_size=12).map(numbered))
def test_siblings_are_in_order(messages: list[Threadable]) -> None:
    keys = {each.at: (each.date, each.at) for each in messages}

    def key(thread: Thread) -> tuple[int, int]:
        return keys[thread.at] if thread.at is not None else min(map(key, thread.children))

    forest = by_references(messages)
    for siblings in [forest, *(thread.children for thread in walk(forest))]:
        assert list(map(key, siblings)) == sorted(map(key, siblings))


@given(st.lists(ANY, max_size=12).map(numbered))
def test_one_subject_one_thread(messages: list[Threadable]) -> None:
    """Step 5: no two threads at the top have one base subject, unless it is empty."""
    by_at = {each.at: each for each in messages}
    keys = {each.at: (each.date, each.at) for each in messages}
    tops = []
    for root in by_references(messages):
        at = root.at if root.at is not None else min((c.at for c in root.children), key=lambda at: keys[at])  # type: ignore[index]
        tops.append(by_at[at].subject)  # type: ignore[index]
    named = [subject for subject in tops if subject]
    assert len(named) == len(set(named)) or any(root.at is None for root in by_references(messages))


# -- by hand --


def test_subjects_join() -> None:
    original, reply = message(0, subject="A"), message(1, subject="A", answers=True)
    assert said(by_references([original, reply])) == b"THREAD (1 2)"
    assert (
        said(by_references([message(0, subject="A", answers=True), message(1, subject="A")]))
        == b"THREAD (2 1)"
    )
    assert said(by_references([original, message(1, subject="A")])) == b"THREAD ((1)(2))"
    assert said(by_references([original, message(1, subject="B")])) == b"THREAD (1)(2)"
    assert said(by_references([message(0), message(1)])) == b"THREAD (1)(2)"
    three = [message(at, subject="A") for at in range(3)]
    assert said(by_references(three)) == b"THREAD ((1)(2)(3))"


def test_two_that_are_not_there_become_one() -> None:
    lost = [message(0, 90, subject="A"), message(1, 90), message(2, 91, subject="A"), message(3, 91)]
    assert said(by_references(lost)) == b"THREAD ((1)(2)(3)(4))"


def test_a_missing_root_takes_those_of_its_subject() -> None:
    found = by_references(
        [message(0, 90, subject="A"), message(1, 90), message(2, subject="A", answers=True)]
    )
    assert said(found) == b"THREAD ((1)(2)(3))"


def test_a_chain_of_any_depth_is_written_in_one_go() -> None:
    chain = [message(at, at) if at else message(0) for at in range(20_000)]
    assert said(by_references(chain)) == b"THREAD (" + b" ".join(b"%d" % n for n in range(1, 20_001)) + b")"


def test_branches_at_every_level_nest_without_recursion() -> None:
    comb = [message(at, (at - 1) // 2 * 2 + 1 if at else 0) if at else message(0) for at in range(4001)]
    text = said(by_references(comb))
    assert text.count(b"(") == text.count(b")") > 3900


def test_nothing_to_thread() -> None:
    assert said([]) == b"THREAD"

"""STATUS's SIZE is never below what FETCH says of the messages together (RFC 8438 section 3)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.core.types import ModSeq
from gateway.emulator.corpus import deliverable
from gateway.graph.errors import NotFound, Unreachable
from gateway.mailbox.sizes import HEADERS, ColdSizes, at_most, size_of
from gateway.store.api import Counts


def row(id: str, total: int) -> Any:
    return SimpleNamespace(id=id, total=total)


class Graph:
    def __init__(self, *answers: object) -> None:
        self.answers, self.asked = list(answers), list[list[str]]()

    async def folder_sizes(self, folders: list[str]) -> list[object]:
        self.asked.append(list(folders))
        return [self.answers.pop(0) for _ in folders]


def test_what_was_seen_counts_exactly_and_what_was_not_for_more() -> None:
    assert size_of(Counts(2, 0, 0, 0, 300, 3, ModSeq(1))) == 300
    assert (
        size_of(Counts(3, 0, 0, 0, 400, 4, ModSeq(1), estimated=100, unseen_by_us=1)) == 300 + 150 + HEADERS
    )


def test_no_message_of_the_corpus_is_larger_than_said() -> None:
    """By what the emulator calls its size: less than its MIME where there are attachments."""
    for sample in deliverable():
        octets = len(sample.data)
        assert at_most(int(octets * 0.76), 1) >= octets


async def test_a_folder_is_asked_for_once_as_long_as_its_count_is_the_same() -> None:
    graph = Graph(1000, 2000, 1500)
    sizes = ColdSizes(SimpleNamespace(graph=graph))  # type: ignore[arg-type]
    await sizes.learn([row("a", 2), row("b", 3), row("empty", 0)])
    await sizes.learn([row("a", 2), row("b", 3)])
    assert graph.asked == [["a", "b"]]
    assert sizes.of(row("a", 2), 2) == at_most(1000, 2)
    await sizes.learn([row("a", 3)])
    assert sizes.of(row("a", 3), 3) == at_most(1500, 3)
    assert sizes.knows(row("empty", 0)) and not sizes.knows(row("c", 1))


async def test_what_graph_does_not_tell_is_not_known_and_errors_are_the_callers() -> None:
    sizes = ColdSizes(SimpleNamespace(graph=Graph(None, NotFound("gone"), Unreachable("down"))))  # type: ignore[arg-type]
    await sizes.learn([row("a", 1), row("b", 1)])
    assert not sizes.knows(row("a", 1)) and not sizes.knows(row("b", 1))
    with pytest.raises(Unreachable):
        await sizes.learn([row("c", 1)])

"""A search on behalf of a client: its notice is said, and it ends with the connection."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.core.errors import BadCommand
from gateway.imap.context import Gone
from gateway.imap.matching import check_relevancy, matching, while_connected
from gateway.mailbox.values import SearchResult
from gateway.wire.encode import Out
from gateway.wire.searchkey import All, And, Contains, Field, Fuzzy, Not, Or

WORDS = Contains(Field.TEXT, "words")


class Line:
    """A connection that is lost when told so."""

    def __init__(self) -> None:
        self.cut = asyncio.Event()

    async def lost(self) -> None:
        await self.cut.wait()


async def test_work_that_ends_first_is_returned() -> None:
    line: Any = Line()
    assert await while_connected(line, asyncio.sleep(0, "done")) == "done"


async def test_its_error_is_raised() -> None:
    async def fail() -> None:
        raise BadCommand("no")

    line: Any = Line()
    with pytest.raises(BadCommand):
        await while_connected(line, fail())


async def test_a_lost_connection_cancels_the_work() -> None:
    line: Any = Line()
    begun, ended = asyncio.Event(), []

    async def search() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    task = asyncio.create_task(while_connected(line, search()))
    await begun.wait()
    line.cut.set()
    with pytest.raises(Gone):
        await task
    assert ended == [True]


async def test_a_cancelled_session_cancels_the_work() -> None:
    line: Any = Line()
    begun, ended = asyncio.Event(), []

    async def search() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    task = asyncio.create_task(while_connected(line, search()))
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (task.cancelled(), ended) == (True, [True])


@pytest.mark.parametrize(("notice", "said"), [("", b""), ("Not all", b"* OK Not all\r\n")])
async def test_a_notice_is_an_untagged_ok(notice: str, said: bytes) -> None:
    async def search(key: object) -> SearchResult:
        return SearchResult([1, 2], notice)

    session: Any = SimpleNamespace(channel=Line(), out=Out())
    folder: Any = SimpleNamespace(search=search)
    assert await matching(session, folder, All()) == [1, 2]
    assert session.out.take() == said


@pytest.mark.parametrize(
    "key", [Fuzzy(WORDS), And((All(), Fuzzy(All()))), Not(Fuzzy(WORDS)), Or(All(), Fuzzy(WORDS))]
)
def test_relevancy_goes_with_fuzzy(key: Any) -> None:
    check_relevancy(key, wanted=True)


@pytest.mark.parametrize("key", [WORDS, And((All(), WORDS)), Not(WORDS), Or(All(), WORDS)])
def test_relevancy_without_fuzzy_is_bad(key: Any) -> None:
    check_relevancy(key, wanted=False)
    with pytest.raises(BadCommand):
        check_relevancy(key, wanted=True)

"""One SEARCH of an open folder: what is read, what the index is asked, what the answer says of itself."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.core.errors import LimitReached
from gateway.core.limits import DEFAULT_LIMITS
from gateway.core.types import Flags, ObjectId, SystemFlag, Uid
from gateway.mailbox.cache import MemoryBody
from gateway.mailbox.context import Settings
from gateway.mailbox.indexsearch import IndexSearch
from gateway.mailbox.search import Query
from gateway.mailbox.searching import FRESH, Searching, is_fresh
from gateway.mailbox.sifting import runs
from gateway.mailbox.values import Body, Need, Row, SearchResult
from gateway.wire.searchkey import And, Contains, Field, Fuzzy, HasFlag, Not, Or, SearchKey

DAY = 86_400
NOW = 20_000 * DAY


@dataclass
class Mail:
    text: str
    date: int = NOW - 1000 * DAY
    flags: Flags = field(default_factory=Flags)
    kept: bool = False  # its text is in the store
    gone: bool = False

    @property
    def body(self) -> MemoryBody:
        return MemoryBody(b"Subject: x\r\n\r\n" + self.text.encode())


@dataclass
class World:
    """A folder of these messages (UIDs from 1), read and searched by fakes that count."""

    mails: list[Mail]
    settings: Settings = field(default_factory=Settings)
    limits: Any = DEFAULT_LIMITS
    read: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    per_answer: int = 1000
    block: asyncio.Event | None = None  # reading waits for it
    reading: asyncio.Event = field(default_factory=asyncio.Event)

    # -- as Graph --

    async def search(self, folder: str, query: str, *, most: int) -> list[str]:
        self.asked.append(query)
        words = [part.split("*")[0].strip("(") for part in query.split("body:")[1:]]
        low, high = -(10**9), 10**9
        if "received:" in query:
            first, last = query.split("received:")[1].split("..")
            low, high = (int(array("q", [_day(text)])[0]) for text in (first, last))
        found = [
            f"M{uid}"
            for uid, mail in enumerate(self.mails, 1)
            if low <= mail.date // DAY <= high
            and all(any(each.startswith(word) for each in mail.text.lower().split()) for word in words)
        ]
        return found[: self.per_answer]

    # -- as the store --

    async def find(self, folder: int, ids: Sequence[str]) -> dict[str, Any]:
        return {id: SimpleNamespace(uid=Uid(int(id[1:]))) for id in ids}

    async def by_uid(self, folder: int, uids: Sequence[Uid]) -> dict[Uid, Any]:
        return {uid: SimpleNamespace(uid=uid, id=f"M{uid}") for uid in uids}

    # -- as bodies --

    async def texts(self, contents: Sequence[str]) -> dict[str, str]:
        kept = {f"E{uid}": mail.text.upper() for uid, mail in enumerate(self.mails, 1) if mail.kept}
        return {name: kept[name] for name in contents if name in kept}

    async def at_hand(self, rows: Sequence[Any]) -> set[str]:
        return set()

    async def bodies(
        self, rows: Sequence[Any], folder: Any, *, priority: Any
    ) -> AsyncGenerator[tuple[Any, Body | None], None]:
        for row in rows:
            self.read.append(int(row.uid))
            self.reading.set()
            if self.block is not None:
                await self.block.wait()
            mail = self.mails[row.uid - 1]
            yield row, None if mail.gone else mail.body

    # -- as a reader --

    async def rows(self, at: Sequence[range], need: Need) -> AsyncIterator[list[Row]]:
        for part in at:
            yield [self._row(position) for position in part]

    def _row(self, at: int) -> Row:
        mail = self.mails[at]
        return Row(
            seq=at + 1, uid=Uid(at + 1), flags=mail.flags, recent=False, modseq=1, internal_date=mail.date, size=100,
            email_id=ObjectId(f"E{at + 1}"), thread_id=ObjectId("T"),
        )  # fmt: skip

    async def run(self, key: SearchKey) -> SearchResult:
        clock = SimpleNamespace(time=lambda: float(NOW))
        ctx: Any = SimpleNamespace(
            graph=self, store=self, settings=self.settings, limits=self.limits, clock=clock
        )
        folder: Any = SimpleNamespace(key=1, id="F")
        query = Query(key, count=len(self.mails), last_uid=len(self.mails), now=float(NOW))
        reader: Any = self
        bodies: Any = self
        return await Searching(ctx, bodies, folder, reader, query).run([range(len(self.mails))])


def _day(text: str) -> int:
    from datetime import date

    return date.fromisoformat(text).toordinal() - date(1970, 1, 1).toordinal()


def body(text: str) -> SearchKey:
    return Contains(Field.BODY, text)


def world(*texts: str, fetch: int = 2, mode: str = "auto", **more: Any) -> World:
    return World([Mail(text) for text in texts], Settings(search_body=mode, search_fetch=fetch), **more)


SEEN = HasFlag(b"\\Seen")


async def test_few_are_read_and_the_answer_is_exact() -> None:
    w = world("an apple", "pineapple")
    found = await w.run(body("apple"))
    assert (list(found), found.notice, w.read, w.asked) == ([0, 1], "", [1, 2], [])


async def test_kept_texts_cost_nothing() -> None:
    w = world("an apple", "a pear", "plums")
    for mail in w.mails:
        mail.kept = True
    found = await w.run(Not(body("PEAR")))
    assert (list(found), found.notice, w.read, w.asked) == ([0, 2], "", [], [])


async def test_of_many_the_candidates_are_read() -> None:
    w = world("apple pie", "apple of eve", "pineapple pie", "pear")
    found = await w.run(body("apple pie"))
    assert (list(found), w.read, len(w.asked)) == ([0], [1], 1)
    assert found.notice.endswith(": 3")


async def test_fresh_mail_and_drafts_are_candidates_whatever_the_index_says() -> None:
    w = world("pear", "xapple", "xapple", "xapple")
    w.mails[1].date = NOW - 60
    w.mails[2].flags = Flags(SystemFlag.DRAFT)
    found = await w.run(body("apple"))
    assert (list(found), w.read) == ([1, 2], [2, 3])


async def test_too_many_candidates_are_believed() -> None:
    w = world("apple", "apple", "apple", "pear")
    w.mails[3].date = NOW
    found = await w.run(body("apple"))
    assert (list(found), w.read) == ([0, 1, 2], [])
    assert found.notice.endswith(": 4")


async def test_exact_reads_all_and_index_none() -> None:
    w = world("apple", "xapple", "pear", "apple", mode="exact")
    assert list(await w.run(body("apple"))) == [0, 1, 3]
    assert (w.read, w.asked) == ([1, 2, 3, 4], [])
    w = world("apple", "xapple", mode="index")
    found = await w.run(body("apple"))
    assert (list(found), w.read, found.notice != "") == ([0], [], True)


async def test_below_not_the_index_is_not_believed() -> None:
    for mode in ("auto", "index"):
        w = world("apple", "pear", "plum", mode=mode)
        with pytest.raises(LimitReached):
            await w.run(Not(body("apple")))
        assert (w.read, w.asked) == ([], [])
    w = world("apple", "pear", "plum", mode="exact")
    assert list(await w.run(Not(body("apple")))) == [1, 2]


async def test_the_index_narrows_what_a_not_makes_read() -> None:
    w = world("apple pie", "apple", "pear pie", "plum")
    found = await w.run(And((body("apple"), Not(body("pie")))))
    assert (list(found), w.read) == ([1], [1, 2])


async def test_cheap_keys_decide_before_anything_is_asked() -> None:
    w = world("apple", "pear", "plum")
    for mail in w.mails:
        mail.flags = Flags(SystemFlag.SEEN)
    found = await w.run(Or(SEEN, body("apple")))
    assert (list(found), found.notice, w.read, w.asked) == ([0, 1, 2], "", [], [])


async def test_a_string_without_words_is_no_question_for_the_index() -> None:
    w = world("a.b", "c", "d")
    with pytest.raises(LimitReached):
        await w.run(body("."))
    assert list(await world("a.b", "c").run(body("."))) == [0]


async def test_fuzzy_asks_the_index_and_says_nothing_of_it() -> None:
    w = world("apple pie", "pear")
    found = await w.run(Fuzzy(body("PIE apple")))
    assert (list(found), found.notice, found.relevancy, w.read) == ([0], "", {0: 100}, [])


async def test_what_has_gone_matches_nothing() -> None:
    w = world("apple", "pear")
    w.mails[0].gone = True
    assert list(await w.run(Not(body("plum")))) == [1]


async def test_a_search_that_is_cancelled_reads_no_further() -> None:
    w = world(*["apple"] * 5, mode="exact", block=asyncio.Event())
    task = asyncio.create_task(w.run(body("apple")))
    await w.reading.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (w.read, task.cancelled()) == ([1], True)


async def test_ranges_of_days_bring_more_hits_than_one_answer_has() -> None:
    w = world(*["apple"] * 40, mode="index", per_answer=8, limits=replace(DEFAULT_LIMITS, search_hits=8))
    for number, mail in enumerate(w.mails):
        mail.date = NOW - 400 * DAY + number * 5 * DAY
    found = await w.run(body("apple"))
    assert list(found) == list(range(40))
    assert "more hits" not in found.notice
    assert len(w.asked) <= 15


async def test_a_day_that_is_too_full_is_said_to_be() -> None:
    w = world(*["apple"] * 9, mode="index", per_answer=4, limits=replace(DEFAULT_LIMITS, search_hits=4))
    found = await w.run(body("apple"))
    assert "more hits" in found.notice
    assert len(w.asked) == 3  # the folder, and both halves of its one day: no end would come of halving


async def test_ranges_are_bounded_in_number() -> None:
    limits = replace(DEFAULT_LIMITS, search_hits=1, search_calls=10)
    w = world(*["apple"] * 500, mode="index", per_answer=1, limits=limits)
    for number, mail in enumerate(w.mails):
        mail.date = NOW - 900 * DAY + number * DAY
    await w.run(And((body("apple"), body("app"))))
    assert len(w.asked) <= 11


def test_fresh_is_a_matter_of_minutes() -> None:
    row = World([Mail("x", date=NOW)])._row(0)
    assert is_fresh(row, NOW - FRESH) and not is_fresh(row, NOW + 1)
    row.save_date = NOW + 2
    assert is_fresh(row, NOW + 1)


def test_positions_become_runs() -> None:
    assert runs([0, 1, 2, 5, 7, 8]) == [range(3), range(5, 6), range(7, 9)]
    assert runs([]) == []


def test_an_index_search_of_nothing_asks_nothing() -> None:
    ctx: Any = SimpleNamespace(limits=DEFAULT_LIMITS)
    index = IndexSearch(ctx, SimpleNamespace(key=1, id="F"), [])  # type: ignore[arg-type]
    assert asyncio.run(index.hits("?!")) is None

"""What knowing the mailbox may cost in requests to Graph, by the emulator's log, at N = 5,000, delta and counts late:
signing in, LIST, STATUS, the first sync, SELECT, and what happens when nothing happens. Messages: see
`test_budgets_messages.py`. The long form: `GATEWAY_BUDGETS_N=50000 pytest tests/test_budgets.py -k first_sync`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.core.limits import DEFAULT_LIMITS
from gateway.emulator.items import READ, number_of
from gateway.mailbox.account import MailboxAccount
from gateway.mailbox.context import Settings
from gateway.store.api import FolderRow
from tests.account_world import ALICE, PASSWORD, Client, Outlook, Site, outlook_world
from tests.sync_world import eventually
from tests.ticking import ticking

MANY = int(os.environ.get("GATEWAY_BUDGETS_N", "5000"))
FIRST_SYNC, HALVED = {5_000: (17, 24), 50_000: (160, 215)}[MANY]  # requests
FOLDERS = 24
LAGS = {"delta_lag_seconds": 0.2, "counts_lag_seconds": 0.2}

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outlook(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Outlook]:
    """One mailbox for all tests of this module, each of which meets it for the first time."""
    async with outlook_world(tmp_path_factory.mktemp("budgets"), messages=MANY, **LAGS) as made:
        for number in range(FOLDERS):
            made.make_folder(f"Folder {number:02}")
        yield made


@asynccontextmanager
async def site_of(outlook: Outlook, folder: Path) -> AsyncIterator[Site]:
    await outlook.forget()
    site = Site(folder, outlook, DEFAULT_LIMITS, Settings(poll_interval=15.0))
    await site.up()
    try:
        yield site
    finally:
        await site.down()


@pytest_asyncio.fixture(loop_scope="module")
async def s(outlook: Outlook, tmp_path: Path) -> AsyncIterator[Site]:
    async with site_of(outlook, tmp_path) as site:
        yield site


class Still(MailboxAccount):
    """Nothing is synced in the background."""

    async def _keep_warm(self) -> None:
        return None


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.account_world.MailboxAccount", Still)


async def login(s: Site) -> Client:
    client = await s.connect()
    (await client.do(f'LOGIN "{ALICE}" "{PASSWORD}"')).ok()
    return client


async def warm(s: Site) -> Client:
    """Signed in; INBOX and the special folders are synced, to the end of their walks."""
    client = await login(s)
    account = await s.account()
    for sync in account._syncs.values():
        await sync.walked()
    await s.outlook.forget()
    return client


async def cost(s: Site, client: Client, *commands: str) -> int:
    await s.outlook.forget()
    for command in commands:
        (await client.do(command, seconds=300)).ok()
    return len(await s.outlook.log())


async def minutes_later(s: Site) -> None:
    """What is known is so old as it would be then."""
    account = await s.cold()
    for part in (account.hierarchy, *account._syncs.values()):
        part.synced = account.ctx.clock.monotonic() - 120.0


async def inbox(s: Site) -> tuple[FolderRow, list[str]]:
    account = await s.cold()
    row = await account.row("INBOX")
    return row, [message.id for message in await s.store.messages(row.key)]


def status(names: list[str]) -> list[str]:
    return [f'STATUS "{name}" (MESSAGES UIDNEXT UNSEEN)' for name in names]


async def as_in_outlook(s: Site) -> bool:
    """Our rows are the folder's messages."""
    _, ours = await inbox(s)
    box = s.outlook.box
    theirs = {box.mint.immutable(box.items[number].number) for number in _numbers(s)}
    return set(ours) == theirs and len(ours) == len(theirs)


def _numbers(s: Site) -> list[int]:
    return [number_of(key) for key in s.outlook.folder("inbox").items.column]


# -- signing in, LIST, STATUS --


@pytest.mark.usefixtures("still")
async def test_login_list_and_status(s: Site) -> None:
    client = await login(s)
    assert await s.outlook.log() == []
    assert await cost(s, client, 'LIST "" "*"') <= 3
    assert await cost(s, client, 'LIST "" "*"', 'LSUB "" "*"', 'LIST "" "*" RETURN (SPECIAL-USE)') == 0
    twelve = [f"Folder {number:02}" for number in range(12)]
    (await s.cold()).hierarchy.forget_age()
    assert await cost(s, client, *status(twelve)) == 1
    assert await cost(s, client, *status(twelve)) == 0
    await s.restart()
    client = await login(s)
    assert await s.outlook.log() == []
    assert await cost(s, client, 'LIST "" "*"', *status(twelve)) == 0


async def test_a_second_login_and_status_of_what_is_synced(s: Site) -> None:
    client = await warm(s)
    names = ["INBOX", "Sent Items", "Drafts", "Archive", "Deleted Items", "Junk Email"]
    await login(s)
    assert await s.outlook.log() == []
    assert await cost(s, client, *status(names)) == 0
    (await s.cold()).hierarchy.forget_age()
    assert await cost(s, client, *status(names)) == 1
    await s.restart()
    client = await login(s)
    await s.account()
    assert await cost(s, client, *status(names)) == 0


# -- the first sync --


@pytest.mark.usefixtures("still")
async def test_a_first_sync(s: Site) -> None:
    """As many requests as there are pages, and no client waits for the pages that can only be had in a row."""
    client = await login(s)
    await cost(s, client, 'LIST "" "*"')
    await s.outlook.forget()
    async with ticking(s) as ticks:
        (await ticks.until(client.do("SELECT INBOX", seconds=300))).ok()
        waited, flights = len(await s.outlook.log()), list(ticks.flights)
        account = await s.cold()
        sync = account.sync(await account.row("INBOX"))
        await ticks.until(sync.walked())
    requests = await s.outlook.log()
    assert len(requests) <= FIRST_SYNC
    assert sum(flight >= 3 for flight in flights) >= 0.8 * len(flights)
    assert len(flights) <= 2 + MANY // 1000 // 3
    assert waited < FIRST_SYNC
    assert await as_in_outlook(s)
    await s.outlook.forget()
    await sync.poll(max_age=0.0)
    assert len(await s.outlook.log()) == 1


@pytest.mark.usefixtures("still")
async def test_a_first_sync_whose_pages_are_too_heavy(s: Site) -> None:
    """504 for every page of a thousand: as many fail as are in flight then, the others come halved."""
    client = await login(s)
    await cost(s, client, 'LIST "" "*"')
    heavy = {"method": "GET", "path": r"/messages\?.*asc&?(\$skip=1000)?(&?\$count=true)?$"}
    await s.outlook.fault(**heavy, status=504, count=2)
    await s.outlook.forget()
    (await client.do("SELECT INBOX", seconds=300)).ok()
    await (await s.cold()).sync(await (await s.cold()).row("INBOX")).walked()
    assert sum(request["status"] == 504 for request in await s.outlook.log()) == 2
    assert len(await s.outlook.log()) <= HALVED
    assert await as_in_outlook(s)


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("at", [1, 5])
async def test_a_first_sync_that_was_cut_goes_on(s: Site, tmp_path: Path, at: int) -> None:
    """Killed behind the n-th answer: what had come is not asked for again."""
    client = await login(s)
    await cost(s, client, 'LIST "" "*"')
    await s.outlook.forget()
    async with ticking(s) as ticks:
        select = asyncio.ensure_future(client.do("SELECT INBOX", seconds=300))
        await asyncio.sleep(0.05)  # the command is on its way
        await ticks.times(at)
        killed = tmp_path / "killed"
        _snapshot(tmp_path, killed)
        before, lost = len(await s.outlook.log()), len(ticks._waiting)
        await (await s.cold()).close()
        await asyncio.wait({select})
    await s.outlook.forget()
    async with site_of(s.outlook, killed) as again:
        client = await login(again)
        (await client.do("SELECT INBOX", seconds=300)).ok()
        await (await again.cold()).sync(await (await again.cold()).row("INBOX")).walked()
        after = len(await s.outlook.log())
        assert await as_in_outlook(again)
        row, _ = await inbox(again)
        assert [m.uid for m in await again.store.messages(row.key)] == list(range(1, MANY + 1))
    # the refused `$expand` once more in each process; SELECT's own delta
    assert before + after <= FIRST_SYNC + lost + 1 + 1


def _snapshot(state: Path, copy: Path) -> None:
    """What a process that is killed now leaves behind."""
    copy.mkdir(mode=0o700)
    for file in state.glob("gateway.db*"):
        shutil.copy(file, copy)


# -- SELECT, and reading what is known --


async def test_select_and_flags(s: Site) -> None:
    client = await warm(s)
    for name in ("Archive", '"Sent Items"', "INBOX"):
        await minutes_later(s)
        assert await cost(s, client, f"SELECT {name}") == 1
    assert await cost(s, client, "FETCH 1:* (FLAGS UID INTERNALDATE RFC822.SIZE MODSEQ EMAILID)") == 0
    assert await cost(s, client, "UNSELECT", "SELECT INBOX") == 0  # a moment later
    await minutes_later(s)
    assert await cost(s, client, "UNSELECT", "SELECT INBOX") == 1
    await s.restart()
    client = await login(s)
    await s.account()
    assert await cost(s, client, "SELECT INBOX") == 1
    assert await cost(s, client, "FETCH 1:* (FLAGS UID INTERNALDATE RFC822.SIZE)", "NOOP", "CHECK") == 0
    assert await cost(s, client, *["NOOP", "CHECK"] * 20) == 0


# -- what Outlook does to many at once --


async def test_a_clean_up_by_outlook(s: Site) -> None:
    client = await warm(s)
    (await client.do("SELECT INBOX")).ok()
    await s.outlook.forget()
    box = s.outlook.box
    for number in _numbers(s):
        item = box.items[number]
        box.edit(item, READ)
        box.set_read(item, True)
    assert await noticed(s, client, lambda: _all_read(s)) <= 30
    kept = 60
    for number in _numbers(s)[kept:]:
        box.move(box.items[number], s.outlook.folder("deleteditems"))
    await s.outlook.forget()
    assert await noticed(s, client, lambda: as_in_outlook(s)) <= 30
    assert len(client.uids) == kept


async def noticed(s: Site, client: Client, done: Callable[[], Awaitable[bool]]) -> int:
    """Requests till what was done has been heard of; delta lags behind."""

    async def heard() -> bool:
        (await s.look(client)).ok()
        return await done()

    await asyncio.sleep(0.25)
    assert await eventually(heard)
    (await client.do("NOOP")).ok()
    return len(await s.outlook.log())


async def _all_read(s: Site) -> bool:
    counts = await s.store.counts((await inbox(s))[0].key)
    return counts.unseen == 0

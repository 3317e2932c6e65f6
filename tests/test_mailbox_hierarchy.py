"""The hierarchy as a process that comes up finds it in the store."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gateway.mailbox.hierarchy import NEVER, Hierarchy


class Store:
    """Another process writes its folders, names the special ones and keeps the link, all while ours reads: after our
    `turn`-th read."""

    def __init__(self, turn: int) -> None:
        self._turn = turn

    def _read(self, before: Any, after: Any) -> Any:
        self._turn -= 1
        return before if self._turn >= 0 else after

    async def hierarchy_link(self, account: str) -> str:
        return self._read("", "link")

    async def hierarchy_synced(self, account: str) -> float:
        return self._read(0.0, 100.0)

    async def folders(self, account: str) -> list[Any]:
        return self._read([folder(None)], [folder("inbox")])


def folder(well_known: str | None) -> Any:
    return SimpleNamespace(
        id="f", key=1, well_known=well_known, parent=None, name="Inbox", hidden=False, total=0, unread=0,
        mailbox_id="Fx", ready=False,
    )  # fmt: skip


async def test_folders_that_are_not_all_named_yet_do_not_count_as_all_there_are() -> None:
    for turn in range(5):
        clock = SimpleNamespace(time=lambda: 101.0, monotonic=lambda: 5.0)
        ctx: Any = SimpleNamespace(
            account="a", store=Store(turn), clock=clock, special={}, folder_keys=set(), hubs=None
        )
        hierarchy = Hierarchy(ctx)
        await hierarchy.load()
        assert hierarchy.synced == NEVER or "inbox" in ctx.special, turn

"""METADATA of mailboxes and of the server (RFC 5464), and the special uses that are kept there (RFC 6154 section 4).

Graph has no place for them: they live in the store, by folder, so that they follow a rename and go with their mailbox.
Beside what clients keep there are entries of our own, which nobody can change:

    /shared/admin        (server) how to reach the administrator, from the configuration
    /private/specialuse  as LIST has it; can be set where a use may be given
    /private/vendor/graph-mail-gateway/...
        folder-id        Graph's id of the folder, for scripts
        display-name     as Outlook shows it, without IMAP's escapes
        well-known-name  of folders Exchange made
        synced-at        when the folder was last compared with Exchange
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from gateway.core.errors import AnnotationTooBig, CannotDo, TooManyAnnotations, UseRefused
from gateway.core.types import SPECIAL_USE_ATTRIBUTES, SpecialUse
from gateway.mailbox.context import AccountContext
from gateway.mailbox.local import graph_time
from gateway.mailbox.names import Entry

USE = "/private/specialuse"
ADMIN = "/shared/admin"
OURS = "/private/vendor/graph-mail-gateway"
NEWS_KEPT = 4096  # changed entries that are remembered for sessions that have not heard of them

# Uses a mailbox of the user's may be given, where Exchange has none of its own: the archive is the only folder that
# may be missing, and nothing in here acts on it.
_GIVEN = {SPECIAL_USE_ATTRIBUTES[use].lower(): use for use in (SpecialUse.ARCHIVE,)}

Changes = Mapping[str, bytes | None]


class Annotations:
    """Of one account. Mailboxes are named by their tree entry, the server by None."""

    def __init__(self, ctx: AccountContext) -> None:
        self._ctx = ctx
        self._lock = asyncio.Lock()  # count, then write
        self._given: dict[int, SpecialUse] = {}  # by folder key
        self.news = News(NEWS_KEPT)

    async def load(self) -> None:
        found = await self._ctx.store.annotations_of_all(self._ctx.account, [USE])
        self._given = {key: _GIVEN[values[USE].lower()] for key, values in found.items()
                       if values[USE].lower() in _GIVEN}  # fmt: skip

    # -- reading --

    async def of(self, entry: Entry | None) -> dict[str, bytes]:
        """Every entry, by name in lower case."""
        ctx = self._ctx
        kept = await ctx.store.annotations(ctx.account, None if entry is None else entry.row.key)
        kept.pop(USE, None)
        return {**kept, **self._computed(entry)}

    async def of_all(self, mailboxes: Iterable[Entry], names: Sequence[str]) -> dict[str, dict[str, bytes]]:
        """These entries of each mailbox, by the mailbox's name. One look into the store for all."""
        kept = await self._ctx.store.annotations_of_all(self._ctx.account, names)
        found: dict[str, dict[str, bytes]] = {}
        for entry in mailboxes:
            known = {**kept.get(entry.row.key, {}), USE: b"", **self._computed(entry)}
            found[entry.name] = {name: known[name] for name in names if known.get(name)}
        return found

    def _computed(self, entry: Entry | None) -> dict[str, bytes]:
        if entry is None:
            admin = self._ctx.settings.admin
            return {ADMIN: admin.encode()} if admin else {}
        use, row = self.use_of(entry), entry.row
        values = {
            USE: SPECIAL_USE_ATTRIBUTES.get(use, b"") if use is not None else b"",
            f"{OURS}/folder-id": row.id.encode(),
            f"{OURS}/display-name": row.name.encode("utf-8", "replace"),
            f"{OURS}/well-known-name": row.well_known.encode(),
            f"{OURS}/synced-at": graph_time(row.synced_at).encode() if row.synced_at else b"",
        }
        return {name: value for name, value in values.items() if value}

    # -- writing --

    async def put(self, entry: Entry | None, changes: Changes, writer: int) -> None:
        """All or none (RFC 5464 section 4.3). `writer`: the session, which is not told of its own changes."""
        self._check(entry, changes)
        ctx, key = self._ctx, None if entry is None else entry.row.key
        async with self._lock:
            before = await ctx.store.annotations(ctx.account, key)
            changed = {name: value for name, value in changes.items() if before.get(name) != value}
            await self._check_room(before, changed)
            if not changed:
                return
            await ctx.store.put_annotations(ctx.account, key, changed)
            if key is not None and USE in changed:
                self._remember(key, changed[USE])
        self.news.add(key, changed, writer)

    async def copy(self, source: Entry, target: Entry) -> None:
        """RENAME of INBOX: both keep them (RFC 5464 section 4.1)."""
        kept = await self._ctx.store.annotations(self._ctx.account, source.row.key)
        kept.pop(USE, None)
        if kept:
            await self._ctx.store.put_annotations(self._ctx.account, target.row.key, kept)

    def _check(self, entry: Entry | None, changes: Changes) -> None:
        most = self._ctx.limits.metadata_value
        for name, value in changes.items():
            if name == OURS or name.startswith(OURS + "/") or (entry is None and name == ADMIN):
                raise CannotDo("This entry is the server's own and cannot be changed")
            if value is not None and len(value) > most:
                raise AnnotationTooBig(most)
            if name == USE:
                self._check_use(entry, value)

    async def _check_room(self, before: Mapping[str, bytes], changed: Changes) -> None:
        ctx = self._ctx
        after = {name: value for name, value in {**before, **changed}.items() if value is not None}
        if len(after) > max(len(before), ctx.limits.metadata_entries):
            raise TooManyAnnotations("This mailbox has as many entries as it may have")
        growth = _octets(after) - _octets(before)
        if growth > 0 and await ctx.store.annotation_octets(ctx.account) + growth > ctx.limits.metadata_total:
            raise TooManyAnnotations("All entries together have become too large")

    # -- special uses --

    def use_of(self, entry: Entry) -> SpecialUse | None:
        """Exchange's own, else the one given, unless Exchange has made a folder for that meanwhile."""
        given = self._given.get(entry.row.key)
        return entry.use or (None if given is None or given.value in self._ctx.special else given)

    def check_uses(self, uses: Sequence[bytes], key: int = 0) -> None:
        """May a mailbox be given these uses? `key`: the mailbox, if it exists. UseRefused."""
        for word in uses:
            use = _GIVEN.get(word.lower())
            if use is None:
                raise UseRefused("No mailbox can be given this special use here")
            if use.value in self._ctx.special or any(
                use is other for at, other in self._taken() if at != key
            ):
                raise UseRefused("There is a mailbox of this special use")

    def _check_use(self, entry: Entry | None, value: bytes | None) -> None:
        if entry is None:
            raise CannotDo("The server has no special use")
        if entry.use is not None:
            raise UseRefused("The special use of this mailbox is Exchange's")
        self.check_uses((value or b"").split(), entry.row.key)

    async def forget_use(self, entry: Entry) -> None:
        """Of a mailbox that was deleted: its folder lies in Deleted Items, and is nobody's archive there."""
        if self._given.pop(entry.row.key, None) is not None and entry.row.key in self._ctx.folder_keys:
            await self._ctx.store.put_annotations(self._ctx.account, entry.row.key, {USE: None})

    def _taken(self) -> list[tuple[int, SpecialUse]]:
        """What was given to mailboxes that still exist."""
        return [(key, use) for key, use in self._given.items() if key in self._ctx.folder_keys]

    def _remember(self, key: int, value: bytes | None) -> None:
        use = _GIVEN.get((value or b"").strip().lower())
        if use is None:
            self._given.pop(key, None)
        else:
            self._given[key] = use


def _octets(values: Mapping[str, bytes]) -> int:
    return sum(len(name) + len(value) for name, value in values.items())


class News:
    """Which entries were changed, in their order, for sessions that want to hear (RFC 5464 section 4.4).

    An entry is remembered with its last change only. At most `bound`: whoever is further behind than that misses
    the oldest."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._log: OrderedDict[tuple[int | None, str], tuple[int, int]] = OrderedDict()
        self._stirred = asyncio.Event()
        self.serial = 0

    def add(self, folder: int | None, names: Iterable[str], writer: int) -> None:
        for name in names:
            self.serial += 1
            self._log[folder, name] = self.serial, writer
            self._log.move_to_end((folder, name))
        while len(self._log) > self._bound:
            self._log.popitem(last=False)
        stirred, self._stirred = self._stirred, asyncio.Event()
        stirred.set()

    def since(self, serial: int, reader: int) -> dict[int | None, list[str]]:
        """What others than `reader` changed after `serial`, by folder key."""
        found: dict[int | None, list[str]] = {}
        for (folder, name), (at, writer) in reversed(self._log.items()):
            if at <= serial:
                break
            if writer != reader:
                found.setdefault(folder, []).insert(0, name)
        return found

    async def changed(self, serial: int) -> None:
        """Returns when there is something after `serial`."""
        while self.serial <= serial:
            await self._stirred.wait()

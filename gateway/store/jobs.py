"""The store contract over any engine: what each method promises is in `api.Store`.

This file only says where each job runs: sealing and opening on the engine's workers, everything that changes rows
in one transaction per call. The jobs themselves are functions of a connection in the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from gateway.core.types import AccountId, FolderId, MessageId, ModSeq, Uid
from gateway.store import apply as applying
from gateway.store import binding, blobs, content, folders, gaps, messages, notes, sortblocks, texts, walks
from gateway.store.announcing import Silent
from gateway.store.api import (
    Applied,
    Counts,
    Delta,
    Facts,
    FolderRow,
    FolderUpsert,
    Local,
    MessageRow,
    Pin,
    Undescribed,
    Upsert,
)
from gateway.store.blobstream import BlobStreamJobs
from gateway.store.crypt import Vault
from gateway.store.db import Connection, Engine
from gateway.store.errors import Damaged, WrongKey
from gateway.store.journal import JournalJobs
from gateway.store.nodes import Topic
from gateway.store.quotas import QuotaJobs
from gateway.store.rows import account_key, find_messages
from gateway.store.submissions import SubmissionJobs
from gateway.store.walks import WalkJobs

TOMBSTONES = 65_536  # of a folder
TEXT_OCTETS = 512 * 1024 * 1024  # searchable texts, sealed
BLOB_GRACE = 7 * 24 * 3600  # seconds an unreferenced blob is kept
PROBE = b"graph-mail-gateway"  # sealed at creation: tells a wrong key before anything is written with it


class JobStore(SubmissionJobs, WalkJobs, JournalJobs, QuotaJobs, BlobStreamJobs):
    """`key`: 32 octets (`keyfile.load_or_create_key`). `clock`: seconds since 1970. `tombstones`: how many expunged
    UIDs a folder remembers for `since`. `text_octets`: how much of searchable texts is kept, 0 for none.

    Every method may raise Unavailable (closed, disk full, I/O error); those on a folder's key NoSuchMailbox
    if it was removed meanwhile; those that open sealed values `errors.Damaged`. An engine adds `open`.
    """

    def __init__(
        self, engine: Engine, *, key: bytes, clock: Callable[[], float], tombstones: int, text_octets: int
    ) -> None:
        self._engine = engine
        self._vault = Vault(key)
        self._clock = clock
        self._tombstones = tombstones
        self._text_octets = text_octets
        self.speech = Silent()  # what other nodes hear of writes

    # -- life --

    async def open(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        await self._engine.stop()

    async def sweep(self) -> int:
        """Drop originals nobody refers to, last put over a week ago, and the searchable texts of messages that are
        gone; returns how many originals. For a daily round."""
        await self._engine.write(texts.sweep)
        return await self._sweep_blobs()

    async def _sweep_blobs(self) -> int:
        before = self._now() - BLOB_GRACE
        return await self._engine.write(lambda db: blobs.sweep(db, before))

    # -- folders --

    async def folders(self, account: AccountId) -> list[FolderRow]:
        return await self._engine.read(lambda db: folders.folders(db, self._vault, account))

    async def folder(self, account: AccountId, id: FolderId) -> FolderRow | None:
        return await self._engine.read(lambda db: folders.folder(db, self._vault, account, id))

    async def put_folders(
        self,
        account: AccountId,
        upserts: Sequence[FolderUpsert],
        gone: Sequence[FolderId],
        *,
        link: str | None,
    ) -> list[FolderRow]:
        now = self._now()

        def job(db: Connection) -> list[FolderRow]:
            folders.put_folders(db, account, upserts, gone, now)
            self.speech.news(db, account, Topic.TREE, [""] if upserts or gone else [], now)
            if link is not None:
                folders.set_hierarchy_link(db, self._vault, account, link, now)
            return folders.folders(db, self._vault, account)

        return await self._engine.write(job, account)

    async def hierarchy_link(self, account: AccountId) -> str:
        return await self._engine.read(lambda db: folders.hierarchy_link(db, self._vault, account))

    async def subscriptions(self, account: AccountId) -> set[str]:
        return await self._engine.read(lambda db: folders.subscriptions(db, account))

    async def subscribe(self, account: AccountId, name: str, on: bool) -> None:
        def job(db: Connection) -> None:
            folders.subscribe(db, account, name, on)
            self.speech.news(db, account, Topic.SUBSCRIBED, [name], self._now())

        await self._engine.write(job, account)

    async def rename_subscriptions(self, account: AccountId, source: str, target: str) -> None:
        await self._engine.write(
            lambda db: folders.rename_subscriptions(db, account, source, target), account
        )

    # -- annotations --

    async def annotations(self, account: AccountId, folder: int | None) -> dict[str, bytes]:
        return await self._engine.read(lambda db: notes.of_folder(db, self._vault, account, folder))

    async def annotations_of_all(
        self, account: AccountId, entries: Sequence[str]
    ) -> dict[int, dict[str, bytes]]:
        return await self._engine.read(lambda db: notes.of_all(db, self._vault, account, entries))

    async def put_annotations(
        self, account: AccountId, folder: int | None, changes: Mapping[str, bytes | None]
    ) -> None:
        def job(db: Connection) -> None:
            notes.put(db, self._vault, account, folder, changes)
            self.speech.news(db, account, Topic.ANNOTATED, changes, self._now(), folder or 0)

        await self._engine.write(job, account)

    async def annotation_octets(self, account: AccountId) -> int:
        return await self._engine.read(lambda db: notes.octets(db, account))

    async def storage(self, account: AccountId) -> tuple[int, int]:
        return await self._engine.read(lambda db: messages.storage(db, account))

    # -- messages --

    async def messages(self, folder: int) -> list[MessageRow]:
        return await self._engine.read(lambda db: messages.all_messages(db, folder))

    async def find(self, folder: int, ids: Sequence[MessageId]) -> dict[MessageId, MessageRow]:
        return await self._engine.read(lambda db: find_messages(db, folder, ids))

    async def by_uid(self, folder: int, uids: Sequence[Uid]) -> dict[Uid, MessageRow]:
        return await self._engine.read(lambda db: messages.by_uid(db, folder, uids))

    async def ids(self, folder: int) -> dict[MessageId, Uid]:
        return await self._engine.read(lambda db: messages.ids(db, folder))

    async def undescribed(self, folder: int) -> Undescribed:
        return await self._engine.read(lambda db: gaps.undescribed(db, folder))

    async def estimated(self, folder: int, below: int, count: int) -> list[MessageRow]:
        return await self._engine.read(lambda db: gaps.estimated(db, folder, below, count))

    async def apply(
        self, folder: int, upserts: Sequence[Upsert], gone: Sequence[MessageId], *,
        link: str | None = None, after: str | None = None,
    ) -> Applied:  # fmt: skip
        def job(db: Connection) -> Applied:
            if after is not None and self.speech.node and folders.link(db, self._vault, folder) != after:
                return Applied(ModSeq(0), overtaken=True)
            held = partial(self.speech.held, now=self._now())
            applied = applying.apply(db, folder, upserts, gone, self._tombstones, held)
            self._link(db, folder, None if applied.passed else link)
            self.speech.messages(db, folder, applied)
            return applied

        return await self._engine.write(job, folder)

    async def newest(self, folder: int, count: int) -> list[MessageRow]:
        return await self._engine.read(lambda db: messages.newest(db, folder, count))

    async def rebind(self, folder: int, old: MessageId, new: MessageId) -> bool:
        return await self._engine.write(lambda db: binding.rebind(db, folder, old, new), folder)

    async def since(self, folder: int, modseq: ModSeq) -> Delta:
        return await self._engine.read(lambda db: messages.since(db, folder, modseq))

    async def expunged(self, folder: int, modseq: ModSeq) -> list[Uid] | None:
        return await self._engine.read(lambda db: messages.expunged(db, folder, modseq))

    async def counts(self, folder: int) -> Counts:
        return await self._engine.read(lambda db: messages.counts(db, folder))

    async def reserve_uids(self, folder: int, count: int) -> list[Uid]:
        return await self._engine.write(lambda db: messages.reserve_uids(db, folder, count), folder)

    async def take_recent(self, folder: int) -> int:
        return await self._engine.write(lambda db: messages.take_recent(db, folder), folder)

    # -- first sync --

    async def stage(self, folder: int, upserts: Sequence[Upsert], *, link: str | None) -> int:
        def job(db: Connection) -> int:
            count = messages.stage(db, folder, upserts)
            self._link(db, folder, link)
            return count

        return await self._engine.write(job, folder)

    async def staged(self, folder: int) -> int:
        return await self._engine.read(lambda db: messages.staged(db, folder))

    async def staged_ids(self, folder: int) -> set[MessageId]:
        return await self._engine.read(lambda db: messages.staged_ids(db, folder))

    async def unstage(self, folder: int, ids: Sequence[MessageId]) -> None:
        await self._engine.write(lambda db: messages.unstage(db, folder, ids), folder)

    async def finish_first_sync(self, folder: int, *, link: str) -> Applied:
        def job(db: Connection) -> Applied:
            applied = messages.finish_first_sync(db, folder)
            self._link(db, folder, link)
            self.speech.messages(db, folder, applied)
            return applied

        return await self._engine.write(job, folder)

    async def set_link(self, folder: int, link: str) -> None:
        await self._engine.write(lambda db: self._link(db, folder, link), folder)

    def _link(self, db: Connection, folder: int, link: str | None) -> None:
        if link is not None:
            folders.set_link(db, self._vault, folder, link, self._now())
        if link:
            walks.end(db, folder)

    # -- facts and bytes --

    async def facts(self, account: AccountId, ids: Sequence[MessageId]) -> dict[MessageId, Facts]:
        def job(db: Connection) -> dict[MessageId, Facts]:
            return content.open_facts(self._vault, account, content.sealed_facts(db, account, ids))

        return await self._engine.read(job)

    async def put_facts(
        self, account: AccountId, facts: dict[MessageId, Facts], *, told: bool = True
    ) -> dict[MessageId, Facts]:
        sealed = await self._engine.work(lambda: content.seal_facts(self._vault, account, facts))
        await self._engine.write(lambda db: content.put_facts(db, account, sealed), account)
        return await self.facts(account, list(facts)) if told else {}

    async def put_previews(self, account: AccountId, previews: dict[MessageId, str]) -> None:
        def job(db: Connection) -> list[content.Refilled]:
            rows = content.sealed_facts(db, account, previews)
            return content.with_previews(self._vault, account, rows, previews)

        refilled = await self._engine.read(job)
        await self._engine.write(lambda db: content.refill(db, account, refilled), account)

    async def pin(self, account: AccountId, id: MessageId, pin: Pin) -> Pin:
        sealed = content.seal_pin(self._vault, account, id, pin)
        stored = await self._engine.write(lambda db: content.put_pin(db, account, id, sealed), account)
        return content.open_pin(self._vault, account, id, stored)

    async def pinned(self, account: AccountId, id: MessageId) -> Pin | None:
        sealed = await self._engine.read(lambda db: content.sealed_pin(db, account, id))
        return None if sealed is None else content.open_pin(self._vault, account, id, sealed)

    async def replace_pin(self, account: AccountId, id: MessageId, pin: Pin) -> None:
        sealed = content.seal_pin(self._vault, account, id, pin)
        await self._engine.write(lambda db: content.replace_pin(db, account, id, sealed), account)

    async def drop_content(self, account: AccountId, ids: Sequence[MessageId]) -> None:
        await self._engine.write(lambda db: content.forget(db, account_key(db, account), ids), account)

    # -- searchable texts --

    async def texts(self, account: AccountId, contents: Sequence[str]) -> dict[str, str]:
        def job(db: Connection) -> dict[str, str]:
            return texts.open_texts(self._vault, account, texts.sealed_texts(db, account, contents))

        return await self._engine.read(job)

    async def put_texts(self, account: AccountId, found: Mapping[str, str]) -> None:
        if not self._text_octets:
            return
        sealed = await self._engine.work(lambda: texts.seal(self._vault, account, found))
        await self._engine.write(lambda db: texts.put(db, account, sealed, self._text_octets), account)

    # -- sort facts --

    async def sort_blocks(self, folder: int) -> dict[int, bytes]:
        def job(db: Connection) -> dict[int, bytes]:
            return sortblocks.open_blocks(self._vault, folder, sortblocks.sealed_blocks(db, folder))

        return await self._engine.read(job)

    async def put_sort_blocks(self, folder: int, blocks: dict[int, bytes]) -> None:
        sealed = await self._engine.work(lambda: sortblocks.seal(self._vault, folder, blocks))
        await self._engine.write(lambda db: sortblocks.put(db, folder, sealed), folder)

    # -- durable originals --

    async def original(self, account: AccountId, id: MessageId) -> bytes | None:
        return await self._blob(lambda db: blobs.address_of(db, account, id))

    async def has_originals(self, account: AccountId, ids: Sequence[MessageId]) -> set[MessageId]:
        return await self._engine.read(lambda db: blobs.having(db, account, ids))

    async def share_original(self, account: AccountId, source: MessageId, target: MessageId) -> None:
        await self._engine.write(lambda db: blobs.share(db, account, source, target), account)

    async def put_blob(self, data: bytes) -> bytes:
        """Address and seal outside the transaction; sealed for nothing if the blob is there already."""
        address, sealed = await self._engine.work(partial(self._sealed, data))
        now = self._now()
        await self._engine.write(lambda db: blobs.put(db, address, len(data), sealed, now))
        return address

    async def blob(self, address: bytes) -> bytes | None:
        return await self._blob(lambda db: address)

    async def adopt_blob(self, account: AccountId, id: MessageId, address: bytes) -> None:
        await self._engine.write(lambda db: blobs.adopt(db, account, id, address), account)

    def _sealed(self, data: bytes) -> tuple[bytes, list[bytes]]:
        address = self._vault.address(data)
        return address, blobs.seal_chunks(self._vault, address, data)

    async def _blob(self, find: Callable[[Connection], bytes | None]) -> bytes | None:
        def job(db: Connection) -> bytes | None:
            address = find(db)
            sealed = None if address is None else blobs.chunks(db, address)
            if address is None or sealed is None:
                return None
            return blobs.open_chunks(self._vault, address, sealed)

        return await self._engine.read(job)

    async def originals_octets(self) -> int:
        return await self._engine.read(blobs.octets)

    # -- local state --

    async def local(self, account: AccountId, ids: Sequence[MessageId]) -> dict[MessageId, Local]:
        return await self._engine.read(lambda db: content.local(db, account, ids))

    async def put_local(self, account: AccountId, states: dict[MessageId, Local]) -> None:
        await self._engine.write(lambda db: content.put_local(db, account, states), account)

    async def change_local(
        self,
        account: AccountId,
        ids: Sequence[MessageId],
        change: Callable[[dict[MessageId, Local]], dict[MessageId, Local]],
    ) -> dict[MessageId, Local]:
        def job(db: Connection) -> dict[MessageId, Local]:
            found = content.local(db, account, ids)
            changed = change(found)
            content.put_local(db, account, changed)
            return {**found, **changed}

        return await self._engine.write(job, account)

    def _now(self) -> int:
        return int(self._clock())


def check_key(db: Connection, vault: Vault) -> None:
    """WrongKey before anything is written with another key than the one the store was made with."""
    sql = "INSERT INTO meta (name, value) VALUES ('probe', ?) ON CONFLICT DO NOTHING"
    db.execute(sql, (vault.seal(PROBE, "probe"),))
    (probe,) = db.execute("SELECT value FROM meta WHERE name = 'probe'").fetchone()
    try:
        vault.open(probe, "probe")
    except Damaged as error:
        raise WrongKey("this store was made with another state key") from error

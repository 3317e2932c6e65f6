"""STORE: flags of many messages changed in Graph, then in the store, then in every view (decision 7,
invariant 2).

Each message gets a PATCH of what changes and nothing else. Where the whole value must be sent (categories)
or the client asked for it (UNCHANGEDSINCE), the PATCH carries If-Match, and a conflict is settled on what
Graph has now. Nothing is locked while Graph is asked: who finds that somebody else wrote the same message
meanwhile reads it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from gateway.core.errors import GatewayError
from gateway.core.types import FlagChange, Flags, MessageId, SystemFlag, Uid
from gateway.graph.errors import Conflict, GraphError, NotFound, OutcomeUnknown, Throttled, Unreachable
from gateway.graph.mail import Patch, Result
from gateway.graph.model import Message
from gateway.mailbox.context import AccountContext
from gateway.mailbox.local import FORWARDED, KeywordMap, epoch, flags_of, merged_local
from gateway.mailbox.localstate import States, change_local
from gateway.mailbox.patches import (
    Aspect,
    Change,
    changed_aspects,
    local_of,
    named_aspects,
    patch_of,
    wanted_flags,
)
from gateway.mailbox.replies import refusal
from gateway.mailbox.sending.promise import is_owed
from gateway.mailbox.work import bulk
from gateway.store.api import FolderRow, Local, MessageRow, Upsert

FRESH = 5.0  # seconds since the last sync: so long a STORE that changes nothing needs no request (decision 7)
NOTHING = Local()
AT_ONCE = 1000  # messages whose answers are held in memory together
# Errors after which only Graph knows the flags. A 404 is one of them: what is listed and not found is asked for
# once more, or a passing 404 would look like a STORE that was done.
_UNKNOWN = (Unreachable, OutcomeUnknown, Throttled, NotFound)


@dataclass(slots=True)
class Outcome:
    """What became of a STORE. `changed`: done, or nothing was to do but say so to Graph; `failed`: Graph
    refused, and the store has the truth where it could be read; `modified`: failed UNCHANGEDSINCE; `gone`:
    not in Graph any more, the next sync expunges them; `error`: the first failure."""

    changed: list[Uid] = field(default_factory=list)
    failed: list[Uid] = field(default_factory=list)
    modified: list[Uid] = field(default_factory=list)
    gone: list[Uid] = field(default_factory=list)
    error: GatewayError | None = None


@dataclass(slots=True)
class _Job:
    """One message on its way: what it was, what it shall be, what Graph said."""

    row: MessageRow
    wanted: Flags
    aspects: Aspect
    etag: str
    answer: Result | None = None  # of the PATCH
    truth: Message | None = None  # read anew: after a conflict, an unknown outcome, or an overlap
    spent: bool = False  # the mark of \\Deleted that Graph may have counts for nothing
    contested: bool = False  # somebody else of us wrote it while we did
    modified: bool = False  # failed UNCHANGEDSINCE only when Graph was asked
    withdrawn: Local = field(default_factory=Local)  # the verbs taken from the local state before the PATCH


async def store_flags(
    ctx: AccountContext, folder: FolderRow, rows: Sequence[MessageRow], change: FlagChange
) -> Outcome:
    """Apply one STORE to these messages of the folder. Graph's errors are in the outcome, not raised."""
    store = _Store(ctx, folder, change, len(rows))
    for start in range(0, len(rows), AT_ONCE):
        await store.run(rows[start : start + AT_ONCE])
    return store.outcome


class _Store:
    """One STORE on its way."""

    def __init__(self, ctx: AccountContext, folder: FolderRow, change: FlagChange, messages: int) -> None:
        self.outcome = Outcome()
        self._ctx = ctx
        self._folder = folder
        self._change = change
        self._keywords = KeywordMap(ctx.settings.labels)
        self._priority = bulk(messages)
        self._stale = ctx.clock.time() - folder.synced_at >= FRESH
        # Of a thousand messages most have the same flags: what follows from them alone is worked out once.
        self._plans: dict[Flags, tuple[Flags, Aspect]] = {}
        self._bodies: dict[tuple[Flags, Flags, Aspect, int], dict[str, Any]] = {}
        self._locals: dict[tuple[Flags, Aspect], Local] = {}
        self._told: dict[tuple[Any, ...], Flags] = {}

    async def run(self, rows: Sequence[MessageRow]) -> None:
        jobs = [self._job(row) for row in rows if not self._older(row)]
        self.outcome.changed += [job.row.uid for job in jobs if not job.aspects]
        jobs = [job for job in jobs if job.aspects]
        if not jobs:
            return
        await self._withdraw(jobs)
        await self._patch(await self._guarded(jobs))
        await self._settle([job for job in jobs if isinstance(job.answer, Conflict)])
        await self._read([job for job in jobs if job.contested or isinstance(job.answer, _UNKNOWN)])
        await self._keep(jobs)

    # -- what to ask for --

    def _older(self, row: MessageRow) -> bool:
        """Whether UNCHANGEDSINCE fails by what we know already (RFC 7162 section 3.1.3)."""
        bound = self._change.unchanged_since
        if bound is None or row.modseq <= bound:
            return False
        self.outcome.modified.append(row.uid)
        return True

    def _job(self, row: MessageRow) -> _Job:
        plan = self._plans.get(row.flags)
        if plan is None:
            plan = self._plans[row.flags] = self._plan(row.flags)
        return _Job(row, *plan, row.etag)

    def _plan(self, flags: Flags) -> tuple[Flags, Aspect]:
        wanted = wanted_flags(self._change, flags, self._keywords)
        aspects = changed_aspects(flags, wanted, self._keywords)
        if self._stale:  # Outlook may know better than we do: what the client speaks of is said again
            aspects |= named_aspects(self._change, self._keywords)
        return wanted, aspects

    def _request(self, job: _Job) -> Patch:
        now = int(self._ctx.clock.time())
        alike = (job.row.flags, job.wanted, job.aspects, now)
        body = self._bodies.get(alike)
        if body is None:
            quiet = self._ctx.settings.read_receipts != "send"
            change = Change(job.row.flags, job.wanted, self._keywords, now, quiet)
            body = self._bodies[alike] = patch_of(change, job.aspects) or {}
        guarded = self._change.unchanged_since is not None or Aspect.CATEGORIES in job.aspects
        return Patch(job.row.id, body, (job.etag or None) if guarded else None)

    # -- asking --

    async def _withdraw(self, jobs: Sequence[_Job]) -> None:
        """A verb that goes leaves the local state before it leaves Graph: after a crash in between, delta shows
        what Graph still has, while a union that had kept the verb would contradict Graph for ever."""
        going = [job for job in jobs if _lost(job.row.flags, job.wanted) != NOTHING]
        if not going:
            return

        def left(local: States) -> States:
            found = {}
            for job in going:
                before = local.get(job.row.id) or local_of(job.row.flags, self._keywords)
                lost = _lost(job.row.flags, job.wanted)
                job.withdrawn = Local(before.answered and lost.answered, before.forwarded and lost.forwarded)
                found[job.row.id] = replace(
                    before,
                    answered=before.answered and not lost.answered,
                    forwarded=before.forwarded and not lost.forwarded,
                )
            return found

        await change_local(self._ctx, [job.row.id for job in going], left)

    async def _guarded(self, jobs: Sequence[_Job]) -> Sequence[_Job]:
        """UNCHANGEDSINCE needs an etag for its If-Match: messages of which none is known are read first."""
        blind = [job for job in jobs if self._change.unchanged_since is not None and not job.etag]
        await self._read(blind)
        for job in blind:
            if job.truth is not None and self._merge(job, job.truth):
                job.truth = None
        return [job for job in jobs if not job.modified and job.answer is None]

    async def _patch(self, jobs: Sequence[_Job]) -> None:
        writes, clock = self._ctx.writes, self._ctx.clock
        began = clock.monotonic()
        for job, answer in zip(jobs, await self._answers(jobs), strict=True):
            job.answer = answer
            job.contested = writes.entries.get(job.row.id, began) > began
            if isinstance(answer, Message):
                writes.ended(job.row.id, clock.monotonic())

    async def _answers(self, jobs: Sequence[_Job]) -> Sequence[Result]:
        try:
            patches = [self._request(job) for job in jobs]
            return await self._ctx.graph.patch(patches, priority=self._priority)
        except GraphError as error:  # none of them could be asked
            return [error for _ in jobs]

    async def _settle(self, jobs: Sequence[_Job]) -> None:
        """Conflicts: read again, merge, once more. What Outlook changed stays, what the client asked for is
        added. Under UNCHANGEDSINCE another's change of flags is MODIFIED."""
        await self._read(jobs)
        again = [job for job in jobs if job.truth is not None and self._merge(job, job.truth)]
        if again:
            await self._patch(again)
        for job in again:
            if isinstance(job.answer, Message):
                job.truth = None

    def _merge(self, job: _Job, truth: Message) -> bool:
        """The same change on what Graph has now; whether to ask for it again."""
        kept = replace(local_of(job.row.flags, self._keywords), undeleted=job.spent)
        current = flags_of(truth, kept, self._keywords)
        if self._change.unchanged_since is not None and current != job.row.flags:
            job.modified = True
            return False
        job.wanted = wanted_flags(self._change, current, self._keywords)
        job.aspects = changed_aspects(current, job.wanted, self._keywords)
        job.aspects |= named_aspects(self._change, self._keywords)
        job.etag = truth.etag
        return True

    async def _read(self, jobs: Sequence[_Job]) -> None:
        """What Graph has now; where it does not answer, the store's rows stay as they are."""
        if not jobs:
            return
        try:
            answers = await self._ctx.graph.get([job.row.id for job in jobs], priority=self._priority)
        except GraphError:
            return
        local = await self._ctx.store.local(self._ctx.account, [job.row.id for job in jobs])
        for job, answer in zip(jobs, answers, strict=True):
            job.spent = local.get(job.row.id, Local()).undeleted
            if isinstance(answer, Message):
                job.truth = answer
            elif isinstance(answer, NotFound):
                job.answer = answer

    # -- taking over --

    async def _keep(self, jobs: Sequence[_Job]) -> None:
        """Local state first: a crash in between leaves verbs that the next delta shows as flags. (Those that go
        have gone from it before Graph was asked.)"""
        local = await self._keep_local(jobs)
        upserts = [upsert for job in jobs if (upsert := self._upsert(job, local.get(job.row.id)))]
        if upserts:
            applied = await self._ctx.store.apply(self._folder.key, upserts, ())
            self._ctx.hubs.refresh(self._folder.key, applied)

    async def _keep_local(self, jobs: Sequence[_Job]) -> dict[MessageId, Local]:
        """The change made on what is stored now, so that two STOREs at once both count."""

        def learnt(local: States) -> States:
            found = {}
            for job in jobs:
                before = local.get(job.row.id)
                after = self._local_of(job) if before is None else self._local_after(job, before)
                if after != (before or NOTHING):
                    found[job.row.id] = after
            return found

        return await change_local(self._ctx, [job.row.id for job in jobs], learnt)

    def _local_of(self, job: _Job) -> Local:
        """Where nothing is kept yet."""
        if job.truth is not None or not isinstance(job.answer, Message):
            return self._local_after(job, local_of(job.row.flags, self._keywords))
        alike = (job.row.flags, job.aspects)
        if alike not in self._locals:
            self._locals[alike] = self._local_after(job, local_of(job.row.flags, self._keywords))
        return self._locals[alike]

    def _local_after(self, job: _Job, before: Local) -> Local:
        if isinstance(job.answer, Message):
            after = local_of(wanted_flags(self._change, _flags_in(before), self._keywords), self._keywords)
            # The mark of \\Deleted is from now on what we have just written.
            before = replace(after, undeleted=before.undeleted and Aspect.DELETED not in job.aspects)
        else:  # nothing was removed after all
            kept = job.withdrawn
            before = replace(
                before,
                answered=before.answered or kept.answered,
                forwarded=before.forwarded or kept.forwarded,
            )
        return (merged_local(job.truth, before) if job.truth else None) or before

    def _upsert(self, job: _Job, local: Local | None) -> Upsert | None:
        """The new row, and the message's line in the outcome."""
        uid, answer = job.row.uid, job.answer
        if self._is_elsewhere(job.truth or answer) or self._is_gone(job):
            self.outcome.gone.append(uid)
            return None
        if job.truth is not None:
            flags = flags_of(job.truth, local, self._keywords)
            self._judge(job, flags)
            return _row_of(job.truth, flags)
        if isinstance(answer, Message):
            self.outcome.changed.append(uid)
            return _row_of(answer, self._flags_of(answer, local, job.wanted))
        self._fail(job)
        return None

    def _flags_of(self, answer: Message, local: Local | None, wanted: Flags) -> Flags:
        if local is not None or answer.single_value_extended_properties:
            return flags_of(answer, local, self._keywords, expanded=False, known=wanted)
        categories = None if answer.categories is None else tuple(answer.categories)
        alike = (wanted, answer.is_read, answer.is_draft, answer.flag, categories)
        if alike not in self._told:
            self._told[alike] = flags_of(answer, None, self._keywords, expanded=False, known=wanted)
        return self._told[alike]

    def _is_gone(self, job: _Job) -> bool:
        """Of a copy in Sent Items that Exchange owes us still, a 404 says nothing."""
        return job.truth is None and isinstance(job.answer, NotFound) and not is_owed(self._ctx, job.row)

    def _is_elsewhere(self, message: Result | None) -> bool:
        """Moved by somebody: an immutable id is good for a PATCH in any folder."""
        return isinstance(message, Message) and message.parent_folder_id not in (None, self._folder.id)

    def _judge(self, job: _Job, truth: Flags) -> None:
        """Of a message read anew: is it as the client wanted?"""
        missing = changed_aspects(truth, job.wanted, self._keywords) & job.aspects
        if job.modified:
            self.outcome.modified.append(job.row.uid)
        elif isinstance(job.answer, Message) or not missing:
            self.outcome.changed.append(job.row.uid)
        else:
            self._fail(job)

    def _fail(self, job: _Job) -> None:
        self.outcome.failed.append(job.row.uid)
        if isinstance(job.answer, GraphError):
            self.outcome.error = self.outcome.error or refusal(job.answer)


def _row_of(message: Message, flags: Flags) -> Upsert:
    modified = epoch(message.last_modified_date_time)
    id, etag = MessageId(message.id), message.etag or None
    return Upsert(id, flags=flags, etag=etag, modified=modified, known_only=True)


@lru_cache(maxsize=1024)
def _lost(before: Flags, after: Flags) -> Local:
    """The verbs that a STORE takes away."""
    return Local(
        SystemFlag.ANSWERED in before.system and SystemFlag.ANSWERED not in after.system,
        before.has_keyword(FORWARDED) and not after.has_keyword(FORWARDED),
    )


def _flags_in(local: Local) -> Flags:
    system = SystemFlag.ANSWERED if local.answered else SystemFlag(0)
    return Flags(system, local.keywords | {FORWARDED} if local.forwarded else local.keywords)

"""The part of the store's contract that is about submissions; `submissions.py` holds the statements.

A row is there from before the first effect in Graph until nothing can depend on it any more: until the client has
heard our reply, and, in a queue, until the message is sent. What happens when is decided in `mailbox.sending`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway.core.types import AccountId

PAYLOAD = 512 * 1024  # octets: an envelope of 500 long addresses


@dataclass(slots=True)
class SubmissionRow:
    """One submission. `queue_id` is unique and says nothing of the message; `state` is a word of `mailbox.sending`,
    of which this floor knows "sent" alone: nothing is left to do in Graph.

    `queued`: accepted on behalf of the client, to be sent whatever it takes. `heard`: the client has had our reply,
    so that it will not come again. `holder`: the node that works on it, `lease` until when, seconds since 1970.
    `due`: not to be tried before; of one that is sent: to be kept until then. `blob`: address of the octets, kept
    while the row is there; b"" for none. `created`, `touched`: by the store, when it was added and last put."""

    account: AccountId
    queue_id: str
    state: str
    payload: bytes  # JSON, at most PAYLOAD octets; sealed
    queued: bool = False
    heard: bool = False
    holder: str = ""
    lease: int = 0
    due: int = 0
    blob: bytes = b""
    id: int = 0
    created: int = 0
    touched: int = 0


@dataclass(frozen=True, slots=True)
class QueueTotals:
    """Submissions that are accepted and not sent; `oldest`: when the first of them came, 0 if there is none."""

    depth: int
    oldest: int


class Submissions(Protocol):
    async def submission_add(self, row: SubmissionRow, digest: bytes) -> int:
        """Keep it; returns the row's id. `digest`: of envelope and octets, kept under a key, so that nobody can test a
        guess of the content."""
        ...

    async def submission_put(self, row: SubmissionRow) -> None:
        """State, holder, lease, due, blob and payload as they are now. A row that is dropped stays dropped; `heard` is
        not changed by this."""
        ...

    async def submission_heard(self, account: AccountId, queue_id: str) -> None: ...
    async def submission_drop(self, id: int) -> None: ...
    async def submissions(
        self, account: AccountId, *, digest: bytes | None = None, open_since: int | None = None
    ) -> list[SubmissionRow]:
        """In the order in which they came; with that digest; with `open_since` those that are not sent, and those
        touched since then."""
        ...

    async def submission_claim(self, id: int, holder: str, now: int, until: int) -> SubmissionRow | None:
        """The row as it is now that it is the holder's: it was so before, nobody had it, or its lease had run out.
        None: it is another's, or gone. Two nodes never both hear of it."""
        ...

    async def submission_hasten(self, account: AccountId, queue_id: str = "") -> int:
        """What is queued and not sent, or that one of it, is due at once; how many."""
        ...

    async def submission_sweep(self, account: AccountId, heard_before: int, now: int) -> int:
        """Drop what is sent and due before `now`, or heard of by the client and last touched before `heard_before`.
        How many."""
        ...

    async def submission_accounts(self) -> list[AccountId]:
        """Who has submissions that are not sent."""
        ...

    async def queue_totals(self) -> QueueTotals:
        """Of all accounts."""
        ...

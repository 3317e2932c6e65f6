"""The message that a submission answers, or forwards, bears the mark of it, if its client does not set one.

In-Reply-To names what is answered (RFC 5322 section 3.6.4). Nothing in the standard tells a forward; Thunderbird says
X-Forwarded-Message-Id. The original is looked for among what the store knows: no request if it is not there; else one
PATCH, as a STORE's, some seconds later, when a client that does it itself has done so."""

from __future__ import annotations

import re
from itertools import islice

import structlog

from gateway.core.errors import GatewayError
from gateway.core.types import FlagChange, FlagOp, Flags, MessageId, SpecialUse
from gateway.mailbox.changes import store_flags
from gateway.mailbox.context import AccountContext
from gateway.mailbox.local import FORWARDED
from gateway.mailbox.outgoing import Answer
from gateway.mailbox.values import Spool
from gateway.mime.compose import message_id
from gateway.mime.header import Fields, header_end
from gateway.store.api import FolderRow, MessageRow

DELAY = 5.0  # seconds: clients STORE the flag right after their 250
BOUND = 1_000  # marks that wait; beyond, the oldest are not made
SCANNED: dict[str, int] = {SpecialUse.INBOX: 2_000}  # newest messages looked at, in this folder
_SCANNED = 300  # in any other
_FOLDERS = 20  # looked into at most
_AT_ONCE = 100  # messages whose facts are opened without a pause for others
_HEADER = 256 * 1024  # octets of a message in which its header is looked for
_NAMED = 5  # messages that one submission may answer
_LAST = (SpecialUse.SENT, SpecialUse.DRAFTS, SpecialUse.OUTBOX, SpecialUse.TRASH, SpecialUse.JUNK)
_ID = re.compile(rb"<[^<>\s]+>")
ANSWERED = Flags.of([b"\\Answered"])
FORWARD = Flags.of([FORWARDED])
log = structlog.get_logger()


def note_answer(ctx: AccountContext, spool: Spool) -> None:
    """This was submitted. What it answers is marked soon."""
    if not ctx.settings.mark_answered:
        return
    head = spool.read(0, _HEADER)
    named = marks_of(Fields(head[: header_end(head)]))
    waiting, due = ctx.outgoing.answers, ctx.clock.time() + DELAY
    for name, forwarded in named.items():
        waiting[name, forwarded] = Answer(name, forwarded, due)
    for oldest in list(islice(waiting, max(0, len(waiting) - BOUND))):
        del waiting[oldest]
    if named:
        ctx.outgoing.wake.set()


def marks_of(header: Fields) -> dict[bytes, bool]:
    """Message-IDs of what it answers (False) or forwards (True)."""
    forwarded = _ID.findall(b" ".join(header.all(b"x-forwarded-message-id")))
    answered = _ID.findall(header.first(b"in-reply-to") or b"")
    found = dict.fromkeys(answered[:_NAMED], False)
    return found | dict.fromkeys(forwarded[:_NAMED], True)


async def set_marks(ctx: AccountContext) -> float | None:
    """Make those that are due; seconds until the next, None if none waits."""
    waiting = ctx.outgoing.answers
    now = ctx.clock.time()
    for key in [key for key, answer in waiting.items() if answer.due <= now]:
        answer = waiting.pop(key)
        try:
            await _mark(ctx, answer)
        except GatewayError as error:
            log.info("an answered message is not marked", account=ctx.account, error=type(error).__name__)
    dues = [answer.due for answer in waiting.values()]
    return max(0.0, min(dues) - now) if dues else None


async def _mark(ctx: AccountContext, answer: Answer) -> None:
    wanted = FORWARD if answer.forwarded else ANSWERED
    found = await _find(ctx, answer.message_id)
    if found is None:
        return
    folder, row = found
    if wanted.system & row.flags.system or (answer.forwarded and row.flags.has_keyword(FORWARDED)):
        return
    outcome = await store_flags(ctx, folder, [row], FlagChange(FlagOp.ADD, wanted))
    if outcome.error is not None:
        raise outcome.error


async def _find(ctx: AccountContext, name: bytes) -> tuple[FolderRow, MessageRow] | None:
    """The newest message of that name whose header is known here, INBOX first."""
    for folder in await _folders(ctx):
        rows = await ctx.store.newest(folder.key, SCANNED.get(folder.well_known, _SCANNED))
        for start in range(0, len(rows), _AT_ONCE):
            row = await _among(ctx, rows[start : start + _AT_ONCE], name)
            if row is not None:
                return folder, row
    return None


async def _folders(ctx: AccountContext) -> list[FolderRow]:
    folders = [row for row in await ctx.store.folders(ctx.account) if row.ready and not row.hidden]
    folders.sort(key=lambda row: (row.well_known != SpecialUse.INBOX, row.well_known in _LAST))
    return folders[:_FOLDERS]


async def _among(ctx: AccountContext, rows: list[MessageRow], name: bytes) -> MessageRow | None:
    facts = await ctx.store.facts(ctx.account, [MessageId(row.id) for row in rows])
    for row in rows:
        known = facts.get(row.id)
        if known is not None and name in known.header and message_id(known.header) == name:
            return row
    return None

"""What became of a draft: Graph is looked at, nothing is guessed.

```
isDraft false, wherever it is     sent: the copy keeps the draft's immutable id (contract section 10.2)
isDraft true                      not sent, as yet
404                               on its way from Drafts to Sent Items; or a draft so young that Graph does not show
                                  it yet (trap 42), which it is for a minute at most
```
"""

from __future__ import annotations

from enum import Enum, auto

from gateway.graph.errors import GraphError, NotFound
from gateway.graph.model import Message, Priority
from gateway.mailbox.context import AccountContext
from gateway.mailbox.replies import submission_refusal
from gateway.mailbox.sending.record import Work

FIELDS = ("id", "isDraft", "parentFolderId")
LOOKS = (0.0, 1.0, 2.0, 4.0, 8.0)  # seconds before each look
YOUNG = 60  # seconds in which a 404 may mean "not visible yet"
_STILL = 2  # looks that show a draft before it counts as not sent


class Fate(Enum):
    SENT = auto()
    DRAFT = auto()
    UNSEEN = auto()


async def look(ctx: AccountContext, work: Work, *, priority: Priority = Priority.INTERACTIVE) -> Fate:
    """One look at a draft that may have been sent. GraphError."""
    (result,) = await ctx.graph.get([work.draft], fields=FIELDS, properties=(), priority=priority)
    if isinstance(result, Message):
        return Fate.DRAFT if result.is_draft else Fate.SENT
    if not isinstance(result, NotFound):
        raise result
    return Fate.UNSEEN if ctx.clock.time() - work.began < YOUNG else Fate.SENT


async def watch(ctx: AccountContext, work: Work) -> Fate:
    """Looks until it is clear, for some seconds. A send whose answer was lost may be going on in Graph still: only
    what is a draft again and again counts as one. GraphError: Graph cannot be asked."""
    drafts = 0
    for pause in LOOKS:
        await ctx.clock.sleep(pause)
        fate = await look(ctx, work)
        drafts += fate is Fate.DRAFT
        if fate is Fate.SENT or drafts == _STILL:
            return fate
    return fate


def is_final(error: GraphError) -> bool:
    """Whether trying again would bring the same: what an SMTP client hears as 5xx."""
    return submission_refusal(error).status >= 500

"""What is known of a recipient before the message comes, where `submission.mail_tips` asks for it.

Tips are advice: whoever they do not speak against clearly, and everybody while Graph cannot be asked, is let pass, and
what Exchange says when the message is sent decides. One question for all recipients that the client has named so far
without waiting for our answers, and none again for a while."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.core.errors import SubmissionRefused
from gateway.graph.errors import GraphError
from gateway.graph.tips import AT_ONCE, MailTips
from gateway.mailbox.context import AccountContext
from gateway.mailbox.sending.plan import folded

AGE = 300.0  # seconds a tip is good for
KEPT = 5000  # tips of one mailbox
_NOBODY = re.compile(r"not.?found|invalid.?recipient|unknown", re.IGNORECASE)


@dataclass(slots=True)
class Tips:
    """Of one mailbox, by folded address, with the time (monotonic) until which they count; None: Graph said nothing.
    The oldest go first."""

    known: OrderedDict[str, tuple[float, MailTips | None]] = field(default_factory=OrderedDict)

    def get(self, address: str, now: float) -> tuple[MailTips | None] | None:
        """In a tuple; None where it has to be asked."""
        found = self.known.get(address)
        return (found[1],) if found is not None and found[0] > now else None

    def put(self, address: str, tips: MailTips | None, until: float) -> None:
        self.known[address] = until, tips
        self.known.move_to_end(address)
        while len(self.known) > KEPT:
            self.known.popitem(last=False)


async def check_recipient(
    ctx: AccountContext, tips: Tips, recipient: str, ahead: Callable[[], Sequence[str]], size: int
) -> None:
    """SubmissionRefused if `recipient` cannot have a message of `size` octets (0: not told). `ahead` tells who
    will be asked for next."""
    now, key = ctx.clock.monotonic(), folded(recipient)
    if tips.get(key, now) is None:
        await _ask(ctx, tips, [recipient, *ahead()], now)
    found = tips.get(key, now)
    if found is not None and found[0] is not None:
        _judge(recipient, found[0], size)


async def _ask(ctx: AccountContext, tips: Tips, recipients: Sequence[str], now: float) -> None:
    wanted = {folded(each): each for each in recipients if tips.get(folded(each), now) is None}
    wanted = dict(list(wanted.items())[:AT_ONCE])
    try:
        answered = await ctx.graph.mail_tips(list(wanted.values()))
    except GraphError:
        return
    said = {folded(each.email_address.address or ""): each for each in answered}
    for key in wanted:
        tips.put(key, said.get(key), now + AGE)


def _judge(recipient: str, tips: MailTips, size: int) -> None:
    if tips.error is not None and _NOBODY.search(tips.error.code):
        raise SubmissionRefused(550, "5.1.1", "Exchange knows no such recipient")
    if tips.mailbox_full:
        raise SubmissionRefused(452, "4.2.2", "The recipient's mailbox is full")
    if tips.delivery_restricted:
        raise SubmissionRefused(550, "5.7.1", "The recipient does not take mail from this sender")
    if tips.max_message_size and size > tips.max_message_size:
        raise SubmissionRefused(552, "5.2.3", f"The recipient takes at most {tips.max_message_size} octets")

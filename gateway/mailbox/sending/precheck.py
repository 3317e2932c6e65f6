"""What can be said of a sender and of recipients before the message comes (RFC 5321 section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.mailbox.context import AccountContext
from gateway.mailbox.sending import identity, mailtips


class Precheck:
    """Of one account. SubmissionRefused with the reply to give."""

    def __init__(self, ctx: AccountContext) -> None:
        self._ctx = ctx
        self._tips = mailtips.Tips()

    def sender(self, sender: str) -> None:
        """'' is the null path."""
        identity.check_sender(sender, self._ctx.settings.senders)
        self._ctx.refused.check(sender, self._ctx.clock.monotonic())

    async def recipient(self, recipient: str, ahead: Callable[[], Sequence[str]], size: int) -> None:
        """`ahead` tells whom the client will name next, as far as that is known; `size`: as it told, or 0."""
        if self._ctx.settings.mail_tips:
            await mailtips.check_recipient(self._ctx, self._tips, recipient, ahead, size)

"""What Exchange knows of recipients before anything is sent: getMailTips (contract section 14)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.graph.calls import MailboxCalls
from gateway.graph.model import EmailAddress

AT_ONCE = 100  # addresses in one request
_ASKED = "mailboxFullStatus, maxMessageSize, deliveryRestriction, recipientScope"


class TipError(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""


class MailTips(msgspec.Struct, rename="camel", kw_only=True, frozen=True):
    """`max_message_size` in octets; `recipient_scope`: "internal", "external", ... `error` instead of the rest."""

    email_address: EmailAddress = EmailAddress()
    mailbox_full: bool | None = None
    max_message_size: int | None = None
    delivery_restricted: bool | None = None
    recipient_scope: str | None = None
    error: TipError | None = None


class _Answer(msgspec.Struct):
    value: list[MailTips] = []


class Tipping(MailboxCalls):
    async def mail_tips(self, addresses: Sequence[str]) -> list[MailTips]:
        """Of up to `AT_ONCE` addresses, in whatever order Graph answers. A question only: it may be repeated."""
        body = {"EmailAddresses": list(addresses), "MailTipsOptions": _ASKED}
        request = self.request("POST", "/getMailTips", json=body, repeat=True, shape=_Answer)
        answer: _Answer = (await self.call(request)).value
        return answer.value

"""What a submission session knows between commands: who the peer is, what may be done here, the open transaction."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from gateway.core.errors import GatewayError
from gateway.mailbox.api import Account
from gateway.mailbox.values import UNASKED, Asked, Dsn, Envelope
from gateway.smtp.connection import Connection
from gateway.smtp.data import Intake
from gateway.smtp.parameters import MailParameters
from gateway.smtp.replies import Rejected

log = structlog.get_logger("gateway.smtp")


@dataclass(slots=True)
class Transaction:
    """A mail transaction between MAIL and its end (RFC 5321 section 3.3). `recipients`: as given, by their case-folded
    form, so that each gets the mail once; `asked` by the same. `intake`: what BDAT has brought so far."""

    sender: str
    parameters: MailParameters
    recipients: dict[str, str] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    intake: Intake | None = None

    def add(self, recipient: str, asked: Asked) -> None:
        """One that was named before stays as it was first written; the last word on notifications counts."""
        key = recipient.casefold()
        self.recipients.setdefault(key, recipient)
        self.asked[key] = asked

    def envelope(self) -> Envelope:
        mail = self.parameters
        asked = tuple((self.recipients[key], said) for key, said in self.asked.items() if said is not UNASKED)
        return Envelope(
            self.sender,
            tuple(self.recipients.values()),
            Dsn(mail.ret, mail.envid, asked),
            mail.hold_until,
            mail.utf8,
        )


class Session(Connection):
    """A connection with what it has come to."""

    hello = ""  # EHLO's or HELO's argument; empty: not yet
    account: Account | None = None
    mail: Transaction | None = None
    failed_logins = 0
    transactions = 0
    unheard = ""  # queue id of a 250 that nothing shows to have arrived

    async def reset(self) -> None:
        """Back to where MAIL is expected; nothing of a message is kept."""
        mail, self.mail, self.data_until = self.mail, None, None
        self._set_rset_state()  # type: ignore[no-untyped-call]
        if mail is not None and mail.intake is not None:
            await mail.intake.spool.close()

    async def ended(self) -> None:
        if self.unheard and self.account is not None:
            self.account.lost(self.unheard)
        self.unheard = ""
        await self.reset()

    def is_there(self) -> bool:
        """Whether the peer may wait for our reply still: it has neither gone nor hung up."""
        return not self._lost.done() and not self._reader.at_eof()

    async def heard(self) -> None:
        """A client that never heard the 250 will send its message again; one that did, and sends the same octets
        once more, wants them sent once more. Commands that lie here when the connection is lost show nothing."""
        if self._lost.done():
            return
        queue_id, self.unheard = self.unheard, ""
        if not queue_id or self.account is None:
            return
        try:
            await self.account.heard(queue_id)
        except GatewayError as error:  # no reason to refuse the command that shows it
            log.warning("smtp.heard", error=type(error).__name__)

    # -- what must have come before --

    @property
    def may_start_tls(self) -> bool:
        return self.server.tls is not None and not self.secure and self.terms.starttls

    @property
    def may_log_in(self) -> bool:
        return self.terms.login and (self.secure or self.terms.login_in_clear)

    def need_hello(self) -> None:
        if not self.hello:
            raise Rejected(503, "5.5.1", "Send EHLO first")

    async def need_account(self) -> Account:
        """Who has logged in; a peer whose address is enough is its network's account. Unavailable if that cannot be
        opened."""
        if self.account is None and self.terms.account:
            self.account = await self.server.accounts.admit(self.terms.account, self.peer_address)
        if self.account is not None:
            return self.account
        if self.may_start_tls and not self.may_log_in:
            raise Rejected(530, "5.7.0", "Must issue a STARTTLS command first")
        raise Rejected(530, "5.7.0", "Authentication required")

    async def need_mail(self) -> Transaction:
        self.need_hello()
        await self.need_account()
        if self.mail is None:
            raise Rejected(503, "5.5.1", "Need MAIL first")
        return self.mail

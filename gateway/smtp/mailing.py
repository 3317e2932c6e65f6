"""The commands of a mail transaction: MAIL, RCPT, then DATA or BDAT (RFC 5321 section 3.3; RFC 3030), and RSET."""
# ruff: noqa: N802  (aiosmtpd finds a command by the method's name)

from __future__ import annotations

import re
from collections.abc import Awaitable

import structlog
from aiosmtpd.smtp import syntax

from gateway.core.errors import GatewayError
from gateway.mailbox.api import Account
from gateway.mailbox.outgoing import peer_alive
from gateway.mailbox.values import Spool
from gateway.smtp import parameters, paths
from gateway.smtp.data import Intake, receive, receive_chunk
from gateway.smtp.replies import LOCAL_ERROR, OK, START_DATA, Farewell, Gone, Rejected, Reply, reply_to
from gateway.smtp.session import Session, Transaction

log = structlog.get_logger("gateway.smtp")

_BDAT = re.compile(r"([0-9]{1,20})(?:[ \t]+(LAST))?", re.IGNORECASE)


class Mailing(Session):
    @syntax(
        "MAIL FROM:<address>",
        extended=" [SIZE=octets] [BODY=7BIT|8BITMIME] [SMTPUTF8] [RET=FULL|HDRS] [ENVID=xtext]"
        " [HOLDFOR=seconds|HOLDUNTIL=date-time]",
    )
    async def smtp_MAIL(self, arg: str | None) -> None:
        self.need_hello()
        account = await self.need_account()
        if self.mail is not None:
            raise Rejected(503, "5.5.1", "A transaction is open already")
        self._count_transaction()
        given = paths.argument(arg or "", "FROM")
        found = parameters.mail_parameters(
            given.parameters, now=self.server.clock.time(), longest_hold=self.server.settings.longest_hold
        )
        if found.size > self.limits.message:
            raise Rejected(552, "5.3.4", f"Message too big, the limit is {self.limits.message} octets")
        sender = self.terms.sender(given.path, utf8=found.utf8)
        await self.terms.check_quota(self.server.quotas)
        await self.check_sender(account, sender)
        self.mail = Transaction(sender, found)
        await self.say(Reply(250, "2.1.0", "Sender OK"))

    def _count_transaction(self) -> None:
        """Refused ones count as well (RFC 9422 section 4.1)."""
        self.transactions += 1
        if self.transactions > self.limits.transactions:
            raise Farewell(421, "4.5.3", "Too many transactions, connect again")

    @syntax("RCPT TO:<address>", extended=" [NOTIFY=NEVER|SUCCESS,FAILURE,DELAY] [ORCPT=type;xtext]")
    async def smtp_RCPT(self, arg: str | None) -> None:
        mail = await self.need_mail()
        if mail.intake is not None:
            raise Rejected(503, "5.5.1", "The message has begun")
        given = paths.argument(arg or "", "TO")
        asked = parameters.rcpt_parameters(given.parameters)
        recipient = self.terms.recipient(given.path, utf8=mail.parameters.utf8)
        if recipient.casefold() not in mail.recipients and len(mail.recipients) >= self.limits.recipients:
            raise Rejected(452, "4.5.3", "Too many recipients")
        await self.check_recipient(await self.need_account(), mail, recipient)
        mail.add(recipient, asked)
        await self.say(Reply(250, "2.1.5", "Recipient OK"))

    async def check_sender(self, account: Account, sender: str) -> None:
        """'' is the null path."""
        await account.check_sender(sender)

    async def check_recipient(self, account: Account, mail: Transaction, recipient: str) -> None:
        """Those that the client names without waiting for this answer are asked for with it."""

        def ahead() -> list[str]:
            return paths.recipients_ahead(self.input.ahead(), utf8=mail.parameters.utf8)

        await account.check_recipient(recipient, ahead, mail.parameters.size)

    @syntax("DATA")
    async def smtp_DATA(self, arg: str | None) -> None:
        mail = await self.need_mail()
        if arg:
            raise Rejected(501, "5.5.4", "Syntax: DATA")
        if mail.intake is not None:
            raise Rejected(503, "5.5.1", "BDAT and DATA exclude each other")
        intake = await self._begin(mail)
        await self._finish(mail, intake, self._data(intake))

    async def _data(self, intake: Intake) -> None:
        await self.say(START_DATA)
        await receive(self.input, intake)

    @syntax("BDAT octets [LAST]")
    async def smtp_BDAT(self, arg: str) -> None:
        """What lies behind BDAT is never read as commands, whatever becomes of it: a chunk that cannot be taken is
        read and dropped before that is said (RFC 3030 section 2)."""
        match = _BDAT.fullmatch(arg)
        if match is None:
            raise Farewell(
                421, "4.7.0", "Syntax: BDAT octets [LAST]; what follows cannot be told from commands"
            )
        octets, last = int(match[1]), match[2] is not None
        try:
            mail = await self.need_mail()
            intake = mail.intake or await self._begin(mail)
        except (Rejected, GatewayError):
            await self._drop(octets)
            raise
        mail.intake = intake
        chunk = receive_chunk(self.input, octets, intake)
        if last:
            await self._finish(mail, intake, _whole(chunk, intake))
        else:
            await self._chunk(mail, intake, chunk, octets)

    async def _chunk(self, mail: Transaction, intake: Intake, chunk: Awaitable[None], octets: int) -> None:
        """Once a chunk has failed the transaction is over: those behind it are out of place."""
        await chunk
        if intake.fault is not None:
            await self.say(await self._outcome(mail, intake, _whole(None, intake)))
            return
        await self.say(Reply(250, "2.0.0", f"{octets} octets received"))

    async def _drop(self, octets: int) -> None:
        if octets > self.limits.message * self.limits.swallow_factor:
            raise Farewell(552, "5.3.4", "Message far too big")
        self._set_deadline()
        try:
            await self.input.drop(octets)
        finally:
            self.data_until = None

    # -- a message --

    async def _begin(self, mail: Transaction) -> Intake:
        """Room for the message that comes now. Rejected if it would be for nobody."""
        if not mail.recipients:
            raise Rejected(554, "5.5.1", "No valid recipients")
        account = await self.need_account()
        self._set_deadline()
        limit = self.limits.message
        return Intake(
            account.spool(mail.parameters.size), self.terms.rewriting(), limit=limit,
            patience=limit * self.limits.swallow_factor,
        )  # fmt: skip

    def _set_deadline(self) -> None:
        self.data_until = self.server.clock.monotonic() + self.server.settings.data_timeout

    async def _finish(self, mail: Transaction, intake: Intake, arriving: Awaitable[None]) -> None:
        await self.say(await self._outcome(mail, intake, arriving))

    async def _outcome(self, mail: Transaction, intake: Intake, arriving: Awaitable[None]) -> Reply:
        """A refused message gets its line in the log, too, so no exception gets out but the connection's end.
        250 only when the message is accepted; a fault of ours is a "try again", never an acceptance."""
        queue_id = ""
        try:
            await arriving
            self.data_until = None
            queue_id = await self._submit(mail, intake.spool)
            reply = Reply(250, "2.0.0", f"Ok: queued as {queue_id}")
        except (Gone, Farewell):
            raise
        except Rejected as rejected:
            reply = rejected.reply
        except GatewayError as error:
            reply = reply_to(error)
        except Exception as error:
            log.error("smtp.submit", error=type(error).__name__)
            reply = LOCAL_ERROR
        finally:
            await self.reset()
            await intake.spool.close()
        self.server.counters.submissions[reply.code] += 1
        log.info("smtp.submission", queue_id=queue_id, octets=intake.size, recipients=len(mail.recipients),
                 status=reply.code, enhanced=reply.enhanced)  # fmt: skip
        return reply

    async def _submit(self, mail: Transaction, spool: Spool) -> str:
        """What was not sent does not count."""
        account = await self.need_account()
        await self.terms.take_quota(self.server.quotas)
        peer_alive.set(self.is_there)
        try:
            self.unheard = await account.submit(mail.envelope(), spool)
        except BaseException:
            await self.terms.return_quota(self.server.quotas)
            raise
        return self.unheard

    @syntax("RSET")
    async def smtp_RSET(self, arg: str) -> None:
        if arg:
            raise Rejected(501, "5.5.4", "Syntax: RSET")
        await self.reset()
        await self.say(OK)


async def _whole(chunk: Awaitable[None] | None, intake: Intake) -> None:
    """The last chunk, then what went wrong with any."""
    if chunk is not None:
        await chunk
    await intake.finish()

"""The commands of a submission server (RFC 5321, RFC 6409): one method each, from argument to reply.

What a command cannot do it raises as Rejected; the loop in `smtp.connection` says it.
"""
# ruff: noqa: N802  (aiosmtpd finds a command by the method's name)

from __future__ import annotations

import re
from dataclasses import dataclass, field

import structlog
from aiosmtpd.smtp import syntax

from gateway.core.errors import AuthenticationFailed, GatewayError, Unavailable
from gateway.mailbox.api import Account
from gateway.mailbox.values import Envelope, Spool
from gateway.smtp import paths
from gateway.smtp.auth import Exchange, mechanisms
from gateway.smtp.connection import Connection
from gateway.smtp.data import receive
from gateway.smtp.replies import (
    LOCAL_ERROR,
    LOGGED_IN,
    OK,
    START_DATA,
    Farewell,
    Gone,
    Rejected,
    Reply,
    reply_to,
)

log = structlog.get_logger("gateway.smtp")

_BDAT = re.compile(r"([0-9]{1,20})(?: +LAST)?", re.IGNORECASE)


@dataclass(slots=True)
class Transaction:
    """A mail transaction between MAIL and its end (RFC 5321 section 3.3). `recipients`: as given, by their case-folded
    form, so that each gets the mail once."""

    sender: str
    parameters: paths.MailParameters
    recipients: dict[str, str] = field(default_factory=dict)


class Submission(Connection):
    """A connection with its session: who he is, and the transaction he is in."""

    hello = ""  # EHLO's or HELO's argument; empty: not yet
    account: Account | None = None
    mail: Transaction | None = None
    failed_logins = 0

    def _set_rset_state(self) -> None:
        super()._set_rset_state()  # type: ignore[no-untyped-call]
        self.mail = None

    # -- greeting --

    @syntax("HELO hostname")
    async def smtp_HELO(self, arg: str) -> None:
        self._greet(arg, "HELO")
        await self.say(Reply(250, "", self.hostname))

    @syntax("EHLO hostname")
    async def smtp_EHLO(self, arg: str) -> None:
        self._greet(arg, "EHLO")
        await self.say(Reply(250, "", "\n".join([self.hostname, *self._extensions()])))

    def _greet(self, arg: str, verb: str) -> None:
        if not arg:
            raise Rejected(501, "", f"Syntax: {verb} hostname")
        self._set_rset_state()
        self.hello = arg

    def _extensions(self) -> list[str]:
        """Only what is whole; STARTTLS and AUTH only where they would be accepted."""
        lines = [f"SIZE {self.limits.message}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "PIPELINING"]
        if self._may_start_tls:
            lines.append("STARTTLS")
        if self._may_log_in:
            lines.append(f"AUTH {' '.join(mechanisms(self.server.accounts))}")
        return lines

    @property
    def _may_start_tls(self) -> bool:
        return self.server.tls is not None and not self.secure

    @property
    def _may_log_in(self) -> bool:
        return self.secure or self.server.settings.allow_plaintext

    @syntax("STARTTLS", when="tls_context")
    async def smtp_STARTTLS(self, arg: str) -> None:
        if arg:
            raise Rejected(501, "5.5.4", "Syntax: STARTTLS")
        if not self._may_start_tls:
            raise Rejected(503 if self.secure else 502, "5.5.1", "TLS is active or not available")
        await self.start_tls()
        self._forget_session()

    def _forget_session(self) -> None:
        """RFC 3207 section 4.2: nothing the client said before TLS counts."""
        self._set_rset_state()
        self.hello, self.account, self.authenticated = "", None, False

    # -- AUTH --

    @syntax("AUTH mechanism [initial-response]")
    async def smtp_AUTH(self, arg: str) -> None:
        self._need_hello()
        if self.account is not None:
            raise Rejected(503, "5.5.1", "Already authenticated")
        if self.mail is not None:
            raise Rejected(503, "5.5.1", "Not during a mail transaction")
        if not self._may_log_in:
            raise Rejected(538, "5.7.11", "Encryption required for requested authentication mechanism")
        try:
            account = await Exchange(self, self.server.accounts, self.peer_address).run(arg)
        except AuthenticationFailed:
            await self._penalise()
            raise
        except Unavailable:
            raise Rejected(454, "4.7.0", "Temporary authentication failure") from None
        self.server.log_in(self, account.name)
        self.account, self.authenticated = account, True
        self.server.counters.logins += 1
        await self.say(LOGGED_IN)

    async def _penalise(self) -> None:
        """Delay the answer, on this connection only; after too many, end it."""
        self.failed_logins += 1
        self.server.counters.failed_logins += 1
        await self.server.clock.sleep(self.limits.login_delay)
        if self.failed_logins >= self.limits.login_attempts:
            raise Farewell(421, "4.7.0", "Too many failed logins")

    # -- a transaction --

    @syntax("MAIL FROM:<address>", extended=" [SIZE=octets] [BODY=7BIT|8BITMIME] [SMTPUTF8]")
    async def smtp_MAIL(self, arg: str | None) -> None:
        self._need_hello()
        self._need_login()
        if self.mail is not None:
            raise Rejected(503, "5.5.1", "A transaction is open already")
        given = paths.argument(arg or "", "FROM")
        parameters = paths.mail_parameters(given.parameters)
        if parameters.size > self.limits.message:
            raise Rejected(552, "5.3.4", f"Message too big, the limit is {self.limits.message} octets")
        sender = paths.address(given.path, utf8=parameters.utf8, bad="5.1.7") if given.path else ""
        self.mail = Transaction(sender, parameters)
        await self.say(Reply(250, "2.1.0", "Sender OK"))

    @syntax("RCPT TO:<address>")
    async def smtp_RCPT(self, arg: str | None) -> None:
        mail = self._need_mail()
        given = paths.argument(arg or "", "TO")
        paths.check(given.parameters, {})
        recipient = paths.address(given.path, utf8=mail.parameters.utf8, bad="5.1.3")
        key = recipient.casefold()
        if key not in mail.recipients and len(mail.recipients) >= self.limits.recipients:
            raise Rejected(452, "4.5.3", "Too many recipients")
        mail.recipients.setdefault(key, recipient)
        await self.say(Reply(250, "2.1.5", "Recipient OK"))

    @syntax("DATA")
    async def smtp_DATA(self, arg: str | None) -> None:
        mail = self._need_mail()
        if arg:
            raise Rejected(501, "5.5.4", "Syntax: DATA")
        if not mail.recipients:
            raise Rejected(554, "5.5.1", "No valid recipients")
        assert self.account is not None
        spool = self.account.spool(mail.parameters.size)
        try:
            reply = await self._received_and_sent(self.account, mail, spool)
        finally:
            self._set_rset_state()
            await spool.close()
        await self.say(reply)

    async def _received_and_sent(self, account: Account, mail: Transaction, spool: Spool) -> Reply:
        """A refused message gets its line in the log, too, so no exception gets out but the connection's end.
        250 only when the message is sent; a fault of ours is a "try again", never an acceptance."""
        queue_id = ""
        try:
            await self._receive(spool)
            queue_id = await account.submit(Envelope(mail.sender, tuple(mail.recipients.values())), spool)
            reply = Reply(250, "2.0.0", f"Ok: queued as {queue_id}")
        except (Gone, Farewell):
            raise
        except GatewayError as error:
            reply = reply_to(error)
        except Exception as error:
            log.error("smtp.submit", error=type(error).__name__)
            reply = LOCAL_ERROR
        self.server.counters.submissions[reply.code] += 1
        log.info("smtp.submission", queue_id=queue_id, octets=spool.size, recipients=len(mail.recipients),
                 status=reply.code, enhanced=reply.enhanced)  # fmt: skip
        return reply

    async def _receive(self, spool: Spool) -> None:
        await self.say(START_DATA)
        limit = self.limits.message
        self.data_until = self.server.clock.monotonic() + self.server.settings.data_timeout
        try:
            await receive(self.input, spool, limit=limit, patience=limit * self.limits.swallow_factor)
        finally:
            self.data_until = None

    @syntax("RSET")
    async def smtp_RSET(self, arg: str) -> None:
        if arg:
            raise Rejected(501, "5.5.4", "Syntax: RSET")
        self._set_rset_state()
        await self.say(OK)

    # -- the rest --

    @syntax("NOOP [ignored]")
    async def smtp_NOOP(self, arg: str) -> None:
        await self.say(OK)

    @syntax("QUIT")
    async def smtp_QUIT(self, arg: str) -> None:
        raise Farewell(221, "2.0.0", "Bye")

    @syntax("VRFY address")
    async def smtp_VRFY(self, arg: str) -> None:
        if not arg:
            raise Rejected(501, "5.5.4", "Syntax: VRFY address")
        await self.say(Reply(252, "2.0.0", "Cannot verify, but will take a message and try"))

    @syntax("HELP [command]")
    async def smtp_HELP(self, arg: str) -> None:
        method = self._smtp_methods.get(arg.upper())
        if method is not None and self._syntax_available(method):
            await self.say(
                Reply(214, "2.0.0", method.__smtp_syntax__ + (method.__smtp_syntax_extended__ or ""))
            )
            return
        known = [name for name, known in self._smtp_methods.items() if self._syntax_available(known)]
        await self.say(Reply(214, "2.0.0", " ".join(sorted(known))))

    async def smtp_EXPN(self, arg: str) -> None:
        raise Rejected(502, "5.5.1", "Command not implemented")

    async def smtp_BDAT(self, arg: str) -> None:
        """Not announced, but what a client sends behind it must not be read as commands (RFC 3030 section 2)."""
        match = _BDAT.fullmatch(arg)
        if match is None or int(match[1]) > self.limits.message:
            raise Farewell(421, "4.7.0", "BDAT is not implemented")
        await self.input.drop(int(match[1]))
        raise Rejected(502, "5.5.1", "BDAT is not implemented")

    # -- what must have come before --

    def _need_hello(self) -> None:
        if not self.hello:
            raise Rejected(503, "5.5.1", "Send EHLO first")

    def _need_login(self) -> None:
        if self.account is not None:
            return
        if self._may_start_tls and not self._may_log_in:
            raise Rejected(530, "5.7.0", "Must issue a STARTTLS command first")
        raise Rejected(530, "5.7.0", "Authentication required")

    def _need_mail(self) -> Transaction:
        self._need_hello()
        self._need_login()
        if self.mail is None:
            raise Rejected(503, "5.5.1", "Need MAIL first")
        return self.mail

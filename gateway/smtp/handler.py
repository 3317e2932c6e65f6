"""The commands of a submission server around its mail transactions (RFC 5321, RFC 6409): one method each, from argument
to reply. MAIL, RCPT, DATA, BDAT and RSET are in `smtp.mailing`.

What a command cannot do it raises as Rejected; the loop in `smtp.connection` says it.
"""
# ruff: noqa: N802  (aiosmtpd finds a command by the method's name)

from __future__ import annotations

from datetime import UTC, datetime

from aiosmtpd.smtp import syntax

from gateway.core.errors import AuthenticationFailed, Unavailable
from gateway.mailbox.api import Accounts
from gateway.smtp.auth import Exchange, mechanisms
from gateway.smtp.door import Renamed
from gateway.smtp.mailing import Mailing
from gateway.smtp.replies import LOGGED_IN, OK, Farewell, Rejected, Reply


class Submission(Mailing):
    """A session with all its commands."""

    # -- greeting --

    @syntax("HELO hostname")
    async def smtp_HELO(self, arg: str) -> None:
        await self._greet(arg, "HELO")
        await self.say(Reply(250, "", self.hostname))

    @syntax("EHLO hostname")
    async def smtp_EHLO(self, arg: str) -> None:
        await self._greet(arg, "EHLO")
        await self.say(Reply(250, "", "\n".join([self.hostname, *self._extensions()])))

    async def _greet(self, arg: str, verb: str) -> None:
        if not arg and not self.terms.account:  # a device may have no name
            raise Rejected(501, "", f"Syntax: {verb} hostname")
        await self.reset()
        self.hello = arg or "-"

    def _extensions(self) -> list[str]:
        """Only what is whole; STARTTLS and AUTH only where they would be accepted."""
        lines = [
            f"SIZE {self.limits.message}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "PIPELINING", "CHUNKING",
            "DSN",
            f"LIMITS MAILMAX={self.limits.transactions} RCPTMAX={self.limits.recipients}",
        ]  # fmt: skip
        if self.server.settings.longest_hold:
            lines.append(self._future_release())
        if self.may_start_tls:
            lines.append("STARTTLS")
        if self.may_log_in:
            lines.append(f"AUTH {' '.join(mechanisms(self.server.accounts))}")
        return lines

    def _future_release(self) -> str:
        """The longest pause and the last date (RFC 4865 section 4)."""
        longest = self.server.settings.longest_hold
        last = datetime.fromtimestamp(int(self.server.clock.time()) + longest, UTC)
        return f"FUTURERELEASE {longest} {last:%Y-%m-%dT%H:%M:%SZ}"

    @syntax("STARTTLS", when="tls_context")
    async def smtp_STARTTLS(self, arg: str) -> None:
        if arg:
            raise Rejected(501, "5.5.4", "Syntax: STARTTLS")
        if not self.may_start_tls:
            raise Rejected(503 if self.secure else 502, "5.5.1", "TLS is active or not available")
        await self.start_tls()
        await self._forget_session()

    async def _forget_session(self) -> None:
        """RFC 3207 section 4.2: nothing the client said before TLS counts; where it comes from still does."""
        await self.reset()
        self.hello, self.account, self.authenticated = "", None, bool(self.terms.account)

    # -- AUTH --

    @syntax("AUTH mechanism [initial-response]")
    async def smtp_AUTH(self, arg: str) -> None:
        self.need_hello()
        if self.account is not None:
            raise Rejected(503, "5.5.1", "Already authenticated")
        if self.mail is not None:
            raise Rejected(503, "5.5.1", "Not during a mail transaction")
        if not self.terms.login:
            raise Rejected(502, "5.5.1", "AUTH is not offered here")
        if not self.may_log_in:
            raise Rejected(538, "5.7.11", "Encryption required for requested authentication mechanism")
        try:
            account = await Exchange(self, self._accounts(), self.peer_address).run(arg)
        except AuthenticationFailed:
            await self._penalise()
            raise
        except Unavailable:
            raise Rejected(454, "4.7.0", "Temporary authentication failure") from None
        self.server.log_in(self, account.name)
        self.account, self.authenticated = account, True
        self.server.counters.logins += 1
        await self.say(LOGGED_IN)

    def _accounts(self) -> Accounts:
        accounts, names = self.server.accounts, self.terms.users
        return Renamed(accounts, names) if names else accounts

    async def _penalise(self) -> None:
        """Delay the answer, on this connection only; after too many, end it."""
        self.failed_logins += 1
        self.server.counters.failed_logins += 1
        await self.server.clock.sleep(self.limits.login_delay)
        if self.failed_logins >= self.limits.login_attempts:
            raise Farewell(421, "4.7.0", "Too many failed logins")

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

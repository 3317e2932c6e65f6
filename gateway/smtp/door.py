"""What a port allows whom: terms for peers by their address, for the devices of a network that cannot log in.

A submission port has one set of terms for everybody: log in. A relay port has some for each network it knows, and no
place for the rest of the world.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.core.errors import Unavailable
from gateway.mailbox.api import Account, Accounts
from gateway.smtp import paths
from gateway.smtp.replies import Rejected
from gateway.smtp.rewriting import SentAs
from gateway.wire.scram import Verifier

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
HOUR, DAY = 3600, 86_400
_REFUSED = (550, "5.7.1")


class Quotas(Protocol):
    """How much was sent, for as long as it counts, restarts included; the store."""

    async def take_quota(self, key: str, spans: Sequence[tuple[int, int]], count: int) -> bool: ...


class NoQuotas:
    """Where no network has one."""

    async def take_quota(self, key: str, spans: Sequence[tuple[int, int]], count: int) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Quota:
    """Messages per hour and per day of the clock (UTC), 0 for any number. `key`: whose they are."""

    key: str
    per_hour: int = 0
    per_day: int = 0

    async def take(self, quotas: Quotas, count: int) -> None:
        """Rejected if there is no room for so many. 0 looks only, -1 gives one back."""
        spans = [(span, most) for span, most in ((HOUR, self.per_hour), (DAY, self.per_day)) if most]
        if spans and not await quotas.take_quota(self.key, spans, count):
            raise Rejected(452, "4.7.1", "The quota of your network is used up, try again later")


class Patterns:
    """Addresses that match one of some patterns, in any case; `*` stands for any characters, `?` for one."""

    def __init__(self, *patterns: str) -> None:
        self._texts = patterns
        found = (re.escape(text).replace(r"\*", ".*").replace(r"\?", ".") for text in patterns)
        self._expression = re.compile("|".join(found), re.IGNORECASE | re.DOTALL)

    def __contains__(self, address: str) -> bool:
        return self._expression.fullmatch(address) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Patterns) and self._texts == other._texts

    def __hash__(self) -> int:
        return hash(self._texts)


ANYBODY = Patterns("*")


@dataclass(frozen=True, slots=True)
class Terms:
    """`account`: the user as whom a peer sends that has not logged in, '' where it must. `login`: whether it may log
    in, `login_in_clear`: also without TLS; `users`: other names for users, in lower case. `send_as`: the address every
    message is sent from, whatever MAIL and the header say, or ''."""

    account: str = ""
    login: bool = True
    login_in_clear: bool = False
    starttls: bool = True
    users: Mapping[str, str] = field(default_factory=dict)
    senders: Patterns = ANYBODY
    recipients: Patterns = ANYBODY
    send_as: str = ""
    quota: Quota | None = None

    def sender(self, path: str, *, utf8: bool) -> str:
        """The sender for the envelope: '' for the null path, which any device may use. Who sends as somebody else all
        the same may call himself what he likes: there are devices that give no address at all."""
        if not path:
            return ""
        if path not in self.senders:
            raise Rejected(*_REFUSED, "Sender not allowed from your network")
        return self.send_as or paths.address(path, utf8=utf8, bad="5.1.7")

    def recipient(self, path: str, *, utf8: bool) -> str:
        found = paths.address(path, utf8=utf8, bad="5.1.3")
        if found not in self.recipients:
            raise Rejected(*_REFUSED, "Recipient not allowed from your network")
        return found

    def rewriting(self) -> SentAs | None:
        """What makes the header say what the envelope says."""
        return SentAs(self.send_as) if self.send_as else None

    async def check_quota(self, quotas: Quotas) -> None:
        """Before a message comes that could not be sent."""
        if self.quota is not None:
            await self.quota.take(quotas, 0)

    async def take_quota(self, quotas: Quotas) -> None:
        if self.quota is not None:
            await self.quota.take(quotas, 1)

    async def return_quota(self, quotas: Quotas) -> None:
        """What was not sent does not count; that it is not said to a device whose message failed anyway."""
        if self.quota is not None:
            try:
                await self.quota.take(quotas, -1)
            except Unavailable:
                return


SUBMISSION = Terms()


class Door:
    """Terms by network, the narrowest first; who is in none has no business here."""

    def __init__(self, terms: Mapping[Network, Terms]) -> None:
        self._terms = sorted(terms.items(), key=lambda entry: entry[0].prefixlen, reverse=True)

    def terms(self, address: str) -> Terms | None:
        """An IPv4 address may come as an IPv6 one (RFC 4291 section 2.5.5.2), an IPv6 one with its zone."""
        try:
            peer = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return None
        if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
            peer = peer.ipv4_mapped
        return next((terms for network, terms in self._terms if peer in network), None)


class OpenDoor(Door):
    """The same terms for everybody."""

    def __init__(self, terms: Terms) -> None:
        super().__init__({})
        self._everybody = terms

    def terms(self, address: str) -> Terms | None:
        return self._everybody


@dataclass(frozen=True, slots=True)
class Renamed:
    """Accounts under other names: devices have fields of 16 or 20 characters for one."""

    accounts: Accounts
    names: Mapping[str, str]

    @property
    def scram(self) -> bool:
        return self.accounts.scram

    async def authenticate(self, user: str, password: str, peer: str) -> Account:
        return await self.accounts.authenticate(self._real(user), password, peer)

    def verifier(self, user: str) -> Verifier:
        return self.accounts.verifier(self._real(user))

    async def admit(self, user: str, peer: str) -> Account:
        return await self.accounts.admit(self._real(user), peer)

    def _real(self, user: str) -> str:
        return self.names.get(user.strip().lower(), user)

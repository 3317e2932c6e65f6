"""The `[[relay]]` blocks of the configuration: networks whose devices may send through a mailbox, on which terms.

Blocks with the same host and port share a listener; a device's terms are those of the narrowest network it is in. A
relay that anybody could use is refused: without a login, a network is a private one or a small one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from gateway.smtp.door import Door, Network, Patterns, Quota, Terms
from gateway.wire.sasl import user_name

# RFC 1918, RFC 6598, RFC 1122, RFC 3927; RFC 4193, RFC 4291
PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
                 "fc00::/7", "fe80::/10", "::1/128")
)  # fmt: skip
NARROW = {4: 16, 6: 48}  # least length of the prefix of other networks

Problem = tuple[tuple[str | int, ...], str]  # where in the file, and what is wrong


class RelaySection(BaseModel):
    """Who may send without a password, and as whom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=25, ge=0, le=65535)
    login: Literal["none", "required"] = "none"
    login_in_clear: bool = False  # AUTH also where there is no TLS
    starttls: bool = True  # offered, where there is a certificate; never demanded
    networks: tuple[str, ...] = Field(min_length=1)
    account: str = ""  # user of [[accounts]] as whom they send without a login
    send_as: str = Field(
        default="", pattern=r"^([^\s<>@]+@[^\s<>@]+)?$"
    )  # From of every message; "" = as written
    senders: tuple[str, ...] = Field(default=("*",), min_length=1)
    recipients: tuple[str, ...] = Field(default=("*",), min_length=1)
    per_hour: int = Field(default=0, ge=0)  # messages; 0 = any number
    per_day: int = Field(default=0, ge=0)
    users: dict[str, str] = {}  # short names for users

    @field_validator("networks")
    @classmethod
    def _no_open_relay(cls, texts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for text in texts:
            network = _network(text)
            if info.data.get("login") != "required" and not _is_safe(network):
                raise ValueError(
                    f"{text} is too wide for a relay without login: anybody could send through it. Name the networks of"
                    " the devices, or set login"
                )
        return texts

    def terms(self) -> Terms:
        free = self.login == "none"
        where = f"{self.host}:{self.port} {' '.join(sorted(self.networks))}"
        return Terms(
            account=user_name(self.account) if free else "",
            login=not free,
            login_in_clear=self.login_in_clear,
            starttls=self.starttls,
            users={name.lower(): user for name, user in self.users.items()},
            senders=Patterns(*self.senders),
            recipients=Patterns(*self.recipients),
            send_as=self.send_as,
            quota=Quota(where, self.per_hour, self.per_day) if self.per_hour or self.per_day else None,
        )


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text} is no network: {error}") from None


def _is_safe(network: Network) -> bool:
    return network.prefixlen >= NARROW[network.version] or any(
        network.version == private.version and network.subnet_of(private)  # type: ignore[arg-type]
        for private in PRIVATE
    )


def problems(relays: Sequence[RelaySection], users: Collection[str]) -> Iterator[Problem]:
    """What cannot be seen in one block alone. `users`: those there are."""
    known = {user_name(user) for user in users}
    seen: set[tuple[str, int, str]] = set()
    for number, relay in enumerate(relays):
        at = ("relay", number)
        if relay.login == "none" and user_name(relay.account) not in known:
            yield (*at, "account"), "needs the user of one of [[accounts]], as whom the devices send"
        for short, user in relay.users.items():
            if user_name(user) not in known:
                yield (*at, "users"), f"{short}: there is no such user in [[accounts]]"
        for network in {str(_network(text)) for text in relay.networks}:
            if (relay.host, relay.port, network) in seen:
                yield (*at, "networks"), f"{network} stands in two blocks of one port"
            seen.add((relay.host, relay.port, network))


def doors(relays: Sequence[RelaySection]) -> dict[tuple[str, int], Door]:
    """One for each host and port."""
    found: dict[tuple[str, int], dict[Network, Terms]] = {}
    for relay in relays:
        terms = relay.terms()
        found.setdefault((relay.host, relay.port), {}).update({_network(t): terms for t in relay.networks})
    return {where: Door(terms) for where, terms in found.items()}

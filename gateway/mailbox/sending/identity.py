"""As whom an account may send: what is known of it before Exchange is asked (contract section 10.6).

Known are the addresses that the configuration gives an account (`senders`), if it gives any: nobody else will do then,
in MAIL FROM, From and Sender. Known is also, for a while, whom Exchange has refused. All else Exchange decides, once
the message is there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from gateway.core.errors import LimitReached, SubmissionRefused
from gateway.graph.errors import Denied, GraphError
from gateway.mailbox.sending.plan import folded
from gateway.mime.address import addr_specs
from gateway.mime.header import Fields

AGE = 600.0  # seconds a refusal is remembered: rights are given by people
KEPT = 1000
_AUTHORS = (b"from", b"sender")


@dataclass(slots=True)
class Refused:
    """Addresses that Exchange would not let this mailbox send as, until when (monotonic). The oldest go first."""

    until: OrderedDict[str, float] = field(default_factory=OrderedDict)

    def learn(self, sender: str, error: GraphError, now: float) -> None:
        if not isinstance(error, Denied) or error.code != "ErrorSendAsDenied" or not sender:
            return
        self.until[folded(sender)] = now + AGE
        self.until.move_to_end(folded(sender))
        while len(self.until) > KEPT:
            self.until.popitem(last=False)

    def check(self, sender: str, now: float) -> None:
        if self.until.get(folded(sender), 0.0) > now:
            raise _refusal()


def check_sender(sender: str, allowed: Collection[str]) -> None:
    """The sender of an envelope, '' being nobody, who may always send; SubmissionRefused. `allowed`: addresses, and
    `*@domain` for all of a domain; none: not known."""
    if sender and allowed and not _is_allowed(sender, allowed):
        raise _refusal()


def check_authors(header: bytes, allowed: Collection[str]) -> None:
    """From and Sender of a header block; SubmissionRefused."""
    for address in _authors(header) if allowed else ():
        check_sender(address, allowed)


def is_author(sender: str, header: bytes) -> bool:
    """Whether From is this address alone, so that what Exchange says of From holds for it."""
    return {folded(each) for each in _addresses(Fields(header).all(b"from"))} == {folded(sender)}


def _authors(header: bytes) -> list[str]:
    fields = Fields(header)
    return [address for name in _AUTHORS for address in _addresses(fields.all(name))]


def _addresses(values: Iterable[bytes]) -> list[str]:
    try:
        return [address for value in values for address in addr_specs(value)]
    except LimitReached as error:
        raise SubmissionRefused(552, "5.3.4", "Too many addresses in a header field") from error


def _is_allowed(address: str, allowed: Collection[str]) -> bool:
    wanted = folded(address)
    return any(
        wanted == each or (each[:2] == "*@" and wanted.endswith(each[1:])) for each in map(folded, allowed)
    )


def _refusal() -> SubmissionRefused:
    return SubmissionRefused(550, "5.7.60", "No permission to send as this sender")

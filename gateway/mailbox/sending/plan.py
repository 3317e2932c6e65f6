"""Who gets a message, and what its header says of it: RCPT TO alone decides (RFC 5321 section 3.3, RFC 6409).

Graph knows no envelope: it delivers to To, Cc and Bcc, and to nobody else (contract section 10.1, trap 20). So these
are made to say what the envelope says:

```
in RCPT TO and in To or Cc      stays there
in RCPT TO and in neither       Bcc
in Bcc, not in RCPT TO          taken out
in To or Cc, not in RCPT TO     `header_mismatch`: "refuse" the message, or "bcc-copy": taken out, and the fields as
                                they were written are shown in X-Submitted-To and X-Submitted-Cc, which deliver nothing
in Resent-To or Resent-Cc       as To and Cc where it comes to a mismatch; they deliver nothing
no To, Cc, Bcc at all           a single recipient in To, several in Bcc
```

Bcc, and all of Resent-Bcc, are seen by nobody: Exchange takes them out of what it delivers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.core.errors import LimitReached, SubmissionRefused
from gateway.core.limits import DEFAULT_LIMITS
from gateway.mailbox.values import Envelope
from gateway.mime.address import Address, Group, addr_specs, parse_addresses
from gateway.mime.compose import add_header, remove_header, set_header
from gateway.mime.header import Fields
from gateway.mime.headertext import address_list

SHOWN = (b"to", b"cc")
SUBMITTED = {b"to": b"X-Submitted-To", b"cc": b"X-Submitted-Cc"}
_RESENT = (b"resent-to", b"resent-cc")
_HIDDEN = (b"bcc", b"resent-bcc")
_UNDISCLOSED = b"undisclosed-recipients:;"
_LISTED = 3  # addresses named in a refusal


@dataclass(frozen=True, slots=True)
class Plan:
    """`header`: the block with the fields that deliver; who they reach is exactly the envelope."""

    header: bytes
    recipients: tuple[str, ...]


def plan(header: bytes, envelope: Envelope, *, mismatch: str, most: int = DEFAULT_LIMITS.recipients) -> Plan:
    """`header`: with CRLF line ends, its empty line at the end. SubmissionRefused."""
    wanted = {folded(address): _unquoted(address) for address in envelope.recipients}
    _check_recipients(wanted, most)
    fields = Fields(header)
    shown = {folded(spec) for spec in _specs(fields, SHOWN)}
    strangers = [a for a in _specs(fields, (*SHOWN, *_RESENT)) if folded(a) not in wanted]
    if strangers:
        if mismatch != "bcc-copy":
            raise _mismatch(strangers)
        header = _without_strangers(header, fields, wanted)
    header = _single(header)
    hidden = {key: address for key, address in wanted.items() if key not in shown}
    header = _addressed(header, fields, hidden)
    return Plan(header, tuple(wanted.values()))


def folded(address: str) -> str:
    """One spelling of an address: Exchange does not tell cases apart, quotes that are not needed say nothing, and an
    international domain has two forms of which clients write one in the envelope and another in the header."""
    local, at, domain = _unquoted(address.strip()).casefold().rpartition("@")
    return local + at + _ascii(domain)


def _unquoted(address: str) -> str:
    if not address.startswith('"'):
        return address
    return next(iter(addr_specs(address.encode("utf-8", "surrogateescape"))), address)


def _ascii(domain: str) -> str:
    if domain.isascii():
        return domain
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return domain


def _check_recipients(wanted: Mapping[str, str], most: int) -> None:
    if not wanted:
        raise SubmissionRefused(554, "5.5.1", "No valid recipients")
    if len(wanted) > most:  # one transaction is one message with one copy in Sent: it is never split
        raise SubmissionRefused(452, "4.5.3", f"Too many recipients, at most {most} at a time")


def _specs(fields: Fields, names: Iterable[bytes]) -> list[str]:
    """Addresses of these fields; groups without members, as in `undisclosed-recipients:;`, have none."""
    try:
        return [spec for name in names for value in fields.all(name) for spec in addr_specs(value)]
    except LimitReached as error:
        raise SubmissionRefused(552, "5.3.4", "Too many addresses in a header field") from error


def _mismatch(strangers: Iterable[str]) -> SubmissionRefused:
    found = list(dict.fromkeys(strangers))
    named = ", ".join(_printable(address) for address in found[:_LISTED])
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return SubmissionRefused(
        550,
        "5.6.0",
        f"In To or Cc but not in RCPT TO: {named}{more}. Exchange would send to them; "
        "add them as recipients or take them out of the header",
    )


def _printable(address: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in address)[:100]


# -- the fields --


def _without_strangers(header: bytes, fields: Fields, wanted: Mapping[str, str]) -> bytes:
    """To and Cc with those alone who get it; what was written there stands beside it."""
    for name in SHOWN:
        written = b", ".join(filter(None, fields.all(name)))
        listed = parse_addresses(written, DEFAULT_LIMITS.addresses)
        kept = [item for item in (_kept(each, wanted) for each in listed) if item is not None]
        if kept == listed:
            continue
        header = remove_header(header, name)
        header = set_header(header, SUBMITTED[name], written)
        if kept:
            header = add_header(header, name.title(), address_list(kept))
    return header


def _single(header: bytes) -> bytes:
    """One field of each name (RFC 5322 section 3.6): of several, Exchange may look at the first alone."""
    fields = Fields(header)
    for name in SHOWN:
        if len(fields.all(name)) > 1:
            header = set_header(header, name.title(), b", ".join(filter(None, fields.all(name))))
    return header


def _kept(item: Address | Group, wanted: Mapping[str, str]) -> Address | Group | None:
    """What of it gets the message; an empty group says something and delivers nothing."""
    if isinstance(item, Address):
        return item if _is_wanted(item, wanted) else None
    members = tuple(member for member in item.members if _is_wanted(member, wanted))
    return Group(item.name, members) if members or not item.members else None


def _is_wanted(item: Address, wanted: Mapping[str, str]) -> bool:
    return any(
        folded(spec) in wanted for spec in addr_specs(address_list([Address(None, item.mailbox, item.host)]))
    )


def _addressed(header: bytes, fields: Fields, hidden: Mapping[str, str]) -> bytes:
    """Exactly those in Bcc who are in neither To nor Cc. A Bcc field that is right already stays. A message that says
    nothing of recipients, as devices write them, is given what says most without telling one of another."""
    present = [folded(address) for address in _specs(fields, _HIDDEN)]
    if (
        sorted(set(present)) == sorted(hidden)
        and not fields.all(b"resent-bcc")
        and len(fields.all(b"bcc")) < 2
    ):
        return header
    silent = not any(fields.all(name) for name in (*SHOWN, *_HIDDEN))
    for name in _HIDDEN:
        header = remove_header(header, name)
    if silent and len(hidden) == 1:
        return add_header(header, b"To", _listed(hidden.values()))
    if hidden:
        header = add_header(header, b"Bcc", _listed(hidden.values()))
    return add_header(header, b"To", _UNDISCLOSED) if silent else header


def _listed(addresses: Iterable[str]) -> bytes:
    items: Sequence[str] = [f"<{address}>" for address in addresses]
    return ", ".join(items).encode("utf-8", "surrogateescape")

"""A submission made ready for Exchange, which knows no envelope: who gets it stands in To, Cc and Bcc alone.

So the headers must say what the envelope says (contract section 10.1, trap 20): recipients that are in RCPT
TO only become Bcc; a Bcc that is not in RCPT TO is taken out; anybody else in the headers would get mail
nobody addressed to him, and is refused. What Exchange or the recipient needs and the client left out is
supplied (RFC 6409 section 8)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime

from gateway.core.errors import LimitReached, SubmissionRefused
from gateway.mailbox.values import Envelope
from gateway.mime.address import addr_specs
from gateway.mime.compose import add_header, crlf, reencode_qp_leaves, remove_header, set_header
from gateway.mime.header import Fields, header_end

_SHOWN = (b"to", b"cc")
_RESENT = (b"resent-to", b"resent-cc")  # shown, too, but Exchange may not deliver by them
_HIDDEN = (b"bcc", b"resent-bcc")
_LISTED = 3  # addresses named in a refusal


def compose(raw: bytes, envelope: Envelope, *, now: int, message_id: str) -> bytes:
    """The MIME to send. `now` and `message_id` are used where the message has no Date or Message-ID. Raises
    SubmissionRefused if the headers name somebody whom the envelope does not."""
    message = crlf(raw)
    fields = Fields(message[: header_end(message)])
    recipients = {folded(address): address for address in envelope.recipients}
    shown = _specs(fields, _SHOWN)
    named = shown + _specs(fields, _RESENT)
    _refuse_strangers(address for address in named if folded(address) not in recipients)
    message = _with_bcc(message, fields, recipients, {folded(address) for address in shown})
    message = _supplied(message, fields, envelope, now, message_id)
    return reencode_qp_leaves(message)


def folded(address: str) -> str:
    """Exchange does not tell cases apart, on either side of the @."""
    local, at, domain = address.strip().casefold().rpartition("@")
    return local + at + _ascii(domain)


def _ascii(domain: str) -> str:
    """An internationalised domain as DNS has it: clients write one form in the envelope, another in the
    header."""
    if domain.isascii():
        return domain
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return domain


def _specs(fields: Fields, names: Iterable[bytes]) -> list[str]:
    """Addresses of these fields; groups without members, as in `undisclosed-recipients:;`, have none."""
    try:
        return [spec for name in names for value in fields.all(name) for spec in addr_specs(value)]
    except LimitReached as error:
        raise SubmissionRefused(552, "5.3.4", "Too many addresses in a header field") from error


def _refuse_strangers(strangers: Iterable[str]) -> None:
    found = list(dict.fromkeys(strangers))
    if not found:
        return
    named = ", ".join(_printable(address) for address in found[:_LISTED])
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    raise SubmissionRefused(
        550,
        "5.6.0",
        f"In To or Cc but not in RCPT TO: {named}{more}. Exchange would send to them; "
        "add them as recipients or take them out of the header",
    )


def _printable(address: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in address)[:100]


def _with_bcc(message: bytes, fields: Fields, recipients: dict[str, str], shown: set[str]) -> bytes:
    """Exactly those in Bcc that are in RCPT TO and not in To or Cc. A Bcc field that is right already
    stays."""
    hidden = {key: address for key, address in recipients.items() if key not in shown}
    present = [folded(address) for address in _specs(fields, _HIDDEN)]
    if sorted(set(present)) == sorted(hidden) and not fields.all(b"resent-bcc"):
        return message
    for name in _HIDDEN:
        message = remove_header(message, name)
    return add_header(message, b"Bcc", _address_list(list(hidden.values()))) if hidden else message


def _address_list(addresses: Sequence[str]) -> bytes:
    return ", ".join(f"<{address}>" for address in addresses).encode("utf-8", "surrogateescape")


def _supplied(message: bytes, fields: Fields, envelope: Envelope, now: int, message_id: str) -> bytes:
    if not (fields.first(b"from") or b"").strip() and envelope.sender:
        sender = f"<{envelope.sender}>".encode("utf-8", "surrogateescape")
        message = set_header(message, b"From", sender)
    if not (fields.first(b"date") or b"").strip():
        date = format_datetime(datetime.fromtimestamp(now, UTC))
        message = set_header(message, b"Date", date.encode())
    if not (fields.first(b"message-id") or b"").strip():
        message = set_header(message, b"Message-ID", message_id.encode())
    return message

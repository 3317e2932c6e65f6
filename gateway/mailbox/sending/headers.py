"""Which header fields of a submission Exchange keeps, which it must be given otherwise, and which are lost.

Of posted MIME it keeps the fields that it knows. Others are dropped until the mailbox knows a named property of that
name (contract section 6.3, trap 52): they are set on the draft as such. What nothing helps is told by name."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.mime.header import Fields, decoded, split

# What a draft holds as a property of its own, or what Exchange's transport writes.
CARRIED = frozenset(
    {"from", "sender", "reply-to", "to", "cc", "bcc", "subject", "date", "message-id", "in-reply-to", "references",
     "mime-version", "content-type", "content-transfer-encoding", "content-disposition", "content-id",
     "content-description", "content-language", "content-location", "importance", "priority", "x-priority",
     "thread-topic", "thread-index", "disposition-notification-to"}
)  # fmt: skip
# What it keeps besides, of MIME that it was given whole.
KEPT = CARRIED | frozenset(
    {"comments", "keywords", "sensitivity", "expires", "expiry-date", "reply-by", "return-receipt-to", "organization",
     "x-mailer", "accept-language", "content-class", "precedence", "list-help", "list-id", "list-post",
     "list-subscribe", "list-unsubscribe", "list-owner", "list-archive"}
)  # fmt: skip
# Taken out whatever one does (trap 52), the trace of other systems (contract section 10.1), and what proved octets
# that are not the same any more.
LOST = frozenset(
    {"auto-submitted", "return-path", "received", "received-spf", "delivered-to", "dkim-signature",
     "domainkey-signature", "authentication-results", "arc-seal", "arc-message-signature",
     "arc-authentication-results", "resent-bcc", "x-ms-has-attach", "x-ms-tnef-correlator"}
)  # fmt: skip
_LOST_BEGIN = "x-ms-exchange-"
_NAME = 100  # characters
_MOST = 200  # fields


def named_fields(header: bytes, *, whole: bool) -> tuple[dict[str, str], list[str]]:
    """What to set as named properties (lower-case name to decoded value), and the names of what is lost. `whole`:
    Exchange gets the message in one piece, so it keeps what it knows. Of several fields of one name one is kept."""
    fields = Fields(header)
    names = dict.fromkeys(each.name.decode("ascii", "replace") for each in split(header) if each.name)
    known = KEPT if whole else CARRIED
    wanted: dict[str, str] = {}
    lost: list[str] = []
    for name in names:
        if name in LOST or name.startswith(_LOST_BEGIN) or not _fits(name, len(wanted)):
            lost.append(name)
        elif name not in known:
            wanted[name] = decoded(fields.all(name.encode())[0])
    return {name: value for name, value in wanted.items() if value}, lost


def _fits(name: str, count: int) -> bool:
    return name in KEPT or (len(name) <= _NAME and count < _MOST)


def property_of(name: str) -> str:
    """The id of the named property that is rendered as the header field `name`."""
    return f"String {{00020386-0000-0000-c000-000000000046}} Name {name}"


def properties_of(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {property_of(name): value for name, value in fields}

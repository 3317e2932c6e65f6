"""Exchange's transport for one tenant: who may send as whom, what leaves, where it arrives (contract 10)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.emulator import ruling
from gateway.emulator.items import Address, Flags, Item
from gateway.emulator.limits import lag
from gateway.emulator.mailbox import Mailbox
from gateway.emulator.mime_in import Parsed, crlf, read, read_base
from gateway.emulator.mime_out import mailbox
from gateway.emulator.skeleton import Skeleton, rfc_date, varied_id

_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]+@[^\s@<>,;:\"()\[\]\\]+\Z")


@dataclass(frozen=True, slots=True)
class OutsideMail:
    """A message that left the tenant: one per recipient, `time` in seconds since 1970."""

    sender: str
    recipient: str
    mime: bytes
    time: float


@dataclass(slots=True)
class Rights:
    """Send-as, send-on-behalf and full access: owner (lower case) -> delegates (lower case)."""

    send_as: dict[str, set[str]] = field(default_factory=dict)
    on_behalf: dict[str, set[str]] = field(default_factory=dict)
    full_access: dict[str, set[str]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)  # alias -> mailbox
    alias_sending: bool = False

    def owner(self, address: str) -> str:
        """The mailbox an address stands for."""
        return self.aliases.get(address.lower(), address.lower())

    def sender_for(self, principal: str, author: str) -> str | None:
        """The Sender of a message by `author` that `principal` submits; None without a right."""
        me, other = principal.lower(), author.lower()
        if me == other or me in self.send_as.get(other, ()):
            return author
        if self.aliases.get(other) == me:
            return author if self.alias_sending else None
        if me in self.on_behalf.get(other, ()):
            return principal
        return None


class Post:
    """Carries mail between the mailboxes of a tenant and notes what leaves it."""

    def __init__(self, find: Callable[[str], Mailbox | None], rights: Rights) -> None:
        self._find = find
        self.rights = rights
        self.outside: list[OutsideMail] = []
        self.restricted: set[str] = set()  # lower-case addresses that take mail of few

    def mailbox(self, address: str) -> Mailbox | None:
        """The one behind an address; None outside the tenant, and for names nobody has."""
        return self._find(self.rights.owner(address))

    def carry(self, sender: str, recipients: list[str], mime: bytes, now: float) -> None:
        """Deliver to each address once; an address outside the tenant is noted."""
        head = f"Received: from EMU.PROD.OUTLOOK.COM by EMU.PROD.OUTLOOK.COM; {rfc_date(int(now))}\r\n"
        raw = head.encode() + mime
        for recipient in recipients:
            box = self.mailbox(recipient)
            if box is None:
                self.outside.append(OutsideMail(sender, recipient, mime, now))
            else:
                run_rules(box, deliver(box, "inbox", raw, int(now)))


def valid(address: str) -> bool:
    return bool(_ADDRESS.match(address)) and len(address) <= 320


def distinct(addresses: list[Address]) -> list[str]:
    """Every address once, case ignored, first spelling kept."""
    return list({a.address.lower(): a.address for a in reversed(addresses)}.values())[::-1]


def deliver(box: Mailbox, folder: str, raw: bytes, received: int) -> Item:
    """Put received mail into a folder by well-known name or id; bare LF becomes CRLF, all else stays."""
    return _arrive(box, folder, read(crlf(raw), transported=True), received, 0)


def deliver_variant(box: Mailbox, folder: str, base: bytes, number: int, received: int) -> Item:
    """Received mail that shares its base with thousands: own Message-ID, Subject and Date for number > 0."""
    return _arrive(box, folder, read_base(base), received, number)


def run_rules(box: Mailbox, item: Item) -> None:
    """Apply the inbox rules to new mail: at once, or after it has been announced (trap 44)."""
    if box.rules:
        seconds = lag(box.world, "rules-race", "rules_race_seconds")
        box.later(seconds, lambda: ruling.apply(box, item))


def _arrive(box: Mailbox, folder: str, parsed: Parsed, received: int, variant: int) -> Item:
    target = box.folder_by_id(folder)
    if target is None:
        raise KeyError(folder)
    subject, message_id, sent = parsed.subject, parsed.message_id, parsed.date
    if variant:
        subject = f"{subject} #{variant}" if _has(parsed, "subject") else subject
        message_id = varied_id(message_id, variant) if message_id else message_id
        sent = received - 5 if sent is not None else sent
    return box.create(
        target,
        parsed.content,
        subject=subject,
        message_id=message_id,
        received=received,
        sent=received if sent is None else sent,
        draft=False,
        state=Flags(importance=parsed.importance),
        variant=variant,
    )


def _has(parsed: Parsed, name: str) -> bool:
    skeleton = parsed.content.skeleton
    return skeleton is not None and skeleton.first(name) is not None


def outgoing(item: Item, raw: bytes, author: Address, sender: str, now: int) -> Skeleton:
    """The message as submitted: From, Sender, Date and Message-ID are there, the Bcc still is too."""
    skeleton = Skeleton(crlf(raw))
    new: dict[str, str | None] = {}
    if skeleton.first("from") is None:
        new["from"] = mailbox(author)
    if sender.lower() != author.address.lower():
        new["sender"] = sender
    elif skeleton.first("sender") is not None:
        new["sender"] = None
    if skeleton.first("date") is None:
        new["date"] = rfc_date(now)
    if not skeleton.first("message-id"):
        new["message-id"] = item.message_id or f"<EM{item.number:08X}.{now:X}@EMU.PROD.OUTLOOK.COM>"
    return skeleton.with_fields(new) if new else skeleton

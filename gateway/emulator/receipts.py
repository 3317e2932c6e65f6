"""Read receipts: marking a message read sends the one its sender asked for (trap 51)."""

from __future__ import annotations

from dataclasses import replace

from gateway.emulator.changes import Changes
from gateway.emulator.items import Item
from gateway.emulator.mailbox import Mailbox
from gateway.emulator.mime_out import encode
from gateway.emulator.skeleton import rfc_date


def due(box: Mailbox, item: Item, wanted: Changes) -> bool:
    """Whether this PATCH makes the receipt go: it turns the message read and does not clear both requests."""
    if not box.world.rules.on("read-receipt-on-seen") or item.draft:
        return False
    if not wanted.values.get("isread") or item.state.read or not item.content.read_receipt:
        return False
    return any((wanted.tagged(tag) or "").lower() != "false" for tag in (0x0029, 0x0C06))


def send(box: Mailbox, item: Item) -> None:
    """Send the receipt, once: the request is gone afterwards."""
    author = item.content.author
    box.set_content(item, replace(item.content, read_receipt=False))
    if author is not None:
        box.post(box.upn, [author.address], _report(box, author.address, item))


def _report(box: Mailbox, recipient: str, item: Item) -> bytes:
    """An RFC 8098 disposition notification."""
    mark = f"=_read_{item.number}_{item.state.change}"
    original = " ".join((item.message_id or "").split())
    lines = (
        f"From: {box.upn}",
        f"To: {recipient}",
        f"Subject: {encode('Read: ' + item.subject)}",
        f"Date: {rfc_date(int(box.now()))}",
        f"Message-ID: <read.{item.number}.{item.state.change}.{box.guid}@emulator.invalid>",
        f"In-Reply-To: {original}",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=disposition-notification; boundary="{mark}"',
        "",
        f"--{mark}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        "Your message was read.",
        f"--{mark}",
        "Content-Type: message/disposition-notification",
        "",
        f"Final-Recipient: RFC822;{box.upn}",
        f"Original-Message-ID: {original}",
        "Disposition: automatic-action/MDN-sent-automatically; displayed",
        "",
        f"--{mark}--",
        "",
    )
    return "\r\n".join(lines).encode("utf-8", "replace")

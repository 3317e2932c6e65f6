"""A submission made ready, put through the emulator's model without a network, and read by who gets it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from emulator_kit import ALICE, IMMUTABLE, Kit

from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.emulator.mime_out import render
from gateway.graph.streams import Content
from gateway.mailbox.sending.content import Prepared, Stream, Terms, content
from gateway.mailbox.sending.headers import properties_of
from gateway.mailbox.values import Envelope
from gateway.mime.detach import filename
from gateway.mime.part import Part, scan
from gateway.mime.transfer import decode_transfer

NOW = 1_780_000_000


@dataclass
class Kept:
    """Octets in memory, as the spool gives them."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        return self.data[start:end]


def prepared(
    raw: bytes,
    *recipients: str,
    sender: str = "a@x.com",
    mismatch: str = "refuse",
    limits: Limits = DEFAULT_LIMITS,
    **rest: Any,
) -> Prepared:
    terms = Terms(NOW, "<made@x.com>", mismatch, limits)
    return content(Kept(raw), len(raw), Envelope(sender, recipients, **rest), terms)


def mime_of(made: Prepared) -> bytes:
    return made.mime.octets() if isinstance(made.mime, Stream) else made.mime


def made(raw: bytes, *recipients: str, **rest: Any) -> bytes:
    """The MIME that goes to Graph."""
    return mime_of(prepared(raw, *recipients, **rest))


async def octets(body: Content, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in body.pieces(start, end)])


def post(kit: Kit, made: Prepared, *, user: str = ALICE) -> str:
    """The draft with all that belongs to it, in one user's mailbox; its id."""
    root = f"/users/{user}/messages"
    answer = kit.post(root, base64.b64encode(mime_of(made)), IMMUTABLE)
    assert answer.status == 201, answer.body
    id = str(answer.json["id"])
    kit.settle()
    if made.fields:
        listed = [{"id": k, "value": v} for k, v in properties_of(made.fields).items()]
        answer = kit.patch(f"{root}/{id}", {"singleValueExtendedProperties": listed}, IMMUTABLE)
        assert answer.status == 200, answer.body
    for file in made.files:
        data = asyncio.run(octets(file))
        body = {"@odata.type": "#microsoft.graph.fileAttachment", **file.json}
        answer = kit.post(
            f"{root}/{id}/attachments", {**body, "contentBytes": base64.b64encode(data).decode()}
        )
        assert answer.status == 201, answer.body
    return id


def send(kit: Kit, made: Prepared, *, user: str = ALICE) -> str:
    id = post(kit, made, user=user)
    answer = kit.post(f"/users/{user}/messages/{id}/send", b"", {"content-type": "application/json"})
    assert answer.status == 202, answer.body
    kit.settle()
    return id


def inbox(kit: Kit, user: str) -> list[bytes]:
    """What is in a user's inbox, as MIME, the latest first."""
    box = kit.tenant.box(user)
    box.tick()
    items = sorted(box.members(box.special["inbox"]), key=lambda item: -item.number)
    return [render(item, box.mint.guid) for item in items]


# -- what a person reads --

Leaf = tuple[str, str, str, str, bytes]


def leaves(raw: bytes) -> list[Leaf]:
    """Type, name, content id, disposition and octets of every leaf; messages in the message are leaves."""
    return [_leaf(raw, part) for part in _walk(scan(raw))]


def _walk(part: Part) -> Sequence[Part]:
    return [leaf for child in part.children for leaf in _walk(child)] if part.is_multipart else [part]


def _leaf(raw: bytes, part: Part) -> Leaf:
    data = decode_transfer(raw[part.body : part.end], b"" if part.is_message else part.encoding)
    kind = (part.type + b"/" + part.subtype).decode()
    where = "attachment" if part.disposition == b"attachment" else ""
    return kind, filename(part), (part.id or b"").decode().strip("<> "), where, data


def tiny(request: int = 4000, **rest: Any) -> Limits:
    """Limits under which small messages are large."""
    return replace(DEFAULT_LIMITS, request_body=request, **rest)

"""What Exchange does to posted MIME: dropped header fields (trap 52), mangled QP HTML (trap 22)."""

from __future__ import annotations

import re
from typing import Final

from gateway.emulator.api import World
from gateway.emulator.errors import GraphError, bad_body
from gateway.emulator.mime_parts import Part, parse, walk
from gateway.emulator.skeleton import Skeleton

# Fields that survive without being known as a named property.
STANDARD: Final = frozenset(
    {
        "from", "sender", "reply-to", "to", "cc", "bcc", "subject", "date", "message-id", "in-reply-to",
        "references", "comments", "keywords", "mime-version", "content-type", "content-transfer-encoding",
        "content-disposition", "content-id", "content-description", "content-language", "content-location",
        "content-class", "importance", "priority", "sensitivity", "thread-topic", "thread-index", "expires",
        "disposition-notification-to", "return-receipt-to", "accept-language", "list-help", "list-id",
        "list-post", "list-subscribe", "list-unsubscribe", "list-owner", "list-archive", "precedence",
        "x-priority", "x-mailer", "organization", "auto-submitted", "return-path", "reply-by", "expiry-date",
    }
)  # fmt: skip
_FIREWALLED: Final = re.compile(r"received\Z|x-ms-exchange-|x-ms-has-attach|x-ms-tnef", re.IGNORECASE)


def check(raw: bytes, world: World) -> None:
    """400 for MIME that the endpoint refuses."""
    if raw.count(b"\n") != raw.count(b"\r\n") and world.rules.on("bare-lf-refused"):
        raise bad_body()
    if not parse_header(raw):
        raise GraphError(400, "ErrorMimeContentInvalid", "The MIME content is invalid.")


def parse_header(raw: bytes) -> bool:
    """Whether the bytes start with at least one header field."""
    return bool(Skeleton(raw).fields)


def clean(raw: bytes, world: World, known: set[str]) -> bytes:
    """Posted MIME as Exchange keeps it."""
    dropped = frozenset(
        f.name.lower() for f in Skeleton(raw).fields if _dropped(f.name.lower(), world, known)
    )
    raw = Skeleton(raw).without(dropped).with_fields(_stamped(raw)).raw
    return mangle(raw) if world.rules.on("qp-mangled") else raw


def _stamped(raw: bytes) -> dict[str, str | None]:
    """Fields that Exchange adds to whatever is posted: no posted MIME comes back as the same bytes."""
    skeleton = Skeleton(raw)
    topic, language = skeleton.first("thread-topic"), skeleton.first("content-language")
    subject = skeleton.first("subject") or ""
    return {
        "thread-topic": topic or " ".join(subject.encode("ascii", "replace").decode().split()),
        "content-language": language or "en-US",
    }


def _dropped(name: str, world: World, known: set[str]) -> bool:
    if _FIREWALLED.match(name):
        return True
    if name in ("auto-submitted", "return-path"):
        return world.rules.on("auto-submitted-dropped")
    if name in STANDARD or name in known:
        return False
    return world.rules.on("x-headers-dropped" if name.startswith("x-") else "odd-headers-dropped")


def mangle(raw: bytes) -> bytes:
    """Quoted-printable HTML is encoded once more; signed and encrypted parts are left alone."""
    spots = [(p.body, p.end) for p in _mangled(parse(raw))]
    for start, end in reversed(spots):
        again = re.sub(rb"=(?!\r\n)", b"=3D", raw[start:end])
        again = again.replace(b"=\r\n", b"=3D\r\n")
        raw = raw[:start] + again + raw[end:]
    return raw


def _mangled(part: Part) -> list[Part]:
    if part.type in ("multipart/signed", "multipart/encrypted"):
        return []
    if part.parts:
        return [found for child in part.parts for found in _mangled(child)]
    return [part] if part.type == "text/html" and part.encoding == "quoted-printable" else []


__all__ = ["STANDARD", "check", "clean", "mangle", "walk"]

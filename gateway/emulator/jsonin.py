"""Request bodies: JSON read strictly, keys checked against a whitelist (trap 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.emulator.errors import GraphError, bad_body, too_large
from gateway.emulator.items import Address
from gateway.emulator.limits import limit
from gateway.emulator.odata import Context


def content_type(ctx: Context) -> str:
    """The media type of the body in lower case, without parameters."""
    return media_type(ctx.request.headers)


def media_type(headers: Mapping[str, str]) -> str:
    """The Content-Type of a request in lower case, without parameters; "" for none."""
    return headers.get("content-type", "").split(";")[0].strip().lower()


def need_json(headers: Mapping[str, str]) -> None:
    """400 for a body without a type, 415 for one that is not JSON."""
    kind = media_type(headers)
    if kind == "application/json":
        return
    text = "A Content-Type of application/json is required."
    raise GraphError(415, "RequestBodyRead", text) if kind else bad_body(text)


def check_size(ctx: Context) -> None:
    """413 for a body over the request limit."""
    if len(ctx.request.body) > limit(ctx.world, "body_bytes") and ctx.rule("body-over-4mb"):
        raise too_large()


def body(ctx: Context, *, optional: bool = False) -> dict[str, Any]:
    """The JSON object of a request; `optional` lets an empty body be {}."""
    check_size(ctx)
    if optional and not ctx.request.body.strip():
        return {}
    need_json(ctx.request.headers)
    try:
        value = msgspec.json.decode(ctx.request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad_body() from None
    if not isinstance(value, dict):
        raise bad_body()
    return value


def checked(
    ctx: Context, value: dict[str, Any], writable: frozenset[str], read_only: frozenset[str]
) -> dict[str, Any]:
    """The writable properties by lower-case name; read-only ones are ignored, unknown ones a 400."""
    kept: dict[str, Any] = {}
    for name, each in value.items():
        key = name.lower()
        if "@odata." in key or key in read_only:
            continue
        if key in writable:
            kept[key] = each
        elif ctx.rule("unknown-key-refused"):
            raise bad_body(f"The property '{name}' does not exist on the type. Unable to deserialize.")
    return kept


def recipient(value: Any) -> Address:
    """One recipient object; 400 for anything else."""
    inner = value.get("emailAddress", value.get("EmailAddress")) if isinstance(value, dict) else None
    if not isinstance(inner, dict):
        raise bad_body()
    name, address = inner.get("name") or "", inner.get("address") or ""
    if not isinstance(name, str) or not isinstance(address, str):
        raise bad_body()
    return Address(one_line(name), one_line(address))


def recipients(value: Any) -> tuple[Address, ...]:
    if not isinstance(value, list):
        raise bad_body()
    return tuple(recipient(each) for each in value)


def one_line(value: str) -> str:
    """No line breaks: a posted value must not become a header field."""
    return " ".join(value.split()) if any(c in value for c in "\r\n\x00") else value

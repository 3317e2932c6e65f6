"""Attachments as JSON (contract section 14, appendix B)."""

from __future__ import annotations

import base64
from typing import Any

from gateway.emulator import times
from gateway.emulator.items import Attachment, Item
from gateway.emulator.odata import Context

_BASE = ("id", "lastmodifieddatetime", "name", "contenttype", "size", "isinline")
_TYPES = {"file": "fileAttachment", "item": "itemAttachment", "reference": "referenceAttachment"}


def attachment_json(
    ctx: Context, item: Item, part: Attachment, select: tuple[str, ...] | None
) -> dict[str, Any]:
    """One attachment; `select` knows the base type's properties only, so it drops contentBytes."""
    out: dict[str, Any] = {
        "@odata.type": f"#microsoft.graph.{_TYPES[part.kind]}",
        "@odata.mediaContentType": part.content_type,
        "id": ctx.box.mint.attachment(ctx.box.id_of(item, ctx.prefer.immutable), part.key),
        "lastModifiedDateTime": times.iso(item.state.modified),
        "name": part.name,
        "contentType": None if part.kind == "item" else part.content_type,
        "size": part.size,
        "isInline": part.inline,
    }
    if select is not None:
        kept = {name for name in _BASE if name in select} | {"id"}
        return {k: v for k, v in out.items() if k.startswith("@odata") or k.lower() in kept}
    if part.kind == "file":
        out["contentId"] = part.content_id
        out["contentLocation"] = part.location
        out["contentBytes"] = base64.b64encode(part.data).decode("ascii")
    elif part.kind == "reference":
        out["sourceUrl"] = part.location
    return out

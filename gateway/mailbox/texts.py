"""What SEARCH looks at in bodies, kept beside the facts when octets are seen: a later search of the same message needs
neither a request nor its octets (decision note on search texts).

A text is kept under the name of its content, so that copies share one, as they share octets.
"""

from __future__ import annotations

import asyncio

from gateway.mailbox.context import AccountContext
from gateway.mailbox.rendering import OFF_LOOP
from gateway.mime.part import scan
from gateway.mime.text import body_text


async def keep(ctx: AccountContext, content: str, raw: bytes) -> None:
    """Nothing of a message whose text is longer than `limits.search_text`: it is read again where it is searched."""
    bound = ctx.limits.search_text
    text = await asyncio.to_thread(_text, raw, bound) if len(raw) >= OFF_LOOP else _text(raw, bound)
    if text is not None:
        await ctx.store.put_texts(ctx.account, {content: text})


def _text(raw: bytes, bound: int) -> str | None:
    return body_text(raw, scan(raw), bound)

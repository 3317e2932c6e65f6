"""What tests of the store and of the mailbox floor do to a store in the same way."""

from __future__ import annotations

from typing import Any

from gateway.core.types import AccountId, MessageId


async def put_original(store: Any, account: AccountId, id: MessageId, data: bytes) -> None:
    """The octets an APPEND brought: kept before the message exists, adopted by it afterwards."""
    await store.adopt_blob(account, id, await store.put_blob(data))

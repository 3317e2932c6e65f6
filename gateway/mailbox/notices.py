"""Notifications from Graph, from the web port to the account they are for (contract section 13).

A notification is a poke and proves nothing: an unknown subscription, or a `clientState` that is not the secret we gave
it, is counted and forgotten, and the sender cannot tell.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

WAITING = 2000  # messages of one account that were announced and not looked at yet; beyond, all folders are looked at


class Data(msgspec.Struct, kw_only=True):
    id: str = ""
    etag: str = msgspec.field(default="", name="@odata.etag")


class Notice(msgspec.Struct, rename="camel", kw_only=True):
    """One element of `value`; with `lifecycle_event` it is about the subscription."""

    subscription_id: str = ""
    client_state: str | None = None
    change_type: str = ""
    lifecycle_event: str = ""
    resource_data: Data | None = None


class Notices(msgspec.Struct, kw_only=True):
    value: list[Notice] = []


@dataclass(slots=True)
class Poke:
    """What was said of one message: that it has one of these etags, that it was deleted; `tries` of ours to see it."""

    etags: set[str] = field(default_factory=set)
    deleted: bool = False
    tries: int = 0
    asked: bool = False  # Graph was asked where it is

    def hear(self, notice: Notice, data: Data) -> None:
        if notice.change_type == "deleted":
            self.deleted = True
        else:
            self.etags.add(data.etag)


class Inbox:
    """What one account was told and has not looked at. Bounded; `wake` is set while there is anything."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.events: set[str] = set()
        self.missed = False
        self.heard = 0  # how often
        self._pokes: dict[str, Poke] = {}

    def hear(self, notice: Notice) -> None:
        self.heard += 1
        if notice.lifecycle_event:
            self._event(notice.lifecycle_event)
        elif notice.resource_data is not None and notice.resource_data.id:
            self._message(notice, notice.resource_data)
        self.wake.set()

    def _event(self, event: str) -> None:
        if event in ("missed", "subscriptionRemoved"):
            self.missed = True
        if event in ("reauthorizationRequired", "subscriptionRemoved"):
            self.events.add(event)

    def _message(self, notice: Notice, data: Data) -> None:
        if data.id not in self._pokes and len(self._pokes) >= WAITING:
            self._pokes.clear()
            self.missed = True
        self._pokes.setdefault(data.id, Poke()).hear(notice, data)

    def look_everywhere(self) -> None:
        self.missed = True
        self.wake.set()

    def take(self) -> tuple[dict[str, Poke], bool]:
        """Everything there is, and whether something may have been missed; it is empty then."""
        pokes, self._pokes = self._pokes, {}
        missed, self.missed = self.missed, False
        self.wake.clear()
        return pokes, missed


@dataclass(slots=True)
class Board:
    """Whose a subscription is, for the whole process."""

    taken: int = 0
    refused: int = 0  # of nobody, or without the secret
    _inboxes: dict[str, tuple[bytes, Inbox]] = field(default_factory=dict)

    def connect(self, subscription: str, secret: str, inbox: Inbox) -> None:
        self._inboxes[subscription] = (secret.encode(), inbox)

    def disconnect(self, subscription: str) -> None:
        self._inboxes.pop(subscription, None)

    def deliver(self, notices: Iterable[Notice]) -> None:
        """At once, and without a word on what became of them."""
        for notice in notices:
            secret, inbox = self._inboxes.get(notice.subscription_id, (b"", None))
            right = hmac.compare_digest((notice.client_state or "").encode(), secret)
            if inbox is None or not right:
                self.refused += 1
            else:
                self.taken += 1
                inbox.hear(notice)

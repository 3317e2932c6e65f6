"""The control API of change notifications: who is subscribed, and the lifecycle events that tests provoke."""

from __future__ import annotations

from starlette.requests import Request
from starlette.routing import Route

from gateway.emulator.control import PREFIX, RefusedError, guarded, json_of
from gateway.emulator.notices import EVENTS, Notices
from gateway.emulator.subscriptions import Subscription


class PushControl:
    def __init__(self, notices: Notices) -> None:
        self._notices = notices

    def routes(self) -> list[Route]:
        return [
            Route(f"{PREFIX}/subscriptions", guarded(self.shown), methods=["GET"]),
            Route(f"{PREFIX}/subscriptions/lifecycle", guarded(self.lifecycle), methods=["POST"]),
        ]

    async def shown(self, request: Request) -> object:
        """{"subscriptions": as Graph shows them, "lost": notifications that were given up}"""
        shown = [each.as_json() for each in self._notices.subscriptions.active()]
        return {"subscriptions": shown, "lost": self._notices.lost}

    async def lifecycle(self, request: Request) -> object:
        """{"event", "id"?}: to this subscription, or to all. `subscriptionRemoved` removes it, `missed` loses what
        was not sent yet."""
        source = await json_of(request)
        event = source.get("event")
        if event not in EVENTS:
            raise RefusedError(400, "event must be one of " + ", ".join(sorted(EVENTS)))
        chosen = self._chosen(source.get("id"))
        for each in chosen:
            self._notices.lifecycle(each, str(event))
        return {"told": len(chosen)}

    def _chosen(self, name: object) -> list[Subscription]:
        if name is None:
            return self._notices.subscriptions.active()
        found = self._notices.subscriptions.named(str(name))
        if found is None:
            raise RefusedError(404, "no such subscription")
        return [found]

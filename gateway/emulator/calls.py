"""One Graph call, outer or inside a batch: latency, then a fault if one waits, then the model.

Limits are taken by the caller (`throttle.Slot`), because an outer call and a batch hold slots differently.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from gateway.emulator.api import Model, Request, Response
from gateway.emulator.errors import GraphError
from gateway.emulator.faults import Faults
from gateway.emulator.ids import TENANT_GUID, user_guid
from gateway.emulator.latency import Latency
from gateway.emulator.limits import limit
from gateway.emulator.notices import Notices
from gateway.emulator.throttle import Slot, Throttle, mailbox_key

log = logging.getLogger("gateway.emulator")


class ConnectionFaultError(Exception):
    """The connection, not the answer, is what fails: `mode` is `hang` or `reset`."""

    def __init__(self, mode: str) -> None:
        super().__init__(mode)
        self.mode = mode


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer, and whether the connection must break in the middle of it."""

    response: Response
    cut: bool = False


class Calls:
    """Runs calls against the model."""

    def __init__(
        self, model: Model, throttle: Throttle, faults: Faults, latency: Latency, notices: Notices
    ) -> None:
        self.model = model
        self.notices = notices
        self.throttle = throttle
        self.faults = faults
        self.latency = latency
        self._names: Mapping[str, str] = {}
        self._named = 0

    @property
    def names(self) -> Mapping[str, str]:
        """User names and GUIDs, lower-case, to mailboxes; those of users added later too."""
        users = self.model.users()
        if len(users) != self._named:
            self._names, self._named = mailbox_names(users), len(users)
        return self._names

    def enter(self, request: Request) -> Slot:
        """Take a slot of the mailbox the request is for; the slot says if it was refused."""
        mailbox = mailbox_key(plain_path(request.path), request.caller.user, self.names)
        return self.throttle.enter(request.caller.app_id, mailbox, request.method, len(request.body))

    async def perform(self, request: Request, target: str, *, inner: bool = False) -> Outcome:
        """Do the work of an admitted call. `target` is path and query as sent, for the faults to match.

        Raises ConnectionFaultError where no answer may be given at all."""

        async def work() -> Outcome:
            return Outcome(await self.answer(request))

        if len(target) > limit(self.model.world, "url_bytes"):
            return Outcome(GraphError(414, "UriTooLong", "The request URI is too long.").response())
        await self.latency.serve()
        outcome = await self.provoked(request.method, target, work, inner=inner)
        await self.latency.items(outcome.response.items)
        return outcome

    async def provoked(
        self, method: str, target: str, work: Callable[[], Awaitable[Outcome]], *, inner: bool = False
    ) -> Outcome:
        """What `work` answers, or what the fault that waits for this call makes of it."""
        fault = self.faults.take(method, target, inner=inner)
        if fault is None:
            return await work()
        if fault.mode == "error":
            return Outcome(fault.answer())
        if fault.mode in ("hang", "reset"):
            raise ConnectionFaultError(fault.mode)
        outcome = await work()
        if fault.mode == "cut":
            return Outcome(outcome.response, cut=True)
        if fault.status == 0:
            raise ConnectionFaultError("reset")
        return Outcome(fault.answer())

    async def answer(self, request: Request) -> Response:
        """The model's answer; subscriptions have their own, for which the subscriber is asked (contract 13)."""
        if plain_path(request.path).lower().strip("/").partition("/")[0] != "subscriptions":
            return self.handle(request)
        response = await self.notices.subscriptions.handle(request)
        self.notices.begin()
        return response

    def handle(self, request: Request) -> Response:
        """The model's answer; a bug in the model is a 500 and a trace in the log, never a dead connection."""
        try:
            return self.model.handle(request)
        except Exception:
            log.exception("the model failed on %s %s", request.method, request.path)
            return GraphError(
                500, "ErrorInternalServerError", "An internal server error occurred."
            ).response()


def mailbox_names(users: list[str]) -> dict[str, str]:
    """Every name a mailbox goes by in a URL."""
    names = {upn.lower(): upn.lower() for upn in users}
    guids = {user_guid(upn): upn.lower() for upn in users}
    return names | guids | {f"{guid}@{TENANT_GUID}": upn for guid, upn in guids.items()}


def plain_path(path: str) -> str:
    """A path with its percent-encoding undone, for comparing only."""
    return unquote(path)

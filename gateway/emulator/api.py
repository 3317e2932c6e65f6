"""The seam inside the emulator: the shell (HTTP, auth, limits, faults) hands one `Request` to the model
and sends the `Response` it gets. Nothing below knows about sockets, nothing above about mail.

Source: the project's Graph contract, sections 1-15 and Appendix A.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class Clock(Protocol):
    """Time as the emulator sees it; tests pass a clock they can move."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who the bearer token speaks for. `user` is None for an app-only token."""

    app_id: str
    user: str | None
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Request:
    """One Graph call, outer or inside a `$batch`.

    `path` is what follows the version, percent-encoding kept, without the query: `/users/a%40x/messages`.
    `query` keeps `$` in its keys and is percent-decoded. `headers` has lower-case names; several `Prefer`
    headers arrive joined with ", ". `base` is scheme, host and version (`https://127.0.0.1:8443/v1.0`),
    to build nextLinks and upload URLs from.
    """

    method: str
    version: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    caller: Caller
    base: str


@dataclass(slots=True)
class Response:
    """`body` is bytes, or an iterable of chunks that is sent chunked without Content-Length (`$value`).

    `items` is how many items a page holds: the latency model charges `--item-us` for each.
    """

    status: int
    body: bytes | Iterable[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)
    items: int = 0


@dataclass(slots=True)
class Rules:
    """The named live-only failures (contract section 15, trap 50): every one is on unless switched off.

    A rule is declared once, in `rules.py`; asking for an undeclared name is a KeyError.
    """

    states: dict[str, bool]

    def on(self, name: str) -> bool:
        return self.states[name]

    def set(self, name: str, on: bool) -> None:
        if name not in self.states:
            raise KeyError(name)
        self.states[name] = on


@dataclass(slots=True)
class World:
    """What model and shell share: rules, clock, seeded randomness, adjustable limits (`POST limits`)."""

    rules: Rules
    clock: Clock
    rng: random.Random
    limits: dict[str, float]


class Model(Protocol):
    """The mailboxes of one tenant, as the shell sees them. Implemented by `tenant.Tenant`."""

    world: World

    def handle(self, request: Request) -> Response:
        """Answer one Graph mail call (Appendix A routes 1-29 without auth, limits, batch). Never raises for
        bad input: every refusal is a Response with the error envelope of section 2."""
        ...

    def upload(self, method: str, token: str, headers: Mapping[str, str], body: bytes) -> Response:
        """PUT or DELETE of an upload session's pre-authenticated URL (route 27), named by its token."""
        ...

    def upload_owner(self, token: str) -> tuple[str, str] | None:
        """The application and the mailbox (lower case) an upload session belongs to; None for no session."""
        ...

    def subscribable(self, caller: Caller, resource: str) -> tuple[Any, int | None]:
        """The mailbox, and the folder's number (None: all of them), that a subscription's resource names; raises
        errors.GraphError for what is not there, or not the caller's to read."""
        ...

    def users(self) -> list[str]:
        """User principal names, in the order they were made."""
        ...

    # -- what `/_emulator/` and the start-up need; all as if Outlook or the Internet had done it --

    def deliver(self, upn: str, folder: str, mime: bytes, *, received: float | None = None) -> str:
        """Put raw MIME into a folder as received mail; returns its immutable id."""
        ...

    def listing(self, upn: str, folder: str | None) -> list[dict[str, object]]:
        """Every message (of a folder): id (immutable), folder (id), folderName, wellKnownName, subject,
        internetMessageId, isRead, isDraft, flag (flagStatus), categories, deleted (0x8570), verb (0x1081),
        receivedDateTime, sha256 and length of its `$value` (null where it fails for good); size is the length
        under its other name."""
        ...

    def outlook_patch(self, upn: str, message: str, change: Mapping[str, object]) -> None: ...
    def outlook_delete(self, upn: str, message: str) -> None: ...
    def outlook_move(self, upn: str, message: str, folder: str) -> None: ...
    def outlook_folders(self, upn: str) -> list[dict[str, object]]:
        """Every folder: id, displayName, parentFolderId, wellKnownName, totalItemCount, unreadItemCount."""
        ...

    def grant(self, right: str, owner: str, delegate: str) -> None:
        """What an administrator does: `right` is "send_as", "on_behalf" or "full_access", to `owner`'s mailbox."""
        ...

    def expire_delta(self) -> int:
        """Make every delta token handed out so far dead; returns how many links died."""
        ...

"""One mailbox through Graph: every mail call the gateway makes, each with its retry rule (invariant 10).

`MailboxClient` is the interface, `GraphMailbox` the implementation. Methods raise `graph.errors`; those that
take several messages (`get`, `patch`, `move`, `copy`) never do: each message's result is it or its error. Ids
are immutable ids both ways; folder ids are plain. `priority` decides who waits when the mailbox's four slots are taken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from gateway.graph.errors import GraphError
from gateway.graph.fields import (
    FOLDER_FIELDS,
    IMAP_DELETED,
    INDEX_FIELDS,
    INDEX_PROPERTIES,
    MACHINE_KEYWORDS,
    META_FIELDS,
    META_PROPERTIES,
    PR_ICON_INDEX,
    PR_LAST_VERB,
    PR_MESSAGE_SIZE,
    PR_TRANSPORT_HEADERS,
)
from gateway.graph.folders import Folders
from gateway.graph.model import FolderPage, MailFolder, Message, MessagePage, Priority
from gateway.graph.reading import Reading
from gateway.graph.request import Body
from gateway.graph.streams import Content
from gateway.graph.subscriptions import Subscribing, Subscription
from gateway.graph.tips import MailTips, Tipping
from gateway.graph.writing import Patch, Writing

__all__ = [
    "FOLDER_FIELDS",
    "IMAP_DELETED",
    "INDEX_FIELDS",
    "INDEX_PROPERTIES",
    "MACHINE_KEYWORDS",
    "META_FIELDS",
    "META_PROPERTIES",
    "PR_ICON_INDEX",
    "PR_LAST_VERB",
    "PR_MESSAGE_SIZE",
    "PR_TRANSPORT_HEADERS",
    "GraphMailbox",
    "MailboxClient",
    "Patch",
    "Result",
]

Result = Message | GraphError  # of one message in a bulk call


class MailboxClient(Protocol):
    """One mailbox (`/users/{upn}` in app-only mode, `/me` with a delegated token)."""

    # -- folders --
    def folder_delta(self, link: str | None, *, priority: Priority = ...) -> AsyncIterator[FolderPage]:
        """Pages of mailFolders/delta from the start (None) or from a delta link; the last has `delta_link`.
        ResyncNeeded if the token is dead; QuotaExceeded on a full mailbox (list with `folder_tree` then)."""
        ...

    async def folder_tree(self, *, priority: Priority = ...) -> list[MailFolder]:
        """The whole hierarchy by listing, hidden folders left out."""
        ...

    async def well_known(self, names: Sequence[str]) -> dict[str, MailFolder]:
        """Those of the well-known names that exist, in one batch (chained)."""
        ...

    async def get_folder(self, folder: str) -> MailFolder: ...
    async def folder_sizes(self, folders: Sequence[str]) -> list[int | GraphError | None]:
        """Octets Exchange stores of each folder's messages, subfolders not counted; None where it does not tell. In
        batches; an error in a folder's place is that folder's alone."""
        ...

    async def create_folder(self, parent: str, name: str, *, hidden: bool = False) -> MailFolder: ...
    async def rename_folder(self, folder: str, name: str) -> MailFolder: ...
    async def move_folder(self, folder: str, parent: str) -> MailFolder: ...
    async def delete_folder(self, folder: str) -> None: ...

    # -- reading --
    async def list_page(
        self, folder: str, *, link: str | None = None, fields: Sequence[str] = INDEX_FIELDS,
        properties: Sequence[str] = INDEX_PROPERTIES, order: str | None = "receivedDateTime asc",
        filter: str | None = None, skip: int = 0, size: int = 500, count: bool = False,
        tries_504: int = 1, priority: Priority = ...,
    ) -> MessagePage:  # fmt: skip
        """One page of a folder's messages. A 504 is Unreachable after `tries_504` more: the caller halves `size`."""
        ...

    def delta(
        self, folder: str, link: str | None, *, fields: Sequence[str] = INDEX_FIELDS,
        properties: Sequence[str] = INDEX_PROPERTIES, size: int = 500, priority: Priority = ...,
    ) -> AsyncIterator[MessagePage]:  # fmt: skip
        """Pages of a folder's delta (contract section 12), empty ones included; the last has `delta_link`. From a link
        on, be it to the next page or a delta link. A 504 is Unreachable after one more try: the caller halves `size`.
        `$expand` refused (400 at the first call) is remembered per mailbox and left out from then on:
        `expands` tells. ResyncNeeded, QuotaExceeded, NotFound (folder gone)."""
        ...

    @property
    def delta_expands(self) -> bool:
        """Whether delta pages carry extended properties in this mailbox."""
        ...

    async def get(
        self, ids: Sequence[str], *, fields: Sequence[str] = INDEX_FIELDS,
        properties: Sequence[str] = INDEX_PROPERTIES, priority: Priority = ...,
    ) -> list[Result]:  # fmt: skip
        """In the order of `ids`; one GET for one id, else chained batches of 20, side by side."""
        ...

    async def mime(self, id: str, *, priority: Priority = ...) -> bytes:
        """GET $value, whole: the transfer is known to be complete (trap 27). PermanentFailure (trap 26)."""
        ...

    async def find_by_message_id(
        self, internet_message_id: str, folder: str | None = None
    ) -> list[Message]: ...
    async def search(
        self, folder: str, query: str, *, most: int = ..., priority: Priority = ...
    ) -> list[str]:  # fmt: skip
        """Ids in a folder that the index finds by KQL (`graph.kql`), latest sent first, read until there are `most` or
        no more. `most` or more: there may be others (contract section 4: 1,000 hits). The index lags behind, and
        knows no drafts (trap 35)."""
        ...

    async def attachments(self, id: str) -> list[dict[str, Any]]:
        """name, contentType, size, isInline, contentId, id and @odata.type of each."""
        ...

    async def attachment_value(self, id: str, attachment: str) -> bytes: ...

    # -- writing --
    async def patch(self, patches: Sequence[Patch], *, priority: Priority = ...) -> list[Result]:
        """In order; absolute PATCHes may be repeated. One PATCH alone for one, else chained batches.
        `Conflict` without if_match was retried once already."""
        ...

    async def move(self, ids: Sequence[str], folder: str, *, priority: Priority = ...) -> list[Result]:
        """Idempotent by immutable id: a repeated move of a moved message is a success."""
        ...

    async def copy(self, ids: Sequence[str], folder: str, *, priority: Priority = ...) -> list[Result]:
        """Never blindly repeated: OutcomeUnknown for those whose fate is not known."""
        ...

    async def create_from_mime(self, mime: bytes | Body) -> Message:
        """POST /messages: a draft in Drafts. Status 201 and an id, or an error. OutcomeUnknown possible."""
        ...

    async def create(self, folder: str, body: Mapping[str, Any]) -> Message:
        """POST mailFolders/{folder}/messages with JSON. OutcomeUnknown possible."""
        ...

    async def create_all(self, folder: str, bodies: Sequence[Mapping[str, Any]]) -> list[Result]:
        """`create` of each, in batches, in order; errors are results. OutcomeUnknown for those whose fate is not
        known."""
        ...

    async def add_attachment(self, id: str, attachment: Mapping[str, Any], content: bytes | Content) -> None:
        """One POST below 3 MB, else an upload session in chunks (section 10.4). OutcomeUnknown possible;
        UploadRefused in a shared mailbox that a person signed in to."""
        ...

    async def send_mime(self, mime: bytes | Body) -> None:
        """POST sendMail with MIME: exactly 202 is success (trap 24). OutcomeUnknown possible."""
        ...

    async def send_draft(self, id: str) -> None:
        """POST messages/{id}/send: exactly 202. OutcomeUnknown possible."""
        ...

    async def delete(self, id: str) -> None:
        """DELETE once, never repeated (trap 53). OutcomeUnknown possible."""
        ...

    async def permanent_delete(self, id: str) -> None: ...
    async def mail_tips(self, addresses: Sequence[str]) -> list[MailTips]:
        """Of up to `tips.AT_ONCE` addresses."""
        ...

    # -- change notifications (see `graph.subscriptions`) --
    async def subscribe(self, url: str, lifecycle_url: str, secret: str, until: str) -> Subscription: ...
    async def renew_subscription(self, id: str, until: str) -> Subscription: ...
    async def unsubscribe(self, id: str) -> None: ...


class GraphMailbox(Folders, Reading, Writing, Subscribing, Tipping):
    """`MailboxClient` over one `GraphClient`: `user` is an address or object id, None with a delegated token
    (`/me`).

    Several may share a client; what they ask of one mailbox shares that mailbox's scheduler.
    """


def _implements(mailbox: GraphMailbox) -> MailboxClient:
    return mailbox

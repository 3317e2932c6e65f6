"""One mailbox through Graph: every mail call the gateway makes, with the right retry rule for each (invariant 10).

Interface (to be implemented). All methods raise `graph.errors`. Ids are immutable ids both ways; folder ids are
plain. `priority` decides who waits when the mailbox's four slots are taken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.graph.errors import GraphError
from gateway.graph.model import FolderPage, MailFolder, Message, MessagePage, Priority

# What a listing or delta selects. META adds what ENVELOPE and header facts need.
INDEX_FIELDS = (
    "id", "parentFolderId", "conversationId", "createdDateTime", "lastModifiedDateTime", "receivedDateTime",
    "isRead", "isDraft", "flag", "categories", "internetMessageId", "isReadReceiptRequested",
)  # fmt: skip
META_FIELDS = (
    "subject", "from", "sender", "toRecipients", "ccRecipients", "bccRecipients", "replyTo", "sentDateTime",
    "hasAttachments", "bodyPreview", "internetMessageHeaders",
)  # fmt: skip
PR_MESSAGE_SIZE = "Integer 0x0E08"
PR_LAST_VERB = "Integer 0x1081"
PR_ICON_INDEX = "Integer 0x1080"
PR_TRANSPORT_HEADERS = "String 0x007D"
IMAP_DELETED = "Integer {00062008-0000-0000-c000-000000000046} Id 0x8570"
# PS_PUBLIC_STRINGS: a name in the set of Internet headers would be rendered into the MIME header.
MACHINE_KEYWORDS = "String {00020329-0000-0000-c000-000000000046} Name x-gateway-keywords"
INDEX_PROPERTIES = (PR_MESSAGE_SIZE, PR_LAST_VERB, IMAP_DELETED, MACHINE_KEYWORDS)
META_PROPERTIES = (PR_TRANSPORT_HEADERS,)


@dataclass(frozen=True, slots=True)
class Patch:
    """One PATCH of a message. `if_match` is an etag or None."""

    id: str
    body: Mapping[str, Any]
    if_match: str | None = None


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
    async def create_folder(self, parent: str, name: str, *, hidden: bool = False) -> MailFolder: ...
    async def rename_folder(self, folder: str, name: str) -> MailFolder: ...
    async def move_folder(self, folder: str, parent: str) -> MailFolder: ...
    async def delete_folder(self, folder: str) -> None: ...

    # -- reading --
    async def list_page(
        self, folder: str, *, link: str | None = None, fields: Sequence[str] = INDEX_FIELDS,
        properties: Sequence[str] = INDEX_PROPERTIES, order: str | None = "receivedDateTime asc",
        filter: str | None = None, skip: int = 0, size: int = 500, count: bool = False, priority: Priority = ...,
    ) -> MessagePage:  # fmt: skip
        """One page of a folder's messages. A 504 is Unreachable after retries: the caller halves `size`."""
        ...

    def delta(
        self, folder: str, link: str | None, *, fields: Sequence[str] = INDEX_FIELDS,
        properties: Sequence[str] = INDEX_PROPERTIES, size: int = 500, priority: Priority = ...,
    ) -> AsyncIterator[MessagePage]:  # fmt: skip
        """Pages of a folder's delta (contract section 12), empty ones included; the last has `delta_link`.
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
        """In the order of `ids`; one GET for one id, else chained batches of 20, several chains side by side."""
        ...

    async def mime(self, id: str, *, priority: Priority = ...) -> bytes:
        """GET $value, whole: the transfer is known to be complete (trap 27). PermanentFailure (trap 26)."""
        ...

    async def find_by_message_id(self, internet_message_id: str, folder: str | None = None) -> list[Message]: ...
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

    async def create_from_mime(self, mime: bytes) -> Message:
        """POST /messages: a draft in Drafts. Status 201 and an id, or an error. OutcomeUnknown possible."""
        ...

    async def create(self, folder: str, body: Mapping[str, Any]) -> Message:
        """POST mailFolders/{folder}/messages with JSON. OutcomeUnknown possible."""
        ...

    async def add_attachment(self, id: str, attachment: Mapping[str, Any], content: bytes) -> None:
        """One POST below 3 MB, else an upload session in chunks (section 10.4)."""
        ...

    async def send_mime(self, mime: bytes) -> None:
        """POST sendMail with MIME: exactly 202 is success (trap 24). OutcomeUnknown possible, never repeated."""
        ...

    async def send_draft(self, id: str) -> None:
        """POST messages/{id}/send: exactly 202. OutcomeUnknown possible."""
        ...

    async def delete(self, id: str) -> None:
        """DELETE once, never repeated (trap 53). OutcomeUnknown possible."""
        ...

    async def permanent_delete(self, id: str) -> None: ...

"""One account over a real store and a small strict Graph, for tests of the mailbox floor's write side.

`FakeGraph` keeps messages, counts every call (`calls`) and fails as told (`fail`): "before" nothing was done,
"after" it was done and nobody heard of it.
"""

from __future__ import annotations

import base64
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.core.types import AccountId, Flags, FolderId, MessageId
from gateway.graph.errors import AlreadyExists, Conflict, GraphError, Invalid, NotFound, TooLarge
from gateway.graph.mail import INDEX_FIELDS, INDEX_PROPERTIES, Patch
from gateway.graph.model import (
    ExtendedProperty,
    FollowupFlag,
    Header,
    MailFolder,
    Message,
    MessagePage,
    Recipient,
)
from gateway.graph.props import Property, parse_property
from gateway.mailbox.context import AccountContext, Settings
from gateway.mailbox.intake import Intake
from gateway.mailbox.local import epoch, graph_time
from gateway.mailbox.outgoing import Outgoing
from gateway.mailbox.values import Incoming
from gateway.mime.compose import message_id
from gateway.mime.header import Fields, header_end
from gateway.store.api import Applied, FolderRow, FolderUpsert, MessageRow
from gateway.store.sqlite import SqliteStore

ACCOUNT = AccountId("alice@example.com")
NOW = 1_780_000_000
FIRST = 1001  # the first UID in a folder whose first sync found nothing (decision 1)
SPECIAL = ("inbox", "drafts", "sentitems", "deleteditems", "outbox", "recoverableitemsdeletions")
PLAIN = (
    b"From: bob@example.com\r\nTo: alice@example.com\r\nSubject: one\r\n"
    b"Message-ID: <1@example.com>\r\n\r\nhello\r\n"
)


class VirtualClock:
    def __init__(self) -> None:
        self.now = float(NOW)
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class TestSettings(SimpleNamespace):
    """The product's own, that tests may change."""

    __test__ = False

    def __init__(self) -> None:
        made = Settings(
            poll_interval=30.0, size_share=0.0, labels=("Important", "Work"), hostname="gw.example"
        )
        super().__init__(**{each.name: getattr(made, each.name) for each in fields(made)})


@dataclass
class Stored:
    """A message in the fake."""

    id: str
    folder: str
    mime: bytes
    internet_message_id: str
    read: bool = False
    draft: bool = False
    flag: str = "notFlagged"
    categories: list[str] = field(default_factory=list)
    received: int = NOW
    created: int = NOW
    modified: int = NOW
    version: int = 1
    props: dict[Property, str] = field(default_factory=dict)
    attachments: list[dict[str, Any]] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)
    json: dict[str, Any] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        return f'W/"{self.id}-{self.version}"'

    def prop(self, id: str) -> str | None:
        return self.props.get(parse_property(id))


Fault = tuple[str, GraphError]
READ_ONLY = {"singleValueExtendedProperties", "attachments"}
WRITABLE = {
    "subject", "body", "from", "sender", "toRecipients", "ccRecipients", "bccRecipients", "replyTo", "isRead",
    "flag", "categories", "internetMessageId", "singleValueExtendedProperties", "attachments",
}  # fmt: skip


class Held:
    """A spool whose octets are there."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    async def write(self, data: bytes) -> None:
        self._data += data

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        return self._data[start:end]

    def kept(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def close(self) -> None:
        return None


def incoming(data: bytes = PLAIN, flags: Flags = Flags(), date: int | None = None) -> Incoming:  # noqa: B008
    return Incoming(Held(data), flags, date)


class FakeGraph:
    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.folders: dict[str, str] = {f"F-{name}": name for name in SPECIAL}
        self.hidden: set[str] = set()
        self.messages: dict[str, Stored] = {}
        self.calls: list[tuple[str, Any]] = []
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.per_id: dict[tuple[str, str], list[Fault]] = defaultdict(list)
        self.sent: list[bytes] = []
        self.deliver_sent_copy = True
        self.flying: dict[str, Stored] = {}  # sent, and in no folder yet
        self.during: dict[str, Callable[[], None]] = {}  # something that happens while a call is on its way
        self.expands = True
        self._number = 0

    # -- how tests speak of it --

    def count(self, method: str) -> int:
        return sum(name == method for name, _ in self.calls)

    def fail(self, method: str, error: GraphError, *, when: str = "before", id: str = "") -> None:
        (self.per_id[method, id] if id else self.faults[method]).append((when, error))

    def put(self, folder: str, mime: bytes = PLAIN, **facts: Any) -> Stored:
        self._number += 1
        id = f"AAkA{self._number:04d}"
        name = message_id(mime) or f"<made-{self._number}@example.com>".encode()
        now = int(self.clock.now)
        facts = {"created": now, "modified": now, **facts}
        stored = Stored(id, f"F-{folder}", mime, name.decode(), **facts)
        self.messages[id] = stored
        return stored

    def inside(self, folder: str) -> list[Stored]:
        return [message for message in self.messages.values() if message.folder == f"F-{folder}"]

    def outlook(self, id: str, **facts: Any) -> None:
        """Somebody else changes a message."""
        for name, value in facts.items():
            setattr(self.messages[id], name, value)
        self._touch(self.messages[id])

    # -- plumbing --

    def _touch(self, message: Stored) -> None:
        message.version += 1
        message.modified = int(self.clock.now)

    def _call(self, method: str, detail: Any = None) -> Fault | None:
        self.calls.append((method, detail))
        if method in self.during:
            self.during.pop(method)()
        fault = self.faults[method].pop(0) if self.faults[method] else None
        if fault is not None and fault[0] == "before":
            raise fault[1]
        return fault

    def _each(self, method: str, id: str, work: Callable[[], Message]) -> Message | GraphError:
        faults = self.per_id[method, id]
        fault = faults.pop(0) if faults else None
        if fault is not None and fault[0] == "before":
            return fault[1]
        try:
            done = work()
        except GraphError as error:
            return error
        return done if fault is None else fault[1]

    def _find(self, id: str) -> Stored:
        if id not in self.messages:
            raise NotFound("", status=404, code="ErrorItemNotFound")
        return self.messages[id]

    def _folder(self, name: str) -> str:
        if name in self.folders:
            return name
        for id, well_known in self.folders.items():
            if well_known == name:
                return id
        raise NotFound("", status=404, code="ErrorFolderNotFound")

    def show(
        self, message: Stored, fields: Sequence[str] = INDEX_FIELDS, properties: Sequence[str] = ()
    ) -> Message:
        wanted = {str(parse_property(id)): id for id in properties}
        found = [
            ExtendedProperty(id=_echoed(key, wanted[str(key)]), value=value)
            for key, value in self._all_props(message).items()
            if str(key) in wanted
        ]
        shown = Message(
            id=message.id, etag=message.etag, created_date_time=graph_time(message.created),
            last_modified_date_time=graph_time(message.modified), received_date_time=graph_time(message.received),
            internet_message_id=message.internet_message_id, parent_folder_id=message.folder,
            conversation_id="C1", is_read=message.read, is_draft=message.draft,
            categories=list(message.categories), flag=FollowupFlag(message.flag),
            single_value_extended_properties=found or None,
        )  # fmt: skip
        if "subject" in fields:
            header = Fields(message.mime[: header_end(message.mime)])
            shown.subject = (header.first(b"subject") or b"").decode("utf-8", "replace")
            shown.body_preview = "preview"
            shown.sent_date_time = graph_time(message.received)
            author = (header.first(b"from") or b"").decode()
            shown.from_ = Recipient()
            if author:
                shown.from_ = Recipient(email_address=_address(author))
            shown.internet_message_headers = [Header(n, v) for n, v in message.headers] or None
        return shown

    def _all_props(self, message: Stored) -> dict[Property, str]:
        size = {parse_property("Integer 0x0E08"): str(len(message.mime) + 1000)}
        return {**size, **message.props}

    # -- MailboxClient --

    async def get(
        self, ids: Sequence[str], *, fields: Sequence[str] = INDEX_FIELDS,
        properties: Sequence[str] = INDEX_PROPERTIES, priority: Any = None,
    ) -> list[Message | GraphError]:  # fmt: skip
        self._call("get", list(ids))
        return [
            self._each("get", id, lambda id=id: self.show(self._find(id), fields, properties)) for id in ids
        ]

    async def list_page(
        self, folder: str, *, link: str | None = None, fields: Sequence[str] = INDEX_FIELDS,
        properties: Sequence[str] = INDEX_PROPERTIES, order: str | None = "receivedDateTime asc",
        filter: str | None = None, skip: int = 0, size: int = 500, count: bool = False, priority: Any = None,
    ) -> MessagePage:  # fmt: skip
        self._call("list_page", size)
        assert filter is not None and filter.startswith("receivedDateTime ge ")
        words = filter.split()
        low, high = epoch(words[2]), epoch(words[6])
        assert low is not None and high is not None
        found = [m for m in self.messages.values() if m.folder == folder and low <= m.received <= high]
        found.sort(key=lambda m: m.received)
        start = int(link or 0)
        page = found[start : start + size]
        more = str(start + size) if start + size < len(found) else None
        return MessagePage(value=[self.show(m, fields, properties) for m in page], next_link=more)

    async def mime(self, id: str, *, priority: Any = None) -> bytes:
        self._call("mime", id)
        return self._find(id).mime

    async def find_by_message_id(self, internet_message_id: str, folder: str | None = None) -> list[Message]:
        self._call("find_by_message_id", folder)
        where = None if folder is None else self._folder(folder)
        return [
            self.show(m, INDEX_FIELDS, INDEX_PROPERTIES)
            for m in self.messages.values()
            if m.internet_message_id == internet_message_id and where in (None, m.folder)
        ]

    async def attachments(self, id: str) -> list[dict[str, Any]]:
        self._call("attachments", id)
        return [{k: v for k, v in a.items() if k != "data"} for a in self._find(id).attachments]

    async def attachment_value(self, id: str, attachment: str) -> bytes:
        self._call("attachment_value", attachment)
        found: bytes = next(a["data"] for a in self._find(id).attachments if a["id"] == attachment)
        return found

    async def patch(self, patches: Sequence[Patch], *, priority: Any = None) -> list[Message | GraphError]:
        fault = self._call("patch", list(patches))
        results = [
            self._each("patch", patch.id, lambda patch=patch: self._patched(patch)) for patch in patches
        ]
        if fault is not None:
            raise fault[1]
        return results

    def _patched(self, patch: Patch) -> Message:
        message = self._find(patch.id)
        if patch.if_match is not None and patch.if_match != message.etag:
            raise Conflict("", status=412, code="ErrorIrresolvableConflict")
        assert patch.body, "an empty PATCH"
        self._write(message, patch.body)
        self._touch(message)
        return self.show(message)

    def _write(self, message: Stored, body: Mapping[str, Any]) -> None:
        unknown = set(body) - WRITABLE
        if unknown:
            raise Invalid("", status=400, code="UnableToDeserializePostBody")
        message.read = body.get("isRead", message.read)
        message.categories = list(body.get("categories", message.categories))
        message.flag = body.get("flag", {"flagStatus": message.flag})["flagStatus"]
        for each in body.get("singleValueExtendedProperties", ()):
            assert isinstance(each["value"], str)
            message.props[parse_property(each["id"])] = each["value"]

    async def move(
        self, ids: Sequence[str], folder: str, *, priority: Any = None
    ) -> list[Message | GraphError]:
        fault = self._call("move", (list(ids), folder))
        results = [self._each("move", id, lambda id=id: self._moved(id, folder)) for id in ids]
        if fault is not None:
            raise fault[1]
        return results

    def _moved(self, id: str, folder: str) -> Message:
        message = self._find(id)
        message.folder = self._folder(folder)
        self._touch(message)
        return self.show(message)

    async def copy(
        self, ids: Sequence[str], folder: str, *, priority: Any = None
    ) -> list[Message | GraphError]:
        self._call("copy", (list(ids), folder))
        return [self._each("copy", id, lambda id=id: self._copied(id, folder)) for id in ids]

    def _copied(self, id: str, folder: str) -> Message:
        source = self._find(id)
        made = self.put("inbox", source.mime)
        made.folder = self._folder(folder)
        for name in ("read", "draft", "flag", "received", "internet_message_id", "headers"):
            setattr(made, name, getattr(source, name))
        made.categories, made.props = list(source.categories), dict(source.props)
        return self.show(made)

    async def create_from_mime(self, mime: bytes) -> Message:
        fault = self._call("create_from_mime", len(mime))
        assert b"\n" not in mime.replace(b"\r\n", b""), "bare LF"
        if len(base64.b64encode(mime)) > DEFAULT_LIMITS.request_body:
            raise TooLarge("", status=413)
        made = self.put("drafts", mime, read=True, draft=True)
        if fault is not None:
            raise fault[1]
        return self.show(made)

    async def create(self, folder: str, body: Mapping[str, Any]) -> Message:
        fault = self._call("create", (folder, dict(body)))
        where = self._folder(folder)
        made = self.put("inbox", b"Subject: rebuilt\r\n\r\nby Exchange\r\n", draft=True, json=dict(body))
        made.folder = where
        try:
            self._write(made, body)
        except GraphError:
            del self.messages[made.id]
            raise
        made.draft = made.prop("Integer 0x0E07") is None
        made.received = epoch(made.prop("SystemTime 0x0E06")) or made.received
        made.internet_message_id = body.get("internetMessageId", made.internet_message_id)
        for each in body.get("attachments", ()):
            self._attach(made, each, base64.b64decode(each["contentBytes"]))
        if fault is not None:
            raise fault[1]
        return self.show(made)

    async def create_all(
        self, folder: str, bodies: Sequence[Mapping[str, Any]]
    ) -> list[Message | GraphError]:
        """One batch; its members fail as `create` is told to."""
        self.calls.append(("create_all", len(bodies)))
        results: list[Message | GraphError] = []
        for body in bodies:
            try:
                results.append(await self.create(folder, body))
            except GraphError as error:
                results.append(error)
            self.calls.pop()
        return results

    async def add_attachment(self, id: str, attachment: Mapping[str, Any], content: bytes) -> None:
        fault = self._call("add_attachment", attachment["name"])
        self._attach(self._find(id), attachment, content)
        if fault is not None:
            raise fault[1]

    def _attach(self, message: Stored, json: Mapping[str, Any], data: bytes) -> None:
        entry = {**json, "id": f"A{len(message.attachments)}", "size": len(data) + 150, "data": data}
        message.attachments.append(entry)

    async def send_mime(self, mime: bytes) -> None:
        fault = self._call("send_mime", len(mime))
        self.sent.append(mime)
        if self.deliver_sent_copy:
            self.put("sentitems", mime, read=True)
        if fault is not None:
            raise fault[1]

    async def send_draft(self, id: str) -> None:
        """The draft leaves; `deliver_sent_copy` False: its copy is on its way until `arrive`."""
        fault = self._call("send_draft", id)
        message = self._find(id)
        if not message.draft:
            raise Invalid("", status=400, code="ErrorInvalidOperation")
        self.sent.append(message.mime)
        message.draft, message.folder = False, self._folder("sentitems")
        if not self.deliver_sent_copy:
            self.flying[id] = self.messages.pop(id)
        if fault is not None:
            raise fault[1]

    def arrive(self) -> None:
        self.messages |= self.flying
        self.flying.clear()

    async def permanent_delete(self, id: str) -> None:
        fault = self._call("permanent_delete", id)
        self._find(id)
        del self.messages[id]
        if fault is not None:
            raise fault[1]

    async def get_folder(self, folder: str) -> MailFolder:
        self._call("get_folder", folder)
        return MailFolder(id=self._folder(folder))

    async def create_folder(self, parent: str, name: str, *, hidden: bool = False) -> MailFolder:
        self._call("create_folder", name)
        if name in self.folders.values():
            raise AlreadyExists("", status=409)
        self.folders[f"F-{name}"] = name
        if hidden:
            self.hidden.add(f"F-{name}")
        return MailFolder(id=f"F-{name}", display_name=name)


def _echoed(key: Property, asked: str) -> str:
    """As the server spells it (trap 8): lower-case hex without leading zeros."""
    return f"{key.type.capitalize()} 0x{key.number:x}" if key.number is not None and not key.guid else asked


def _address(value: str) -> Any:
    from gateway.graph.model import EmailAddress

    return EmailAddress(name=None, address=value)


class FakeHubs:
    def __init__(self) -> None:
        self.seen: list[tuple[int, Applied]] = []
        self.dissolved: list[int] = []

    def dissolve(self, folder: int) -> None:
        self.dissolved.append(folder)

    def refresh(self, folder: int, applied: Applied) -> None:
        self.seen.append((folder, applied))


@dataclass
class World:
    ctx: AccountContext
    graph: FakeGraph
    store: SqliteStore
    clock: VirtualClock
    hubs: FakeHubs
    settings: TestSettings

    def folder(self, name: str) -> FolderRow:
        return self.ctx.special[name]

    async def fresh(self, name: str) -> FolderRow:
        """The folder row, synced just now."""
        row = await self.store.folder(ACCOUNT, FolderId(f"F-{name}"))
        assert row is not None
        row.synced_at = int(self.clock.now)
        return row

    async def stale(self, name: str) -> FolderRow:
        row = await self.fresh(name)
        row.synced_at -= 60
        return row

    async def sync(self, name: str) -> list[MessageRow]:
        """Take in all that Graph has in a folder, as a delta round would."""
        folder = self.folder(name)
        messages = [self.graph.show(m, INDEX_FIELDS, INDEX_PROPERTIES) for m in self.graph.inside(name)]
        known = await self.store.ids(folder.key)
        gone = set(known) - {MessageId(m.id) for m in messages}
        intake = Intake(self.ctx, folder.key, folder.id)
        await intake.take(messages, gone, began=self.clock.monotonic() + 1e-6, link="L")
        return await self.rows(name)

    async def rows(self, name: str) -> list[MessageRow]:
        return await self.store.messages(self.folder(name).key)

    async def flags(self, name: str) -> list[Flags]:
        return [row.flags for row in await self.rows(name)]

    async def restarted(self) -> None:
        """A new process over the same store: nothing is under way."""
        self.ctx.working.clear()
        self.ctx.writes.entries.clear()
        self.ctx.sent.entries.clear()
        self.ctx.outgoing = Outgoing()


@asynccontextmanager
async def world(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> AsyncIterator[World]:
    clock = VirtualClock()
    store = SqliteStore(path / "state.db", key=bytes(32), clock=clock.time)
    await store.open()
    graph, hubs, settings = FakeGraph(clock), FakeHubs(), TestSettings()
    ctx = AccountContext(
        ACCOUNT,
        graph,
        store,
        hubs,
        settings,
        limits,
        clock,
        random.Random(7),  # type: ignore[arg-type]
    )
    upserts = [
        FolderUpsert(FolderId(id), FolderId("root"), name, name, hidden=False, total=0, unread=0)
        for id, name in graph.folders.items()
    ]
    for row in await store.put_folders(ACCOUNT, upserts, (), link="H"):
        ctx.special[row.well_known] = row
        await store.finish_first_sync(row.key, link="L")
    try:
        yield World(ctx, graph, store, clock, hubs, settings)
    finally:
        await store.close()

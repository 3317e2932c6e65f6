"""Path to handler: the routing table of appendix A, and who may call what (contract 1.3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from gateway.emulator import (
    attach,
    create,
    delta,
    extensions,
    folders,
    inboxrules,
    mailtips,
    messages,
    reply,
    send,
    settings,
)
from gateway.emulator.api import Response
from gateway.emulator.errors import unknown_segment, wrong_method

Handler = Callable[..., Response]

READ: Final = "read"
CONTENT: Final = "content"  # reading what Mail.ReadBasic hides
WRITE: Final = "write"
SEND: Final = "send"
SETTINGS: Final = "settings"
USER: Final = "user"


@dataclass(frozen=True, slots=True)
class Route:
    handler: Handler
    need: str
    ids: tuple[str, ...] = ()


def _verb(handler: Handler, verb: str) -> Handler:
    return lambda ctx, message_id: handler(ctx, message_id, verb)


# (method, path below the user with * for a key, handler, what it needs)
_TABLE: Final[tuple[tuple[str, str, Handler, str], ...]] = (
    ("GET", "", settings.user, USER),
    ("GET", "mailfolders", folders.list_top, READ),
    ("POST", "mailfolders", folders.create_top, WRITE),
    ("GET", "mailfolders/delta", delta.folder_tree, READ),
    ("GET", "mailfolders/*", folders.get, READ),
    ("PATCH", "mailfolders/*", folders.patch, WRITE),
    ("DELETE", "mailfolders/*", folders.delete, WRITE),
    ("GET", "mailfolders/*/childfolders", folders.list_children, READ),
    ("POST", "mailfolders/*/childfolders", folders.create_child, WRITE),
    ("POST", "mailfolders/*/move", folders.move, WRITE),
    ("POST", "mailfolders/*/copy", folders.copy, WRITE),
    ("POST", "mailfolders/*/permanentdelete", folders.permanent_delete, WRITE),
    ("GET", "mailfolders/*/messages", messages.list_folder, READ),
    ("POST", "mailfolders/*/messages", create.create_in, WRITE),
    ("GET", "mailfolders/*/messages/$count", messages.count_folder, READ),
    ("GET", "mailfolders/*/messages/delta", delta.messages, READ),
    ("GET", "messages", messages.list_all, READ),
    ("POST", "messages", create.create, WRITE),
    ("GET", "messages/$count", messages.count_all, READ),
    ("GET", "messages/*", messages.get, READ),
    ("PATCH", "messages/*", messages.patch, WRITE),
    ("DELETE", "messages/*", messages.delete, WRITE),
    ("GET", "messages/*/$value", messages.value, CONTENT),
    ("POST", "messages/*/move", messages.move, WRITE),
    ("POST", "messages/*/copy", messages.copy, WRITE),
    ("POST", "messages/*/permanentdelete", messages.permanent_delete, WRITE),
    ("POST", "messages/*/send", send.send_draft, SEND),
    ("POST", "messages/*/reply", _verb(reply.act, "reply"), SEND),
    ("POST", "messages/*/replyall", _verb(reply.act, "replyall"), SEND),
    ("POST", "messages/*/forward", _verb(reply.act, "forward"), SEND),
    ("POST", "messages/*/createreply", _verb(reply.draft, "reply"), WRITE),
    ("POST", "messages/*/createreplyall", _verb(reply.draft, "replyall"), WRITE),
    ("POST", "messages/*/createforward", _verb(reply.draft, "forward"), WRITE),
    ("POST", "sendmail", send.send_mail, SEND),
    ("GET", "messages/*/attachments", attach.list_all, CONTENT),
    ("POST", "messages/*/attachments", attach.create, WRITE),
    ("POST", "messages/*/attachments/createuploadsession", attach.create_session, WRITE),
    ("GET", "messages/*/attachments/*", attach.get, CONTENT),
    ("DELETE", "messages/*/attachments/*", attach.delete, WRITE),
    ("GET", "messages/*/attachments/*/$value", attach.value, CONTENT),
    ("GET", "messages/*/extensions", extensions.list_all, CONTENT),
    ("POST", "messages/*/extensions", extensions.create, WRITE),
    ("GET", "messages/*/extensions/*", extensions.get, CONTENT),
    ("PATCH", "messages/*/extensions/*", extensions.patch, WRITE),
    ("DELETE", "messages/*/extensions/*", extensions.delete, WRITE),
    ("POST", "translateexchangeids", settings.translate_ids, USER),
    ("GET", "outlook/mastercategories", settings.list_categories, SETTINGS),
    ("POST", "outlook/mastercategories", settings.create_category, SETTINGS),
    ("GET", "outlook/mastercategories/*", settings.get_category, SETTINGS),
    ("PATCH", "outlook/mastercategories/*", settings.patch_category, SETTINGS),
    ("DELETE", "outlook/mastercategories/*", settings.delete_category, SETTINGS),
    ("GET", "mailboxsettings", settings.mailbox_settings, SETTINGS),
    ("PATCH", "mailboxsettings", settings.not_emulated, SETTINGS),
    ("GET", "outlook/supportedlanguages", settings.not_emulated, USER),
    ("GET", "outlook/supportedtimezones", settings.not_emulated, USER),
    ("POST", "getmailtips", mailtips.get, READ),
    ("GET", "mailfolders/*/messagerules", inboxrules.list_all, SETTINGS),
    ("POST", "mailfolders/*/messagerules", inboxrules.create, SETTINGS),
    ("GET", "mailfolders/*/messagerules/*", inboxrules.get, SETTINGS),
    ("PATCH", "mailfolders/*/messagerules/*", inboxrules.patch, SETTINGS),
    ("DELETE", "mailfolders/*/messagerules/*", inboxrules.delete, SETTINGS),
    ("GET", "inferenceclassification/overrides", settings.not_emulated, READ),
    ("POST", "inferenceclassification/overrides", settings.not_emulated, WRITE),
)

# Scopes of a token that satisfy a need (contract 1.3); `.Shared` and `.All` are added by the caller.
SCOPES: Final[dict[str, frozenset[str]]] = {
    READ: frozenset({"mail.read", "mail.readwrite", "mail.readbasic", "mail.readbasic.all"}),
    CONTENT: frozenset({"mail.read", "mail.readwrite"}),
    WRITE: frozenset({"mail.readwrite"}),
    SEND: frozenset({"mail.send"}),
    SETTINGS: frozenset({"mailboxsettings.read", "mailboxsettings.readwrite"}),
    USER: frozenset(),
}


class _Node:
    __slots__ = ("below", "methods")

    def __init__(self) -> None:
        self.below: dict[str, _Node] = {}
        self.methods: dict[str, tuple[Handler, str]] = {}


def _build() -> _Node:
    root = _Node()
    for method, path, handler, need in _TABLE:
        node = root
        for segment in filter(None, path.split("/")):
            node = node.below.setdefault(segment, _Node())
        node.methods[method] = (handler, need)
    return root


_ROOT: Final = _build()
_KEYED = re.compile(r"([^()]+)\((?:'((?:[^']|'')*)'|([^()']*))\)\Z")


_COLLECTIONS: Final = frozenset(
    {
        "mailfolders",
        "childfolders",
        "messages",
        "users",
        "attachments",
        "extensions",
        "mastercategories",
        "messagerules",
    }
)


def segments(path: str) -> list[str]:
    """Path segments, percent-decoded; `name('key')` is two, `delta()` and `microsoft.graph.delta` are one."""
    found: list[str] = []
    for raw in path.strip("/").split("/"):
        text = unquote(raw)
        match = _KEYED.match(text)
        if match and match.group(1).lower() in _COLLECTIONS:
            found += [match.group(1), (match.group(2) or match.group(3) or "").replace("''", "'")]
        else:
            found.append(text)
    return [s for s in found if s]


def normal(parts: list[str]) -> Iterator[str]:
    """Collapse nested childFolders to the innermost folder, a message in a folder to the message."""
    at = 0
    out: list[str] = []
    while at < len(parts):
        word = parts[at].lower()
        if word == "childfolders" and len(out) == 2 and out[0] == "mailfolders" and at + 1 < len(parts):
            out[1] = parts[at + 1]
            at += 2
            continue
        into = len(out) == 2 and out[0] == "mailfolders" and word == "messages" and at + 1 < len(parts)
        if into and parts[at + 1].lower() not in ("delta", "$count", "delta()", "microsoft.graph.delta"):
            out = ["messages"]
            at += 1
            continue
        out.append(word if len(out) % 2 == 0 else parts[at])
        at += 1
    yield from out


def resolve(method: str, parts: list[str]) -> Route:
    """The route of a path below the user; GraphError 400 for an unknown segment, 405 for a wrong method."""
    node, ids = _ROOT, []
    for part in normal(parts):
        name = part.lower().removesuffix("()").removeprefix("microsoft.graph.")
        if name in node.below:
            node = node.below[name]
        elif "*" in node.below:
            ids.append(part)
            node = node.below["*"]
        else:
            raise unknown_segment(part)
    if not node.methods:
        raise unknown_segment(parts[-1] if parts else "")
    if method not in node.methods:
        raise wrong_method()
    handler, need = node.methods[method]
    return Route(handler, need, tuple(ids))


def allowed(need: str, scopes: frozenset[str], *, shared: bool) -> tuple[bool, bool]:
    """(whether the scopes satisfy the need, whether only basic reading is)."""
    have = {s.lower() for s in scopes}
    if shared:
        have = {s.removesuffix(".shared") for s in have if s.endswith(".shared")}
    wanted = SCOPES[need]
    if not wanted:
        return bool(have) or shared, False
    hit = have & wanted
    if need == SETTINGS and not hit:
        hit = have & SCOPES[WRITE]
    basic = need == READ and bool(hit) and hit <= {"mail.readbasic", "mail.readbasic.all"}
    return bool(hit), basic

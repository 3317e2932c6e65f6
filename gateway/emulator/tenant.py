"""The tenant: its mailboxes, and the one door through which a Graph call reaches them (`api.Model`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.emulator import attach, changes, folders, post, times
from gateway.emulator.api import Caller, Request, Response, World
from gateway.emulator.errors import GraphError, bad_request, denied, unknown_segment
from gateway.emulator.ids import TENANT_GUID
from gateway.emulator.items import Item
from gateway.emulator.limits import limit
from gateway.emulator.mailbox import Mailbox
from gateway.emulator.mime_out import value_of
from gateway.emulator.odata import Context, parse_options, parse_prefer
from gateway.emulator.render import folder_total
from gateway.emulator.routes import READ, USER, Route, allowed, resolve, segments


class Tenant:
    """Implements `api.Model`. `rights` says who may send as, or open, another's mailbox."""

    def __init__(self, world: World, users: Sequence[str], *, language: str = "en") -> None:
        self.world = world
        self.rights = post.Rights()
        self.uploads: dict[str, attach.Upload] = {}
        self._boxes: dict[str, Mailbox] = {}
        self._by_guid: dict[str, Mailbox] = {}
        self.post = post.Post(lambda address: self._boxes.get(address.lower()), self.rights)
        for upn in users:
            self.add_user(upn, language)

    def add_user(self, upn: str, language: str = "en") -> None:
        """Make a user with an empty mailbox."""
        box = Mailbox(self.world, upn, language)
        box.post = lambda sender, recipients, mime: self.post.carry(sender, recipients, mime, box.now())
        self._boxes[upn.lower()] = box
        self._by_guid[box.guid] = box

    @property
    def outside(self) -> list[post.OutsideMail]:
        """What was sent to addresses that are not in the tenant, oldest first."""
        return self.post.outside

    def box(self, upn: str) -> Mailbox:
        """A mailbox by user principal name or guid; KeyError for none."""
        found = self._boxes.get(upn.lower()) or self._by_guid.get(upn.lower())
        if found is None:
            raise KeyError(upn)
        found.tick()
        return found

    # -- Graph ---------------------------------------------------------------------------------------

    def handle(self, request: Request) -> Response:
        """Answer one call; every refusal is an answer."""
        try:
            return self._dispatch(request)
        except GraphError as error:
            return error.response()

    def upload(self, method: str, token: str, headers: Mapping[str, str], body: bytes) -> Response:
        """One PUT or DELETE of an upload URL."""
        try:
            return attach.upload(self.uploads, method, token, headers, body)
        except GraphError as error:
            return error.response()

    def upload_owner(self, token: str) -> tuple[str, str] | None:
        session = self.uploads.get(token)
        return (session.app, session.box.upn.lower()) if session is not None else None

    def _dispatch(self, request: Request) -> Response:
        parts = segments(request.path)
        box, below = self._mailbox(request, parts)
        for each in self._boxes.values():
            each.tick()
        route = resolve(request.method, below)
        basic = self._authorize(request, box, route)
        ctx = Context(
            request,
            box,
            self.world,
            parse_prefer(request.headers.get("prefer", "")),
            parse_options(request.query),
            self.uploads,
            self.post,
            basic,
        )
        self._check_folder(ctx, below)
        return route.handler(ctx, *route.ids)

    def _mailbox(self, request: Request, parts: list[str]) -> tuple[Mailbox, list[str]]:
        """The mailbox of the path, and the segments below it."""
        head = parts[0].lower() if parts else ""
        if head == "me":
            if request.caller.user is None:
                if self.world.rules.on("me-needs-delegated"):
                    raise bad_request("/me request is only valid with delegated authentication flow.")
                raise GraphError(404, "ResourceNotFound", "Resource could not be discovered.")
            return self._user(request.caller.user), parts[1:]
        if head == "users" and len(parts) > 1:
            return self._user(parts[1]), parts[2:]
        if head in ("subscriptions", "admin"):
            raise GraphError(501, "NotImplemented", "The emulator does not offer this route.")
        raise unknown_segment(parts[0] if parts else "")

    def _user(self, name: str) -> Mailbox:
        key = name.lower().removesuffix(f"@{TENANT_GUID}")
        found = self._boxes.get(key) or self._by_guid.get(key)
        if found is None:
            raise GraphError(
                404, "Request_ResourceNotFound", f"Resource '{name}' does not exist or one of its queried "
                "reference-property objects are not present."
            )  # fmt: skip
        return found

    def _authorize(self, request: Request, box: Mailbox, route: Route) -> bool:
        """403 without scope or right; returns whether only basic reading is allowed."""
        caller = request.caller
        shared = caller.user is not None and caller.user.lower() != box.upn.lower()
        if shared and route.need != USER and caller.user not in self._delegates(box):
            raise denied()
        granted, basic = allowed(route.need, caller.scopes, shared=shared)
        if not granted:
            raise denied()
        return basic

    def _delegates(self, box: Mailbox) -> set[str]:
        """Who may open the mailbox, in every spelling the token may use."""
        return {
            user for user in (*self._boxes, *(b.upn for b in self._boxes.values()))
            if user.lower() in self.rights.full_access.get(box.upn.lower(), ())
        }  # fmt: skip

    def _check_folder(self, ctx: Context, below: list[str]) -> None:
        """A message reached through a folder: the folder has to exist (contract 6.5)."""
        names = [segment.lower() for segment in below]
        if names[:1] != ["mailfolders"] or "messages" not in names[2:-1]:
            return
        at = names.index("messages", 2)
        if names[at + 1] not in ("delta", "delta()", "$count"):
            folders.find(ctx.box, below[at - 1])

    def subscribable(self, caller: Caller, resource: str) -> tuple[Mailbox, int | None]:
        """See `api.Model`: `/messages` of a mailbox, or of one folder. A delegated token subscribes to its own user's
        mailbox only, whatever the rights (contract 1.3)."""
        request = Request("GET", "v1.0", "/" + resource.lstrip("/"), {}, {}, b"", caller, "")
        box, below = self._mailbox(request, segments(request.path))
        route = resolve("GET", below)
        if route.need != READ or below[-1].lower() != "messages" or len(route.ids) > 1:
            raise bad_request(f"The resource {resource!r} cannot be subscribed to.", "InvalidRequest")
        if not allowed(READ, caller.scopes, shared=False)[0] or caller.user not in (None, box.upn):
            raise denied()
        return box, folders.find(box, route.ids[0]).number if route.ids else None

    # -- what Outlook and the Internet do ------------------------------------------------------------

    def grant(self, right: str, owner: str, delegate: str) -> None:
        given = {
            "send_as": self.rights.send_as,
            "on_behalf": self.rights.on_behalf,
            "full_access": self.rights.full_access,
        }
        if right not in given:
            raise ValueError(f"no right {right!r}; there are: {', '.join(given)}")
        given[right].setdefault(self.box(owner).upn.lower(), set()).add(self.box(delegate).upn.lower())

    def users(self) -> list[str]:
        return [box.upn for box in self._boxes.values()]

    def deliver(self, upn: str, folder: str, mime: bytes, *, received: float | None = None) -> str:
        box = self.box(upn)
        at = int(box.now() if received is None else received)
        item = post.deliver(box, folder, mime, at)
        if box.folders[item.folder].wellknown == "inbox":
            post.run_rules(box, item)
        return box.id_of(item, True)

    def deliver_variant(self, upn: str, folder: str, base: bytes, number: int, received: float) -> str:
        """`deliver` for mass: `base` (CRLF, the same bytes object each time) is parsed and kept once.

        A number above 0 gives the message its own Message-ID, a Subject ending in " #number" and a Date.
        """
        box = self.box(upn)
        return box.id_of(post.deliver_variant(box, folder, base, number, int(received)), True)

    def listing(self, upn: str, folder: str | None) -> list[dict[str, object]]:
        box = self.box(upn)
        if folder is None:
            wanted = [f for f in box.folders.values() if len(f.items)]
        else:
            found = box.folder_by_id(folder)
            if found is None:
                raise KeyError(folder)
            wanted = [found]
        return [self._listed(box, item) for each in wanted for item in box.members(each)]

    def _listed(self, box: Mailbox, item: Item) -> dict[str, object]:
        folder, state = box.folders[item.folder], item.state
        opaque = item.content.opaque and self.world.rules.on("smime-value-500")
        digest, size = (None, None) if opaque else value_of(item, box.mint.guid)
        return {
            "id": box.id_of(item, True),
            "folder": box.folder_id(folder.number),
            "folderName": folder.name,
            "wellKnownName": folder.wellknown,
            "subject": item.subject,
            "internetMessageId": item.message_id,
            "isRead": state.read,
            "isDraft": item.draft,
            "flag": (state.flag or {}).get("flagStatus", "notFlagged"),
            "categories": list(state.categories),
            "deleted": item.deleted,
            "verb": item.verb,
            "receivedDateTime": times.iso(item.received),
            "sha256": digest,
            "length": size,
            "size": size,
        }

    def outlook_patch(self, upn: str, message: str, change: Mapping[str, object]) -> None:
        """As a PATCH by Outlook: any writable property; a client's next PATCH may meet a 412."""
        box, item = self._item(upn, message)
        values: dict[str, Any] = {}
        for name, value in change.items():
            if name.lower() not in changes.ANY_TIME | changes.DRAFT_ONLY:
                raise ValueError(name)
            values[name.lower()] = value
        try:
            wanted = changes.typed(values)
        except GraphError as error:
            raise ValueError(error.text) from error
        state = box.edit(item, wanted.mask())
        changes.apply_flags(box, item, state, wanted)
        if "isread" in wanted.values:
            box.set_read(item, wanted.values["isread"])
        changes.apply_draft(box, item, wanted)
        item.conflict_until = box.now() + limit(self.world, "conflict_seconds")

    def outlook_delete(self, upn: str, message: str) -> None:
        """As Outlook's Delete: to Deleted Items, from there to Recoverable Items."""
        box, item = self._item(upn, message)
        folder = box.folders[item.folder]
        in_trash = box.below(folder, box.special["deleteditems"])
        box.move(item, box.special["recoverableitemsdeletions" if in_trash else "deleteditems"])

    def outlook_move(self, upn: str, message: str, folder: str) -> None:
        box, item = self._item(upn, message)
        target = box.folder_by_id(folder)
        if target is None:
            raise KeyError(folder)
        box.move(item, target)

    def outlook_folders(self, upn: str) -> list[dict[str, object]]:
        box = self.box(upn)
        return [
            {
                "id": box.folder_id(f.number),
                "displayName": f.name,
                "parentFolderId": box.folder_id(f.parent) if f.parent else None,
                "wellKnownName": f.wellknown,
                "totalItemCount": folder_total(box, f),
                "unreadItemCount": f.unread,
            }
            for f in box.folders.values()
        ]

    def outlook_folder(self, upn: str, parent: str, name: str) -> str:
        """Make a folder as Outlook would, also beside one of the same name (trap 32); returns its id."""
        box = self.box(upn)
        under = box.folder_by_id(parent)
        if under is None:
            raise KeyError(parent)
        if not self.world.rules.on("duplicate-siblings-allowed-outside") and folders.taken(
            box, under.number, name
        ):
            raise ValueError(name)
        return box.folder_id(box.add_folder(under.number, name).number)

    def expire_delta(self) -> int:
        died = 0
        for box in self._boxes.values():
            died += box.delta_links
            box.delta_links = 0
            box.delta_epoch += 1
        return died

    def _item(self, upn: str, message: str) -> tuple[Mailbox, Item]:
        box = self.box(upn)
        item = box.item_by_id(message)
        if item is None:
            raise KeyError(message)
        return box, item

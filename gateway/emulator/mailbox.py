"""One mailbox: its folders and items, and the few operations that every other module builds on.

Every change of an item goes through `edit`, `place`, `lift` or `destroy`: they keep columns, counts and logs.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from gateway.emulator import wellknown
from gateway.emulator.api import World
from gateway.emulator.folder import Folder, Keys
from gateway.emulator.ids import IdMint, MalformedIdError, mailbox_guid, user_guid
from gateway.emulator.items import GONE, MOVED, NEW, Content, Flags, Item
from gateway.emulator.limits import lag, limit

_PAST_SECONDS = 120.0

Heard = Callable[["Mailbox", Folder, Item, int], None]


class Mailbox:
    """The mailbox of one user; `now()` is the world's clock."""

    def __init__(self, world: World, upn: str, language: str) -> None:
        self.world = world
        self.upn = upn
        self.guid = user_guid(upn)
        self.mint = IdMint(mailbox_guid(upn))
        self.language = language
        self.items: dict[int, Item] = {}
        self.by_serial: dict[int, int] = {}
        self.folders: dict[int, Folder] = {}
        self._children: dict[int, dict[int, Folder]] = {}
        self.special: dict[str, Folder] = {}
        self.keys = Keys()
        self.change = 1
        self.used = 0
        self.known_headers: set[str] = set()
        self.categories: dict[str, dict[str, Any]] = {}
        self.rules: dict[str, dict[str, Any]] = {}
        self.folder_seq = 0
        self.folder_graves: list[tuple[int, int]] = []  # (sequence, folder number)
        self.answers: dict[int, tuple[int, str]] = {}  # draft -> (message it answers, verb)
        self.delta_epoch = 1
        self.delta_links = 0
        self.delta_plans: dict[Any, Any] = {}
        self.deaths = 0
        self.post: Callable[[str, list[str], bytes], None] = lambda _sender, _recipients, _mime: None
        self.heard: Heard | None = None  # told of every entry in a folder's log
        self._numbers = count(1)
        self._serials = count(1)
        self._folder_numbers = count(1)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._due_order = count()
        self._make_specials()

    # -- time ------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.world.clock.now()

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Run `action` at the first look at the mailbox after `seconds`; at once for zero."""
        if seconds <= 0:
            action()
            return
        heapq.heappush(self._due, (self.now() + seconds, next(self._due_order), action))

    def tick(self) -> None:
        """Run what is due."""
        while self._due and self._due[0][0] <= self.now():
            heapq.heappop(self._due)[2]()

    # -- folders ---------------------------------------------------------------------------------

    def _make_specials(self) -> None:
        localized = self.world.rules.on("localized-names")
        for special in wellknown.SPECIALS:
            parent = self.special[special.parent].number if special.parent else 0
            language = self.language if localized else "en"
            folder = self.add_folder(
                parent,
                wellknown.display_name(special, language),
                name=special.name,
                hidden=special.hidden,
                kind=special.kind,
            )
            folder.non_mail = special.non_mail
            self.special[special.name] = folder

    def add_folder(
        self,
        parent: int,
        display: str,
        *,
        name: str | None = None,
        hidden: bool = False,
        kind: str = "IPF.Note",
    ) -> Folder:
        """Make a folder; the caller has checked the name."""
        now = self.now()
        folder = Folder(
            next(self._folder_numbers),
            parent,
            display,
            wellknown=name,
            hidden=hidden,
            kind=kind,
            created=int(now),
        )
        self.folders[folder.number] = folder
        self._children.setdefault(parent, {})[folder.number] = folder
        folder.recount(now)
        self.touch_folder(folder)
        if parent in self.folders:
            self.touch_folder(self.folders[parent])
        return folder

    def touch_folder(self, folder: Folder) -> None:
        """Note a change of the folder itself or of its counts."""
        self.folder_seq += 1
        folder.seq = self.folder_seq
        folder.modified = int(self.now())

    def children(self, parent: int) -> list[Folder]:
        return list(self._children.get(parent, {}).values())

    def reparent(self, folder: Folder, target: Folder) -> None:
        """Hang a folder under another; the caller has checked names and loops."""
        old = self.folders.get(folder.parent)
        self._children.get(folder.parent, {}).pop(folder.number, None)
        folder.parent = target.number
        self._children.setdefault(target.number, {})[folder.number] = folder
        for touched in (old, folder, target):
            if touched is not None:
                self.touch_folder(touched)

    def subtree(self, folder: Folder) -> Iterator[Folder]:
        """The folder and everything below it, parents first."""
        yield folder
        for child in self.children(folder.number):
            yield from self.subtree(child)

    def below(self, folder: Folder, ancestor: Folder) -> bool:
        """Whether `folder` is `ancestor` or lies under it."""
        at: Folder | None = folder
        while at is not None:
            if at is ancestor:
                return True
            at = self.folders.get(at.parent)
        return False

    def in_dumpster(self, folder: Folder) -> bool:
        return folder.wellknown in wellknown.DUMPSTER

    def folder_by_id(self, text: str) -> Folder | None:
        """A folder by well-known name (any case) or id; None where there is none; MalformedIdError."""
        name = text.lower()
        if name in wellknown.NAMES:
            return self.special.get(name)
        number = self.mint.read_folder(text)
        return self.folders.get(number) if number is not None else None

    def folder_id(self, number: int) -> str:
        return self.mint.folder(number)

    def destroy_folder(self, folder: Folder) -> None:
        """Remove a folder with all below it for good."""
        for each in reversed(list(self.subtree(folder))):
            for item in self.members(each):
                self.destroy(item)
            del self.folders[each.number]
            self._children.get(each.parent, {}).pop(each.number, None)
            self.folder_seq += 1
            self.folder_graves.append((self.folder_seq, each.number))

    # -- items -----------------------------------------------------------------------------------

    def members(self, folder: Folder) -> list[Item]:
        mask = (1 << 30) - 1
        return [self.items[key & mask] for key in folder.items.column]

    def create(
        self,
        folder: Folder,
        content: Content,
        *,
        subject: str,
        message_id: str | None,
        received: int,
        sent: int | None,
        draft: bool,
        state: Flags,
        variant: int = 0,
    ) -> Item:
        """Make a message in a folder."""
        now = int(self.now())
        self.change += 1
        state.modified, state.change = now, self.change
        number = next(self._numbers)
        item = Item(
            number, 0, 0, 0, content, subject, message_id, received, sent, now, draft, state, variant=variant
        )
        self.items[number] = item
        self.used += content.size
        self.place(item, folder)
        return item

    def place(self, item: Item, folder: Folder, *, churn: bool = True, mask: int = NEW) -> None:
        """Put an item that is in no folder into one: new serial (a new regular id), new article number."""
        if churn or not item.serial:
            self.by_serial.pop(item.serial, None)
            item.serial, item.serial_folder = next(self._serials), folder.number
        self.by_serial[item.serial] = item.number
        item.folder = folder.number
        item.article = folder.article
        folder.article += 1
        folder.items.add(item.key)
        if not self.in_dumpster(folder):
            self.keys.add(item.key)
        folder.unread += not item.state.read
        self._log(folder, item, mask)

    def lift(self, item: Item) -> None:
        """Take an item out of its folder, which keeps a tombstone with the id it had there."""
        folder = self.folders[item.folder]
        folder.items.discard(item.key)
        self.keys.discard(item.key)
        folder.unread -= not item.state.read
        self._log(folder, item, GONE)
        item.folder = 0

    def move(self, item: Item, folder: Folder) -> None:
        """Move to a folder: the immutable id stays, the regular id does not, even within one folder."""
        churn = self.world.rules.on("id-churn")
        if item.folder == folder.number:
            self._renew(item, folder, churn)
        else:
            self.lift(item)
            self.place(item, folder, churn=churn, mask=NEW | MOVED)
        self._bump(item)

    def _renew(self, item: Item, folder: Folder, churn: bool) -> None:
        if churn:
            cap = int(limit(self.world, "delta_log"))
            folder.log.add(0, GONE, self.now(), item.serial, cap)
            self.by_serial.pop(item.serial, None)
            item.serial, item.serial_folder = next(self._serials), folder.number
            self.by_serial[item.serial] = item.number
            folder.log.add(item.number, NEW, self.now(), item.serial, cap)

    def destroy(self, item: Item) -> None:
        """Remove an item for good."""
        if item.folder:
            self.lift(item)
        self.by_serial.pop(item.serial, None)
        self.items.pop(item.number, None)
        self.used -= item.content.size

    def edit(self, item: Item, mask: int) -> Flags:
        """Announce a change of `mask`; returns the state to change. Delta sees the old for a moment."""
        now = self.now()
        item.past = [entry for entry in item.past if entry[0] > now - _PAST_SECONDS]
        if lag(self.world, "delta-lag", "delta_lag_seconds") > 0:
            item.past.append((now, item.state))
            item.state = item.state.copy()
        self._bump(item)
        if item.folder:
            self._log(self.folders[item.folder], item, mask)
        return item.state

    def set_read(self, item: Item, read: bool) -> None:
        """Change the read state after `edit`: the folder's unread count follows."""
        if item.state.read != read:
            item.state.read = read
            folder = self.folders[item.folder]
            folder.unread += -1 if read else 1
            folder.recount(self.now())
            self.touch_folder(folder)

    def set_content(self, item: Item, content: Content) -> None:
        """Replace a draft's content; its rendered MIME is a new version."""
        self.used += content.size - item.content.size
        item.content = content
        item.digest = None

    def state_at(self, item: Item, until: float) -> Flags:
        """The flags as they were at `until`."""
        return next((state for end, state in item.past if until < end), item.state)

    def item_by_id(self, text: str) -> Item | None:
        """The live item an id of either format names; MalformedIdError for no id at all."""
        try:
            ref = self.mint.read_message(text)
        except MalformedIdError:
            if self.world.rules.on("id-case-sensitive"):
                raise
            ref = None
        item = None
        if ref is not None:
            number = ref.number if ref.immutable else self.by_serial.get(ref.number)
            item = self.items.get(number) if number is not None else None
            if item is not None and not ref.immutable and ref.folder != item.serial_folder:
                item = None
        if item is None and not self.world.rules.on("id-case-sensitive"):
            item = self._folded(text.lower())
        return item if item is not None and item.folder else None

    def _folded(self, text: str) -> Item | None:
        return next(
            (
                i
                for i in self.items.values()
                if text in (self.id_of(i, True).lower(), self.id_of(i, False).lower())
            ),
            None,
        )

    def id_of(self, item: Item, immutable: bool) -> str:
        """The item's id in the format asked for."""
        if immutable:
            return self.mint.immutable(item.number)
        return self.mint.message(item.serial_folder, item.serial)

    def full(self) -> bool:
        return self.used > limit(self.world, "quota_bytes")

    def _bump(self, item: Item) -> None:
        self.change += 1
        item.state.change = self.change
        item.state.modified = int(self.now())

    def _log(self, folder: Folder, item: Item, mask: int) -> None:
        now = self.now()
        if self.heard is not None:
            self.heard(self, folder, item, mask)
        folder.log.add(item.number, mask, now, item.serial, int(limit(self.world, "delta_log")))
        folder.committed = int(now)
        if mask & (NEW | GONE):
            folder.recount(now)
            self.touch_folder(folder)

"""Mail folders: the hierarchy, special folders, and changes to them (contract section 5)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from gateway.graph.calls import DESTINATION_DONE, MailboxCalls, page_size
from gateway.graph.errors import Denied, GraphError, Invalid, NotFound, Unreachable
from gateway.graph.fields import FOLDER_FIELDS, PR_FOLDER_SIZE
from gateway.graph.links import walk
from gateway.graph.model import FolderPage, MailFolder, Priority
from gateway.graph.query import expand, select
from gateway.graph.request import Request, Response
from gateway.graph.together import together

FOLDERS_PER_PAGE = 250
MOST_FOLDERS = 50_000  # of one mailbox; Exchange allows 10,000 below one folder
SELECT = {"$select": select(FOLDER_FIELDS)}
# Seldom there: asked last, so that a 404 repeats little of its chain (decision 12).
LIKELY_ABSENT = (
    "recoverableitemspurges", "recoverableitemsroot", "serverfailures", "localfailures", "conflicts",
    "syncissues", "clutter", "scheduled", "archive",
)  # fmt: skip
CREATED = frozenset({201})
GONE = frozenset({204})


class Folders(MailboxCalls):
    async def folder_delta(
        self, link: str | None, *, priority: Priority = Priority.BACKGROUND
    ) -> AsyncIterator[FolderPage]:
        """See `MailboxClient.folder_delta`."""
        first = self.request(
            "GET", "/mailFolders/delta", options=SELECT, prefer=page_size(FOLDERS_PER_PAGE),
            shape=FolderPage, priority=priority,
        )  # fmt: skip
        async for page in walk(self, first, link):
            yield page

    async def folder_tree(self, *, priority: Priority = Priority.BACKGROUND) -> list[MailFolder]:
        """See `MailboxClient.folder_tree`. Level by level: v1.0 lists one level only (trap 31)."""
        known: dict[str, MailFolder] = {}
        level = await self._children("/mailFolders", (), priority)
        while level:
            fresh = [f for f in level if f.id and f.id not in known and not f.is_hidden]
            known.update((folder.id, folder) for folder in fresh)
            if len(known) > MOST_FOLDERS:
                raise Unreachable("more folders than a mailbox can have")
            parents = [folder.id for folder in fresh if folder.child_folder_count]
            level = await self._grandchildren(parents, priority)
        return list(known.values())

    async def _grandchildren(self, parents: Sequence[str], priority: Priority) -> list[MailFolder]:
        template = "/mailFolders/{folder}/childFolders"
        step, found = self._client.limits.in_flight, list[MailFolder]()
        for start in range(0, len(parents), step):
            some = parents[start : start + step]
            for children in await together(self._children(template, (id,), priority) for id in some):
                found += children
        return found

    async def _children(self, template: str, args: tuple[str, ...], priority: Priority) -> list[MailFolder]:
        """All folders of one listing. A parent that vanished meanwhile has none."""
        prefer = page_size(FOLDERS_PER_PAGE)
        request = self.request(
            "GET", template, *args, options=SELECT, prefer=prefer, shape=FolderPage, priority=priority
        )
        found: list[MailFolder] = []
        while True:
            try:
                page: FolderPage = (await self.call(request)).value
            except NotFound:
                if args:
                    return found
                raise
            found += page.value
            if page.next_link is None:
                return found
            if len(found) > MOST_FOLDERS:
                raise Unreachable("a folder listing without an end")
            request = self.follow(
                template, page.next_link, prefer=prefer, shape=FolderPage, priority=priority
            )

    async def well_known(self, names: Sequence[str]) -> dict[str, MailFolder]:
        """See `MailboxClient.well_known`."""
        asked = sorted(dict.fromkeys(names), key=lambda name: name in LIKELY_ABSENT)
        requests = [
            self.request("GET", "/mailFolders/{folder}", name, options=SELECT, shape=MailFolder)
            for name in asked
        ]
        answers = dict(zip(asked, await self.bulk(requests), strict=True))
        found = {name: answer.value for name, answer in answers.items() if isinstance(answer, Response)}
        refusals = [answer for answer in answers.values() if isinstance(answer, GraphError)]
        for error in refusals:
            # Absent, or closed to us: not there. But a mailbox in which nothing opens is no mailbox without
            # folders.
            if not isinstance(error, (NotFound, Invalid, Denied)) or not found:
                raise error
        return {name: found[name] for name in names if name in found}

    async def get_folder(self, folder: str) -> MailFolder:
        request = self.request("GET", "/mailFolders/{folder}", folder, options=SELECT, shape=MailFolder)
        return await self._folder(request)

    async def folder_sizes(self, folders: Sequence[str]) -> list[int | GraphError | None]:
        """See `MailboxClient.folder_sizes`."""
        options = {"$select": "id", "$expand": expand((PR_FOLDER_SIZE,))}
        requests = [
            self.request("GET", "/mailFolders/{folder}", folder, options=options, shape=MailFolder)
            for folder in folders
        ]
        answers = await self.bulk(requests)
        return [_size(answer.value) if isinstance(answer, Response) else answer for answer in answers]

    async def create_folder(self, parent: str, name: str, *, hidden: bool = False) -> MailFolder:
        """AlreadyExists; OutcomeUnknown where a folder may have been made."""
        request = self.request(
            "POST", "/mailFolders/{folder}/childFolders", parent,
            json={"displayName": name, "isHidden": hidden}, shape=MailFolder, expect=CREATED,
        )  # fmt: skip
        return await self._folder(request)

    async def rename_folder(self, folder: str, name: str) -> MailFolder:
        request = self.request(
            "PATCH", "/mailFolders/{folder}", folder, json={"displayName": name}, shape=MailFolder
        )
        return await self._folder(request)

    async def move_folder(self, folder: str, parent: str) -> MailFolder:
        """Not repeated: a second move meets its own folder at the target. OutcomeUnknown possible."""
        request = self.request(
            "POST", "/mailFolders/{folder}/move", folder,
            json={"destinationId": parent}, shape=MailFolder, expect=DESTINATION_DONE,
        )  # fmt: skip
        return await self._folder(request)

    async def delete_folder(self, folder: str) -> None:
        """Under Deleted Items it goes; from there it is gone for good. OutcomeUnknown possible."""
        await self.call_fresh(self.request("DELETE", "/mailFolders/{folder}", folder, expect=GONE))

    async def _folder(self, request: Request) -> MailFolder:
        """The folder answered; for one made a moment ago a 404 may be lag."""
        answer = await self.call_fresh(request)
        result: MailFolder = answer.value
        if request.method == "POST":
            self._made(result.id)
        return result


def _size(folder: MailFolder) -> int | None:
    """The one extended property that was asked for."""
    told = [entry.value for entry in folder.single_value_extended_properties or ()]
    return int(told[0]) if told and told[0] is not None and told[0].isdecimal() else None

"""ESEARCH: one search in several mailboxes (RFC 7377), an answer in UIDs from each that has any.

Mailboxes that do not exist, or go away meanwhile, are passed over. Message numbers, UIDs and `$` mean something in the
selected mailbox only, and so do SAVE and UPDATE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.core.errors import BadCommand, LimitReached, NoSuchMailbox
from gateway.imap import contexts
from gateway.imap.commands.search import check_tag, prepared, save, saving, scores_of
from gateway.imap.esearch import Correlator, Found, esearch, saved_of
from gateway.imap.matching import check_relevancy, matching
from gateway.imap.rev2 import speaks_utf8
from gateway.imap.searchkeys import names_messages, names_modseq, reads_flags
from gateway.imap.spec import State, handles
from gateway.mailbox.api import Folder
from gateway.mailbox.values import MailboxInfo, SearchResult
from gateway.wire.command_search import MultiSearch, Source, Where
from gateway.wire.encode import mailbox
from gateway.wire.listpattern import DELIMITER
from gateway.wire.searchkey import SearchKey

if TYPE_CHECKING:
    from gateway.imap.session import Session

SELECTED = (Where.SELECTED, Where.SELECTED_DELAYED)


@handles(MultiSearch, State.LOGGED_IN, name="ESEARCH")
async def esearch_mailboxes(s: Session, cmd: MultiSearch) -> None:
    _check(s, cmd)
    own = any(source.where in SELECTED for source in cmd.sources)
    names = await _names(s, cmd.sources)
    with saving(s, cmd.returns):
        key = prepared(s, cmd.key)
        if s.selected is not None and (own or s.folder.name in names):
            await _search_selected(s, cmd, key)
            names = [name for name in names if name != s.folder.name]
        for name in names:
            await _search(s, cmd, key, name)


def _check(s: Session, cmd: MultiSearch) -> None:
    only_selected = all(source.where in SELECTED for source in cmd.sources)
    if s.selected is None and any(source.where in SELECTED for source in cmd.sources):
        raise BadCommand("No mailbox is selected")
    if not only_selected and b"SAVE" in cmd.returns:
        raise BadCommand("SAVE is for the selected mailbox alone")
    if not only_selected and names_messages(cmd.key):
        raise BadCommand("Message numbers and UIDs are for the selected mailbox alone")
    if s.selected is None and b"UPDATE" in cmd.returns:
        raise BadCommand("UPDATE is for the selected mailbox")
    check_tag(s, cmd.tag, cmd.returns)
    check_relevancy(cmd.key, wanted=b"RELEVANCY" in cmd.returns)


# -- which mailboxes --


def _below(names: Iterable[str], deep: bool) -> Callable[[MailboxInfo], bool]:
    """The named mailboxes and what is below them; the empty name is above all."""
    tops = frozenset(names)

    def test(info: MailboxInfo) -> bool:
        name = info.name
        while name not in tops:
            above, delimiter, _ = name.rpartition(DELIMITER)
            if not name or (name != info.name and not deep):
                return False
            name = above if delimiter else ""
        return True

    return test


def _among(names: Iterable[str]) -> Callable[[MailboxInfo], bool]:
    wanted = frozenset(names)
    return lambda info: info.name in wanted


_TESTS: dict[Where, Callable[[Source], Callable[[MailboxInfo], bool]]] = {
    Where.SELECTED: lambda source: lambda info: False,
    Where.SELECTED_DELAYED: lambda source: lambda info: False,
    Where.INBOXES: lambda source: lambda info: info.name == "INBOX",
    Where.PERSONAL: lambda source: lambda info: True,
    Where.SUBSCRIBED: lambda source: lambda info: info.subscribed,
    Where.SUBTREE: lambda source: _below(source.names, deep=True),
    Where.SUBTREE_ONE: lambda source: _below(source.names, deep=False),
    Where.MAILBOXES: lambda source: _among(source.names),
}


async def _names(s: Session, sources: Sequence[Source]) -> list[str]:
    """Each once, in the order of LIST."""
    if all(source.where in SELECTED for source in sources):
        return []
    tests = [_TESTS[source.where](source) for source in sources]
    infos = await s.user.folders()
    names = [info.name for info in infos if info.selectable and any(test(info) for test in tests)]
    if len(names) > s.context.limits.search_mailboxes:
        raise LimitReached("Too many mailboxes to search at once")
    return names


# -- one mailbox --


async def _search_selected(s: Session, cmd: MultiSearch, key: SearchKey) -> None:
    since = s.folder.highest_modseq
    at = await matching(s, s.folder, key)
    head = _correlator(s, cmd, s.folder)
    if b"UPDATE" in cmd.returns:
        contexts.keep(s, head, key, at, by_uid=True, since=since, items=cmd.items)
    if b"SAVE" in cmd.returns:
        save(s, cmd.returns, cmd.page, at)
    if set(cmd.returns) != {b"SAVE"}:
        _tell(s, cmd, key, s.folder, head, at)


async def _search(s: Session, cmd: MultiSearch, key: SearchKey, name: str) -> None:
    with suppress(NoSuchMailbox):
        folder = await s.user.look(name, flags=reads_flags(key))
        try:
            at = await matching(s, folder, key)
            _tell(s, cmd, key, folder, _correlator(s, cmd, folder), at)
        finally:
            await folder.close()
    await s.flush_if_full()


def _correlator(s: Session, cmd: MultiSearch, folder: Folder) -> Correlator:
    return Correlator(cmd.tag, mailbox(folder.name, speaks_utf8(s)), folder.uid_validity)


def _tell(
    s: Session, cmd: MultiSearch, key: SearchKey, folder: Folder, head: Correlator, at: SearchResult
) -> None:
    """A mailbox in which nothing was found is not spoken of."""
    if not at:
        return
    uids = folder.view.uids
    modseq = folder.highest_of(saved_of(cmd.returns, at, cmd.page)) if names_modseq(key) else 0
    scores = scores_of(at, at.relevancy)
    found = Found([uids[position] for position in at], cmd.page, modseq, scores)
    s.out.untagged(esearch(head, cmd.returns, found, by_uid=True))

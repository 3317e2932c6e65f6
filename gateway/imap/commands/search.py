"""SEARCH, SORT, THREAD, with and without UID, and CANCELUPDATE (RFC 9051 section 6.4.4, RFC 4731, RFC 5182, RFC 5256,
RFC 5267)."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway.core.errors import BadCommand
from gateway.imap import contexts, messagelimit
from gateway.imap.condstore import switch_on
from gateway.imap.esearch import Correlator, Found, esearch, number_lines, saved_of
from gateway.imap.ids import saved_runs
from gateway.imap.matching import check_relevancy, matching
from gateway.imap.searchkeys import names_modseq, with_saved
from gateway.imap.spec import Enabled, Reply, State, handles
from gateway.imap.threadlist import thread_list
from gateway.wire.command import Search
from gateway.wire.command_search import CancelUpdate, Sort, Thread, Unsearchable
from gateway.wire.page import Page
from gateway.wire.searchkey import SearchKey
from gateway.wire.sortkey import Criterion, SortKey

if TYPE_CHECKING:
    from gateway.imap.session import Session

NO_RELEVANCY: Mapping[int, int] = {}


@handles(Search, State.SELECTED, expunge_ok=False)
async def search(s: Session, cmd: Search) -> Reply:
    """Under IMAP4rev2 the answer is an ESEARCH always (RFC 9051 section 6.4.4)."""
    rev2 = Enabled.REV2 in s.enabled
    options = cmd.returns if cmd.returns is not None or not rev2 else (b"ALL",)
    check_tag(s, cmd.tag, options)
    check_relevancy(cmd.key, wanted=b"RELEVANCY" in (options or ()))
    since = s.folder.highest_modseq
    with saving(s, options):
        key, limited = messagelimit.narrowed(s, prepared(s, cmd.key))
        at = await matching(s, s.folder, key)
    if options is None:
        _plain(s, b"SEARCH", key, at, by_uid=cmd.by_uid)
    else:
        answer(s, cmd, options, key, at, since, relevancy=at.relevancy)
    return messagelimit.said(s, Reply("UID SEARCH completed" if cmd.by_uid else "SEARCH completed"), limited)


@handles(Sort, State.SELECTED, expunge_ok=False)
async def sort(s: Session, cmd: Sort) -> None:
    check_tag(s, cmd.tag, cmd.returns)
    by_relevancy = any(criterion.key is SortKey.RELEVANCY for criterion in cmd.criteria)
    check_relevancy(cmd.key, wanted=by_relevancy or b"RELEVANCY" in (cmd.returns or ()))
    since = s.folder.highest_modseq
    with saving(s, cmd.returns):
        key = whole(s, cmd.key)
        found = await matching(s, s.folder, key)
        at = await s.folder.sort(found, cmd.criteria, found.relevancy)
    if cmd.returns is None:
        _plain(s, b"SORT", key, at, by_uid=cmd.by_uid)
    else:
        answer(s, cmd, cmd.returns, key, at, since, cmd.criteria, found.relevancy)


@handles(Thread, State.SELECTED, expunge_ok=False)
async def thread(s: Session, cmd: Thread) -> None:
    at = await matching(s, s.folder, whole(s, cmd.key))
    forest = await s.folder.thread(at, cmd.algorithm)
    uids = s.folder.view.uids
    s.out.untagged(*thread_list(forest, (lambda at: uids[at]) if cmd.by_uid else (lambda at: at + 1)))


@handles(Unsearchable, State.SELECTED, name="SEARCH", expunge_ok=False)
async def refuse(s: Session, cmd: Unsearchable) -> None:
    with saving(s, (b"SAVE",)):
        raise cmd.error


@handles(CancelUpdate, State.SELECTED, quick=True)
async def cancel_update(s: Session, cmd: CancelUpdate) -> None:
    """All of them or, where one is not known, none."""
    if s.selected is None or any(tag not in s.selected.contexts for tag in cmd.tags):
        raise BadCommand("No search with this tag is kept up to date")
    for tag in cmd.tags:
        s.selected.contexts.pop(tag, None)


# -- what they share --


@contextmanager
def saving(s: Session, options: Sequence[bytes] | None) -> Iterator[None]:
    """A search that was to be saved and ends in NO leaves nothing saved; BAD leaves what there was (RFC 5182 section
    2.1)."""
    try:
        yield
    except BadCommand:
        raise
    except Exception:
        if options is not None and b"SAVE" in options and s.selected is not None:
            s.selected.saved = array("I")
        raise


def prepared(s: Session, key: SearchKey) -> SearchKey:
    """The key as the mailbox may have it: `$` is what the command before left."""
    if names_modseq(key):
        switch_on(s)
    return with_saved(key, lambda: saved_runs(s))


def whole(s: Session, key: SearchKey) -> SearchKey:
    """Of SORT and THREAD, which cannot be done in part (RFC 9738 section 3.3)."""
    key = prepared(s, key)
    messagelimit.refuse_above(s, sum(map(len, messagelimit.candidates(s, key))))
    return key


def _plain(s: Session, word: bytes, key: SearchKey, at: Sequence[int], *, by_uid: bool) -> None:
    """Who searched by mod-sequence hears the highest of what was found (RFC 7162 sections 3.1.6 and 3.1.9)."""
    lines = list(number_lines(word, _numbers(s, at, by_uid=by_uid)))
    if at and names_modseq(key):
        lines[-1] += b" (MODSEQ %d)" % s.folder.highest_of(at)
    for line in lines:
        s.out.untagged(line)


def _numbers(s: Session, at: Sequence[int], *, by_uid: bool) -> list[int]:
    if not by_uid:
        return [position + 1 for position in at]
    uids = s.folder.view.uids
    return [uids[position] for position in at]


def answer(
    s: Session, cmd: Search | Sort, options: Sequence[bytes], key: SearchKey, at: Sequence[int],
    since: int, criteria: tuple[Criterion, ...] = (), relevancy: Mapping[int, int] = NO_RELEVANCY,
) -> None:  # fmt: skip
    """The ESEARCH response, and what RETURN wants besides. SAVE alone is answered by nothing."""
    head = Correlator(cmd.tag)
    if b"UPDATE" in options:
        contexts.keep(s, head, key, at, by_uid=cmd.by_uid, since=since, criteria=criteria, items=cmd.items)
    if b"SAVE" in options:
        save(s, options, cmd.page, at)
    if set(options) != {b"SAVE"}:
        numbers, modseq = _numbers(s, at, by_uid=cmd.by_uid), _modseq(s, options, cmd, key, at)
        found = Found(numbers, cmd.page, modseq, scores_of(at, relevancy))
        s.out.untagged(esearch(head, options, found, by_uid=cmd.by_uid))


def scores_of(at: Sequence[int], relevancy: Mapping[int, int]) -> list[int]:
    """In the order of the answer. FUZZY without a string is as relevant as can be."""
    return [relevancy.get(position, 100) for position in at]


def _modseq(
    s: Session, options: Sequence[bytes], cmd: Search | Sort, key: SearchKey, at: Sequence[int]
) -> int:
    """The highest of the messages that the answer is about (RFC 7162 section 3.1.5, RFC 4731 section 3.2)."""
    return s.folder.highest_of(saved_of(options, at, cmd.page)) if names_modseq(key) else 0


def save(s: Session, options: Sequence[bytes], page: Page | None, at: Sequence[int]) -> None:
    if s.selected is not None:
        uids = s.folder.view.uids
        s.selected.saved = array("I", sorted(uids[position] for position in saved_of(options, at, page)))


def check_tag(s: Session, tag: bytes, options: Sequence[bytes] | None) -> None:
    """A tag names one updated search at a time (RFC 5267 section 4.3)."""
    if options is not None and b"UPDATE" in options and s.selected is not None and tag in s.selected.contexts:
        raise BadCommand("A search with this tag is kept up to date already")

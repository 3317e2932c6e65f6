"""The commands that search: SORT, THREAD (RFC 5256), ESEARCH (RFC 7377), CANCELUPDATE (RFC 5267). SEARCH itself is in
`wire.command`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.core.errors import Refused
from gateway.wire.command import Command
from gateway.wire.fetchatt import FetchItem
from gateway.wire.page import Page
from gateway.wire.searchkey import SearchKey
from gateway.wire.sortkey import Criterion, Threading


@dataclass(frozen=True, slots=True)
class Sort(Command):
    """`returns` is None for plain SORT, else ESORT's options in upper case (RFC 5267 section 3). `items`: what UPDATE
    fetches of new messages (RFC 5465 section 7)."""

    by_uid: bool
    criteria: tuple[Criterion, ...]
    key: SearchKey
    returns: tuple[bytes, ...] | None = None
    page: Page | None = None
    items: tuple[FetchItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Thread(Command):
    by_uid: bool
    algorithm: Threading
    key: SearchKey


class Where(StrEnum):
    """filter-mailboxes (RFC 5465 section 6)."""

    SELECTED = "SELECTED"
    SELECTED_DELAYED = "SELECTED-DELAYED"
    INBOXES = "INBOXES"
    PERSONAL = "PERSONAL"
    SUBSCRIBED = "SUBSCRIBED"
    SUBTREE = "SUBTREE"
    SUBTREE_ONE = "SUBTREE-ONE"
    MAILBOXES = "MAILBOXES"


@dataclass(frozen=True, slots=True)
class Source:
    """One source-mbox. `names`: of SUBTREE, SUBTREE-ONE and MAILBOXES, as text."""

    where: Where
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MultiSearch(Command):
    """ESEARCH. Its answers are always in UIDs. No source is SELECTED."""

    sources: tuple[Source, ...]
    key: SearchKey
    returns: tuple[bytes, ...]
    page: Page | None = None
    items: tuple[FetchItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Unsearchable(Command):
    """A search that was to be saved and is refused before it begins (an unknown charset, a bound): its NO empties `$`
    as any other (RFC 5182 section 2.1), so it is a command, not an error of the parser."""

    error: Refused


@dataclass(frozen=True, slots=True)
class CancelUpdate(Command):
    tags: tuple[bytes, ...]

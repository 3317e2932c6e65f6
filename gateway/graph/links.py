"""Walking a delta: page after page to the delta link (contract section 12), of messages or folders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from gateway.graph.errors import Invalid, ResyncNeeded, Unreachable
from gateway.graph.request import Request

if TYPE_CHECKING:
    from gateway.graph.calls import MailboxCalls

MOST_EMPTY = 1_000  # empty pages in a row; a few are normal (trap 12)


async def walk(mailbox: MailboxCalls, first: Request, link: str | None) -> AsyncIterator[Any]:
    """Pages from `first` (or from `link`, a stored delta or next link) until one has a delta link.

    ResyncNeeded if the link is dead, or leads to another host than ours: then it is from another life.
    Unreachable if the pages do not end.
    """
    request = first if link is None else _stored(mailbox, first, link)
    empty = 0
    while True:
        answer = await (mailbox.call(request) if request.link is None else mailbox.call_link(request))
        page = answer.value
        _check(mailbox, page, request)
        empty = 0 if page.value else empty + 1
        yield page
        if page.delta_link is not None:
            return
        if empty > MOST_EMPTY:
            raise Unreachable("a delta of empty pages without an end")
        request = _next(mailbox, first, page.next_link)


def _stored(mailbox: MailboxCalls, first: Request, link: str) -> Request:
    try:
        return _next(mailbox, first, link)
    except Invalid:
        raise ResyncNeeded("the sync state is not of this Graph", code="ForeignLink") from None


def _next(mailbox: MailboxCalls, first: Request, link: str) -> Request:
    template = first.template.removeprefix(mailbox.root)
    return mailbox.follow(
        template, link, prefer=first.prefer, shape=first.shape, priority=first.priority, heavy=first.heavy
    )


def _check(mailbox: MailboxCalls, page: Any, request: Request) -> None:
    """A page leads on to a new page or to a delta link, and both lead to Graph."""
    onward = page.delta_link or page.next_link
    if onward is None or (page.delta_link is None and onward == request.link):
        raise Unreachable("a delta page that leads nowhere")
    mailbox.pinned(onward)

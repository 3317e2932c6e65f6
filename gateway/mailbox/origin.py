"""Which session is behind what is being done: nobody is told of his own changes (RFC 5465 section 5).

It goes with the task. What a session learns of Graph, by a poll or by delta, is nobody's doing: `nobody` says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_author: ContextVar[int] = ContextVar("author", default=0)


def author() -> int:
    """The session's number, 0 for nobody."""
    return _author.get()


def act_as(session: int) -> None:
    """What this task does from now on, this session does."""
    _author.set(session)


@contextmanager
def nobody() -> Iterator[None]:
    """Inside, changes are found, not made."""
    token = _author.set(0)
    try:
        yield
    finally:
        _author.reset(token)

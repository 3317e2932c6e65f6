"""How far the running command has come, as whoever does the work sees it (RFC 9585).

The front end begins a `Progress` for each command; below, `advance` counts what is done. It is bound to the task that
runs the command and to those it starts: work that outlives its command counts for nobody.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Progress:
    """`done` items of `goal`; None: not known. Items are what the command is about, messages as a rule."""

    done: int | None = None
    goal: int | None = None
    _of: Progress | None = None  # work of somebody else that is waited for

    def reach(self, done: int, goal: int) -> None:
        """So far: never backwards."""
        self.done, self.goal = max(done, self.done or 0), goal

    def follow(self, other: Progress) -> None:
        """What is waited for is `other`'s work, from here on."""
        self._of = other

    def seen(self) -> tuple[int | None, int | None]:
        """What may be said of it: a goal is positive, and greater than what is done while the command runs."""
        if self._of is not None:
            return self._of.seen()
        if self.done is None or not self.goal:
            return self.done, None
        return min(self.done, self.goal - 1), self.goal


_running: ContextVar[Progress | None] = ContextVar("progress", default=None)


def begin() -> Progress:
    """Of the command that runs in this task from now on."""
    progress = Progress()
    _running.set(progress)
    return progress


def expect(goal: int) -> None:
    """So many items are to be done, none yet. The first to say so is right: what follows is a part of it."""
    progress = _running.get()
    if progress is not None and progress.goal is None:
        progress.done, progress.goal = 0, goal


def advance(count: int) -> None:
    """So many more are done. Without effect where nothing is expected."""
    progress = _running.get()
    if progress is not None and progress.goal is not None and progress.done is not None:
        progress.done += count


def follow(other: Progress) -> None:
    """The running command waits for this work."""
    if (progress := _running.get()) is not None:
        progress.follow(other)

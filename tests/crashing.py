"""A process that dies at its n-th step: every call to Graph or the store is a step, and may be done or not when the
process dies at it; afterwards nothing works any more."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class CrashError(Exception):
    """The process is dead."""


class Mortal:
    """Counts steps of the objects it watches. `at`: the step at which they die, 0 for never; `done`: that step has
    its effect."""

    def __init__(self) -> None:
        self.at = 0
        self.done = False
        self.steps = 0

    def wrap(self, work: Callable[..., Any]) -> Callable[..., Any]:
        async def step(*args: Any, **kwargs: Any) -> Any:
            self.steps += 1
            if not self.at or self.steps < self.at:
                return await work(*args, **kwargs)
            if self.steps == self.at and self.done:
                await work(*args, **kwargs)
            raise CrashError

        return step


@contextmanager
def mortal(*parts: object) -> Iterator[Mortal]:
    """All public coroutine methods of these objects are steps."""
    patch, watched = pytest.MonkeyPatch(), Mortal()
    for part in parts:
        for name, method in inspect.getmembers(part, inspect.iscoroutinefunction):
            if not name.startswith("_"):
                patch.setattr(part, name, watched.wrap(method))
    try:
        yield watched
    finally:
        patch.undo()

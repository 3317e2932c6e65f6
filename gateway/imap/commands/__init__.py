"""Handlers, by matter. A module put here is found by itself: its import fills its rows of `imap.spec.SPECS`."""

from __future__ import annotations

import pkgutil
from importlib import import_module


def load_handlers() -> None:
    """Import every module of this package."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        import_module(module.name)

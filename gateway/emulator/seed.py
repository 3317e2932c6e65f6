"""Filling the mailboxes at start: the corpus repeated with variation, reproducible from a seed."""

from __future__ import annotations

from gateway.emulator.api import Model


def fill(model: Model, messages: int, seed: int) -> None:
    """Placeholder until the corpus is in."""

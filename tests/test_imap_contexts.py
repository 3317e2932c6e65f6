"""A search that cannot be kept up to date ends by itself: neither the command nor the session does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.core.errors import Unavailable
from gateway.imap import contexts
from gateway.imap.context import Gone


class Out:
    def __init__(self) -> None:
        self.said: list[bytes] = []

    def status(self, tag: bytes, kind: Any, text: str, code: bytes = b"") -> None:
        self.said.append(b"%b NO [%b]" % (tag, code))


def session() -> Any:
    """Two searches are kept, and there is news."""
    kept = {tag: SimpleNamespace(modseq=1, last=1) for tag in (b"a", b"b")}
    folder = SimpleNamespace(view=SimpleNamespace(uids=[1, 2], count=2), highest_modseq=5)
    return SimpleNamespace(out=Out(), selected=SimpleNamespace(contexts=kept), folder=folder)


@pytest.mark.parametrize("error", [Unavailable("away"), ValueError("a mistake of ours")])
async def test_whatever_goes_wrong_ends_that_search_only(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    s, done = session(), []

    async def refresh(_s: Any, context: Any, *_: Any) -> None:
        if context is first:
            raise error
        done.append(context)

    first, second = s.selected.contexts.values()
    monkeypatch.setattr(contexts, "_refresh", refresh)
    await contexts.refresh_searches(s, None)  # type: ignore[arg-type]
    assert list(s.selected.contexts) == [b"b"] and done == [second]
    assert s.out.said == [b'* NO [NOUPDATE "a"]']


async def test_a_lost_connection_is_told_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refresh(*_: Any) -> None:
        raise Gone

    s = session()
    monkeypatch.setattr(contexts, "_refresh", refresh)
    with pytest.raises(Gone):
        await contexts.refresh_searches(s, None)  # type: ignore[arg-type]
    assert s.out.said == []

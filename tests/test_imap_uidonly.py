"""No message number in any argument after ENABLE UIDONLY (RFC 9586)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.core.errors import BadCommand
from gateway.imap.spec import SPECS, Enabled
from gateway.imap.uidonly import check
from gateway.wire.frame import Frame
from gateway.wire.grammar import parse


def session(enabled: Enabled) -> Any:
    return SimpleNamespace(enabled=enabled)


BY_NUMBER = [
    b"FETCH 1 FLAGS", b"STORE 1 FLAGS ()", b"COPY 1 x", b"MOVE 1 x", b"SEARCH ALL", b"SEARCH UID 1",
    b"SORT (DATE) UTF-8 ALL",
    b"THREAD REFERENCES UTF-8 ALL", b"UID SEARCH 1", b"UID SEARCH UNSEEN NOT 1:*", b"UID SEARCH OR ALL (UNSEEN 2)",
    b"UID SORT (DATE) UTF-8 1:2", b"UID THREAD REFERENCES UTF-8 1", b"SELECT x (QRESYNC (1 1 1 (1 1)))",
    b"EXAMINE x (QRESYNC (1 1 (1 1)))",
]  # fmt: skip
BY_UID = [
    b"UID FETCH 1:* FLAGS", b"UID STORE 1 FLAGS ()", b"UID COPY 1 x", b"UID MOVE $ x", b"UID SEARCH UID 1:*",
    b"UID SEARCH $",
    b"UID EXPUNGE 1", b"EXPUNGE", b"CLOSE", b"NOOP", b"SELECT x (QRESYNC (1 1 1))", b"IDLE", b"UID FETCH $ FLAGS",
    b"STATUS x (MESSAGES)", b"UID SEARCH NOT UID 1",
]  # fmt: skip


@pytest.mark.parametrize("line", BY_NUMBER)
def test_by_number_is_refused_only_then(line: bytes) -> None:
    command = parse(Frame((b"a " + line,)))
    check(session(~Enabled.UIDONLY), command)
    with pytest.raises(BadCommand) as refused:
        check(session(Enabled.UIDONLY), command)
    assert refused.value.code == b"UIDREQUIRED"


@pytest.mark.parametrize("line", BY_UID)
def test_by_uid_is_not(line: bytes) -> None:
    check(session(Enabled.UIDONLY), parse(Frame((b"a " + line,))))


def test_no_command_that_takes_numbers_is_forgotten() -> None:
    """Whoever takes message numbers has a UID form, and says so by `by_uid`."""
    taking = {
        cls.__name__ for cls in SPECS if "ids" in cls.__dataclass_fields__ or "id" in cls.__dataclass_fields__
    }
    without = {
        name
        for name in taking
        if "by_uid" not in next(c for c in SPECS if c.__name__ == name).__dataclass_fields__
    }
    assert without <= {"UidExpunge"}

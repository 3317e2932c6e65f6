"""The command table is complete, and says of each command what the RFCs say."""

from __future__ import annotations

import pytest

import gateway.imap.session  # noqa: F401  # fills the table
from gateway.core.runs import Runs
from gateway.core.types import FlagChange, FlagOp, Flags
from gateway.imap.caps import ENABLABLE, Offer, capabilities
from gateway.imap.spec import SPECS, State, handles
from gateway.wire import command as commands
from gateway.wire.command import Command, Expunge, Fetch, Move, Search, Store
from gateway.wire.searchkey import All


def all_commands() -> list[type[Command]]:
    return [
        cls
        for cls in vars(commands).values()
        if isinstance(cls, type) and issubclass(cls, Command) and cls is not Command
    ]


@pytest.mark.parametrize("cls", all_commands(), ids=lambda cls: cls.__name__)
def test_every_command_has_a_handler(cls: type[Command]) -> None:
    assert cls in SPECS


def test_a_command_has_one_handler() -> None:
    async def again(session: object, command: object) -> None: ...

    with pytest.raises(ValueError, match="handler already"):
        handles(Fetch, State.SELECTED)(again)


ONE = Runs.of([1])


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        (Fetch(b"a", False, ONE, ()), False),
        (Fetch(b"a", True, ONE, ()), True),
        (Store(b"a", False, ONE, FlagChange(FlagOp.ADD, Flags()), False), False),
        (Store(b"a", True, ONE, FlagChange(FlagOp.ADD, Flags()), False), True),
        (Search(b"a", False, All()), False),
        (Search(b"a", True, All()), True),
        (Expunge(b"a"), True),
        (Move(b"a", False, ONE, "x"), True),
    ],
)
def test_expunge_is_told_where_rfc_9051_7_5_1_allows_it(command: Command, allowed: bool) -> None:
    assert SPECS[type(command)].may_expunge(command) is allowed


def test_what_changes_a_mailbox_is_refused_in_examine() -> None:
    assert {cls.__name__ for cls, spec in SPECS.items() if spec.writes} == {
        "Store", "Expunge", "UidExpunge", "Move", "ReplaceStart",
    }  # fmt: skip


def test_trycreate_is_said_where_create_helps() -> None:
    assert {cls.__name__ for cls, spec in SPECS.items() if spec.missing == b"TRYCREATE"} == {
        "Copy", "Move", "AppendStart", "ReplaceStart",
    }  # fmt: skip


def words(state: State, **options: object) -> list[bytes]:
    chosen = {"secure": False, "starttls": True, "plaintext_ok": False, "append_limit": 7, **options}
    return capabilities(state, Offer(**chosen)).split(b" ")  # type: ignore[arg-type]


def test_logindisabled_and_starttls_without_tls_only() -> None:
    clear = words(State.NOT_AUTHENTICATED)
    assert b"LOGINDISABLED" in clear and b"STARTTLS" in clear and b"AUTH=PLAIN" not in clear
    secure = words(State.NOT_AUTHENTICATED, secure=True)
    assert b"AUTH=PLAIN" in secure and b"AUTH=LOGIN" in secure
    assert b"LOGINDISABLED" not in secure and b"STARTTLS" not in secure
    assert b"STARTTLS" not in words(State.NOT_AUTHENTICATED, starttls=False)
    assert b"AUTH=PLAIN" in words(State.NOT_AUTHENTICATED, plaintext_ok=True)


def test_what_is_announced_and_what_is_not() -> None:
    found = words(State.AUTHENTICATED)
    assert found[0] == b"IMAP4rev1" and found[-1] == b"APPENDLIMIT=7"
    assert not any(word.startswith((b"AUTH=", b"STARTTLS", b"LOGINDISABLED")) for word in found)
    assert {b"LITERAL+", b"IMAP4rev2"} <= set(found)
    assert {b"LITERAL-", b"AUTH=CRAM-MD5", b"QUOTA", b"COMPRESS=DEFLATE"}.isdisjoint(found)
    assert not any(word.startswith(b"MESSAGELIMIT") for word in found)
    assert len(found) == len(set(found))


def test_what_enable_takes_is_announced() -> None:
    """RFC 5161 section 3.1: ENABLE names capabilities."""
    assert {name.upper() for name in words(State.AUTHENTICATED)} >= set(ENABLABLE)

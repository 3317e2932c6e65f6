"""IMAP4rev2 and UTF8=ACCEPT where a transcript cannot reach: faults between two steps, names that go away."""

from __future__ import annotations

import pytest
from imap_support import serving

from gateway.core.errors import Unavailable
from gateway.imap.listing import Entry
from gateway.imap.spec import Enabled


async def test_a_select_that_cannot_tell_its_list_leaves_nothing_selected() -> None:
    async with serving(messages=1) as world:
        client = await world.login()
        await client.command(b"ENABLE IMAP4rev2")
        world.alice.faults["folders"] = Unavailable("Try later")
        assert (await client.command(b"SELECT INBOX"))[-1] == b"t NO [UNAVAILABLE] Try later"
        assert (await client.command(b"FETCH 1 FLAGS"))[-1].startswith(b"t BAD No mailbox")
        assert b'* LIST (\\HasNoChildren \\Subscribed) "/" INBOX' in await client.command(b"SELECT INBOX")


async def test_without_enable_select_asks_for_no_list() -> None:
    async with serving(messages=1) as world:
        client = await world.login()
        world.alice.faults["folders"] = Unavailable("Try later")
        answers = await client.command(b"SELECT INBOX")
        assert answers[-1].startswith(b"t OK [READ-WRITE]")
        assert not any(answer.startswith(b"* LIST") for answer in answers)


async def test_a_mailbox_that_went_away_meanwhile_is_listed_as_gone() -> None:
    async with serving() as world:
        client = await world.login()
        await client.command(b"ENABLE IMAP4rev2")
        await client.command(b"CREATE Old")
        world.alice.folders = no_folders  # type: ignore[method-assign]
        answers = await client.command(b"RENAME Old New")
        assert answers == [b'* LIST (\\NonExistent) "/" New ("OLDNAME" (Old))', b"t OK RENAME completed"]


async def no_folders() -> list[object]:
    return []


@pytest.mark.parametrize("which", [b"IMAP4rev2", b"UTF8=ACCEPT", b"IMAP4rev2 UTF8=ACCEPT"])
async def test_each_extension_alone_makes_names_utf8(which: bytes) -> None:
    async with serving() as world:
        client = await world.login()
        await client.command(b'CREATE "Gr&APwA3w-e"')
        before = await client.command(b'LIST "" Gr*')
        await client.command(b"ENABLE " + which)
        after = await client.command(b'LIST "" Gr*')
        assert before[0].endswith(b' "/" Gr&APwA3w-e')
        assert after[0].endswith(' "/" "Grüße"'.encode())


async def test_what_was_enabled_is_forgotten_with_the_login() -> None:
    async with serving() as world:
        client = await world.login()
        await client.command(b'CREATE "Gr&APwA3w-e"')
        await client.command(b"ENABLE IMAP4rev2 UTF8=ACCEPT")
        await client.command(b"UNAUTHENTICATE")
        await client.command(b"LOGIN alice@example.com demo")
        assert (await client.command(b'LIST "" Gr*'))[0].endswith(b' "/" Gr&APwA3w-e')
        assert (await client.command(b"SEARCH CHARSET UTF-8 ALL"))[-1].startswith(b"t BAD No mailbox")


def test_extended_items_stand_side_by_side() -> None:
    entry = Entry("Grüße", (b"\\HasChildren",), selectable=True, children=(b"SUBSCRIBED", b"SPECIAL-USE"))
    line = entry.line(utf8=True, old="Old name")
    expected = '("CHILDINFO" ("SUBSCRIBED" "SPECIAL-USE") "OLDNAME" ("Old name"))'
    assert line == f'LIST (\\HasChildren) "/" "Grüße" {expected}'.encode()
    assert entry.line() == rb'LIST (\HasChildren) "/" Gr&APwA3w-e ("CHILDINFO" ("SUBSCRIBED" "SPECIAL-USE"))'


def test_enabled_flags_do_not_imply_each_other() -> None:
    assert Enabled.UTF8 not in Enabled.REV2
    assert Enabled.REV2 not in Enabled.UTF8

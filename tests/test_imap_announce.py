"""Unasked-for news: three simulated clients that replay it end with the server's mailbox, whatever happened."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from imap_support import MESSAGE, Client, World, serving

from gateway.core.types import Flags
from gateway.imap.announce import flags_text

_EVENT = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH) ?(?:\((?:UID \d+ )?FLAGS \((.*)\)\))?")


@dataclass
class Replica:
    """What a client knows from responses alone: flags per message number, None until it hears of them."""

    flags: list[frozenset[bytes] | None] = field(default_factory=list)

    def hear(self, responses: list[bytes]) -> None:
        for response in responses:
            match = _EVENT.match(response)
            if match is None:
                continue
            number, word = int(match[1]), match[2]
            if word == b"EXISTS":
                assert number >= len(self.flags), "EXISTS never shrinks a mailbox"
                self.flags += [None] * (number - len(self.flags))
            elif word == b"EXPUNGE":
                del self.flags[number - 1]
            else:
                self.flags[number - 1] = frozenset(match[3].split()) - {b"\\Recent"}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"NOOP", b"FETCH 1:* FLAGS", b"STORE 1:* +FLAGS (\\Deleted)", b"UID STORE 1:2 +FLAGS (\\Seen)",
             b"EXPUNGE", b"STORE 1 FLAGS.SILENT (\\Flagged)", b"SEARCH ALL", b"UID SEARCH ALL", b"deliver",
             b"delete", b"flag", b"UID MOVE 3:* Archive", b"STORE 1 +FLAGS (Key)"]
        ),
        st.integers(0, 2),
    ),
    max_size=25,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_three_clients_agree_with_the_server(steps: list[tuple[bytes, int]]) -> None:
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[bytes, int]]) -> None:
    async with serving(messages=4) as world:
        clients = [await world.login(b"INBOX") for _ in range(3)]
        replicas = [Replica([frozenset()] * 4) for _ in clients]
        for step, who in steps:
            if step.islower():
                _outside(world, step)
            else:
                await _command(clients[who], replicas[who], step)
        for client, replica in zip(clients, replicas, strict=True):
            replica.hear(await client.command(b"NOOP"))
            truth = [frozenset(message.flags.names()) for message in world.inbox.present]
            assert len(replica.flags) == len(truth)
            for known, real in zip(replica.flags, truth, strict=True):
                assert known in (None, real)


async def _command(client: Client, replica: Replica, command: bytes) -> None:
    answers = await client.command(command)
    forbidden = command.startswith((b"FETCH", b"STORE", b"SEARCH"))
    assert not (forbidden and any(b" EXPUNGE" in answer for answer in answers))
    silent = b".SILENT" in command and answers[-1].startswith(b"t OK")
    # What others did before is told first; the silent change itself is done at the tagged OK.
    replica.hear(answers)
    if silent and replica.flags:
        replica.flags[0] = frozenset({b"\\Flagged"})


def _outside(world: World, step: bytes) -> None:
    present = world.inbox.present
    if step == b"deliver":
        world.inbox.add(MESSAGE)
    elif present and step == b"delete":
        world.inbox.remove(present[0])
    elif present:
        world.inbox.set_flags(present[-1], Flags.of([b"\\Answered"]))


def test_flags_are_rendered_once() -> None:
    assert flags_text(Flags.of([b"\\Seen", b"Key"]), True) is flags_text(Flags.of([b"\\Seen", b"Key"]), True)

"""The gateway and a real Dovecot give the same answers to the same commands, up to `differential.allowed`."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from differential import dovecot as other
from differential.allowed import ALLOWED, reason
from differential.fixtures import WORLDS, fill_dovecot, fill_gateway, make_reader
from differential.gateway import Gateway, gateway
from differential.normal import Box, Boxes, Facts, facts
from differential.play import Difference, Script, Side, play
from differential.scripts import all_scripts
from differential.wire import Answer, Atom, Broken, tree

READER = "reader@example.com"
SHOWN = 20  # differences that a failure tells of


def _groups() -> dict[str, list[Script]]:
    """By topic: the first word of the name."""
    groups: dict[str, list[Script]] = defaultdict(list)
    for script in all_scripts():
        groups[script.name.rstrip("0123456789-").rstrip("-").split("-", 1)[0]].append(script)
    return groups


GROUPS = _groups()


@dataclass
class Pair:
    """Both servers, the reader's sessions, and which rules were needed so far."""

    ours: Gateway
    theirs: int
    reader: tuple[Side, Side]
    used: Counter[str] = field(default_factory=Counter)
    played: set[str] = field(default_factory=set)
    users: int = 0

    def compare(self, script: Script) -> list[Difference]:
        """What differs and has no reason."""
        sides = self.reader if script.world == "reader" else self._fresh(script.world)
        try:
            return list(self._unexcused(script, *sides))
        finally:
            if sides is not self.reader:
                for side in sides:
                    side.close()

    def _unexcused(self, script: Script, ours: Side, theirs: Side) -> Iterator[Difference]:
        for difference in play(script, ours, theirs):
            rule = reason(difference)
            if rule is None:
                yield difference
                continue
            self.used[rule.reason] += 1
            if rule.ends:
                return

    def _fresh(self, world: str) -> tuple[Side, Side]:
        self.users += 1
        return self.fill(f"user{self.users}@example.org", world)

    def fill(self, user: str, world: str) -> tuple[Side, Side]:
        fill_gateway(self.ours, user, world)
        fill_dovecot(self.theirs, user, world)
        sides = Side(self.ours.port, user), Side(self.theirs, user)
        for side in sides:
            if world == "reader":
                make_reader(side.talk(1).connection)
            side.learn(list(WORLDS[world]))
        return sides


BROKEN: list[str] = []  # why the two did not start: told at once by every later test


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    if BROKEN:
        pytest.fail(BROKEN[0], pytrace=False)
    if other.missing():
        text = "dovecot-imapd is not installed: nothing to compare with"
        if os.environ.get("GATEWAY_REQUIRE_CLIENTS") == "1":
            pytest.fail(text, pytrace=False)
        pytest.skip(text)
    with other.dovecot() as port, gateway() as server:
        both = Pair(server, port, (Side(server.port, READER), Side(port, READER)))
        try:
            both.reader = both.fill(READER, "reader")
        except Exception as error:
            BROKEN.append(f"the two could not be filled: {error!r}")
            raise
        yield both
        for side in both.reader:
            side.close()


@pytest.mark.interop
@pytest.mark.parametrize("topic", sorted(GROUPS))
def test_both_answer_alike(pair: Pair, topic: str) -> None:
    found = [difference for script in GROUPS[topic] for difference in pair.compare(script)]
    pair.played.add(topic)
    assert not found, f"{len(found)} differences\n" + "\n".join(map(str, found[:SHOWN]))


@pytest.mark.interop
def test_every_allowed_difference_is_still_there(pair: Pair) -> None:
    """An exception nobody needs any more would hide the next fault. Looked at when all topics were played."""
    if pair.played == set(GROUPS):
        assert [rule.reason for rule in ALLOWED if not pair.used[rule.reason]] == []


def test_there_are_enough_sequences_and_each_has_its_own_name() -> None:
    scripts = all_scripts()
    assert len(scripts) >= 400
    assert len({script.name for script in scripts}) == len(scripts)
    assert all(2 <= len(script.commands) <= 30 for script in scripts)


# -- what compares must be able to tell --


def _facts(
    *lines: bytes, final: bytes = b"OK done", command: bytes = b"NOOP", box: Box | None = None
) -> Facts:
    return facts(Answer(lines, final), command, Boxes(), box)[0]


def test_trees() -> None:
    assert tree(b'(A "b\\"c" NIL {3}\r\nx"\r (1 2)) z') == ((b"A", b'b"c', None, b'x"\r', (b"1", b"2")), b"z")
    assert isinstance(tree(b"7bit")[0], Atom)
    assert not isinstance(tree(b'"7bit"')[0], Atom)


@pytest.mark.parametrize("text", [b"(a", b"a  b", b'"a', b'"a\xff\\x"', b"a)", b'"a""b"', b"{4}\r\nabc (x"])
def test_what_is_no_imap_is_an_error(text: bytes) -> None:
    with pytest.raises(Broken):
        tree(text)


def test_numbers_are_those_before_the_command() -> None:
    one = _facts(b"2 EXPUNGE", b"2 EXPUNGE", b"2 FETCH (FLAGS (\\seen))", b"3 EXISTS")
    other = _facts(b"3 EXPUNGE", b"2 EXPUNGE", b"3 EXISTS", b"2 FETCH (FLAGS (\\Seen))")
    assert one == other
    assert one["expunged"] == (2, 3)
    assert one["fetch 4 FLAGS"] == {"\\Seen"}


def test_uids_are_ranks_and_copyuid_is_pairs() -> None:
    ours, theirs = Box(1, [10, 20, 30], 1000), Box(1, [1, 2, 3], 4)
    answers = [
        _facts(
            b"SEARCH 20 1000", command=b"UID SEARCH ALL", final=b"OK [COPYUID 9 20:20,10 2:1] x", box=ours
        ),
        _facts(b"SEARCH 4 2", command=b"uid search ALL", final=b"OK [COPYUID 7 1:2 71,72] x", box=theirs),
    ]
    assert answers[0]["search"] == answers[1]["search"] == (2, 4)
    assert answers[1]["reply code"] == ("COPYUID", 1, ((1, 1), (2, 2)))


def test_a_wrong_flag_kind_or_code_is_told() -> None:
    assert _facts(b"1 FETCH (FLAGS (a))") != _facts(b"1 FETCH (FLAGS (A))")
    assert _facts(final=b"OK x") != _facts(final=b"NO x")
    assert _facts(final=b"NO [TRYCREATE] x") != _facts(final=b"NO x")
    assert _facts(final=b"OK one text") == _facts(final=b"OK another")


def test_a_mailbox_listed_twice_is_an_error() -> None:
    with pytest.raises(Broken):
        _facts(b'LIST () "/" a', b'LIST () "/" a')

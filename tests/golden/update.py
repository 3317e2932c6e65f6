"""`--golden-update`: plays a transcript and writes down what the server says; what still holds is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from golden.backend import BackendFactory
from golden.options import Options
from golden.runner import (
    PATIENCE,
    MismatchError,
    Player,
    Step,
    read_script,
    same_lane,
    same_requests,
    split_view,
)


async def update(text: str, factory: BackendFactory) -> str:
    """The transcript with the responses as they came, where the old ones do not match."""
    script = read_script(text)
    options = Options.of(script.fixtures)
    head = [line for line in text.splitlines() if line.startswith(("#", "fixture "))]
    async with factory(options) as backend:
        player = Player(script, options, backend)
        body: list[str] = []
        await player.open()
        for action, answers in _blocks(script.steps):
            body += await _play_block(player, action, answers)
        await player.close()
    return "\n".join([*head, *body]) + "\n"


def _blocks(steps: Sequence[Step]) -> list[tuple[Step | None, list[Step]]]:
    """Each action (C, O, T) with the answers behind it; None before the first."""
    blocks: list[tuple[Step | None, list[Step]]] = [(None, [])]
    for step in steps:
        if step.lane[0] in "SG":
            blocks[-1][1].append(step)
        elif (last := blocks[-1][0]) is not None and same_lane(last, step) and step.lane == "V:":
            continue  # one look shows all
        else:
            blocks.append((step, []))
    return blocks


async def _play_block(player: Player, action: Step | None, answers: Sequence[Step]) -> list[str]:
    lines: list[str] = []
    if action is not None:
        if action.lane == "V:":
            return await _view(player, action)
        lines += action.source
        await player.play_one(action)
        if not any(step.text == "<nothing>" for step in answers):
            await _answered(player, action)
    await player.backend.settle()
    got = {who: await _everything(player, who) for who in sorted(player.connected())}
    lines += await _cost(player, [step for step in answers if step.lane in ("G:", "G?")])
    for who, responses in got.items():
        expected = [step for step in answers if step.who == who]
        lines += _kept(player, expected, responses) or [f"S{who}: {_written(one)}" for one in responses]
    return lines


async def _view(player: Player, step: Step) -> list[str]:
    """All V: lines of a folder, where the first of them stands."""
    mailbox = split_view(step)[0]
    shown = await player.backend.see(mailbox)
    if shown is None:
        return step.source
    return [f"V: {mailbox} | {line}" for line in shown] or [f"V: {mailbox} |"]


async def _cost(player: Player, expected: Sequence[Step]) -> list[str]:
    """The G: lines, where the block has some: as they are if they hold (`G: ?` never does)."""
    if not expected:
        return []
    log = await player.backend.graph_log()
    if log is None or same_requests(expected, log):
        return [line for step in expected for line in step.source]
    return [f"G: {request}" for request in log] or ["G: none"]


async def _answered(player: Player, action: Step) -> None:
    """Wait for the end of what the server has to say to a command, and leave it to be read."""
    if action.lane != "C:":
        return
    connection = await player.connection(action.who)
    tag = action.pieces[0].split(b" ")[0]
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while not connection.has_line(tag + b" ", b"+ "):  # noqa: ASYNC110  (nothing would set an event)
                await asyncio.sleep(0.005)


async def _everything(player: Player, who: str) -> list[bytes]:
    """All responses that come by themselves."""
    connection = await player.connection(who)
    responses: list[bytes] = []
    while await connection.has_more():
        responses.append(await connection.response())
        if responses[-1] == b"<closed>":
            break
        await player.backend.settle()
    return responses


def _kept(player: Player, expected: Sequence[Step], got: Sequence[bytes]) -> list[str]:
    """The old lines, if they still say what came."""
    speaking = [step for step in expected if step.text != "<nothing>"]
    if len(speaking) != len(got):
        return []
    left = list(got)
    try:
        for step in speaking:
            if step.lane == "S?":
                left.remove(player.expected(step))
            else:
                player.compare(step, left.pop(0))
    except (MismatchError, ValueError):
        return []
    return [line for step in expected for line in step.source]


def _written(response: bytes) -> str:
    """As a transcript has it: literals as heredocs, in UTF-8 if the octets are."""
    text = _with_heredocs(response.decode("latin-1"))
    try:
        return text.encode("latin-1").decode()
    except UnicodeDecodeError:
        return text


def _with_heredocs(text: str) -> str:
    head, brace, rest = text.partition("}\r\n")
    if not brace or "{" not in head:
        return text
    start, _, size = head.rpartition("{")
    literal, tail = rest[: int(size)], rest[int(size) :]
    mark = "" if literal.endswith("\r\n") else "-"
    content = literal.removesuffix("\r\n").replace("\r\n", "\n")
    body = f"{content}\n" if literal.removesuffix("\r\n") or not mark else ""
    return f"{start}<<{mark}END\n{body}END{_with_heredocs(tail)}"

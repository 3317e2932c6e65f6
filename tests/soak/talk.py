"""An IMAP client that keeps its own view of the mailbox and believes nothing: every sequence number it is told of is
checked against what it was told before."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from dataclasses import dataclass, field

HISTORY = 400  # lines
PATIENCE = 300.0  # seconds for one command: longer than anything the gateway may wait for Graph
_LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")
_TAGGED = re.compile(rb"(\S+) (OK|NO|BAD)(?: \[([^\]]*)\])? ?(.*)", re.S)
_NUMBERED = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE|RECENT|FETCH)\b")
_UID = re.compile(rb"[( ]UID (\d+)")
_SELECTED = {
    "UIDVALIDITY": re.compile(rb"\[UIDVALIDITY (\d+)\]"),
    "UIDNEXT": re.compile(rb"\[UIDNEXT (\d+)\]"),
}


class DroppedError(Exception):
    """The connection ended, or BYE was said: what no client may ever see while the gateway runs."""


class WrongError(AssertionError):
    """The server contradicts itself, or the protocol."""


@dataclass(frozen=True, slots=True)
class Said:
    """One untagged response: its line with `{n}` where literals stood, and those."""

    line: bytes
    literals: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A tagged reply and what came before it. `code` is the word of the response code, "" for none."""

    status: str
    code: str
    argument: str
    text: str
    said: tuple[Said, ...]
    seconds: float

    def lines(self, start: bytes) -> list[Said]:
        return [each for each in self.said if each.line.startswith(start)]


@dataclass(slots=True)
class View:
    """The selected mailbox as this client knows it: the UID of each sequence number, None where it was not told."""

    name: str
    uids: list[int | None] = field(default_factory=list)
    validity: int = 0
    following: int = 0  # UIDNEXT at SELECT
    opened: float = 0.0  # when SELECT was sent

    def hear(self, said: Said) -> None:
        found = _NUMBERED.match(said.line)
        if found is None:
            return
        number, kind = int(found[1]), found[2]
        if kind == b"EXISTS":
            if number < len(self.uids):
                raise WrongError(f"{self.name}: EXISTS {number}, there were {len(self.uids)}")
            self.uids += [None] * (number - len(self.uids))
        elif kind == b"EXPUNGE":
            if not 1 <= number <= len(self.uids):
                raise WrongError(f"{self.name}: EXPUNGE {number} of {len(self.uids)}")
            del self.uids[number - 1]
        elif kind == b"FETCH":
            self._fetched(number, said)

    def _fetched(self, number: int, said: Said) -> None:
        if not 1 <= number <= len(self.uids):
            raise WrongError(f"{self.name}: FETCH {number} of {len(self.uids)}")
        if (uid := _UID.search(said.line)) is None:
            return
        known = self.uids[number - 1]
        if known not in (None, int(uid[1])):
            raise WrongError(f"{self.name}: message {number} was UID {known}, is {int(uid[1])}")
        self.uids[number - 1] = int(uid[1])
        told = [each for each in self.uids[max(0, number - 3) : number + 2] if each is not None]
        if told != sorted(set(told)):
            raise WrongError(f"{self.name}: UIDs do not ascend around {number}: {told}")


class Talk:
    """One connection. `history`: what was said last, for whoever asks how it came to a failure."""

    def __init__(self) -> None:
        self.view: View | None = None
        self._count = 0
        self.history: deque[str] = deque(maxlen=HISTORY)

    async def connect(self, host: str, port: int, user: str, password: str) -> None:
        self._reader, self._writer = await asyncio.open_connection(host, port, limit=1 << 20)
        try:
            greeting = await self._response()
        except DroppedError:
            self.close()
            raise
        if not greeting.line.startswith(b"* OK"):
            raise WrongError(f"greeting: {greeting.line!r}")
        answer = await self.command(f'LOGIN "{user}" "{password}"')
        if answer.status != "OK":
            raise WrongError(f"LOGIN: {answer.status} {answer.text}")

    def close(self) -> None:
        self._writer.close()

    async def command(self, line: str, *more: bytes | str) -> Answer:
        """Send a command; bytes in `more` are literals, str what stands behind them."""
        return await self._finish(self._send(line, *more))

    def _send(self, line: str, *more: bytes | str) -> bytes:
        self.history.append(f"{time.time():.3f} C: {line[:200]}" + " {literals}" * bool(more))
        self._count += 1
        tag = b"a%d" % self._count
        out = [tag, b" ", line.encode()]
        for piece in more:
            out += [b"{%d+}\r\n" % len(piece), piece] if isinstance(piece, bytes) else [piece.encode()]
        self._writer.write(b"".join([*out, b"\r\n"]))
        return tag

    async def _finish(self, tag: bytes) -> Answer:
        began, said = time.monotonic(), []
        while True:
            response = await self._response()
            found = _TAGGED.match(response.line)
            if found is not None and found[1] == tag:
                code, _, argument = (found[3] or b"").decode().partition(" ")
                took = time.monotonic() - began
                return Answer(found[2].decode(), code, argument, found[4].decode(), tuple(said), took)
            said.append(response)

    async def select(self, name: str, *, read_only: bool = False) -> Answer:
        """The view is the new mailbox's if it is OK, else none."""
        self.view, view = None, View(name, opened=time.monotonic())
        answer = await self.command(f'{"EXAMINE" if read_only else "SELECT"} "{name}"')
        if answer.status == "OK":
            every = b"\n".join(each.line for each in answer.said)
            validity, following = (_SELECTED[key].search(every) for key in ("UIDVALIDITY", "UIDNEXT"))
            if validity is None or following is None:
                raise WrongError(f"{name}: SELECT without UIDVALIDITY or UIDNEXT")
            view.validity, view.following = int(validity[1]), int(following[1])
            for each in answer.said:
                view.hear(each)
            self.view = view
        return answer

    async def idle(self, seconds: float, *, until: bytes = b"") -> Answer:
        """IDLE for so long, or until a response has these octets."""
        tag = self._send("IDLE")
        if not (begun := await self._response()).line.startswith(b"+"):
            raise WrongError(f"IDLE: {begun.line!r}")
        said, end = [], time.monotonic() + seconds
        reading = asyncio.ensure_future(self._response())
        while (left := end - time.monotonic()) > 0:
            if (await asyncio.wait([reading], timeout=left))[0]:
                said.append(reading.result())
                if until and until in said[-1].line:
                    end = 0.0
                reading = asyncio.ensure_future(self._response())
        self._writer.write(b"DONE\r\n")
        last = await reading
        if last.line.startswith(tag):
            return Answer("OK", "", "", "", tuple(said), seconds)
        rest = await self._finish(tag)
        return Answer(rest.status, rest.code, rest.argument, rest.text, (*said, last, *rest.said), seconds)

    async def _response(self) -> Said:
        """The next response; what is untagged has been taken into the view."""
        try:
            async with asyncio.timeout(PATIENCE):
                said = await self._whole()
        except TimeoutError:
            raise WrongError(f"no answer for {PATIENCE:.0f} seconds") from None
        except (OSError, asyncio.IncompleteReadError) as error:
            raise DroppedError(type(error).__name__) from None
        shown = [said.line[:200], *(each[:40] for each in said.literals)]
        self.history.append(f"{time.time():.3f} S: {b' '.join(shown).decode('latin-1')}")
        if said.line.startswith(b"* BYE"):
            raise DroppedError(said.line.decode())
        if self.view is not None:
            self.view.hear(said)
        return said

    async def _whole(self) -> Said:
        pieces, literals = [], []
        while True:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                raise DroppedError("end of the connection")
            literal = _LITERAL.search(line)
            if literal is None:
                return Said(b"".join([*pieces, line.removesuffix(b"\r\n")]), tuple(literals))
            pieces.append(line.removesuffix(b"\r\n"))
            literals.append(await self._reader.readexactly(int(literal[1])))

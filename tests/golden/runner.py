r"""Plays transcripts of IMAP sessions over real sockets and compares every octet.

A transcript is `tests/golden/<rfc>-<section>-<slug>.imap`, `graph-<slug>.imap` where what happens in Graph is the
point, or `client-<name>-<slug>.imap`: what a mail program sends. Lines:

    # text                 a comment; the first says what rule is shown
    fixture words          what there is before the first line (`backend.Options`)
    C1: text               connection 1 sends this line (all are brought to `fixture start` beforehand)
    C1% text               the same, raw: Python escapes, no CRLF added
    C1! starttls           TLS from here on; `close`, `shut` (half-close); `compress`, `plain`: DEFLATE from here
                           on, or no longer; `scram a USER PASSWORD [HEADER]`: AUTHENTICATE SCRAM-SHA-256 up to
                           the tagged response, which an S line reads; `wrong-scram`: the proof will be refused
    S1: text               the next response on connection 1, exactly
    S1? text               one of the next responses: neighbouring S1? lines may come in any order
    S1~ regex              the next response matches; `(?P<name>...)` is remembered, and `$name` used later
    S1: <closed>           the server has closed the connection
    S1: <nothing>          the server has said nothing more
    G: POST /$batch PATCH*2   a Graph request the last C line has cost, as `graphlog` writes it; all of them, in
                           order; `G: none`; neighbouring `G?` lines may come in any order
    O: deliver INBOX       another program acts on the mailbox (`backend.Backend.outside`)
    V: INBOX | Message 1: read flagged "Work"   what Outlook shows: neighbouring V: lines are all messages of the
                           folder, oldest first; `V: INBOX |` none
    T+60s                  the clock moves

Literals: a line may end in `<<WORD`; what follows up to a line that begins with WORD is the literal, and what
stands behind WORD on that line goes on with the response or command. `<<-WORD` leaves out the last line end.
A client's literal waits for `+`; `<<+WORD` does not wait ({n+}).

`pytest tests/test_golden.py --golden-update` rewrites S: and G: lanes with what came; review it like code.
Comments stand above the first lane only.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from golden.backend import Backend, BackendFactory
from golden.deflate import CompressingWriter, Inflow
from golden.options import PASSWORD, USER, Options, words
from golden.scram import ScramClient

HERE = Path(__file__).parent
PATIENCE = 5.0  # seconds to wait for a response that must come
_LANE = re.compile(r"(?:(?P<side>[CS])(?P<who>\d)(?P<form>[:?~%!])|(?P<other>G:|G\?|O:|V:)) ?(?P<text>.*)")
_CLOCK = re.compile(r"T\+(\d+(?:\.\d+)?)s")
_HEREDOC = re.compile(r"<<([-+]*)([A-Z]+)\Z")
_LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")


@dataclass(slots=True)
class Step:
    """One lane line, its heredocs put in: `pieces` alternate text and literal."""

    lane: str  # C: C% C! S: S? S~ G: G? O: V: T
    who: str
    pieces: list[bytes]
    source: list[str]  # the lines as written
    line: int
    syncs: list[bool] = field(default_factory=list)  # of each literal: does the client wait for `+`?

    @property
    def text(self) -> str:
        return self.pieces[0].decode("latin-1")


@dataclass(slots=True)
class Script:
    fixtures: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


class MismatchError(AssertionError):
    """The transcript and the server disagree."""


# -- reading a transcript --


def read_script(text: str) -> Script:
    script = Script()
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if line.startswith("fixture "):
            script.fixtures.append(line.removeprefix("fixture "))
        elif line.strip() and not line.startswith("#"):
            script.steps.append(_step(line, number, lines))
    return script


def _step(line: str, number: int, lines: Iterator[tuple[int, str]]) -> Step:
    if clock := _CLOCK.fullmatch(line.strip()):
        return Step("T", "", [clock[1].encode()], [line], number)
    match = _LANE.fullmatch(line)
    if match is None:
        raise ValueError(f"line {number}: no lane: {line}")
    lane = match["other"] or match["side"] + match["form"]
    step = Step(lane, match["who"] or "", [], [line], number)
    text = match["text"]
    while lane in ("C:", "S:", "S?") and (heredoc := _HEREDOC.search(text)):
        step.syncs.append("+" not in heredoc[1])
        step.pieces.append(text[: heredoc.start()].encode())
        literal, text = _heredoc(heredoc[2], lines, step.source)
        step.pieces.append(literal[:-2] if "-" in heredoc[1] else literal)
    step.pieces.append(text.encode())
    return step


def _heredoc(word: str, lines: Iterator[tuple[int, str]], source: list[str]) -> tuple[bytes, str]:
    content: list[str] = []
    for _, line in lines:
        source.append(line)
        if line.startswith(word):
            return "".join(f"{one}\r\n" for one in content).encode(), line.removeprefix(word)
        content.append(line)
    raise ValueError(f"<<{word} without its end")


# -- connections --


class Connection:
    """A client that knows lines and literals and nothing else."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer: asyncio.StreamWriter | CompressingWriter = writer
        self._inflow: Inflow | None = None
        self._left = b""  # a line read and given back
        self.closed = False  # the end was seen

    def compress(self, on: bool) -> None:
        """Begin or end compression. What comes is inflated until the server ends it."""
        if not on:
            assert isinstance(self.writer, CompressingWriter)
            self.writer = self.writer.inner
            return
        assert not isinstance(self.writer, CompressingWriter)
        self.writer = CompressingWriter(self.writer)
        if self._inflow is None:
            self._inflow = Inflow(self._reader)
            self._reader = self._inflow.reader
        self._inflow.begin()

    async def scram(self, tag: str, user: str, password: str, header: str = "n,,", *, wrong: bool) -> None:
        """An exchange with an initial response; the server must prove itself, too, unless the password is wrong."""
        client = ScramClient(user, password, header=header)
        start = b"%b AUTHENTICATE SCRAM-SHA-256 %b\r\n" % (tag.encode(), b64encode(client.first()))
        challenge = await self._challenge(start)
        if challenge is None:
            return
        proof = b64encode(client.final(challenge)) + b"\r\n"
        if wrong:
            self.writer.write(proof)
            return
        assert await self._challenge(proof) == client.signature
        self.writer.write(b"\r\n")

    async def _challenge(self, line: bytes) -> bytes | None:
        """What the server answers with `+`; None if it says something else, which is left to be read."""
        self.writer.write(line)
        answer = await self._line()
        if answer.startswith(b"+ "):
            return b64decode(answer[2:])
        self._left = answer
        return None

    async def response(self) -> bytes:
        """One response without its CRLF, literals included; b"<closed>" at the end."""
        line = await self._line()
        if not line:
            self.closed = True
            return b"<closed>"
        whole = line
        while literal := _LITERAL.search(line):
            whole += await asyncio.wait_for(self._reader.readexactly(int(literal[1])), PATIENCE)
            line = await self._line()
            whole += line
        return whole.removesuffix(b"\r\n")

    async def _line(self) -> bytes:
        if self._left:
            line, self._left = self._left, b""
            return line
        try:
            return await asyncio.wait_for(self._reader.readline(), PATIENCE)
        except ConnectionError:
            return b""

    def has_line(self, *starts: bytes) -> bool:
        """Whether a line that begins so has come, or the end."""
        come: bytes = bytes(self._reader._buffer)  # type: ignore[attr-defined]
        return self._reader.at_eof() or any(b"\n" + start in b"\n" + come for start in starts)

    async def has_more(self) -> bool:
        """Whether octets, or the end, have come already."""
        return not self.closed and (bool(self._reader._buffer) or self._reader.at_eof())  # type: ignore[attr-defined]

    async def waiting(self) -> bytes:
        """What has come and was not asked for."""
        try:
            return await asyncio.wait_for(self._reader.read(1000), 0.01)
        except (TimeoutError, ConnectionError):
            return b""


class Player:
    """Plays one script against one backend."""

    def __init__(self, script: Script, options: Options, backend: Backend) -> None:
        self._script = script
        self._options = options
        self.backend = backend
        self._connections: dict[str, Connection] = {}
        self._names: dict[str, str] = {}
        self._graph: list[Step] = []  # the G: lines of the running command

    async def play(self) -> None:
        steps = self._script.steps
        await self.open()
        at = 0
        while at < len(steps):
            at = await self._play_at(steps, at)
        await self._check_graph()
        await self.backend.settle()
        for who, connection in self._connections.items():
            extra = await connection.waiting()
            if extra:
                raise MismatchError(f"unasked for on connection {who}: {extra!r}")

    async def open(self) -> None:
        """Every connection the script speaks of, in the order of their numbers."""
        for who in sorted({step.who for step in self._script.steps} - {""}):
            await self.connection(who)

    async def close(self) -> None:
        for connection in self._connections.values():
            connection.writer.close()
        await self.backend.settle()

    async def _play_at(self, steps: Sequence[Step], at: int) -> int:
        """Play the step at `at`, with its neighbours where they belong together; returns the next index."""
        step = steps[at]
        if step.lane in ("S?", "V:"):
            end = next((i for i in range(at, len(steps)) if not same_lane(steps[i], step)), len(steps))
            await (self._any_order if step.lane == "S?" else self._look)(steps[at:end])
            return end
        await self.play_one(step)
        return at + 1

    async def play_one(self, step: Step) -> None:
        if step.lane in ("C:", "C%", "O:", "T"):
            await self._check_graph()
        if step.lane in ("C:", "C%"):
            await self.send(step)
        elif step.lane in ("G:", "G?"):
            self._graph.append(step)
        elif step.lane == "T":
            await self.backend.advance(float(step.text))
        elif step.lane == "O:":
            await self.backend.outside(words(self._filled(step.pieces[0]).decode()))
        elif step.lane == "C!":
            await self._act(step)
        elif step.lane in ("S:", "S~"):
            await self._expect(step)

    # -- what the client does --

    async def send(self, step: Step) -> None:
        connection = await self.connection(step.who)
        await self.backend.reset_graph_log()
        if step.lane == "C%":
            connection.writer.write(step.text.encode("latin-1").decode("unicode_escape").encode("latin-1"))
            return
        for index, piece in enumerate(step.pieces):
            if index % 2:
                connection.writer.write(piece)
            elif index + 1 < len(step.pieces):
                await self._announce(connection, step, index)
            else:
                connection.writer.write(self._filled(piece) + b"\r\n")

    async def _announce(self, connection: Connection, step: Step, index: int) -> None:
        sync, size = step.syncs[index // 2], len(step.pieces[index + 1])
        text = self._filled(step.pieces[index])
        connection.writer.write(text + (b"{%d}\r\n" if sync else b"{%d+}\r\n") % size)
        if sync:
            answer = await connection.response()
            if not answer.startswith(b"+ "):
                raise MismatchError(f"line {step.line}: no continuation but {answer!r}")

    def connected(self) -> list[str]:
        return list(self._connections)

    async def _act(self, step: Step) -> None:
        connection = await self.connection(step.who)
        if step.text == "starttls":
            if self.backend.tls is None:
                raise ValueError("the transcript needs `fixture tls`")
            await connection.writer.start_tls(self.backend.tls, server_hostname="localhost")
        elif step.text in ("compress", "plain"):
            connection.compress(step.text == "compress")
        elif step.text.startswith(("scram ", "wrong-scram ")):
            await connection.scram(*step.text.split()[1:], wrong=step.text.startswith("wrong"))
        elif step.text == "shut":
            connection.writer.write_eof()
        else:
            connection.writer.close()

    async def connection(self, who: str) -> Connection:
        if who not in self._connections:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.backend.port, limit=1 << 26)
            self._connections[who] = Connection(reader, writer)
            await self._bring(self._connections[who], self._options.start)
        return self._connections[who]

    async def _bring(self, connection: Connection, start: str) -> None:
        """To where the transcript begins."""
        if start == "greeting":
            return
        await connection.response()
        commands = {
            "connected": [],
            "login": [f"LOGIN {USER} {PASSWORD}"],
            "select": [f"LOGIN {USER} {PASSWORD}", "SELECT INBOX"],
            "examine": [f"LOGIN {USER} {PASSWORD}", "EXAMINE INBOX"],
        }[start]
        for command in commands:
            connection.writer.write(f"start {command}\r\n".encode())
            while not (answer := await connection.response()).startswith(b"start "):
                pass
            if not answer.startswith(b"start OK"):
                raise MismatchError(f"the start failed: {answer!r}")

    # -- what the server must say --

    async def _expect(self, step: Step) -> None:
        connection = await self.connection(step.who)
        if step.text == "<nothing>":
            await self.backend.settle()
            got = await connection.waiting()
            if got:
                raise MismatchError(f"line {step.line}: expected nothing, got {got!r}")
            return
        self.compare(step, await connection.response())

    def compare(self, step: Step, got: bytes) -> None:
        if step.lane == "S~":
            match = re.fullmatch(self._filled(step.pieces[0]), got, re.DOTALL)
            if match is None:
                raise MismatchError(f"line {step.line}: {got!r} does not match {step.text}")
            self._names.update({k: v.decode("latin-1") for k, v in match.groupdict().items()})
        elif got != self.expected(step):
            raise MismatchError(f"line {step.line}:\n  expected {self.expected(step)!r}\n  got      {got!r}")

    async def _any_order(self, steps: Sequence[Step]) -> None:
        connection = await self.connection(steps[0].who)
        got = sorted([await connection.response() for _ in steps])
        expected = sorted(self.expected(step) for step in steps)
        if got != expected:
            raise MismatchError(f"line {steps[0].line}, any order:\n  expected {expected}\n  got      {got}")

    def expected(self, step: Step) -> bytes:
        """The whole response: literals with their headers."""
        whole = b""
        for index, piece in enumerate(step.pieces):
            whole += b"{%d}\r\n%b" % (len(piece), piece) if index % 2 else self._filled(piece)
        return whole

    def _filled(self, text: bytes) -> bytes:
        for name, value in self._names.items():
            text = text.replace(b"$" + name.encode(), value.encode("latin-1"))
        return text

    # -- what is behind --

    async def _look(self, steps: Sequence[Step]) -> None:
        """The V: lanes of one folder."""
        mailbox = split_view(steps[0])[0]
        got = await self.backend.see(mailbox)
        wanted = [line for step in steps if (line := split_view(step)[1])]
        if got is not None and got != wanted:
            raise MismatchError(
                f"line {steps[0].line}: Outlook shows in {mailbox}: {got} instead of {wanted}"
            )

    async def _check_graph(self) -> None:
        """What the last command has cost, once its responses have come."""
        expected, self._graph = self._graph, []
        if not expected or (got := await self.backend.graph_log()) is None:
            return
        if not same_requests(expected, got):
            wanted = [step.text for step in expected]
            raise MismatchError(f"line {expected[0].line}: Graph requests {got} instead of {wanted}")


def same_requests(expected: Sequence[Step], got: Sequence[str]) -> bool:
    """Whether these are the requests of the G: and G? lines."""
    wanted = [step for step in expected if step.text != "none"]
    if len(wanted) != len(got):
        return False
    at = 0
    for lane, group in groupby(wanted, key=lambda step: step.lane):
        texts = [step.text for step in group]
        here, at = list(got[at : at + len(texts)]), at + len(texts)
        same = here == texts if lane == "G:" else sorted(here) == sorted(texts)
        if not same:
            return False
    return True


def split_view(step: Step) -> tuple[str, str]:
    mailbox, _, line = step.pieces[0].decode().partition("|")
    return mailbox.strip(), line.strip()


def same_lane(step: Step, other: Step) -> bool:
    if step.lane == "V:" and other.lane == "V:":
        return split_view(step)[0] == split_view(other)[0]
    return step.lane == other.lane and step.who == other.who


async def play(text: str, factory: BackendFactory) -> None:
    """Play one transcript; MismatchError says where it differs."""
    script = read_script(text)
    options = Options.of(script.fixtures)
    async with factory(options) as backend:
        player = Player(script, options, backend)
        try:
            await player.play()
        finally:
            await player.close()


def transcripts() -> list[Path]:
    return sorted(HERE.glob("*.imap"))

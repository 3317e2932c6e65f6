"""Golden transcripts: one IMAP behaviour each, over a real socket (format: golden/runner.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden.backend import BACKENDS
from golden.options import Options
from golden.runner import MismatchError, play, read_script, same_requests, transcripts
from golden.update import update

ANNOUNCED = {"2177", "2342", "2971", "3348", "3501", "3691", "4315", "4731", "4959", "4978", "5032", "5161",
             "5182", "5256", "5258", "5267", "5802", "5819", "5957", "6154", "6851", "6855", "7162", "7377",
             "7677", "7888", "7889", "8437", "9051", "9394", "9585", "9586", "9738"}  # fmt: skip


def read(path: Path) -> str:
    return path.read_text()


def write(path: Path, text: str) -> None:
    path.write_text(text)


def plays() -> list[tuple[Path, str]]:
    """Each transcript with each backend it is for."""
    only = {path: Options.of(read_script(read(path)).fixtures).only for path in transcripts()}
    return [(path, name) for name in BACKENDS for path in transcripts() if only[path] in ("", name)]


@pytest.mark.parametrize(("path", "backend"), plays(), ids=lambda value: getattr(value, "stem", value))
async def test_transcript(path: Path, backend: str, request: pytest.FixtureRequest) -> None:
    """`--golden-update` writes down what the real one says, or the only one."""
    text = read(path)
    if request.config.getoption("--golden-update") == backend:
        text = await update(text, BACKENDS[backend])
        write(path, text)
    await play(text, BACKENDS[backend])


def test_there_are_transcripts_for_every_rfc_we_announce() -> None:
    names = [path.stem for path in transcripts()]
    assert len(names) >= 60
    assert {name.partition("-")[0] for name in names} >= ANNOUNCED


@pytest.mark.parametrize(
    "script",
    [
        "C1: a NOOP\nS1: a OK wrong text\n",
        "C1: a NOOP\n",
        "C1: a FETCH 1 FLAGS\nS1? * 1 FETCH (FLAGS (\\Seen))\nS1: a OK FETCH completed\n",
        "C1: a NOOP\nS1~ a NO .*\n",
    ],
    ids=["text", "unread", "any-order", "regex"],
)
async def test_a_wrong_transcript_fails(script: str) -> None:
    with pytest.raises(MismatchError):
        await play("fixture inbox 1\n" + script, BACKENDS["fake"])


@pytest.mark.parametrize(
    "lines",
    [
        "C1: a CHECK\nG: GET messages/delta\nS1: a OK CHECK completed\n",
        "C1: a NOOP\nG: GET messages/delta\nS1: a OK NOOP completed\n",
        "C1: a FETCH 2 ENVELOPE\nG: GET messages\nS1~ .*\nS1: a OK FETCH completed\n",
        "C1: a SEARCH BODY of\nG? GET $value\nS1: * SEARCH 1 2\nS1: a OK SEARCH completed\n",
        "V: INBOX | Message 1: unread\n",
        "V: INBOX | Message 1: read\nV: INBOX | Message 2: unread\n",
        "V: Archive | Message 1: unread\n",
    ],
    ids=["more", "none", "other", "fewer", "view-short", "view-other", "view-empty"],
)
async def test_a_wrong_word_on_graph_fails(lines: str) -> None:
    with pytest.raises(MismatchError):
        await play("fixture inbox 2\n" + lines, BACKENDS["real"])


async def test_requests_side_by_side_may_come_in_any_order() -> None:
    script = read_script("C1: a X\nG: first\nG? b\nG? a\nG: last\n")
    expected = [step for step in script.steps if step.lane in ("G:", "G?")]
    assert same_requests(expected, ["first", "a", "b", "last"])
    assert same_requests(expected, ["first", "b", "a", "last"])
    assert not same_requests(expected, ["a", "first", "b", "last"])
    assert not same_requests(expected, ["first", "a", "b"])


async def test_an_update_writes_what_the_server_says_and_keeps_what_holds() -> None:
    text = (
        "# RFC 0\nfixture inbox 1\nC1: a NOOP\nS1~ a OK .*\n"
        "C1: b UID FETCH 1 BODY.PEEK[TEXT]\nS1: b OK nonsense\n"
    )
    updated = await update(text, BACKENDS["fake"])
    assert updated == (
        "# RFC 0\nfixture inbox 1\nC1: a NOOP\nS1~ a OK .*\nC1: b UID FETCH 1 BODY.PEEK[TEXT]\n"
        "S1: * 1 FETCH (UID 1 BODY[TEXT] <<END\nBody of 1\nEND)\nS1: b OK UID FETCH completed\n"
    )
    await play(updated, BACKENDS["fake"])

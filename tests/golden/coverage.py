"""What the transcripts show: sections of RFCs, and the MUSTs of RFC 9051 sections 5 to 7 that bind a server.

`python -m golden.coverage` (in `tests/`) writes `COVERAGE.md`; `tests/test_golden_coverage.py` holds it to the truth.

A transcript's sections come from its name, `<rfc>-<section>-<slug>.imap`, and from `RFC n s` in its first line, which
may name several sections and RFCs: `# RFC 9051 6.4.6, 7.5.2, RFC 5530 3  what is shown`. The MUSTs are in
`musts.toml`, in our own words.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from golden.runner import transcripts

HERE = Path(__file__).parent
REPORT = HERE / "COVERAGE.md"
MUSTS = HERE / "musts.toml"
PLAYED = 3  # transcripts named in a row before it says how many more there are

_NAME = re.compile(r"(\d{4})-((?:\d{1,2}|[A-F])(?:\.\d+)*)-")
_ONE = r"(?:\d+|[A-F])(?:\.\d+)*(?![\w.])"
_WHERE = re.compile(rf"RFC (\d{{4}})((?: (?:appendix )?{_ONE},?)*)")
_SECTION = re.compile(_ONE)

Section = tuple[str, str]  # RFC number, section


@dataclass(frozen=True, slots=True)
class Must:
    """One requirement. `shown` are transcripts; `elsewhere` a test, where no transcript can show it."""

    section: str
    says: str
    shown: tuple[str, ...] = ()
    elsewhere: str = ""
    moot: str = ""  # why there is nothing to show


def first_line(path: Path) -> str:
    return path.read_text().partition("\n")[0].removeprefix("# ")


def sections(path: Path) -> set[Section]:
    """What this transcript shows; `graph-*` may show none."""
    found: set[Section] = set()
    if named := _NAME.match(path.name):
        found.add((named[1], named[2]))
    for rfc, numbers in _WHERE.findall(first_line(path).partition("  ")[0]):
        found.update((rfc, number) for number in _SECTION.findall(numbers) or ("",))
    return found


def musts() -> list[Must]:
    rows = tomllib.loads(MUSTS.read_text()).get("must", [])
    return [Must(**{**row, "shown": tuple(row.get("shown", ()))}) for row in rows]


def order(section: str) -> tuple[tuple[int, str], ...]:
    """6.3.10 after 6.3.9, appendices last."""
    parts = section.split(".")
    return tuple((int(part), "") if part.isdigit() else (1000, part) for part in parts)


def report(paths: Iterable[Path]) -> str:
    by_section: defaultdict[Section, list[str]] = defaultdict(list)
    names = [path.stem for path in paths]
    for path in paths:
        for section in sections(path):
            by_section[section].append(path.stem)
    rfcs = sorted({rfc for rfc, _ in by_section})
    lines = ["# What the transcripts show", "", "Written by `python -m golden.coverage`; not by hand.", ""]
    lines += [f"{len(names)} transcripts, {len(by_section)} sections of {len(rfcs)} RFCs.", ""]
    lines += ["## Sections", "", "| RFC | section | transcripts |", "|---|---|---|"]
    lines += [
        f"| {rfc} | {section or '(all)'} | {_names(by_section[rfc, section])} |"
        for rfc, section in sorted(by_section, key=lambda one: (one[0], order(one[1])))
    ]
    lines += ["", "## RFC 9051, sections 5 to 7: what a server MUST", ""]
    lines += ["| section | requirement | shown by |", "|---|---|---|"]
    lines += [_must_row(must) for must in musts()]
    return "\n".join(lines) + "\n"


def _names(found: list[str]) -> str:
    more = f", {len(found) - PLAYED} more" if len(found) > PLAYED else ""
    return ", ".join(sorted(found)[:PLAYED]) + more


def _must_row(must: Must) -> str:
    return f"| {must.section} | {must.says} | {', '.join(must.shown) or must.elsewhere or must.moot} |"


if __name__ == "__main__":
    REPORT.write_text(report(transcripts()))
    sys.exit(0)

"""The table of what the transcripts show is true, and every MUST has a transcript that exists."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden import coverage
from golden.coverage import Must, musts, order, report, sections
from golden.runner import transcripts

TESTS = Path(__file__).parent


def test_every_transcript_names_its_rfc_and_section() -> None:
    without = [
        path.name for path in transcripts() if not path.name.startswith("graph-") and not sections(path)
    ]
    assert without == []


def test_every_transcript_says_in_its_first_line_what_it_shows() -> None:
    assert [path.name for path in transcripts() if not path.read_text().startswith("# ")] == []


@pytest.mark.parametrize("must", musts(), ids=lambda must: f"{must.section} {must.says[:40]}")
def test_every_must_is_shown(must: Must) -> None:
    names = {path.stem for path in transcripts()}
    assert must.shown or must.elsewhere or must.moot
    assert set(must.shown) <= names
    if must.elsewhere:
        file, _, function = must.elsewhere.partition("::")
        assert f"def {function}(" in (TESTS / file).read_text()


def test_the_musts_are_in_order_and_of_sections_5_to_7() -> None:
    found = [order(must.section) for must in musts()]
    assert found == sorted(found)
    assert {must.section[0] for must in musts()} == {"5", "6", "7"}


def test_the_report_is_up_to_date() -> None:
    """`cd tests && python -m golden.coverage` writes it."""
    assert coverage.REPORT.read_text() == report(transcripts())


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("9051-6.4.6-x.imap", "# RFC 9051 6.4.6  text", {("9051", "6.4.6")}),
        ("9051-E-10-x.imap", "# RFC 9051 appendix E, RFC 5530 3  x", {("9051", "E"), ("5530", "3")}),
        ("graph-x.imap", "# RFC 3501 6.3.6, 6.3.9  x", {("3501", "6.3.6"), ("3501", "6.3.9")}),
        ("graph-x.imap", "# Trap 5  x", set()),
        ("3501-6.4.6-x.imap", "# RFC 3501 6.4.6, 7.2.6  x", {("3501", "6.4.6"), ("3501", "7.2.6")}),
    ],
    ids=["plain", "appendix", "several", "none", "list"],
)
def test_sections_are_read_from_name_and_first_line(
    tmp_path: Path, name: str, text: str, expected: set[tuple[str, str]]
) -> None:
    path = tmp_path / name
    path.write_text(text + "\n")
    assert sections(path) == expected

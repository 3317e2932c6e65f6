"""The bench runs and yields its rows. What it counts is asserted; how long things take never is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import cached, cold
from tests.bench.__main__ import GROUPS, run
from tests.bench.cold import RTT, SERVICE, Calls, Sizes
from tests.bench.mail import NEEDLE, RARE, letters
from tests.bench.report import Figure, Report
from tests.differential.dovecot import missing


def test_names_of_rows_are_one_for_each() -> None:
    names = [name for group, (rows, *_) in GROUPS.items() for name in (group, *rows)]
    assert len(names) == len(set(names))


def test_the_mail_is_the_same_every_time() -> None:
    made = list(letters(200, 2_000))
    assert made == list(letters(200, 2_000))
    assert all(1_800 < len(letter.octets) <= 2_100 for letter in made)
    assert sum(NEEDLE.encode() in letter.octets for letter in made) == 4
    assert sum(RARE.title().encode() in letter.octets for letter in made) == 2
    assert 100 < sum(letter.seen for letter in made) < 160


@pytest.mark.skipif(missing(), reason="Dovecot is not installed")
def test_cached_rows_beside_dovecot(tmp_path: Path) -> None:
    report = run(["flags", "envelope", "bodies", "from"], quick=True)
    found = {(figure.key, figure.who): figure for figure in report.figures}
    assert found.keys() == {
        (key, who) for key in ("flags", "envelope", "bodies", "from") for who in ("Dovecot", "gateway")
    }
    assert all(figure.value > 0 for figure in report.figures)
    for key in ("flags", "bodies"):  # the same messages: about as many octets from both
        ours, theirs = found[key, "gateway"].count, found[key, "Dovecot"].count
        assert ours > cached.QUICK.large * 20
        assert abs(ours - theirs) < ours // 5
    report.write(tmp_path / "figures.json")
    assert len(json.loads((tmp_path / "figures.json").read_text())["figures"]) == 8
    report.show()


def calls(*lines: tuple[str, str, int]) -> Calls:
    return Calls(list(lines))


def test_bounds_are_what_slots_and_latency_force() -> None:
    sizes = Sizes()
    assert cold.WORK["fetch"].bound(sizes, calls()) == pytest.approx(50 * (RTT + SERVICE))
    assert cold.WORK["store"].bound(sizes, calls()) == pytest.approx(2 * RTT + 25 * SERVICE)
    walk = [("GET", "/users/a/mailFolders/b/messages/delta", 0)] * 10
    pages = [("GET", "/users/a/mailFolders/b/messages", 0)] * 30
    assert cold.WORK["first-sync"].bound(sizes, calls(*walk, *pages)) == pytest.approx(10 * 0.06)
    assert cold.WORK["first-sync"].bound(sizes, calls(*pages)) == pytest.approx(30 * 0.06 / 4)
    slow = cold.WORK["first-sync-slow"].bound(sizes, calls(*walk))
    assert slow == pytest.approx((10 * 0.06 + 100) / 4)


def test_a_report_compares(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    for who, value in (("Dovecot", 20.0), ("gateway", 5.0)):
        report.add(Figure("cached", "flags", "FETCH", who, "ms", value))
    report.add(Figure("cold", "store", "STORE of 100", "gateway", "s", 0.7, requests=5, bound=0.35))
    report.show()
    shown = capsys.readouterr().out
    assert "4.00" in shown
    assert "x2.00" in shown


def test_submission_beside_a_sink_and_a_bare_relay() -> None:
    report = run(["send-small"], quick=True)
    requests = {figure.who: figure.requests for figure in report.figures}
    assert requests == {"sink": 0, "relay": 4, "gateway": 8}
    assert all(figure.value > 0 for figure in report.figures)

"""Options of the test run."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden-update", help="rewrite the golden transcripts as this backend answers: fake or real"
    )


# Tests that wait in real time for other programs or sockets: a machine that stalls for seconds is not their fault.
# A second try is printed (R); one that needs it every time is a fault.
REAL_TIME = ("interop/", "test_never_", "test_app.py", "test_demo.py", "test_differential.py", "test_golden.py",
             "test_graph_emulator.py", "test_mailbox_watch.py", "test_mailbox_push.py", "test_mailbox_folder.py",
             "test_invariants.py", "test_kill.py", "test_nodes", "test_queue.py", "test_push_served.py",
             "test_submission_wire.py", "test_sending_precheck.py", "test_budgets", "test_soak_")  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(name in item.path.as_posix() for name in REAL_TIME):
            item.add_marker(pytest.mark.flaky(reruns=2))

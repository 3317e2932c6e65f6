"""The emulator as a process of its own, filled with the benchmark's mail: `python -m tests.bench.emulator JSON READY`.

JSON: `{"folders": {"Small": [10000, 2000]}, "variants": {"Cold": 50000}, "users": 1, "rtt_ms": 50}`.
`folders` hold `mail.letters` (count, octets); `variants` so many of one message, which cost little to make.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import uvloop

from gateway.emulator.seed import _settle, _without_lag
from gateway.emulator.serve import EmulatorOptions, RunningEmulator, run
from tests.bench.mail import USER, letters

NO_LAG = (
    "delta_lag_seconds",
    "counts_lag_seconds",
    "conflict_seconds",
    "fresh_404_seconds",
    "sent_copy_seconds",
)
START = 1_600_000_000  # of the first variant


def fill(running: RunningEmulator, plan: dict[str, Any]) -> None:
    tenant = running.tenant
    running.world.limits.update(dict.fromkeys(NO_LAG, 0.0))
    with _without_lag(running.world):
        for name, (count, size) in plan.get("folders", {}).items():
            where = "inbox" if name == "INBOX" else tenant.outlook_folder(USER, "msgfolderroot", name)
            for letter in letters(count, size):
                id = tenant.deliver(USER, where, letter.octets, received=letter.received)
                if letter.seen:
                    tenant.outlook_patch(USER, id, {"isRead": True})
        base = next(letters(1, 2000)).octets
        for name, count in plan.get("variants", {}).items():
            where = "inbox" if name == "INBOX" else tenant.outlook_folder(USER, "msgfolderroot", name)
            for number in range(1, count + 1):
                tenant.deliver_variant(USER, where, base, number, START + number * 60)
    for box in map(tenant.box, tenant.users()):
        _settle(box)


async def main(plan: dict[str, Any], ready: Path) -> None:
    latency = {name: plan[name] for name in ("rtt_ms", "service_ms", "item_us") if name in plan}
    options = EmulatorOptions(port=0, http=True, messages=0, users=plan.get("users", 1))

    def said(running: RunningEmulator) -> None:
        fill(running, plan)
        running.world.limits.update(latency)
        draft = ready.with_suffix(".tmp")
        draft.write_text(json.dumps(running.describe()))
        draft.replace(ready)

    await run(options, said)


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.argv[1]), Path(sys.argv[2])))

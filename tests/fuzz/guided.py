"""Fuzz one target, or all in turn, guided by coverage (atheris).

`python -m tests.fuzz.guided mime --seconds 1800`; `all --seconds 60` takes them in turn, each for so long. New inputs
go to a scratch directory, which is printed; a find is written to `crash-*` there and ends the run. A find becomes a
seed under `corpus/` with a name that says what it was, and is run by the suite for ever.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
from pathlib import Path

from .targets import CORPUS, TARGETS


def run(name: str, seconds: int, scratch: Path) -> None:
    """Fuzz `name` in this process; libFuzzer ends it with its own exit code."""
    import atheris

    with atheris.instrument_imports(include=["gateway"], enable_loader_override=False):
        for module in [module for module in sys.modules if module.startswith("gateway")]:
            del sys.modules[module]
        for module in ("tests.fuzz.targets", "tests.fuzz.framer"):
            sys.modules.pop(module, None)
        from .targets import TARGETS as INSTRUMENTED
    (scratch / name).mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        "-max_len=4096",
        "-timeout=10",
        f"-artifact_prefix={scratch}/crash-{name}-",
    ]
    atheris.Setup(
        [name, *options, "-verbosity=0", "-print_final_stats=1", str(scratch / name), str(CORPUS / name)],
        INSTRUMENTED[name],
    )
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--scratch", type=Path, default=None, help="where new inputs are kept")
    options = parser.parse_args()
    scratch = options.scratch or Path(tempfile.mkdtemp(prefix="fuzz-"))
    print(f"inputs in {scratch}", flush=True)
    bad = [name for name in _chosen(options.target) if not _clean(name, options.seconds, scratch)]
    print(f"finds in: {', '.join(bad)}" if bad else "nothing found", flush=True)
    return 1 if bad else 0


def _chosen(target: str) -> list[str]:
    return list(TARGETS) if target == "all" else [target]


def _clean(name: str, seconds: int, scratch: Path) -> bool:
    """Each target in its own process: libFuzzer takes the process with it."""
    child = multiprocessing.get_context("spawn").Process(target=run, args=(name, seconds, scratch))
    child.start()
    child.join()
    return child.exitcode == 0


if __name__ == "__main__":
    sys.exit(main())

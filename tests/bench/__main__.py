"""Run the benches: `make bench`, or `python -m tests.bench NAME …` for those whose file is `bench_NAME.py`.

A bench is a module `bench_*.py` in this folder with a `main()` that measures and prints a table in which a
missed bar is marked with ✘. Each runs in a process of its own, one after the other, so that none disturbs the
figures of another.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
MISSED = "✘"
#: Runs one bench; its file is the only argument, and its folder is importable as for a script.
RUN_ONE = (
    "import pathlib, runpy, sys; file = sys.argv.pop(1); sys.path.insert(0, str(pathlib.Path(file).parent)); "
    "sys.exit(runpy.run_path(file)['main']())"
)


def run(path: Path) -> tuple[int, list[str]]:
    """Run one bench, show what it prints as it comes, and give its exit code and the lines of missed bars."""
    command = [sys.executable, "-u", "-c", RUN_ONE, str(path)]
    missed = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if MISSED in line:
                missed.append(line.strip())
    return process.returncode, missed


def main() -> int:
    """Run the chosen benches and say which held their bars."""
    known = {
        path.stem.removeprefix("bench_"): path
        for path in sorted(FOLDER.glob("bench_*.py"))
        if "\ndef main(" in path.read_text()  # the others are what benches share
    }
    parser = argparse.ArgumentParser(prog="make bench", description="Measure against the bars.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; default: all")
    names = parser.parse_args().names or list(known)
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no bench named {', '.join(unknown)}; there are: {', '.join(known)}")

    summary = []
    failed = False
    for name in names:
        print(f"\n== {name} ".ljust(79, "="), flush=True)
        began = time.monotonic()
        code, missed = run(known[name])
        failed = failed or bool(code or missed)
        verdict = (
            f"failed with exit code {code}" if code else "a bar was missed" if missed else "every bar held"
        )
        summary += [
            f"{name:<20} {verdict} ({time.monotonic() - began:.0f} s)",
            *(f"    {line}" for line in missed),
        ]

    print("\n== summary ".ljust(79, "="))
    print("\n".join(summary))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

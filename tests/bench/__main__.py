"""Run the benches: `make bench`, or `python -m tests.bench NAME …` for those whose file is `bench_NAME.py`.

A bench is a module `bench_*.py` in this folder with a `main()` that measures, prints its table, and returns
an exit code: 0 or None where every bar held. Each runs in a process of its own, one after the other, so that
none disturbs the figures of another.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
#: Runs one bench; the file is the only argument, and its folder is importable as for a script.
RUN_ONE = (
    "import pathlib, runpy, sys; file = sys.argv.pop(1); sys.path.insert(0, str(pathlib.Path(file).parent)); "
    "sys.exit(runpy.run_path(file)['main']())"
)


def main() -> int:
    """Run the chosen benches and say which held their bars."""
    known = {path.stem.removeprefix("bench_"): path for path in sorted(FOLDER.glob("bench_*.py"))}
    parser = argparse.ArgumentParser(prog="make bench", description="Measure against the bars.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; default: all")
    names = parser.parse_args().names or list(known)
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no bench named {', '.join(unknown)}; there are: {', '.join(known)}")

    results = {}
    for name in names:
        print(f"\n== {name} ".ljust(79, "="), flush=True)
        results[name] = subprocess.run([sys.executable, "-c", RUN_ONE, known[name]], check=False).returncode

    print("\n== summary ".ljust(79, "="))
    for name, code in results.items():
        print(f"{name:<24} {'every bar held' if code == 0 else f'a bar was missed (exit code {code})'}")
    return int(any(results.values()))


if __name__ == "__main__":
    sys.exit(main())

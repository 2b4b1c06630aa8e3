"""How long a person waits before anything happens: importing the package, and help on the command line.

Every figure is what a process takes beyond `python -c pass`, measured in turns with it, so that a busy
machine slows both alike; the median of the rounds counts. The ratio is the whole process over that named
limit. Peak memory is an upper bound: the kernel counts what this process had when it made the other.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench_table import Row, print_table

ROUNDS = 15
BARE = "python -c pass"
COMMANDS = {
    BARE: [sys.executable, "-c", "pass"],
    "import jupyter_sky": [sys.executable, "-c", "import jupyter_sky"],
    "jupyter-sky --help": [str(Path(sys.executable).with_name("jupyter-sky")), "--help"],
    "jupyter-sky launch --help": [str(Path(sys.executable).with_name("jupyter-sky")), "launch", "--help"],
    "%load_ext jupyter_sky, beyond IPython's import": [
        sys.executable,
        "-c",
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "import jupyter_sky_magics.completion, jupyter_sky_magics.magic",
    ],
    "IPython's import": [
        sys.executable,
        "-c",
        "from IPython.core.interactiveshell import InteractiveShell",
    ],
}


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command; give its seconds and its peak memory in MiB."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    unit = 1024 if sys.platform == "darwin" else 1  # macOS counts bytes, Linux KiB
    return took, usage.ru_maxrss / unit / 1024


def main() -> None:
    """Measure and print the table."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            taken[name].append(measure(command))
    seconds = {name: statistics.median(took for took, _ in runs) for name, runs in taken.items()}
    memory = {name: max(peak for _, peak in runs) for name, runs in taken.items()}
    bare = seconds[BARE]
    rows = [Row(BARE, bare, "s")]
    for name, bar in (
        ("import jupyter_sky", "≤ 0.15"),
        ("jupyter-sky --help", "≤ 0.30"),
        ("jupyter-sky launch --help", "≤ 0.30"),
    ):
        rows.append(Row(f"{name}, beyond it", seconds[name] - bare, "s", bar, seconds[name] / bare))
        rows.append(Row(f"{name}, peak memory", memory[name], "MiB", "≤ 50", memory[name] / memory[BARE]))
    extension = "%load_ext jupyter_sky, beyond IPython's import"
    ipython = seconds["IPython's import"]
    rows.append(Row(extension, seconds[extension] - ipython, "s", "≤ 0.15", seconds[extension] / ipython))
    print_table(f"Start, median of {ROUNDS} rounds; ratios to {BARE}", rows)


if __name__ == "__main__":
    main()

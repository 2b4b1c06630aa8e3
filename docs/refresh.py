"""Run the commands of documents and write below each what it printed: `python docs/refresh.py docs/files.md`.

In a block that is fenced as `console`, every line that begins with `$ ` is run, in order, with a state folder
of the page's own and a copy of the examples as its present folder; what stood below it is replaced. Nothing
is invented, so a page cannot promise what the program does not do. Only names are changed: the person is
`ada`, and the state folder is where it would be by default. Needs `jupyter-sky` on the PATH.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
SECONDS_PER_COMMAND = 120
DEFAULT_HOME = "~/.local/share/jupyter-sky"


def run(command: str, folder: Path, environment: dict[str, str]) -> str:
    """Give what a command prints, to both of its outputs."""
    ran = subprocess.run(
        ["/bin/bash", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS_PER_COMMAND,
        check=False,
    )
    shown = ran.stdout.replace(str(folder), ".").replace(environment["JUPYTER_SKY_HOME"], DEFAULT_HOME)
    lines = [line.rstrip() for line in shown.splitlines()]
    return "".join(f"{line}\n" for line in lines)


def refresh(page: Path) -> None:
    """Run all commands of a page."""
    with tempfile.TemporaryDirectory(prefix="sky-page-") as scratch:
        folder = Path(scratch, "examples")
        shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        environment = {
            **os.environ,
            "JUPYTER_SKY_HOME": f"{scratch}/home",
            "LOGNAME": "ada",
            "COLUMNS": "110",
            "TERM": "dumb",
        }

        def block(match: re.Match[str]) -> str:
            commands = [line for line in match[0].splitlines() if line.startswith("$ ")]
            return "".join(f"{line}\n{run(line[2:], folder, environment)}" for line in commands)

        try:
            page.write_text(BLOCK.sub(block, page.read_text()))
        finally:
            run("jupyter-sky down --all --yes", folder, environment)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        refresh(Path(name))

"""Run `quickstart.ipynb` from top to bottom, as `make demo` does, and say what happened.

The notebook is executed in a real kernel and a state folder of its own, so that the demo neither sees nor
changes your clusters. The executed copy lands in `build/quickstart.ipynb`; if a cell fails, whatever is still
running is taken down before this ends.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbclient
import nbformat

import jupyter_sky

EXAMPLES = Path(__file__).resolve().parent
EXECUTED = EXAMPLES.parent / "build" / "quickstart.ipynb"
SECONDS_PER_CELL = 300


def title(cell: nbformat.NotebookNode) -> str:
    """Give the first line of a cell, cut to the width of a terminal."""
    line = cell.source.strip().splitlines()[0]
    return line if len(line) <= 68 else line[:67] + "…"


def text_of(cell: nbformat.NotebookNode) -> str:
    """Give all that a cell printed or showed, as plain text."""
    parts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            parts.append(output.text)
        elif "data" in output:
            parts.append(output.data.get("text/plain", "") + "\n")
    return "".join(parts)


def execute(notebook: nbformat.NotebookNode) -> None:
    """Run every code cell, one line of progress each; raise on the first that fails."""
    client = nbclient.NotebookClient(
        notebook, timeout=SECONDS_PER_CELL, resources={"metadata": {"path": str(EXAMPLES)}}
    )
    cells = [(index, cell) for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    client.create_kernel_manager()
    client.km.transport = "ipc"  # unix sockets, which only this person can open
    client.km.ip = f"{os.environ['JUPYTER_SKY_HOME']}/kernel"
    with client.setup_kernel():
        for number, (index, cell) in enumerate(cells, start=1):
            print(f"[{number:>2}/{len(cells)}] {title(cell):<68} ", end="", flush=True)
            began = time.monotonic()
            client.execute_cell(cell, index)
            print(f"{time.monotonic() - began:5.1f} s", flush=True)


def main() -> int:
    """Execute the notebook, keep the executed copy, and print its last words."""
    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    home = Path(tempfile.mkdtemp(prefix="sky-"))
    os.environ["JUPYTER_SKY_HOME"] = str(home)
    began = time.monotonic()
    failure = None
    try:
        execute(notebook)
    except nbclient.exceptions.CellExecutionError as error:
        failure = error
    finally:
        EXECUTED.parent.mkdir(exist_ok=True)
        nbformat.write(notebook, EXECUTED)
        for cluster in jupyter_sky.status():  # none, unless a cell failed
            jupyter_sky.down(cluster.name)
        shutil.rmtree(home, ignore_errors=True)
    if failure:
        print(f"FAILED\n\n{failure}\nThe notebook so far: {EXECUTED}")
        return 1
    print()
    print(text_of(notebook.cells[-1]).rstrip())
    print(
        f"\nIt took {time.monotonic() - began:.0f} s. "
        f"The notebook with its results: {os.path.relpath(EXECUTED)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

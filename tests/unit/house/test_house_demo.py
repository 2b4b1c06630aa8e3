"""The quickstart notebook runs from top to bottom in a real kernel, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_the_demo_runs_to_its_end(sky_home: Path) -> None:
    # Its own state folder lies inside this one, so that the fixture finds whatever would be left.
    ran = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"],
        cwd=ROOT,
        env={
            **os.environ,
            "TMPDIR": str(sky_home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Both clusters are gone." in ran.stdout
    assert not list(sky_home.iterdir())

    executed = nbformat.read(ROOT / "build" / "quickstart.ipynb", as_version=4)
    outputs = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error"]

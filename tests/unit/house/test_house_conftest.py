"""The promises of tests/conftest.py that other tests lean on: remains are found, skips fail in CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

CONFTEST = Path(__file__).parents[2] / "conftest.py"


def run_pytest(folder: Path, test: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one test file in a session of its own, with our conftest."""
    (folder / "conftest.py").write_text(CONFTEST.read_text())
    (folder / "test_inner.py").write_text(test)
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            f"--rootdir={folder}",
            f"--basetemp={folder}/temp",
            folder,
        ],
        cwd=folder,
        env={**os.environ, "CI": "", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


SKIPS = """
import pytest

@pytest.mark.skip(reason="no time")
def test_lazy(): pass

@pytest.mark.skip(reason="only on macOS")
def test_elsewhere(): pass
"""


def test_a_skip_fails_in_ci(tmp_path: Path) -> None:
    outcome = run_pytest(tmp_path, SKIPS, CI="true")
    assert outcome.returncode == 1
    assert "skipped although CI is set: no time" in outcome.stdout
    assert "1 skipped, 1 error in" in outcome.stdout


def test_a_skip_is_a_skip_elsewhere(tmp_path: Path) -> None:
    outcome = run_pytest(tmp_path, SKIPS)
    assert outcome.returncode == 0
    assert "2 skipped" in outcome.stdout


def test_a_file_that_skips_itself_fails_in_ci(tmp_path: Path) -> None:
    outcome = run_pytest(tmp_path, 'import pytest\npytest.importorskip("no_such_module")\n', CI="true")
    assert outcome.returncode != 0
    assert "skipped although CI is set" in outcome.stdout


def test_what_is_left_fails_the_test(tmp_path: Path) -> None:
    outcome = run_pytest(
        tmp_path,
        """
import os, pathlib, subprocess

def test_forgetful(sky_home):
    environment = {**os.environ, "HOME": f"{sky_home}/local/x/node-0/home"}
    process = subprocess.Popen(["sleep", "600"], env=environment, start_new_session=True)
    pathlib.Path("pid").write_text(str(process.pid))

def test_messy(sky_home):
    (sky_home / "local" / "abc").mkdir(parents=True)
""",
    )
    assert outcome.returncode == 1
    assert "processes are left" in outcome.stdout
    pid = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert "folders of clusters are left: ['abc']" in outcome.stdout

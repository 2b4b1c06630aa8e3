"""What every test shares: a state folder of its own, waiting for events, and the proof that nothing is left.

Tests start real agents, jobs and operations. A defect that leaves one of them behind is a defect of the
product, so each `sky_home` ends by taking everything down through the product's own commands and then looking
for remains, and the session ends by looking once more. With `CI` set nothing may be skipped: a skipped test
fails, unless the reason is one of `ALLOWED_SKIPS`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import hypothesis
import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

IN_CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}
#: Reasons, by how they begin, for which a test may be skipped even in continuous integration: what a machine
#: may lack and no package can give it, and what an infra says it cannot do.
ALLOWED_SKIPS = ("only on macOS", "needs a GPU")

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
hypothesis.settings.load_profile("ci" if IN_CI else "local")


class WaitUntil(Protocol):
    """The type of the `wait_until` fixture, for tests that annotate it."""

    def __call__(self, predicate: Callable[[], T], limit: float = 10, *, what: str = "") -> T: ...


def _wait_until(predicate: Callable[[], T], limit: float = 10, *, what: str = "") -> T:
    """Give the first true value of `predicate`; fail when there was none within `limit` seconds."""
    deadline = time.monotonic() + limit
    pause = 0.002
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"waited {limit:g} s in vain for {what or predicate!r}; last value: {value!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


@pytest.fixture(scope="session")
def wait_until() -> WaitUntil:
    """Wait for an event with a limit, by asking again and again; no test sleeps for time to pass."""
    return _wait_until


def _processes_of(*folders: Path) -> dict[int, str]:
    """Give pid and command line of every process, except this one, that has one of `folders` in its life.

    A process belongs to a folder if its environment (`JUPYTER_SKY_HOME`, the `HOME` of a node) or its command
    line (`agent serve --root …`) speaks of it. Environments are inherited, so a job's children are found too.
    """
    found = {}
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            words = [*command, *process.environ().values()]
            if process.status() != psutil.STATUS_ZOMBIE and any(
                word == str(folder) or f"{folder}/" in word for word in words for folder in folders
            ):
                found[process.pid] = " ".join(command)[:200]
    return found


def _assert_no_processes(*folders: Path) -> None:
    """Fail if a process of `folders` is left, after ending it so that it disturbs nothing else."""
    deadline = time.monotonic() + 2
    while (left := _processes_of(*folders)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in left:
        with contextlib.suppress(psutil.Error):
            psutil.Process(pid).kill()
    assert not left, f"processes are left: {left}"


@pytest.fixture(scope="session")
def _homes() -> Iterator[Path]:
    """Hold the state folders of this session, under a path short enough for a unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="sky-")).resolve()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left(_homes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Look, when all is done, for any process of any test."""
    yield
    _close_links()
    _assert_no_processes(_homes, tmp_path_factory.getbasetemp().resolve())


@pytest.fixture
def sky_home(_homes: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a fresh `JUPYTER_SKY_HOME`; afterwards take all of it down and prove that nothing is left."""
    home = Path(tempfile.mkdtemp(dir=_homes))
    monkeypatch.setenv("JUPYTER_SKY_HOME", str(home))
    yield home
    # A test may have changed the variable, the rights or the folder itself.
    monkeypatch.setenv("JUPYTER_SKY_HOME", str(home))
    if (home / "state.db").exists():
        _take_down_everything()
    _close_links()
    _assert_no_processes(home)
    left = sorted(path.name for path in (home / "local").glob("*"))
    shutil.rmtree(home, ignore_errors=True)
    assert not left, f"folders of clusters are left: {left}"


def _take_down_everything() -> None:
    """Cancel every operation and take down every cluster, the way a person would."""
    from jupyter_sky.flows import lifecycle, operations
    from jupyter_sky.state import State

    for operation in operations.listing(active=True):
        operations.cancel(operation.id)
        _wait_until(lambda: not operations.listing(active=True), 30, what="the operations to end")
    names = [record.name for record in State.open().clusters.list()]
    if names:
        lifecycle.down(names, purge=True)


def _close_links() -> None:
    """Close the links of this process, each of which holds a relay; they would be closed at its exit."""
    if "jupyter_sky.link.pool" in sys.modules:
        from jupyter_sky.link import pool

        pool.close_all()


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not (IN_CI and report.skipped) or hasattr(report, "wasxfail"):
        return
    longrepr: Any = report.longrepr
    reason = str(longrepr[2] if isinstance(longrepr, tuple) else longrepr).removeprefix("Skipped: ")
    if not reason.startswith(ALLOWED_SKIPS):
        report.outcome = "failed"
        report.longrepr = f"skipped although CI is set: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Make a skipped test a failed one in continuous integration."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """Do the same for whole files that skip themselves."""
    report = yield
    _refuse_skip(report)
    return report

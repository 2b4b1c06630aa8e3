"""A full disk and a read-only one: no hang, no loss, and an error that says what to do."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_sky import config
from jupyter_sky.errors import StateError
from jupyter_sky.flows.operations import follow, get, listing, wait
from jupyter_sky.state import ClusterRecord, OperationStatus, State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from operation_helpers import InPhase, Start


@pytest.fixture
def small_disk(sky_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a disk of 1 MB with the home folder on it; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {made.stderr.strip()}")
    monkeypatch.setenv("JUPYTER_SKY_HOME", str(folder / "home"))
    yield folder
    State.open().close()
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_read_only_disk(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = small_disk / "home"
    State.open().close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StateError, match="cannot be written") as caught:
        State.open()
    assert str(home) in caught.value.message
    monkeypatch.setenv("JUPYTER_SKY_HOME", str(small_disk / "other"))
    with pytest.raises(StateError, match="cannot be made: Read-only file system"):
        config.home()
    monkeypatch.setenv("JUPYTER_SKY_HOME", str(home))
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)


def test_a_full_disk_for_a_new_state(small_disk: Path) -> None:
    config.home()
    filler = small_disk / "filler"
    fill(filler)
    with pytest.raises(StateError) as caught:
        State.open()
    assert "state.db" in caught.value.message
    assert "full" in caught.value.message or "space" in caught.value.message
    filler.unlink()
    State.open().clusters.list()


def test_a_full_disk_later(small_disk: Path) -> None:
    state = State.open()
    state.clusters.add(record("before"))
    filler = small_disk / "filler"
    fill(filler)
    with pytest.raises(StateError, match="full") as caught:
        state.clusters.add(record("too-much", size=500_000))
    assert "space" in (caught.value.hint or "")
    assert "before" in {one.name for one in state.clusters.list()}
    filler.unlink()
    state.clusters.add(record("after"))
    state.close()


def record(name: str, size: int = 10) -> ClusterRecord:
    return ClusterRecord(name=name, id=os.urandom(16).hex(), infra="local", handle={"data": "x" * size})


def fill(file: Path) -> None:
    with pytest.raises(OSError, match="No space"), file.open("wb", buffering=0) as stream:  # noqa: PT012
        while True:
            stream.write(b"\0" * 4096)


def test_no_operation_begins_on_a_full_disk(start: Start, small_disk: Path) -> None:
    State.open()
    fill(small_disk / "filler")
    with pytest.raises(StateError, match=r"full|No space") as caught:
        start("greet")
    assert "space" in (caught.value.hint or "")
    (small_disk / "filler").unlink()
    assert listing(None) == []
    assert wait(start("greet").id)["names"] == []


def test_the_disk_fills_while_an_operation_runs(
    start: Start, in_phase: InPhase, small_disk: Path, tmp_path: Path, wait_until: Any
) -> None:
    """It goes on, and its end is told as soon as there is room."""
    record = start("talk", until=str(tmp_path / "go"), then=str(tmp_path / "told"), lines=2000)
    in_phase(record, "holding")
    fill(small_disk / "filler")
    (tmp_path / "go").touch()
    wait_until((tmp_path / "told").exists, 20, what="the handler to have said all it says, to a full disk")
    (small_disk / "filler").unlink()
    said = [*follow(record.id)]
    assert said[-1].text == "SUCCEEDED"
    assert [event.text for event in said if event.kind == "log"] == [f"line {n}" for n in range(2000)]
    assert get(record.id).status is OperationStatus.SUCCEEDED


def test_the_truth_is_told_even_where_it_cannot_be_kept(
    start: Start, in_phase: InPhase, small_disk: Path, tmp_path: Path
) -> None:
    record = start("hold", until=str(tmp_path / "never"))
    running = in_phase(record, "holding")
    assert running.pid is not None
    fill(small_disk / "filler")
    os.kill(running.pid, 9)
    assert list(follow(record.id))[-1].text == "INTERRUPTED"
    assert listing() == []
    (small_disk / "filler").unlink()
    assert get(record.id).status is OperationStatus.INTERRUPTED

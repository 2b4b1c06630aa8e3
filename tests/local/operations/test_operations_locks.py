"""One cluster, one change at a time, in whichever process."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from operation_helpers import kill

from jupyter_sky.errors import InvalidNameError, OperationError
from jupyter_sky.flows.operations import cluster_lock, follow, get, wait

if TYPE_CHECKING:
    from pathlib import Path

    from operation_helpers import InPhase, Start


def test_the_second_waits_and_says_for_what(start: Start, in_phase: InPhase, tmp_path: Path) -> None:
    first = start("inside_lock", until=str(tmp_path / "first"))
    in_phase(first, "inside")
    second = start("inside_lock", until=str(tmp_path / "second"))
    waiting = in_phase(second, "waiting")
    assert f"the launch of 'dev' (operation {first.id}, phase 'inside')" in waiting.detail
    (tmp_path / "second").touch()
    assert get(first.id).status.active
    (tmp_path / "first").touch()
    assert wait(first.id)["at"] <= wait(second.id)["at"]
    assert [event.text for event in follow(second.id)] == ["waiting", "inside", "SUCCEEDED"]


def test_a_killed_holder_lets_go(start: Start, in_phase: InPhase, tmp_path: Path) -> None:
    first = start("inside_lock", until=str(tmp_path / "never"))
    running = in_phase(first, "inside")
    second = start("inside_lock", until=str(tmp_path / "go"))
    in_phase(second, "waiting")
    kill(running)
    in_phase(second, "inside")
    (tmp_path / "go").touch()
    wait(second.id)


def test_other_clusters_do_not_wait(start: Start, in_phase: InPhase, tmp_path: Path) -> None:
    first = start("inside_lock", target="a", until=str(tmp_path / "go"))
    in_phase(first, "inside")
    with cluster_lock("b", timeout=0):
        pass
    (tmp_path / "go").touch()
    wait(first.id)


def test_a_time_limit(start: Start, in_phase: InPhase, tmp_path: Path) -> None:
    first = start("inside_lock", until=str(tmp_path / "go"))
    in_phase(first, "inside")
    with (
        pytest.raises(OperationError, match=f"operation {first.id}") as caught,
        cluster_lock("dev", timeout=0.05),
    ):
        pytest.fail("two hold the lock")
    assert caught.value.code == "busy"
    (tmp_path / "go").touch()
    wait(first.id)
    with cluster_lock("dev", timeout=0):
        pass


def test_threads_of_one_process_exclude_each_other(sky_home: Path) -> None:
    inside = 0
    most = 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with cluster_lock("dev"):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_holder_that_is_no_operation(sky_home: Path) -> None:
    with (
        cluster_lock("dev"),
        pytest.raises(OperationError, match=f"another command .process {os.getpid()}"),
        cluster_lock("dev", timeout=0),
    ):
        pytest.fail("two hold the lock")


@pytest.mark.parametrize("name", ["", "../dev", "Dev", "a/b", "x" * 64, "a\n"])
def test_a_bad_name_makes_no_file(sky_home: Path, name: str) -> None:
    with pytest.raises(InvalidNameError), cluster_lock(name):
        pytest.fail("a bad name was taken")
    assert not (sky_home / "locks").exists()

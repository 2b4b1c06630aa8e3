"""Another process stops, removes or replaces a cluster that this one uses: the truth is told, none hangs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_sky.errors import ClusterNotFoundError, ClusterNotUpError, SkyError
from jupyter_sky.flows import agents, clusters, jobs, launch, lifecycle, logs, operations, status, truth
from jupyter_sky.flows import exec as exec_flow
from jupyter_sky.spec import Task
from jupyter_sky.state import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FOREVER = "while true; do echo tick; sleep 0.02; done"


def elsewhere(kind: str, **request: Any) -> None:
    """Run an operation, in its own process as always, without this process hearing of its end first."""
    operations.wait(operations.begin(kind, "dev", {"cluster": "dev", **request}).id)


def start_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    ended: list[object] = []

    def run() -> None:
        try:
            ended.append(work())
        except SkyError as error:
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, ended


@pytest.mark.parametrize("kind", ["down", "stop"])
def test_who_follows_or_waits_learns_that_the_cluster_is_gone(sky_home: Path, kind: str, wait_until) -> None:
    job = launch.launch(Task(run=FOREVER), "dev").job_id
    assert job is not None
    pieces: list[bytes] = []
    follower, heard = start_thread(lambda: logs.tail("dev", job, write=pieces.append))
    waiter, told = start_thread(lambda: jobs.wait("dev", job, timeout=100))
    wait_until(lambda: pieces, 30)
    elsewhere(kind)
    follower.join(20)
    waiter.join(20)
    for end in (*heard, *told):
        assert isinstance(end, (ClusterNotFoundError, ClusterNotUpError, logs.LogEnd, jobs.JobView)), end
        assert getattr(end, "status", "CANCELLED") == "CANCELLED"
    assert len(heard) == len(told) == 1


def test_a_follower_does_not_go_on_in_another_cluster_of_the_name(sky_home: Path, wait_until) -> None:
    launch.launch(Task(run=FOREVER), "dev")
    meant = clusters.require("dev")
    elsewhere("down", purge=False)
    launch.launch(Task(run="echo new"), "dev")
    with pytest.raises(ClusterNotFoundError, match="another one"):
        agents.require_same(meant)


def test_a_link_of_before_serves_after_stop_and_start_by_another(sky_home: Path) -> None:
    launch.launch(Task(run="true"), "dev")
    link = agents.link_to(clusters.require("dev"))
    elsewhere("stop")
    elsewhere("start", autostop=None)
    job = exec_flow.exec_task(Task(run="echo again"), "dev").job_id
    assert jobs.wait("dev", job, timeout=30).status == "SUCCEEDED"
    assert agents.link_to(clusters.require("dev")) is link


def test_a_late_look_at_a_removed_cluster_leaves_its_successor_alone(sky_home: Path) -> None:
    launch.launch(Task(run="true"), "dev")
    seen_before = State.open().clusters.list()
    lifecycle.down(["dev"])
    launch.launch(Task(run="true"), "dev")
    assert truth.reconcile(seen_before, busy=()) == []
    (row,) = status.status()
    assert (row.status, row.id != seen_before[0].id) == ("UP", True)
    assert jobs.wait("dev", 1, timeout=30).status == "SUCCEEDED"


def test_a_launch_over_a_start_that_was_cut_off_never_removes_the_files(sky_home: Path) -> None:
    job = launch.launch(Task(run="echo precious > ~/result"), "dev").job_id
    assert job is not None
    jobs.wait("dev", job, timeout=30)
    (result,) = (sky_home / "local").glob("*/node-0/home/result")
    lifecycle.stop(["dev"])
    State.open().clusters.update("dev", status="INIT")  # what a start writes down before it starts nodes
    config = result.parents[1] / ".node.json.draft"
    config.mkdir()  # so that the node's description cannot be written
    with pytest.raises(SkyError):
        launch.launch(Task(run="cat ~/result"), "dev")
    assert result.read_text() == "precious\n"
    config.rmdir()
    launch.launch(Task(run="cat ~/result"), "dev")
    pieces: list[bytes] = []
    logs.tail("dev", write=pieces.append)
    assert b"".join(pieces) == b"precious\n"

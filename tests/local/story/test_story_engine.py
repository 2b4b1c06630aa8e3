"""The life of a cluster on the local infra, as a person lives it, from launch to down."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from jupyter_sky.errors import (
    AgentError,
    ClusterMismatchError,
    ClusterNotFoundError,
    ClusterNotUpError,
    InvalidNameError,
    JobNotFoundError,
    NoOfferError,
    NotConfirmedError,
    SyncError,
)
from jupyter_sky.flows import autostop, check, cost, files, jobs, launch, lifecycle, logs, status
from jupyter_sky.flows import exec as exec_flow
from jupyter_sky.spec import Resources, Task

if TYPE_CHECKING:
    from pathlib import Path


def read_log(cluster: str, job_id: int | None = None, **options: object) -> tuple[str, logs.LogEnd]:
    pieces: list[bytes] = []
    end = logs.tail(cluster, job_id, write=pieces.append, **options)
    return b"".join(pieces).decode(), end


def run_on(cluster: str, script: str, **task: object) -> tuple[str, logs.LogEnd]:
    result = exec_flow.exec_task(Task(run=script, **task), cluster)
    return read_log(cluster, result.job_id)


def test_a_task_runs_from_launch_to_down(sky_home: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "hello.py").write_text("print('hello from a file')\n")
    (tmp_path / "note.txt").write_text("a mounted note")
    task = Task(
        name="first",
        workdir=str(tmp_path / "work"),
        file_mounts={"~/notes/note.txt": str(tmp_path / "note.txt")},
        envs={"GREETING": "good day"},
        setup="echo setting up > ~/setup.txt",
        run="cat ~/setup.txt; python hello.py; cat ~/notes/note.txt; echo; echo $GREETING; pwd; exit 0",
    )
    asked = []
    result = launch.launch(task, "dev", confirm=lambda name, plan: bool(asked.append((name, plan))) or True)
    assert [name for name, _ in asked] == ["dev"]
    assert asked[0][1].chosen.offer.infra == "local"
    text, end = read_log("dev", result.job_id)
    assert end.exit_code == 0
    lines = text.splitlines()
    assert lines[0] == "setting up"
    assert lines[1:4] == ["hello from a file", "a mounted note", "good day"]
    assert lines[4].endswith("/sky_workdir")
    (row,) = status.status()
    assert (row.name, row.status, row.infra, row.operation_id) == ("dev", "UP", "local", None)

    (job,) = jobs.queue("dev")
    assert (job.id, job.name, job.status, job.exit_codes) == (1, "first", "SUCCEEDED", [0])
    text, end = run_on("dev", "echo again; exit 3")
    assert (text, end.status, end.exit_code) == ("again\n", "FAILED", 100)

    assert lifecycle.down(["dev"]) == ["dev"]
    assert status.status() == []
    assert not list((sky_home / "local").glob("*/node-*"))
    bill = cost.cost_report()
    assert [(row.name, row.cost) for row in bill] == [("dev", 0.0)]
    assert bill[0].duration_s > 0


def test_a_second_launch_uses_the_cluster_and_sends_what_changed(sky_home: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    task = Task(workdir=str(tmp_path), run="cat a.txt")
    launch.launch(task, "dev")
    (tmp_path / "a.txt").write_text("two, longer")
    result = launch.launch(
        task, "dev", confirm=lambda *_: pytest.fail("an existing cluster needs no consent")
    )
    assert result.job_id == 2
    assert read_log("dev", 2)[0] == "two, longer"


def test_a_gang_sees_itself_and_its_lines_carry_ranks(sky_home: Path) -> None:
    script = (
        'echo "$SKYPILOT_NODE_RANK of $SKYPILOT_NUM_NODES"; echo "$SKYPILOT_NODE_IPS" | wc -l; '
        "python -c \"import os, socket; ip = os.environ['SKYPILOT_NODE_IPS'].split()"
        "[int(os.environ['SKYPILOT_NODE_RANK'])]; socket.create_server((ip, 0)).close(); print('bound')\""
    )
    result = launch.launch(Task(run=script, num_nodes=2), "gang")
    text, end = read_log("gang", result.job_id)
    assert end.status == "SUCCEEDED"
    head = [line.split(") ", 1)[1] for line in text.splitlines() if line.startswith("(head, rank=0")]
    worker = [line.split(") ", 1)[1] for line in text.splitlines() if line.startswith("(worker1, rank=1")]
    assert [line.strip() for line in head] == ["0 of 2", "2", "bound"]
    assert [line.strip() for line in worker] == ["1 of 2", "2", "bound"]
    assert read_log("gang", result.job_id, rank=1)[0].startswith("1 of 2")


def test_one_rank_that_fails_ends_the_others(sky_home: Path) -> None:
    result = launch.launch(
        Task(run='if [ "$SKYPILOT_NODE_RANK" = 1 ]; then exit 7; fi; sleep 600', num_nodes=2), "gang"
    )
    job = jobs.wait("gang", result.job_id, timeout=60)
    assert (job.status, job.exit_codes) == ("FAILED", [137, 7])


def test_a_setup_that_fails_is_told_apart(sky_home: Path) -> None:
    result = launch.launch(Task(setup="echo no; exit 4", run="echo never"), "dev")
    text, end = read_log("dev", result.job_id)
    assert (text.strip(), end.status) == ("no", "FAILED_SETUP")


def test_stop_keeps_files_and_start_brings_them_back(sky_home: Path) -> None:
    launch.launch(Task(run="echo kept > ~/kept.txt", num_nodes=2), "dev")
    jobs.wait("dev", 1, timeout=60)
    lifecycle.stop(["dev"])
    (row,) = status.status()
    assert row.status == "STOPPED"
    with pytest.raises(ClusterNotUpError, match="STOPPED"):
        exec_flow.exec_task(Task(run="true"), "dev")
    lifecycle.start(["dev"])
    assert status.status()[0].status == "UP"
    text, end = run_on("dev", "cat ~/kept.txt", num_nodes=2)
    assert end.exit_code == 0
    assert text.count("kept") == 2


def test_autostop_stops_and_autodown_removes(sky_home: Path, wait_until) -> None:
    launch.launch(Task(run="true"), "sleepy", idle_minutes_to_autostop=0.01)
    wait_until(lambda: status.status()[0].status == "STOPPED", 60)
    launch.launch(Task(run="true"), "gone", idle_minutes_to_autostop=0.01, down=True)
    wait_until(lambda: [row.name for row in status.status()] == ["sleepy"], 60)


def test_a_cluster_says_that_it_is_stopping_itself(sky_home: Path, wait_until) -> None:
    launch.launch(Task(run="true"), "dev")
    jobs.wait("dev", 1, timeout=30)
    autostop.autostop("dev", 0, hook="until [ -e ~/go ]; do sleep 0.05; done")
    wait_until(lambda: status.status()[0].status == "AUTOSTOPPING", 30)
    with pytest.raises(AgentError, match="ending itself"):
        exec_flow.exec_task(Task(run="true"), "dev")
    (next((sky_home / "local").glob("*/node-0/home")) / "go").touch()
    wait_until(lambda: status.status()[0].status == "STOPPED", 30)
    lifecycle.start(["dev"])
    assert status.status()[0].status == "UP"


def test_cancel_ends_a_job_and_the_next_one_starts(sky_home: Path) -> None:
    launch.launch(Task(run="true"), "dev")
    first = exec_flow.exec_task(Task(run="sleep 600", resources=Resources(cpus=1)), "dev").job_id
    jobs.wait("dev", first, until="started", timeout=30)
    assert jobs.cancel("dev", [first]) == [first]
    assert jobs.wait("dev", first, timeout=30).status == "CANCELLED"
    assert run_on("dev", "echo next")[0] == "next\n"


def test_a_dry_run_makes_nothing(sky_home: Path) -> None:
    result = launch.launch(Task(run="true"), "dev", dryrun=True)
    assert result.job_id is None
    assert result.plan is not None
    assert status.status() == []


def test_no_means_no(sky_home: Path) -> None:
    with pytest.raises(NotConfirmedError):
        launch.launch(Task(run="true"), "dev", confirm=lambda *_: False)
    assert status.status() == []


@pytest.mark.parametrize("name", ["Dev", "a_b", "-a", "a-", "", "a" * 64, "a/b", "../x", "ü", "a b"])
def test_a_bad_name_is_refused_with_the_rule(sky_home: Path, name: str) -> None:
    with pytest.raises(InvalidNameError, match="DNS-1123"):
        launch.launch(Task(run="true"), name)


def test_what_cannot_be_had_is_refused_with_reasons(sky_home: Path) -> None:
    with pytest.raises(NoOfferError, match=r"4096"):
        launch.launch(Task(run="true", resources=Resources(cpus="4096+")), "dev")
    with pytest.raises(SyncError, match="no such folder"):
        launch.launch(Task(run="true", workdir="/nowhere/at/all"), "dev")
    assert status.status() == []


def test_what_is_not_there_is_named(sky_home: Path) -> None:
    with pytest.raises(ClusterNotFoundError) as error:
        jobs.queue("dev")
    assert "launch -c dev" in (error.value.hint or "")
    launch.launch(Task(run="true"), "dev")
    with pytest.raises(ClusterNotFoundError) as error:
        jobs.queue("deb")
    assert "'dev'" in (error.value.hint or "")
    with pytest.raises(JobNotFoundError):
        read_log("dev", 99)
    with pytest.raises(ClusterMismatchError, match="3 nodes"):
        exec_flow.exec_task(Task(run="true", num_nodes=3), "dev")


def test_two_launches_of_one_name_make_one_cluster(sky_home: Path) -> None:
    results: list[int | None] = []

    def one() -> None:
        results.append(launch.launch(Task(run="echo hi"), "dev").job_id)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(results) == [1, 2]
    assert len(list((sky_home / "local").glob("*/node-0"))) == 1


def test_files_come_up_and_down(sky_home: Path, tmp_path: Path) -> None:
    launch.launch(Task(run="true"), "dev")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.bin").write_bytes(bytes(range(256)) * 100)
    files.rsync_up("dev", tmp_path / "data", "~/data/")
    assert run_on("dev", "wc -c < ~/data/x.bin")[0].strip() == "25600"
    files.rsync_down("dev", "~/data/", tmp_path / "back")
    assert (tmp_path / "back" / "x.bin").read_bytes() == bytes(range(256)) * 100


def test_logs_can_be_read_again_from_a_byte_or_by_lines_and_kept(sky_home: Path, tmp_path: Path) -> None:
    result = launch.launch(Task(name="count", run="seq 1 1000"), "dev")
    text, end = read_log("dev", result.job_id)
    assert text.splitlines() == [str(n) for n in range(1, 1001)]
    assert read_log("dev", result.job_id, offset=end.offset)[0] == ""
    assert read_log("dev", result.job_id, tail=3)[0] == "998\n999\n1000\n"
    folder = logs.download("dev", folder=tmp_path / "logs")[result.job_id]
    assert (folder / "run.log").read_text() == text


def test_the_infra_is_checked_with_facts(sky_home: Path) -> None:
    (result,) = [row for row in check.check() if row.infra == "local"]
    assert result.enabled
    json.dumps(result.details)


def test_an_infra_that_is_not_allowed_gives_nothing(sky_home: Path) -> None:
    (sky_home / "config.yaml").write_text("allowed_clouds: [aws]\n")
    (result,) = [row for row in check.check() if row.infra == "local"]
    assert not result.enabled
    assert "allowed_clouds" in result.reason
    with pytest.raises(NoOfferError):
        launch.launch(Task(run="true"), "dev")

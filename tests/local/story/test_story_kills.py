"""A kill at any moment loses nothing: the next command tells the truth, goes on or cleans up."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from jupyter_sky.errors import OperationInterruptedError, SkyError
from jupyter_sky.flows import exec as exec_flow
from jupyter_sky.flows import jobs, launch, lifecycle, logs, operations, status
from jupyter_sky.spec import Task

if TYPE_CHECKING:
    from pathlib import Path

CLI = [sys.executable, "-m", "jupyter_sky"]


def journal(home: Path, kind: str) -> list[dict]:
    """Give the events so far of the only operation of that kind."""
    found = [op for op in operations.listing(active=False) if op.kind == kind]
    if not found:
        return []
    path = home / "operations" / found[-1].id / "journal.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def kill_when(home: Path, kind: str, events: int, pid_of) -> bool:
    """Kill with -9 as soon as the operation has said so many things; False where it ended first."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        said = journal(home, kind)
        if len(said) >= events:
            pid = pid_of()
            if pid is None:
                return False
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return False
            return True
        time.sleep(0.002)
    raise AssertionError(f"the {kind} never said {events} things")


def operation_pid(kind: str) -> int | None:
    found = [op for op in operations.listing(active=True) if op.kind == kind]
    return found[-1].pid if found else None


def launch_by_command(folder: Path, *options: str) -> subprocess.Popen[str]:
    (folder / "task.yaml").write_text("num_nodes: 2\nworkdir: .\nrun: cat answer.txt\n")
    (folder / "answer.txt").write_text("forty-two\n")
    return subprocess.Popen(
        [*CLI, "launch", "-y", "-d", "-c", "dev", "task.yaml", *options],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def read(cluster: str, job_id: int | None = None) -> tuple[str, logs.LogEnd]:
    pieces: list[bytes] = []
    end = logs.tail(cluster, job_id, write=pieces.append)
    return b"".join(pieces).decode(), end


@pytest.mark.parametrize("events", [1, 2, 4, 6])
def test_a_killed_client_leaves_a_launch_that_goes_on(
    sky_home: Path, tmp_path: Path, events: int, wait_until
) -> None:
    client = launch_by_command(tmp_path)
    kill_when(sky_home, "launch", events, lambda: client.pid)
    client.wait()
    assert client.stdout is not None
    client.stdout.close()
    wait_until(lambda: not operations.listing(active=True), 60)
    (row,) = status.status()
    assert row.status == "UP"
    text, end = read("dev")
    assert (text.count("forty-two"), end.status) == (2, "SUCCEEDED")
    lifecycle.down(["dev"])


@pytest.mark.parametrize("events", [1, 2, 3, 4, 5, 6, 7])
def test_a_killed_launch_is_told_and_the_next_one_goes_on(
    sky_home: Path, tmp_path: Path, events: int
) -> None:
    client = launch_by_command(tmp_path)
    killed = kill_when(sky_home, "launch", events, lambda: operation_pid("launch"))
    output, _ = client.communicate(timeout=60)
    if killed:
        assert client.returncode != 0, output
        assert "Traceback" not in output
        for row in status.status():
            assert row.status in {"INIT", "UP"}, row
    again = launch_by_command(tmp_path)
    output, _ = again.communicate(timeout=90)
    assert again.returncode == 0, output
    text, end = read("dev")
    assert (text.count("forty-two"), end.status) == (2, "SUCCEEDED")
    lifecycle.down(["dev"])


@pytest.mark.parametrize("events", [1, 2, 3, 4])
def test_a_killed_launch_can_be_taken_down(sky_home: Path, tmp_path: Path, events: int) -> None:
    client = launch_by_command(tmp_path)
    kill_when(sky_home, "launch", events, lambda: operation_pid("launch"))
    client.communicate(timeout=60)
    names = [row.name for row in status.status()]
    if names:
        assert lifecycle.down(names) == ["dev"]
    assert status.status() == []


@pytest.mark.parametrize("events", [1, 2, 3])
def test_a_killed_down_is_finished_by_the_next(sky_home: Path, events: int) -> None:
    launch.launch(Task(run="sleep 600", num_nodes=2), "dev")
    operation = operations.begin("down", "dev", {"cluster": "dev"})
    for said, event in enumerate(operations.follow(operation.id), 1):
        if said == events and event.kind != "end":
            pid = operation_pid("down")
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
            break
    with contextlib.suppress(OperationInterruptedError):
        operations.wait(operation.id)
    for row in status.status():
        lifecycle.down([row.name])
    assert status.status() == []


def agents(home: Path) -> list[int]:
    return [
        json.loads(path.read_text())["pid"] for path in sorted((home / "local").glob("*/node-*/ready.json"))
    ]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_agent_finds_its_jobs_again(sky_home: Path, rank: int, wait_until) -> None:
    script = 'for i in $(seq 1 400); do echo "line $i"; sleep 0.005; done'
    job = launch.launch(Task(run=script, num_nodes=2), "dev").job_id
    jobs.wait("dev", job, until="started", timeout=30)
    pieces: list[bytes] = []
    ends: list[logs.LogEnd] = []
    follower = threading.Thread(target=lambda: ends.append(logs.tail("dev", job, write=pieces.append)))
    follower.start()
    wait_until(lambda: b"line 50\n" in b"".join(pieces), 30)
    agent = psutil.Process(agents(sky_home)[rank])
    agent.kill()
    wait_until(lambda: not agent.is_running() or agent.status() == psutil.STATUS_ZOMBIE, 10)
    (row,) = status.status()
    assert row.status == "UP"
    assert jobs.get("dev", job).status in {"RUNNING", "SUCCEEDED"}
    follower.join(60)
    lines = b"".join(pieces).decode().splitlines()
    for name in ("(head, rank=0", "(worker1, rank=1"):
        mine = [line.split(") ", 1)[1] for line in lines if line.startswith(name)]
        assert mine == [f"line {i}" for i in range(1, 401)]
    assert ends[0].status == "SUCCEEDED"
    assert jobs.get("dev", job).exit_codes == [0, 0]


def test_a_killed_agent_is_told_and_started_again_when_it_is_needed(sky_home: Path, wait_until) -> None:
    launch.launch(Task(run="until [ -e ~/go ]; do sleep 0.05; done; exit 5"), "dev")
    os.kill(agents(sky_home)[0], signal.SIGKILL)
    wait_until(lambda: "agent" in (status.status()[0].note or ""), 10)
    assert status.status()[0].status == "UP"
    assert [job.status for job in jobs.queue("dev")] == ["RUNNING"]
    assert status.status()[0].note is None
    (next((sky_home / "local").glob("*/node-0/home")) / "go").touch()
    assert jobs.wait("dev", 1, timeout=30).exit_codes == [5]


def test_a_follower_brings_a_killed_agent_back(sky_home: Path) -> None:
    job = launch.launch(Task(run='for i in $(seq 1 300); do echo "line $i"; sleep 0.005; done'), "dev").job_id
    pieces: list[bytes] = []

    def write(piece: bytes) -> None:
        if not pieces:
            os.kill(agents(sky_home)[0], signal.SIGKILL)
        pieces.append(piece)

    end = logs.tail("dev", job, write=write)
    assert b"".join(pieces).decode().splitlines() == [f"line {i}" for i in range(1, 301)]
    assert end.status == "SUCCEEDED"


def relays() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "relay" in child.cmdline()]


def test_a_link_cut_a_hundred_times_loses_and_repeats_nothing(sky_home: Path) -> None:
    script = "import time\nfor i in range(100000):\n    print(i)\n    i % 250 or time.sleep(0.02)\n"
    job = launch.launch(Task(run=f"python3 -u - <<'END'\n{script}END\n"), "dev").job_id
    pieces: list[bytes] = []
    ends: list[logs.LogEnd] = []
    follower = threading.Thread(target=lambda: ends.append(logs.tail("dev", job, write=pieces.append)))
    follower.start()
    cuts = seen = 0
    while follower.is_alive() and cuts < 100:
        if len(pieces) > seen:  # something came through since the last cut
            seen = len(pieces)
            for relay in relays():
                relay.kill()
                cuts += 1
        follower.join(0.005)
    follower.join(120)
    assert ends[0].status == "SUCCEEDED"
    assert b"".join(pieces).decode().splitlines() == [str(i) for i in range(100_000)]
    assert cuts == 100


def test_a_killed_waiting_job_keeps_its_secret(sky_home: Path, wait_until) -> None:
    launch.launch(Task(run="true"), "dev")
    record_cpus = os.cpu_count() or 1
    hold = exec_flow.exec_task(
        Task(run="until [ -e ~/go ]; do sleep 0.05; done", resources={"cpus": record_cpus}), "dev"
    ).job_id
    jobs.wait("dev", hold, until="started", timeout=30)
    waiting = exec_flow.exec_task(
        Task(
            run='echo "$TOKEN" | md5sum', secrets={"TOKEN": "s3cr3t-waits"}, resources={"cpus": record_cpus}
        ),
        "dev",
    ).job_id
    assert jobs.get("dev", waiting).status == "PENDING"
    os.kill(agents(sky_home)[0], signal.SIGKILL)
    jobs.get("dev", waiting)
    home = next((sky_home / "local").glob("*/node-0/home"))
    (home / "go").touch()
    assert jobs.wait("dev", waiting, timeout=60).status == "SUCCEEDED"
    expected = subprocess.run(["md5sum"], input="s3cr3t-waits\n", capture_output=True, text=True, check=True)
    assert read("dev", waiting)[0].split()[0] == expected.stdout.split()[0]


def test_after_down_nothing_is_left(sky_home: Path) -> None:
    script = "setsid sleep 987 & (trap '' TERM; sleep 986) & mkdir -p ~/ro/x; chmod -R a-w ~/ro; sleep 985"
    launch.launch(Task(run=script, num_nodes=2), "dev")
    jobs.wait("dev", 1, until="started", timeout=30)
    lifecycle.down(["dev"])
    assert not [
        p
        for p in psutil.process_iter(["cmdline"])
        if (p.info["cmdline"] or [""])[-1:] in (["987"], ["986"], ["985"])
    ]
    assert not [path for path in (sky_home / "local").rglob("*") if path.is_file() and "node-" in str(path)]


def test_an_error_of_an_operation_is_told_as_it_was(sky_home: Path) -> None:
    with pytest.raises(SkyError) as error:
        operations.wait(operations.begin("stop", "dev", {"cluster": "dev"}).id)
    assert "no cluster 'dev'" in str(error.value)

"""How long launch, exec and status take on the local infra, beside a bare subprocess."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench_table import Row, print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def fresh_home() -> Iterator[Path]:
    """Use an empty state folder, and leave nothing of it behind."""
    with tempfile.TemporaryDirectory(prefix="sky-bench-") as folder:
        before = os.environ.get("JUPYTER_SKY_HOME")
        os.environ["JUPYTER_SKY_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            from jupyter_sky.flows import lifecycle, status

            names = [row.name for row in status.status() if not row.name.startswith("row-")]
            if names:
                lifecycle.down(names)
            if before is None:
                del os.environ["JUPYTER_SKY_HOME"]
            else:
                os.environ["JUPYTER_SKY_HOME"] = before


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def bare_first_line() -> float:
    """Time a bare `bash -c` until its first line is read: what exec cannot beat."""
    start = time.perf_counter()
    with subprocess.Popen(["bash", "-c", "echo hi"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        return time.perf_counter() - start


class FirstLine(Exception):  # noqa: N818 - it is a signal that stops a follower, not an error
    """The first bytes of a log were seen."""


def exec_first_line() -> float:
    """Time an exec on a warm cluster from the submission until its first line is seen."""
    from jupyter_sky.flows import exec as exec_flow
    from jupyter_sky.flows import logs
    from jupyter_sky.spec import Task

    def stop(_: bytes) -> None:
        raise FirstLine

    start = time.perf_counter()
    job_id = exec_flow.exec_task(Task(run="echo hi"), "one").job_id
    try:
        logs.tail("one", job_id, write=stop)
    except FirstLine:
        return time.perf_counter() - start
    raise AssertionError("the job printed nothing")


def many_jobs(count: int) -> float:
    """Give the jobs per second of a queue that is handed `count` jobs at once."""
    from jupyter_sky.flows import exec as exec_flow
    from jupyter_sky.flows import jobs
    from jupyter_sky.spec import Task

    start = time.perf_counter()
    ids = [exec_flow.exec_task(Task(run="true"), "one").job_id for _ in range(count)]
    for job_id in ids:
        assert jobs.wait("one", job_id, timeout=60).status == "SUCCEEDED"
    return count / (time.perf_counter() - start)


def launch_to_running(name: str, nodes: int) -> float:
    """Time a launch of a new cluster until its job runs."""
    from jupyter_sky.flows import jobs, launch
    from jupyter_sky.spec import Task

    start = time.perf_counter()
    job_id = launch.launch(Task(run="sleep 30", num_nodes=nodes), name).job_id
    assert job_id is not None
    jobs.wait(name, job_id, until="started", timeout=60)
    return time.perf_counter() - start


def fill_state(count: int) -> None:
    """Write so many stopped clusters into the database as if they had been launched."""
    from jupyter_sky.flows.launch import generated_name
    from jupyter_sky.infra.base import Offer
    from jupyter_sky.state import ClusterRecord, ClusterStatus, State

    now = time.time()
    state = State.open()
    offer = Offer("local", "local", 2, 8).to_dict()
    for number in range(count):
        name, identity = f"row-{number}", os.urandom(16).hex()
        folder = Path(os.environ["JUPYTER_SKY_HOME"]) / "local" / identity / "node-0"
        folder.mkdir(parents=True)
        (folder / "node.json").write_text("{}")
        (folder / "ended.json").write_text('{"reason": "stop", "at": 0}')
        node = {"rank": 0, "node_id": identity, "ip": "127.0.0.1", "port": 0, "data": {}}
        handle = {"infra": "local", "cluster_id": identity, "cluster_name": name, "nodes": [node], "data": {}}
        state.clusters.add(
            ClusterRecord(
                name=name,
                id=identity,
                status=ClusterStatus.STOPPED,
                infra="local",
                resources={"offer": offer, "describe": "1x[CPU:2]"},
                num_nodes=1,
                handle=handle,
                price_hourly=0.0,
                launched_at=now,
                autostop=None,
                owner=generated_name(),
                last_use="launch task.yaml",
                created_at=now,
                updated_at=now,
                note=None,
            )
        )


def main() -> None:
    """Print the table."""
    rows = []
    with fresh_home():
        singles = [launch_to_running(f"single-{i}", 1) for i in range(3)]
        rows.append(Row("launch of a 1-node cluster to RUNNING", statistics.median(singles), "s", "≤ 1.5"))
        rows.append(Row("launch of an 8-node cluster to RUNNING", launch_to_running("eight", 8), "s", "≤ 3"))
    with fresh_home():
        launch_to_running("one", 1)
        exec_first_line()
        firsts = [exec_first_line() for _ in range(15)]
        bare = statistics.median(bare_first_line() for _ in range(15))
        first = statistics.median(firsts)
        rows.append(
            Row("exec on a warm cluster, submit → first line", first * 1000, "ms", "≤ 150", first / bare)
        )
        rows.append(Row("20 jobs submitted at once", many_jobs(20), "jobs/s", "≥ 20"))
    with fresh_home():
        fill_state(1000)
        command = [sys.executable, "-m", "jupyter_sky", "status"]
        # As where it was installed: modules are compiled once, not each time.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

        def run() -> None:
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)

        run()
        status_time = statistics.median(seconds(run) for _ in range(9))
        passing = statistics.median(
            seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)) for _ in range(5)
        )
        rows.append(Row("status with 1,000 clusters", status_time, "s", "≤ 0.5", status_time / passing))
    print_table("Flows on the local infra (ratio: to a bare subprocess)", rows)


if __name__ == "__main__":
    main()

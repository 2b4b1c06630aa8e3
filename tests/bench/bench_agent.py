"""What an agent weighs when it is idle, and how fast a job's log comes through it."""

from __future__ import annotations

import json
import time
from pathlib import Path

from bench_flows import fresh_home
from bench_table import Row, print_table

LINES = 1_000_000
#: 62 characters a line, as a training loop prints: a million of them are 62 MB.
SCRIPT = f"seq -f 'step %010.0f  loss 0.123456  accuracy 0.987654  lr 1e-05 ok' 1 {LINES}"


def memory_mib(pid: int) -> float:
    """Give the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"process {pid} has no memory")


def agents(home: Path) -> list[int]:
    """Give the process of every agent, by rank."""
    return [json.loads(path.read_text())["pid"] for path in sorted(home.glob("local/*/node-*/ready.json"))]


def follow(cluster: str, job_id: int) -> tuple[float, float]:
    """Follow a log to its end: megabytes per second, and seconds; every line must be there, in order."""
    from jupyter_sky.flows import logs

    pieces: list[bytes] = []
    start = time.perf_counter()
    logs.tail(cluster, job_id, write=pieces.append)
    taken = time.perf_counter() - start
    data = b"".join(pieces)
    numbers = [int(line.split()[-8]) for line in data.splitlines()]
    ranks = len(numbers) // LINES
    assert len(numbers) == LINES * ranks
    if ranks == 1:
        assert numbers == list(range(1, LINES + 1))
    return len(data) / 1e6 / taken, taken


def reading_a_file(path: Path) -> float:
    """Give the megabytes per second of reading the same log from its file: what following cannot beat."""
    start = time.perf_counter()
    size = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 18):
            size += len(piece)
    return size / 1e6 / (time.perf_counter() - start)


def main() -> None:
    """Print the table."""
    from jupyter_sky.flows import jobs, launch
    from jupyter_sky.spec import Task

    rows = []
    with fresh_home() as home:
        launch.launch(Task(run="true"), "one")
        jobs.wait("one", 1, timeout=60)
        (pid,) = agents(home)
        rows.append(Row("memory of an idle agent, one node", memory_mib(pid), "MiB", "≤ 25"))
        job_id = launch.launch(Task(run=SCRIPT), "one").job_id
        assert job_id is not None
        live, _ = follow("one", job_id)
        rows.append(Row("1,000,000 lines followed while they are printed", live, "MB/s", "≥ 30"))
        again, _ = follow("one", job_id)
        (log,) = home.glob(f"local/*/node-0/jobs/{job_id}/rank-0.log")
        ratio = again / reading_a_file(log)
        rows.append(Row("the same log again (ratio: to reading the file)", again, "MB/s", "≥ 30", ratio))
    with fresh_home() as home:
        launch.launch(Task(run="true", num_nodes=2), "two")
        jobs.wait("two", 1, timeout=60)
        head, worker = agents(home)
        rows.append(Row("memory of an idle head of two nodes (TLS)", memory_mib(head), "MiB", "≤ 25"))
        rows.append(Row("memory of an idle worker (TLS)", memory_mib(worker), "MiB", "≤ 25"))
        job_id = launch.launch(Task(run=SCRIPT, num_nodes=2), "two").job_id
        assert job_id is not None
        merged, _ = follow("two", job_id)
        rows.append(Row("two ranks of 1,000,000 lines, merged, followed", merged, "MB/s", "≥ 30"))
    print_table("The agent: memory and logs", rows)


if __name__ == "__main__":
    main()

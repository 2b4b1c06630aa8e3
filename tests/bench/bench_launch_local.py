"""How long the local infra takes to make nodes, to tell the truth about many clusters, and to remove them.

Agents are programs in Python, so nothing can be ready before as many bare interpreters have imported
asyncio: that is the named limit of the launch.
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench_table import Row, print_table

from jupyter_sky.agent import process
from jupyter_sky.events import SilentReporter
from jupyter_sky.infra.base import ClusterHandle, NodeHandle, NodeState, Offer, ProvisionRequest
from jupyter_sky.infra.local import LocalInfra
from jupyter_sky.spec import Resources

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
CLUSTERS = 1000


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def bare_interpreters(count: int) -> None:
    """Start so many interpreters side by side and wait until each has imported asyncio."""
    command = [sys.executable, "-I", "-S", "-c", "import asyncio"]
    for child in [subprocess.Popen(command) for _ in range(count)]:
        child.wait()


def life(infra: LocalInfra, nodes: int) -> tuple[float, float, float, float]:
    """Make, stop, start and remove a cluster; give the seconds of each."""
    offer = Offer("local", "local", 1, 1)
    request = ProvisionRequest(os.urandom(16).hex(), "bench", nodes, offer, Resources(), "bench")
    report = SilentReporter()
    try:
        made = seconds(lambda: infra.provision(request, report))
        handle = infra.reserve(request)
        stopped = seconds(lambda: infra.stop(handle, report))
        started = seconds(lambda: infra.start(handle, report))
    finally:
        removed = seconds(lambda: infra.terminate(infra.reserve(request), report))
    return made, stopped, started, removed


def many_clusters(home: Path) -> list[ClusterHandle]:
    """Lay out the folders of many clusters; the agent of every second one lives (it is this process)."""
    handles = []
    for number in range(CLUSTERS):
        cluster_id = os.urandom(16).hex()
        root = home / "local" / cluster_id / "node-0"
        root.mkdir(parents=True)
        (root / "node.json").write_text("{}")
        ready = {
            "pid": os.getpid(),
            "start_time": process.identity(os.getpid()),
            "boot_id": process.boot_id(),
            "port": 0,
            "version": "0",
            "hash": "0" * 16,
            "started_at": 1.0,
        }
        if number % 2:
            ready["start_time"] = "0"
            ended = {"reason": "autostop", "at": 2.0, "of": ready["started_at"]}
            (root / "ended.json").write_text(json.dumps(ended))
        (root / "ready.json").write_text(json.dumps(ready))
        node = NodeHandle(0, f"{cluster_id}-0", "127.0.0.1")
        handles.append(ClusterHandle("local", cluster_id, f"c{number}", (node,)))
    return handles


def infra_files(home: Path, handle: ClusterHandle) -> tuple[Path, Path]:
    """Give the files that must be read to know whether a node runs."""
    return home / "local" / handle.cluster_id / "node-0" / "ready.json", Path(f"/proc/{os.getpid()}/stat")


def main() -> int:
    """Measure and print; 1 where a bar is missed."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="sky-bench-") as folder:
        infra = LocalInfra(Path(folder))
        for nodes, bar in ((1, 1.5), (8, 3.0)):
            lives = [life(infra, nodes) for _ in range(ROUNDS)]
            made, stopped, started, removed = (statistics.median(each) for each in zip(*lives, strict=True))
            bare = statistics.median(
                seconds(functools.partial(bare_interpreters, nodes)) for _ in range(ROUNDS)
            )
            rows += [
                Row(
                    f"{nodes} node(s): provision until every agent serves",
                    made,
                    "s",
                    f"≤ {bar:g}",
                    made / bare,
                ),
                Row(f"{nodes} node(s): stop", stopped, "s"),
                Row(f"{nodes} node(s): start", started, "s", f"≤ {bar:g}", started / bare),
                Row(f"{nodes} node(s): terminate", removed, "s"),
                Row(f"{nodes} bare interpreter(s) that import asyncio", bare, "s"),
            ]
        handles = many_clusters(Path(folder))
        asked = statistics.median(seconds(lambda: infra.query(handles)) for _ in range(ROUNDS))
        states = [node.state for nodes in infra.query(handles).values() for node in nodes]
        assert states.count(NodeState.RUNNING) == states.count(NodeState.STOPPED) == CLUSTERS / 2
        paths = [path for handle in handles for path in infra_files(Path(folder), handle)]
        bare = statistics.median(
            seconds(lambda: [path.read_bytes() for path in paths]) for _ in range(ROUNDS)
        )
        rows.append(Row(f"query of {CLUSTERS} clusters", asked * 1000, "ms", "≤ 200", asked / bare))
        rows.append(Row("bare reading of the two files a node has to say", bare * 1000, "ms"))
    print_table("The local infra (ratio: to the bare work of the same size)", rows)
    return int(any(row.holds() is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())

"""How long the state takes to open and list, and an operation to begin, beside what they cannot beat."""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_table import Row, print_table

if TYPE_CHECKING:
    from collections.abc import Callable

CLUSTERS = 1000
OPEN_AND_LIST = "from jupyter_sky.state import State; assert len(State.open().clusters.list()) == 1000"


def median_seconds(work: Callable[[], object], times: int) -> float:
    """Give the median time of several calls, after one that is not counted."""
    work()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def python(code: str) -> float:
    """Time a whole Python process that runs `code`."""
    return median_seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True), 7)


def fill(count: int) -> None:
    """Write clusters of eight nodes into the database, as launches leave them."""
    from jupyter_sky.state import ClusterRecord, ClusterStatus, State

    state = State.open()
    for number in range(count):
        nodes = [
            {"rank": rank, "node_id": os.urandom(8).hex(), "ip": "127.1.2.3", "port": 0} for rank in range(8)
        ]
        state.clusters.add(
            ClusterRecord(
                name=f"row-{number}",
                id=os.urandom(16).hex(),
                status=ClusterStatus.UP,
                infra="local",
                resources={"request": {"cpus": "2+"}, "offer": {"infra": "local"}, "describe": "8x[CPU:2+]"},
                num_nodes=8,
                handle={"infra": "local", "nodes": nodes},
            )
        )


def bare_list(file: Path) -> list[Any]:
    """Read the same rows with nothing but sqlite3 and json: what listing cannot beat."""
    connection = sqlite3.connect(file)
    try:
        rows = connection.execute("SELECT * FROM clusters WHERE ended_at IS NULL ORDER BY name").fetchall()
        return [(row, json.loads(row[4]), json.loads(row[6])) for row in rows]
    finally:
        connection.close()


def noop(_request: dict[str, Any], _secrets: dict[str, str], _ctx: object) -> dict[str, Any]:
    """Do nothing, as the handler of an operation; give the moment."""
    return {"at": time.time()}


def operations() -> tuple[float, float, float]:
    """Give median seconds: of begin, from begin to the handler's first line, from begin to the result."""
    from jupyter_sky.flows.operations import begin, wait

    begun, reached, ended = [], [], []
    for _ in range(9):
        wall, start = time.time(), time.perf_counter()
        record = begin("bench", "nothing", {}, {"TOKEN": "a secret"}, handler="bench_state:noop")
        begun.append(time.perf_counter() - start)
        reached.append(wait(record.id)["at"] - wall)
        ended.append(time.perf_counter() - start)
    return statistics.median(begun[1:]), statistics.median(reached[1:]), statistics.median(ended[1:])


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="sky-bench-") as folder:
        os.environ["JUPYTER_SKY_HOME"] = folder
        os.environ["PYTHONPATH"] = str(Path(__file__).parent)
        from jupyter_sky.state import State

        fill(CLUSTERS)
        clusters = State.open().clusters
        listed = median_seconds(clusters.list, 15)
        bare = median_seconds(lambda: bare_list(Path(folder) / "state.db"), 15)
        floor = python("import sqlalchemy")
        opened = python(OPEN_AND_LIST)
        begun, reached, ended = operations()
        State.open().close()
    print_table(
        "State and operations (ratio: to sqlite3 + json, and to `python -c 'import sqlalchemy'`)",
        [
            Row("list 1,000 clusters of 8 nodes, in a process", listed * 1000, "ms", "", listed / bare),
            Row("python -c: open, list 1,000 clusters", opened, "s", "≤ 0.35", opened / floor),
            Row("begin an operation", begun * 1000, "ms", "≤ 50"),
            Row("begin → its handler runs", reached, "s", "", reached / floor),
            Row("begin → its result is here", ended, "s", "", ended / floor),
        ],
    )


if __name__ == "__main__":
    main()

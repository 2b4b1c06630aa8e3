"""Ending a node from outside: its agent is told, and where there is none its processes are ended anyway."""

from __future__ import annotations

import os
import signal
import sys
import time

from . import process
from .ending import node_processes
from .node import NodeError, load_node, serving, write_tombstone

#: An agent gives jobs their grace and waits for its workers, so it may take this long, in seconds.
_PATIENCE = 45.0
_GRACE = 5.0


def stop(root: str) -> int:
    """End the node in `root`; give the exit code: 0 when no process of it is left."""
    root = os.path.abspath(root)
    try:
        node = load_node(root)
    except NodeError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    ready = serving(root)
    if ready is not None:
        pid, start_time = ready["pid"], ready["start_time"]
        process.send([pid], signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE
        while process.is_alive(pid, start_time) and time.monotonic() < deadline:
            time.sleep(0.01)
        if process.is_alive(pid, start_time):
            process.send([pid], signal.SIGKILL)
    left = process.end_blocking(lambda: node_processes(node.node_id, os.getpid()), _GRACE)
    if left:
        sys.stderr.write(f"These processes of {root} did not end: {sorted(left)}\n")
        return 1
    if ready is None or not os.path.exists(node.path("ended.json")):
        write_tombstone(node, "stop")
    return 0

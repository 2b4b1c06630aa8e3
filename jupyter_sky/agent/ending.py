"""The end of a node: every process gone, the reason written down, nothing left behind.

Processes are found twice over: as descendants of the agent, which adopts whatever loses its parent, and by
the mark in their environment, which also finds those of an earlier agent. Relays are spared: they carry the
answer to whoever asked for the end, and end by themselves when the agent does.
"""

from __future__ import annotations

import os
from typing import Iterable, Set

from . import process
from .node import NODE_MARK, Node


def node_processes(node_id: str, agent_pid: int, spared: Iterable[int] = ()) -> Set[int]:
    """Give every living process of a node but its agent and the spared ones."""
    procs = [proc for proc in process.snapshot() if not proc.zombie]
    found = process.marked(procs, NODE_MARK, node_id) | process.descendants(procs, [agent_pid])
    keep = {agent_pid, os.getpid(), *spared}
    return found - keep


def is_relay(pid: int) -> bool:
    """Say whether a process is a relay, by how it was started."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"relay" in file.read().split(b"\0")
    except OSError:
        return False


def erase(node: Node) -> None:
    """Delete everything in the node's folder but the tombstone that says why."""
    import shutil

    for name in os.listdir(node.root):
        path = node.path(name)
        if name == "ended.json":
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)

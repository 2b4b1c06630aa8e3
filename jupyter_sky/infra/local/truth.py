"""The truth about local nodes, from files and the process table alone.

`status` asks for every cluster each time, so a node costs two small reads here and, on Linux, never a
process. What counts is the agent's process: alive under the same start time and boot, the node runs,
whatever else its folder says.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from jupyter_sky.infra.base import NodeState, NodeStatus
from jupyter_sky.infra.local.layout import ClusterFolder, NodeFolder, read_json
from jupyter_sky.infra.local.processes import boot_id, look

if TYPE_CHECKING:
    from collections.abc import Callable

#: Reasons after which an agent leaves nothing that could be started again.
_GONE = frozenset({"autodown", "down"})


def _booted_at() -> float:
    """When this machine was started, in seconds since the epoch: by then, everything before had ended."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.time() - time.clock_gettime(clock)


class Truth:
    """One look at nodes; what it says of processes holds for the moment at which it was made."""

    def __init__(self) -> None:
        self._started_at: Callable[[int], str | None] = look()

    def serves(self, ready: dict[str, Any] | None) -> bool:
        """Whether the agent that wrote this `ready.json` is the process that has its id now."""
        return (
            ready is not None
            and ready["boot_id"] == boot_id()
            and self._started_at(ready["pid"]) == ready["start_time"]
        )

    def of_cluster(self, folder: ClusterFolder, num_nodes: int) -> list[NodeStatus]:
        """Give the state of every node of a cluster, `num_nodes` being how many there should be."""
        return [self.of_node(folder.node(rank), rank) for rank in range(num_nodes)]

    def of_node(self, node: NodeFolder, rank: int) -> NodeStatus:
        """Give the state of one node.

        RUNNING with the reason `agent_lost` is a sandbox whose agent was killed: its jobs may still run, and
        `start` gives it an agent again that finds them.
        """
        ready = read_json(node.ready)
        if self.serves(ready):
            return NodeStatus(rank, NodeState.RUNNING, "autostopping" if node.ending.exists() else "")
        ended = read_json(node.ended)
        if ended is not None and (ready is None or ended.get("of") == ready["started_at"]):
            state = NodeState.GONE if ended["reason"] in _GONE else NodeState.STOPPED
            return NodeStatus(rank, state, ended["reason"], ended["at"])
        if ready is None:
            if node.config.exists():
                return NodeStatus(rank, NodeState.STARTING, "its agent has not answered yet")
            return NodeStatus(rank, NodeState.GONE)
        if ready["boot_id"] != boot_id():
            return NodeStatus(rank, NodeState.STOPPED, "reboot", _booted_at())
        return NodeStatus(rank, NodeState.RUNNING, "agent_lost")

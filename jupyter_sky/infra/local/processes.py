"""The processes of a cluster of this machine, found without any file.

Everything that runs on a node carries the node's id in its environment, which the kernel keeps as it was at
exec; together with the tree of children that is enough to find what no pid file names. How to look at a
process and how to end one is the agent's own knowledge (`jupyter_sky.agent.process`), used here from
outside.
"""

from __future__ import annotations

import functools
import os
import signal
from typing import TYPE_CHECKING

from jupyter_sky.agent import process
from jupyter_sky.agent.node import NODE_MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: The id of this boot of the machine; it cannot change while we run.
boot_id = functools.cache(process.boot_id)


def of_cluster(cluster_id: str, known: Iterable[int] = ()) -> set[int]:
    """Give every process of a cluster's nodes: those that carry its mark, and all that descend from them.

    A descendant that carries another cluster's mark belongs to that one: a task may launch its own clusters.
    Where environments cannot be read (not on Linux) only what descends from `known` is found.
    """
    own = set(known)
    may_follow = []
    for found in process.snapshot():
        if found.zombie:
            continue
        node_id = (process.environ(found.pid) or {}).get(NODE_MARK)
        if node_id is None:
            may_follow.append(found)
        elif node_id.rpartition("-")[0] == cluster_id:
            may_follow.append(found)
            own.add(found.pid)
    return (own | process.descendants(may_follow, own)) - {os.getpid()}


def look() -> Callable[[int], str | None]:
    """Give a way to ask when the process of an id was started (None: it has ended), for many at once.

    Linux answers each from `/proc`; elsewhere all answers come from one run of `ps`.
    """
    if process.LINUX:
        return process.identity
    return {found.pid: found.start_time for found in process.snapshot() if not found.zombie}.get


def end_all(cluster_id: str, agents: Iterable[int], *, grace: float) -> set[int]:
    """End every process of a cluster; give what would not end.

    The agents go at once, so that they start nothing new; all others get TERM, then KILL after `grace`
    seconds. Whatever was seen once is followed until it is gone, also where it hides its mark and lost its
    parent; and it is looked until nothing is found, because a process may be born while its parent dies.
    """
    agents = set(agents)
    started: dict[int, str | None] = {}

    def find() -> set[int]:
        alive = {pid for pid, start in started.items() if process.is_alive(pid, start)}
        for pid in of_cluster(cluster_id, alive | agents) - alive:
            start = process.identity(pid)
            if start is not None:
                started[pid] = start
                alive.add(pid)
        return alive

    find()
    process.send(agents, signal.SIGKILL)
    agents.clear()
    return process.end_blocking(find, grace)

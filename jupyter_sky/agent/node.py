"""The folder a node lives in, and what its files say.

Everything an agent knows of itself it reads from its root folder, and everything others learn of an agent
that is not running they read from there, too. Files are private to the user and replaced in one step, so that
a reader never sees half of one. This module starts nothing.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, Dict, List, Optional

from . import process

SOCKET = "agent.sock"
#: Is there while the node ends itself: an autostop that has begun and whose hook may still run.
ENDING = "ending.json"
#: Marks every process of a node in its environment; who shuts the node down looks for it.
NODE_MARK = "JUPYTER_SKY_NODE_ID"
#: Marks every process of one job: `<node_id>:<job_id>`.
JOB_MARK = "JUPYTER_SKY_JOB"
#: Marks the process that keeps the secrets of a job that has not started yet: `<node_id>:<submission_id>`.
KEEPER_MARK = "JUPYTER_SKY_KEEPER"


class NodeError(Exception):
    """The node cannot be served: what is wrong with its root. `serve` ends with `exit_code`."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Node:
    """What `node.json` says, with this machine's facts where it leaves them open.

    Attributes
    ----------
    root, home
        Absolute paths of the node's folder and of the HOME of its jobs.
    cpus
        How many CPUs jobs may ask for in all.
    memory_mb
        Memory of the node, in MiB.
    gpus
        One object a device: `index`, `name`, `memory_mb`.
    """

    def __init__(self, root: str, raw: Dict[str, Any]) -> None:
        self.root = root
        self.cluster_id: str = raw["cluster_id"]
        self.cluster_name: str = raw["cluster_name"]
        self.node_id: str = raw["node_id"]
        self.rank: int = raw["rank"]
        self.num_nodes: int = raw["num_nodes"]
        self.ip: str = raw["ip"]
        self.home: str = os.path.abspath(raw["home"])
        self.listen: Optional[str] = raw.get("listen")
        self.tls: Optional[Dict[str, str]] = raw.get("tls")
        self.cluster_info: Dict[str, Any] = raw.get("cluster_info") or {}
        #: How long a worker may be silent before its jobs are given up, in seconds.
        self.lost_after: float = raw.get("lost_after") or 30.0
        self.cpus: float = raw.get("cpus") or 0.0
        self.memory_mb: int = raw.get("memory_mb") or 0
        gpus = raw.get("gpus")
        if gpus is None or not self.cpus or not self.memory_mb:
            from . import facts

            self.cpus = self.cpus or facts.cpus()
            self.memory_mb = self.memory_mb or facts.memory_mb()
            gpus = facts.gpus() if gpus is None else gpus
        self.gpus: List[Dict[str, Any]] = gpus

    @property
    def is_head(self) -> bool:
        """Whether this node holds the cluster's queue."""
        return self.rank == 0

    def path(self, *names: str) -> str:
        """Give the path of a file in the root."""
        return os.path.join(self.root, *names)

    def job_path(self, job_id: int, *names: str) -> str:
        """Give the path of a file in a job's folder."""
        return os.path.join(self.root, "jobs", str(job_id), *names)


def load_node(root: str) -> Node:
    """Read `node.json` of a root.

    Raises
    ------
    NodeError
        The file is missing, is no JSON, or lacks a field.
    """
    path = os.path.join(root, "node.json")
    try:
        with open(path, encoding="utf-8") as file:
            raw = json.load(file)
        return Node(root, raw)
    except FileNotFoundError:
        raise NodeError(f"{path} does not exist: {root} is not the root of a node.") from None
    except (OSError, ValueError) as error:
        raise NodeError(f"{path} cannot be read: {error}") from None
    except (KeyError, TypeError) as error:
        raise NodeError(f"{path} does not describe a node: {error!r} is missing or wrong.") from None


def read_json(path: str) -> Optional[Any]:
    """Read a JSON file; None where it is missing or was cut off."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def write_file(path: str, data: bytes) -> None:
    """Write a private file in one step: a reader sees the old one or the new one, whole."""
    partial = f"{path}.{os.getpid()}.part"
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)
        os.replace(partial, path)
    except OSError:
        os.unlink(partial)
        raise


def write_json(path: str, value: Any) -> None:
    """Write a private JSON file in one step."""
    write_file(path, json.dumps(value).encode())


def write_tombstone(node: Node, reason: str) -> None:
    """Say for later why the agent ended: `stop`, `down`, `autostop` or `autodown`.

    `of` tells which agent it was, by when that one says it began: clocks may be set back between the two.
    """
    ready = read_json(node.path("ready.json"))
    began = ready.get("started_at") if isinstance(ready, dict) else None
    write_json(node.path("ended.json"), {"reason": reason, "at": time.time(), "of": began})


def serving(root: str) -> Optional[Dict[str, Any]]:
    """Give what `ready.json` says if the agent that wrote it still lives, else None."""
    ready = read_json(os.path.join(root, "ready.json"))
    if not isinstance(ready, dict) or ready.get("boot_id") != process.boot_id():
        return None
    return ready if process.is_alive(ready["pid"], ready["start_time"]) else None

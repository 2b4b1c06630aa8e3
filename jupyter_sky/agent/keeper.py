"""Keeping the secrets of jobs that have not started everywhere yet, without a file.

Secrets live in the agent's memory and, so that they outlive an agent that is killed, in the environment of a
sleeping process a job: the kernel shows it to the same user only, as it does the job's own. The process ends
as soon as the job runs on every rank. Where the system does not show environments, a restarted agent cannot
get them back, and says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, Set

from . import process
from .node import KEEPER_MARK, NODE_MARK, Node

if TYPE_CHECKING:
    from .children import Children

_PREFIX = "JUPYTER_SKY_KEPT_"
# No core dump: it would hold the environment.
_SLEEP = ["/bin/sh", "-c", "ulimit -c 0; exec sleep 2147483647"]


class Keepers:
    """The secrets of waiting jobs, by submission id."""

    def __init__(self, node: Node, children: Children) -> None:
        self._node = node
        self._children = children
        self._secrets: Dict[str, Dict[str, str]] = {}
        self._pids: Dict[str, int] = {}

    def keep(self, submission_id: str, secrets: Dict[str, str]) -> None:
        """Keep the secrets of a job from now on.

        Raises
        ------
        OSError
            They are larger than an environment may be, or no process could be started.
        """
        if not secrets:
            return
        env = {_PREFIX + name: value for name, value in secrets.items()}
        env[NODE_MARK] = self._node.node_id
        env[KEEPER_MARK] = self._mark(submission_id)
        self._pids[submission_id] = self._children.spawn(_SLEEP, env=env, cwd="/")
        self._secrets[submission_id] = secrets

    def get(self, submission_id: str) -> Dict[str, str]:
        """Give the secrets of a job; none where none are kept."""
        return self._secrets.get(submission_id, {})

    def drop(self, submission_id: str) -> None:
        """Forget the secrets of a job and end its keeper."""
        self._secrets.pop(submission_id, None)
        pid = self._pids.pop(submission_id, None)
        if pid is not None:
            process.send([pid], 9)
            self._children.forget(pid)

    def recover(self, wanted: Set[str]) -> None:
        """Take over the keepers of an earlier agent for the jobs `wanted`; end the others."""
        for proc in process.snapshot():
            env = process.environ(proc.pid)
            if env is None or env.get(NODE_MARK) != self._node.node_id or KEEPER_MARK not in env:
                continue
            submission_id = env[KEEPER_MARK].rpartition(":")[2]
            self._pids[submission_id] = proc.pid
            self._secrets[submission_id] = {
                name[len(_PREFIX) :]: value for name, value in env.items() if name.startswith(_PREFIX)
            }
            if submission_id not in wanted:
                self.drop(submission_id)

    def _mark(self, submission_id: str) -> str:
        return f"{self._node.node_id}:{submission_id}"

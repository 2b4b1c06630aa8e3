"""Which cluster of this machine holds which addresses and GPUs.

One small file under one lock is the whole truth, so that two launches at once never share a GPU or an
address. Every cluster owns one /24 of the loopback network (Linux answers on all of 127.0.0.0/8), chosen by
its id: it keeps its addresses over stop and start, and two people on one machine hardly ever meet. An entry
whose cluster has no folder any more is nobody's and is dropped on the next change.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import socket
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from jupyter_sky.errors import InfraError
from jupyter_sky.infra.local.layout import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from jupyter_sky.infra.local.facts import Gpu

#: Nodes of one cluster: the addresses of a /24 that are hosts.
MAX_NODES = 254

#: 127.1.0 to 127.254.255: what lies below is where other software expects its own (127.0.0.1, 127.0.0.53).
_SUBNETS = 254 * 256

#: Seconds to wait for another process that changes the file; a change takes milliseconds.
_LOCK_TIMEOUT = 30.0


@dataclass(slots=True)
class Holding:
    """What a cluster holds: its subnet (`127.83.12`; empty where all share 127.0.0.1), and GPUs by rank.

    `taken_at` is when it last took them, in seconds since the epoch: a cluster that ended before and is just
    being started again is not stopped.
    """

    subnet: str = ""
    gpus: list[list[int]] = field(default_factory=list)
    taken_at: float = 0.0

    def address(self, rank: int) -> str:
        """Give the address of one node."""
        return f"{self.subnet}.{rank + 1}" if self.subnet else "127.0.0.1"


class Allocations:
    """The file of holdings, which lies beside the folder of all local clusters."""

    def __init__(self, clusters: Path) -> None:
        self._clusters = clusters
        self._file = clusters.with_name("local-allocations.json")

    def all(self) -> dict[str, Holding]:
        """Give what every cluster holds, without the lock: the file is replaced whole."""
        raw: dict[str, Any] = read_json(self._file) or {}
        return {cluster_id: Holding(**entry) for cluster_id, entry in raw.items()}

    def take(
        self,
        cluster_id: str,
        *,
        num_nodes: int,
        gpus_per_node: int,
        candidates: Sequence[Gpu],
        is_stopped: Callable[[str, float], bool],
    ) -> Holding:
        """Give a cluster its subnet and GPUs; what it already holds it keeps.

        Parameters
        ----------
        cluster_id
            The cluster, whose folder exists.
        num_nodes, gpus_per_node
            How many nodes, and how many whole GPUs each.
        candidates
            The GPUs of this machine that are of the right kind.
        is_stopped
            Whether another cluster ended after it took its GPUs, so that they are free.

        Raises
        ------
        InfraError
            Not enough GPUs are free; the message has the numbers.
        """
        with self._changing() as holdings:
            holding = holdings.setdefault(cluster_id, Holding())
            if not holding.subnet:
                holding.subnet = _free_subnet(cluster_id, {other.subnet for other in holdings.values()})
            if sum(map(len, holding.gpus)) != num_nodes * gpus_per_node:
                holding.gpus = []
                taken: set[int] = set()
                for other_id, other in holdings.items():
                    if other.gpus and other_id != cluster_id and is_stopped(other_id, other.taken_at):
                        other.gpus = []
                    taken.update(index for indices in other.gpus for index in indices)
                free = [gpu.index for gpu in candidates if gpu.index not in taken]
                wanted = num_nodes * gpus_per_node
                if len(free) < wanted:
                    raise InfraError(
                        f"{wanted} GPU{'s' * (wanted != 1)} asked, {len(free)} of {len(candidates)} on this "
                        "machine are free; other local clusters hold the rest.",
                        hint="Stop or take down a cluster that holds GPUs: `jupyter sky status` lists them.",
                    )
                holding.gpus = [
                    free[rank * gpus_per_node : (rank + 1) * gpus_per_node] for rank in range(num_nodes)
                ]
            holding.taken_at = time.time()
            return holding

    def release(self, cluster_id: str, *, only_gpus: bool = False) -> None:
        """Take everything (or the GPUs) from a cluster; one that holds nothing is left in peace."""
        if cluster_id not in self.all():
            return
        with self._changing() as holdings:
            if only_gpus:
                holdings.setdefault(cluster_id, Holding()).gpus = []
            else:
                holdings.pop(cluster_id, None)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Holding]]:
        from filelock import FileLock, Timeout

        lock = FileLock(self._file.with_suffix(".lock"), timeout=_LOCK_TIMEOUT, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            raise InfraError(
                f"Another process has held {lock.lock_file} for {_LOCK_TIMEOUT:.0f} seconds.",
                hint=f"`fuser {lock.lock_file}` names it; end it if it hangs.",
            ) from None
        try:
            holdings = {
                cluster_id: holding
                for cluster_id, holding in self.all().items()
                if (self._clusters / cluster_id).is_dir()
            }
            yield holdings
            write_json(self._file, {cluster_id: asdict(holding) for cluster_id, holding in holdings.items()})
        finally:
            lock.release()


def _free_subnet(cluster_id: str, taken: set[str]) -> str:
    """Choose the first free subnet after the one that the cluster's id falls on."""
    if not _whole_loopback():
        return ""
    first = int.from_bytes(hashlib.sha256(cluster_id.encode()).digest()[:8], "big")
    for step in range(_SUBNETS):
        second, third = divmod((first + step) % _SUBNETS, 256)
        subnet = f"127.{second + 1}.{third}"
        if subnet not in taken:
            return subnet
    raise InfraError(
        f"All {_SUBNETS} loopback networks are taken by local clusters.",
        hint="Take down clusters you no longer need: `jupyter sky status` lists them.",
    )


@functools.cache
def _whole_loopback() -> bool:
    """Whether every address of 127.0.0.0/8 is this machine's, as on Linux (and on macOS only 127.0.0.1)."""
    if sys.platform != "linux":
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.254.255.254", 0))
        except OSError:
            return False
    return True

"""`LocalInfra`: a cluster of N nodes is N sandboxes on this machine.

Nothing is faked: each node has its own HOME, agent process and, on Linux, address, and what runs there is
what runs on a pod. This module is the order of things; each step is in a module of its own.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from jupyter_sky.errors import InfraError, ProvisionError
from jupyter_sky.events import SilentReporter
from jupyter_sky.infra.base import (
    ClusterHandle,
    Infra,
    InfraCheck,
    NodeHandle,
    NodeState,
    NodeStatus,
    Offer,
)
from jupyter_sky.infra.local import processes
from jupyter_sky.infra.local.layout import (
    NAME,
    ClusterFile,
    ClusterFolder,
    cluster_folders,
    read_json,
    remove_tree,
    write_json,
)
from jupyter_sky.infra.local.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jupyter_sky.events import Reporter
    from jupyter_sky.infra.base import ProvisionRequest, Rejection
    from jupyter_sky.infra.local.allocations import Allocations, Holding
    from jupyter_sky.infra.local.facts import Gpu
    from jupyter_sky.link.carriers import Carrier
    from jupyter_sky.spec import Resources

#: Seconds that processes of a cluster have to end by themselves when it is removed, and when it is stopped
#: after its jobs were cancelled in order.
_GRACE = 3.0

#: How often a removal that found new files is tried again: a dying process may write while its folder goes.
_REMOVALS = 3


class LocalInfra(Infra):
    """The machine we are on.

    Parameters
    ----------
    home
        The state folder under which `local/` lies; `config.home()` where None.
    """

    name = NAME
    capabilities = frozenset({"stop", "ports", "multi_node"})
    query_is_cheap = True

    def __init__(self, home: Path | None = None) -> None:
        self._home = home

    def check(self) -> InfraCheck:
        """Say what this machine has, or why it cannot give nodes."""
        if sys.platform == "win32":
            return InfraCheck(
                NAME,
                enabled=False,
                reason="nodes on this machine need Linux or macOS",
                hint="Use Jupyter Sky inside WSL, or another infra.",
            )
        if not sys.executable:
            return InfraCheck(
                NAME,
                enabled=False,
                reason="this program is no Python that agents could be started with",
                hint="Start it with a python3 of your PATH.",
            )
        from jupyter_sky.infra.local.facts import machine

        found = machine()
        taken = self._taken_gpus()
        kinds = {gpu.name: [other for other in found.gpus if other.name == gpu.name] for gpu in found.gpus}
        gpus = [
            {
                "gpu": kind,
                "qty_per_node": len(members),
                "total": len(members),
                "free": sum(gpu.index not in taken for gpu in members),
            }
            for kind, members in kinds.items()
        ]
        details = {"cpus": found.cpus, "memory_gb": found.memory_gb, "gpus": gpus, "python": sys.executable}
        return InfraCheck(NAME, enabled=True, details=details)

    def offers(self, resources: Resources, num_nodes: int) -> list[Offer | Rejection]:
        """Match the request against this machine; there is one way at most."""
        from jupyter_sky.infra.local.facts import machine
        from jupyter_sky.infra.local.offers import offer_or_rejection

        return [offer_or_rejection(resources, num_nodes, machine(), self._taken_gpus())]

    def reserve(self, request: ProvisionRequest) -> ClusterHandle:
        """Give the handle; everything of a local cluster is found by its id."""
        ClusterFolder(self._local, request.cluster_id)
        return ClusterHandle(
            NAME, request.cluster_id, request.cluster_name, data={"num_nodes": request.num_nodes}
        )

    def provision(self, request: ProvisionRequest, report: Reporter) -> ClusterHandle:
        """Make the sandboxes and start their agents, or go on where an earlier attempt was cut off."""
        folder = ClusterFolder(self._local, request.cluster_id)
        try:
            content = folder.read()
            if content is None:
                content = ClusterFile(
                    cluster_id=request.cluster_id,
                    cluster_name=request.cluster_name,
                    owner=request.owner,
                    num_nodes=request.num_nodes,
                    offer=request.offer.to_dict(),
                    labels=request.labels,
                    created_at=time.time(),
                )
                folder.write(content)
            return self._bring_up(folder, content, report)
        except BaseException as error:
            # A cancellation, too, leaves nothing behind.
            try:
                self.terminate(self.reserve(request), SilentReporter())
            except InfraError as left:
                report.log(str(left))
            if isinstance(error, OSError):
                raise ProvisionError(
                    f"The files of cluster {request.cluster_name!r} could not be made in {folder.path}: "
                    f"{error.strerror or error}.",
                    hint="Make room or give yourself the right to write there, or set JUPYTER_SKY_HOME.",
                ) from error
            if type(error) is InfraError:
                raise ProvisionError(error.message, hint=error.hint) from error
            raise

    def query(self, handles: Sequence[ClusterHandle]) -> dict[str, list[NodeStatus]]:
        """Tell the truth from files and the process table, without starting a process (on Linux)."""
        local, truth = self._local, Truth()
        return {
            handle.cluster_id: truth.of_cluster(
                ClusterFolder(local, handle.cluster_id), len(handle.nodes) or handle.data["num_nodes"]
            )
            for handle in handles
        }

    def stop(self, handle: ClusterHandle, report: Reporter) -> None:
        """Cancel the jobs, end every process and keep the files; GPUs are free for others meanwhile."""
        from jupyter_sky.infra.local import agents

        folder, content = self._existing(handle)
        report.log("cancelling its jobs and ending its agents")
        agents.shut_down(self._bundle(), folder, content.num_nodes)
        self._end_processes(folder)
        truth = Truth()
        for rank in range(content.num_nodes):
            node = folder.node(rank)
            if truth.of_node(node, rank).state is not NodeState.STOPPED:
                began = (read_json(node.ready) or {}).get("started_at")
                write_json(node.ended, {"reason": "stop", "at": time.time(), "of": began})
        self._allocations().release(folder.cluster_id, only_gpus=True)

    def start(self, handle: ClusterHandle, report: Reporter) -> ClusterHandle:
        """Start the agents that do not run; one that was killed finds its jobs again."""
        folder, content = self._existing(handle)
        try:
            return self._bring_up(folder, content, report)
        except OSError as error:
            raise InfraError(
                f"Cluster {handle.cluster_name!r} could not be started in {folder.path}: "
                f"{error.strerror or error}.",
                hint="Its files are as they were. Make room on the disk, then start it again.",
            ) from error

    def terminate(self, handle: ClusterHandle, report: Reporter) -> None:
        """Remove every process, file and address of the cluster, and make sure that nothing is left."""
        folder = ClusterFolder(self._local, handle.cluster_id)
        report.log("ending its processes and removing its files")
        self._end_processes(folder)
        for attempt in range(1, _REMOVALS + 1):
            try:
                for node in sorted(folder.path.glob("node-*")):
                    remove_tree(node)
                self._allocations().release(folder.cluster_id)
                remove_tree(folder.path)
            except OSError as error:
                if attempt == _REMOVALS:
                    raise InfraError(
                        f"Cluster {handle.cluster_name!r} could not be removed whole: "
                        f"{error.filename or folder.path}: {error.strerror or error}.",
                        hint="Unmount or remove what is there, then take the cluster down again.",
                    ) from error
            self._end_processes(folder)
            if not folder.path.exists():
                return
        raise InfraError(
            f"Something keeps writing files into {folder.path}.", hint=f"`lsof +D {folder.path}` names it."
        )

    def carrier(self, handle: ClusterHandle) -> Carrier:
        """Give the way to run a relay next to the head's agent: a child process with pipes."""
        from jupyter_sky.infra.local import agents
        from jupyter_sky.link.carriers import LocalCarrier

        root = ClusterFolder(self._local, handle.cluster_id).node(0).path
        return LocalCarrier(agents.command(self._bundle(), "relay", root), agents.relay_environment())

    def open_ports(self, handle: ClusterHandle, ports: Sequence[int]) -> None:
        """Do nothing: every port of a local node is open to this machine."""

    def endpoints(self, handle: ClusterHandle, ports: Sequence[int]) -> dict[int, str]:
        """Give the head's own address with each port."""
        return {port: f"{handle.nodes[0].ip}:{port}" for port in ports}

    def discover(self, owner: str) -> list[ClusterHandle]:
        """Find the clusters of `owner` by their folders."""
        found = []
        for folder in cluster_folders(self._local):
            content = folder.read()
            if content is not None and content.owner == owner:
                found.append(self._handle(folder, content, self._allocations().all().get(folder.cluster_id)))
        return found

    @property
    def _local(self) -> Path:
        return self._state_folder() / NAME

    def _state_folder(self) -> Path:
        if self._home is not None:
            return self._home
        from jupyter_sky import config

        return config.home()

    def _allocations(self) -> Allocations:
        from jupyter_sky.infra.local.allocations import Allocations

        return Allocations(self._local)

    def _bundle(self) -> Path:
        from jupyter_sky.link.bundle import agent_bundle

        return agent_bundle(self._state_folder() / "agents")

    def _existing(self, handle: ClusterHandle) -> tuple[ClusterFolder, ClusterFile]:
        folder = ClusterFolder(self._local, handle.cluster_id)
        content = folder.read()
        if content is None:
            raise InfraError(
                f"Cluster {handle.cluster_name!r} is not on this machine any more ({folder.path} is gone).",
                hint="Take it down and launch it again.",
            )
        return folder, content

    def _bring_up(self, folder: ClusterFolder, content: ClusterFile, report: Reporter) -> ClusterHandle:
        """Give a cluster all it needs and every node an agent that answers; what is there already is kept."""
        from jupyter_sky.infra.local import agents, sandbox

        machine_gpus, holding = self._take(folder, content)
        if not content.prepared:
            sandbox.make_sandboxes(folder, content, holding)
        truth = Truth()
        lost = [
            rank for rank in range(content.num_nodes) if not truth.serves(read_json(folder.node(rank).ready))
        ]
        for rank in lost:
            sandbox.write_node_config(folder, content, holding, machine_gpus, rank)
        if not content.prepared:
            content = replace(content, prepared=True)
            folder.write(content)
        agents.start([folder.node(rank) for rank in lost], self._bundle(), report)
        return self._handle(folder, content, holding)

    def _take(self, folder: ClusterFolder, content: ClusterFile) -> tuple[list[Gpu], Holding]:
        """Take the cluster's addresses and GPUs; give all GPUs of the asked kind, and what it got."""
        from jupyter_sky.infra.local.offers import gpus_named, whole_gpus

        accelerators = Offer.from_dict(content.offer).accelerators
        candidates: list[Gpu] = []
        if accelerators:
            from jupyter_sky.infra.local.facts import machine

            candidates = [gpu for name in accelerators for gpu in gpus_named(name, machine().gpus)]
        holding = self._allocations().take(
            folder.cluster_id,
            num_nodes=content.num_nodes,
            gpus_per_node=whole_gpus(accelerators),
            candidates=candidates,
            is_stopped=self._is_stopped,
        )
        return candidates, holding

    def _taken_gpus(self) -> set[int]:
        """Give the GPUs that clusters hold which are not stopped."""
        return {
            index
            for cluster_id, holding in self._allocations().all().items()
            if holding.gpus and not self._is_stopped(cluster_id, holding.taken_at)
            for indices in holding.gpus
            for index in indices
        }

    def _is_stopped(self, cluster_id: str, since: float) -> bool:
        """Whether all nodes of a cluster ended after a moment, by their own word or with the machine."""
        folder = ClusterFolder(self._local, cluster_id)
        content = folder.read()
        if content is None:
            return not folder.path.exists()
        nodes = Truth().of_cluster(folder, content.num_nodes)
        return all(node.ended_at is not None and node.ended_at > since for node in nodes)

    def _handle(self, folder: ClusterFolder, content: ClusterFile, holding: Holding | None) -> ClusterHandle:
        nodes = []
        for rank in range(content.num_nodes if holding is not None else 0):
            node = folder.node(rank)
            ready = read_json(node.ready) or {}
            assert holding is not None
            nodes.append(NodeHandle(rank, node.node_id, holding.address(rank), port=ready.get("port") or 0))
        return ClusterHandle(
            NAME, content.cluster_id, content.cluster_name, tuple(nodes), {"num_nodes": content.num_nodes}
        )

    def _end_processes(self, folder: ClusterFolder) -> None:
        readies = [read_json(path) for path in folder.path.glob("node-*/ready.json")]
        agents = [ready["pid"] for ready in readies if ready is not None and Truth().serves(ready)]
        left = processes.end_all(folder.cluster_id, agents, grace=_GRACE)
        if left:
            raise InfraError(
                f"Processes of a local cluster do not end, even killed: {', '.join(map(str, sorted(left)))}.",
                hint="They wait in the kernel, often for a network file system; try again when it answers.",
            )

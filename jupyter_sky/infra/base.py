"""What every place that gives nodes must be able to do.

An infra turns an offer into running nodes, each with an agent, and back into nothing. It knows no task, no
YAML, no database and no person: it is told what to make, reports progress, and answers truthfully what is
there. All methods block and may be called from any thread; flows call them from their own process or a worker
thread. A third party adds an infra through the entry-point group `jupyter_sky.infra`, and proves it with
`tests/local/infra/infra_conformance.py`.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_sky.events import Reporter
    from jupyter_sky.link.carriers import Carrier
    from jupyter_sky.spec import Resources


@dataclass(frozen=True, slots=True)
class InfraCheck:
    """Whether an infra can be used from here: the reason where it cannot, and the command that mends it."""

    infra: str
    enabled: bool
    reason: str = ""
    hint: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to get one node. Prices are US dollars per hour and node; memory is GiB."""

    infra: str
    instance_type: str
    cpus: float
    memory_gb: float
    accelerators: dict[str, float] = field(default_factory=dict)
    price_hourly: float = 0.0
    use_spot: bool = False
    region: str | None = None
    zone: str | None = None

    @property
    def place(self) -> str:
        """Where it is, as a task's `infra` says it: `aws/us-east-1/us-east-1a`."""
        return "/".join(part for part in (self.infra, self.region, self.zone) if part)

    def to_dict(self) -> dict[str, Any]:
        """Give the offer as a JSON object."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Offer:
        """Read back what `to_dict` gave."""
        return cls(**raw)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a place cannot satisfy a request, in one sentence, and what would make it fit."""

    infra: str
    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ProvisionRequest:
    """All an infra needs to make a cluster. `cluster_id` is unique for ever; the name may be used again."""

    cluster_id: str
    cluster_name: str
    num_nodes: int
    offer: Offer
    resources: Resources
    owner: str
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeHandle:
    """One node. `ip` is how the cluster's other nodes reach it, `port` its agent's TLS port (0: unknown)."""

    rank: int
    node_id: str
    ip: str
    port: int = 0
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClusterHandle:
    """How an infra finds its cluster again; plain JSON, holds no secret."""

    infra: str
    cluster_id: str
    cluster_name: str
    nodes: tuple[NodeHandle, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Give the handle as a JSON object."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> ClusterHandle:
        """Read back what `to_dict` gave."""
        return cls(**{**raw, "nodes": tuple(NodeHandle(**node) for node in raw["nodes"])})


class NodeState(enum.StrEnum):
    """What a node is, as its infra sees it now."""

    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    GONE = "GONE"


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """The state of one node, with a reason where it is not simply RUNNING.

    STOPPED or GONE have `stop`, `autostop`, `autodown` or `reboot`, or what else the infra knows. RUNNING
    with `agent_lost` is a node whose agent died: its jobs may go on, and `Infra.start` gives it a new agent.
    """

    rank: int
    state: NodeState
    reason: str = ""
    #: when it ended, seconds since the epoch, where the infra knows
    ended_at: float | None = None


class Infra(ABC):
    """A place that gives nodes."""

    #: The first word of the infra path: `local`, `kubernetes`, `aws`, `gcp`.
    name: str
    #: What this infra can do beyond launch and down: `stop`, `spot`, `ports`, `multi_node`.
    capabilities: frozenset[str] = frozenset()
    #: Whether `query` costs next to nothing, so that every `status` may ask.
    query_is_cheap: bool = False

    @abstractmethod
    def check(self) -> InfraCheck:
        """Say whether this infra can be used from here."""

    @abstractmethod
    def offers(self, resources: Resources, num_nodes: int) -> list[Offer | Rejection]:
        """Give every way to satisfy one concrete request (no alternatives), or why there is none."""

    @abstractmethod
    def reserve(self, request: ProvisionRequest) -> ClusterHandle:
        """Give, without making anything, the handle by which `terminate` removes what `provision` may make.

        It is written to the database first, so that a kill at any moment leaks nothing.
        """

    @abstractmethod
    def provision(self, request: ProvisionRequest, report: Reporter) -> ClusterHandle:
        """Make the nodes and start their agents; return when every agent answers.

        Idempotent: called again with the same `cluster_id` after a kill, it continues. On failure it removes
        what it made and raises `ProvisionError`.
        """

    @abstractmethod
    def query(self, handles: Sequence[ClusterHandle]) -> dict[str, list[NodeStatus]]:
        """Tell the truth about each cluster, keyed by `cluster_id`; a cluster that is gone has GONE nodes."""

    @abstractmethod
    def terminate(self, handle: ClusterHandle, report: Reporter) -> None:
        """Remove every process, file, port and object of the cluster. Removing what is gone is no error."""

    @abstractmethod
    def carrier(self, handle: ClusterHandle) -> Carrier:
        """Give the way to run `agent relay` on the head with stdin and stdout."""

    def stop(self, handle: ClusterHandle, report: Reporter) -> None:
        """Stop the nodes and keep their files."""
        raise NotImplementedError

    def start(self, handle: ClusterHandle, report: Reporter) -> ClusterHandle:
        """Start stopped nodes again with their files; the handle may change (addresses, ports)."""
        raise NotImplementedError

    def open_ports(self, handle: ClusterHandle, ports: Sequence[int]) -> None:
        """Make ports of the head reachable from outside; `endpoints` then tells where."""
        raise NotImplementedError

    def endpoints(self, handle: ClusterHandle, ports: Sequence[int]) -> dict[int, str]:
        """Give `host:port` for each port that can be reached from here."""
        raise NotImplementedError

    def discover(self, owner: str) -> list[ClusterHandle]:
        """Find every cluster of `owner` that is there, known to this machine's database or not."""
        raise NotImplementedError

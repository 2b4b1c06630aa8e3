"""The rows of the database as frozen, typed values.

What is read from the database is a snapshot: it never changes under its reader. A record holds no secret; the
layers above see to it that none gets here, and the database accepts nothing but plain JSON values, so that an
object that hides a secret cannot be stored by mistake.
"""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass, field
from typing import Any


class ClusterStatus(enum.StrEnum):
    """What a cluster is, as far as this machine knows."""

    INIT = "INIT"
    UP = "UP"
    STOPPED = "STOPPED"
    AUTOSTOPPING = "AUTOSTOPPING"


class OperationStatus(enum.StrEnum):
    """How far an operation is. INTERRUPTED: its process ended before it did."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    INTERRUPTED = "INTERRUPTED"

    @property
    def active(self) -> bool:
        """Whether the operation has not ended."""
        return self in ACTIVE_STATUSES


ACTIVE_STATUSES = frozenset({OperationStatus.PENDING, OperationStatus.RUNNING})


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """One cluster.

    Times are seconds since the epoch. `id` (32 hexadecimal digits) is unique for ever; `name` may be used
    again after the cluster is removed. `price_hourly` is US dollars per hour and node. `resources` holds
    `offer` (the offer taken) and `describe` (`1x[T4:1]`). `handle` is how
    the infra finds the cluster again. `last_use` is the last command, already without secrets. `note` is one
    sentence for the person.
    """

    name: str
    id: str
    infra: str
    status: ClusterStatus = ClusterStatus.INIT
    resources: dict[str, Any] = field(default_factory=dict)
    num_nodes: int = 1
    handle: dict[str, Any] = field(default_factory=dict)
    price_hourly: float = 0.0
    launched_at: float | None = None
    autostop: dict[str, Any] | None = None
    owner: str = ""
    last_use: str = ""
    created_at: float = field(default_factory=time.time)
    updated_at: float = field(default_factory=time.time)
    note: str | None = None


@dataclass(frozen=True, slots=True)
class CostRow:
    """What one cluster has cost so far, removed clusters included.

    `duration_s` is the time it was up, in seconds; `price_hourly` is US dollars per hour and node; `cost` is
    US dollars for all its nodes; `status` is None once the cluster is removed.
    """

    name: str
    id: str
    infra: str
    resources: str
    num_nodes: int
    launched_at: float | None
    duration_s: float
    price_hourly: float
    cost: float
    status: ClusterStatus | None


@dataclass(frozen=True, slots=True)
class OperationRecord:
    """One long-running action.

    Times are seconds since the epoch. `target` is the name of what it acts on. `handler` is the import path
    (`module:function`) that does the work. `request` holds no secret. `progress` has `done`, `total` or None,
    and `unit`; `error` has `code`, `message`, `hint` and `exit_code`. `pid` is written by the operation's own
    process.
    """

    id: str
    kind: str
    target: str
    handler: str
    status: OperationStatus = OperationStatus.PENDING
    phase: str = ""
    detail: str = ""
    progress: dict[str, Any] | None = None
    pid: int | None = None
    created_at: float = field(default_factory=time.time)
    started_at: float | None = None
    ended_at: float | None = None
    heartbeat_at: float | None = None
    request: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None

"""What listings return: plain, immutable rows that any face can show or turn into JSON.

Times are seconds since the epoch, durations seconds, prices US dollars per hour for the whole cluster.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_sky.optimizer import Plan


class View:
    """What every row can do."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Give the row as a JSON object."""
        fields: dict[str, Any] = asdict(self)  # type: ignore[call-overload]  # every View is a dataclass
        return fields


@dataclass(frozen=True, slots=True)
class ClusterView(View):
    """One cluster as `status` shows it.

    `autostop` has `idle_minutes`, `down`, `wait_for`, `hook` and `hook_timeout`; None where it is off.
    """

    name: str
    id: str
    infra: str
    resources: str
    num_nodes: int
    status: str
    autostop: dict[str, Any] | None
    launched_at: float | None
    price_hourly: float
    head_ip: str | None
    command: str | None
    note: str | None
    operation_id: str | None


@dataclass(frozen=True, slots=True)
class JobView(View):
    """One job as `queue` shows it; `exit_codes` has one entry a rank, None where it has not ended.

    `name` is None where the task has none.
    """

    cluster: str
    id: int
    name: str | None
    user: str
    submitted_at: float
    started_at: float | None
    ended_at: float | None
    duration_s: float | None
    resources: str
    status: str
    log: str
    reason: str | None
    exit_codes: list[int | None]

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self.status in ENDED


#: The states in which a job stays.
ENDED = frozenset({"SUCCEEDED", "FAILED", "FAILED_SETUP", "FAILED_DRIVER", "CANCELLED"})


@dataclass(frozen=True, slots=True)
class LaunchResult:
    """What a launch ended with. `job_id` is None where the task has nothing to run, or for a dry run."""

    cluster_name: str
    job_id: int | None
    operation_id: str | None
    plan: Plan | None


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What an exec ended with: the job is in the cluster's queue."""

    cluster_name: str
    job_id: int


@dataclass(frozen=True, slots=True)
class LogEnd:
    """Where a log stream ended.

    `exit_code` is 0 when the job succeeded, 100 when it failed, 101 when it has not ended, 103 when it was
    cancelled (the numbers are SkyPilot's). `offset` is the byte after the last one that was shown.
    """

    job_id: int
    status: str
    exit_code: int
    offset: int
    reason: str | None = None


def exit_code_of(status: str) -> int:
    """Give the exit code with which a command that waited for a job ends."""
    if status == "SUCCEEDED":
        return 0
    if status == "CANCELLED":
        return 103
    return 100 if status in ENDED else 101


def nodes_text(count: int) -> str:
    """Count nodes in words: `1 node`, `2 nodes`."""
    return "1 node" if count == 1 else f"{count} nodes"

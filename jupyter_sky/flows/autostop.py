"""Autostop: when a cluster that nobody uses stops, or is removed.

The cluster's own agent keeps the settings and obeys them; the database has a copy for `status`. Here they are
made, from an option or from a task, and handed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_sky.errors import UsageError
from jupyter_sky.flows import agents, clusters, jobs
from jupyter_sky.state import State

if TYPE_CHECKING:
    from jupyter_sky.spec import Task
    from jupyter_sky.state import ClusterRecord

_WAIT_FOR = ("jobs_and_ssh", "jobs", "none")


def autostop(
    cluster: str,
    idle_minutes: float,
    *,
    down: bool = False,
    wait_for: str | None = None,
    hook: str | None = None,
    hook_timeout: float | None = None,
) -> dict[str, Any]:
    """Stop (or with `down` remove) a cluster after so many idle minutes; a negative number turns that off.

    Returns
    -------
    dict
        The settings, as the agent keeps them.
    """
    chosen = settings(idle_minutes, down=down, wait_for=wait_for, hook=hook, hook_timeout=hook_timeout)
    record = agents.require_up(cluster)
    if not down and idle_minutes >= 0:
        clusters.require_stop(record)
    agents.with_agent(cluster, lambda record: hand_over(record, chosen))
    return chosen


def hand_over(record: ClusterRecord, chosen: dict[str, Any]) -> None:
    """Give settings to the cluster's agent, and note them for `status`."""
    agents.call(record, "autostop.set", **chosen)
    noted = chosen if chosen["idle_minutes"] >= 0 else None
    State.open().clusters.update(record.name, autostop=noted)


def settings(
    idle_minutes: float,
    *,
    down: bool = False,
    wait_for: str | None = None,
    hook: str | None = None,
    hook_timeout: float | None = None,
) -> dict[str, Any]:
    """Check settings and give them as the agent keeps them; minus 1 minutes means off."""
    if wait_for is not None and wait_for not in _WAIT_FOR:
        raise UsageError(f"wait_for is {wait_for!r}; it must be one of {', '.join(_WAIT_FOR)}.")
    return {
        "idle_minutes": idle_minutes if idle_minutes >= 0 else -1,
        "down": down,
        "wait_for": wait_for or _WAIT_FOR[0],
        "hook": hook,
        "hook_timeout": hook_timeout,
    }


def settings_of(task: Task, idle_minutes: float | None, *, down: bool) -> dict[str, Any] | None:
    """Join a launch's options with the task's own autostop; None where neither says anything."""
    own = jobs.job_resources(task).autostop
    if own is None:
        if idle_minutes is None and not down:
            return None
        # `down` alone means: as soon as the job has ended.
        return settings(idle_minutes or 0.0, down=down)
    return settings(
        own.idle_minutes if idle_minutes is None else idle_minutes,
        down=own.down or down,
        wait_for=own.wait_for,
        hook=own.hook,
        hook_timeout=own.hook_timeout,
    )

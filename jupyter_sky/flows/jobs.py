"""From a task to a job in a cluster's queue, and what can be asked of jobs there.

The queue itself lives in the cluster's agent; this module builds what is submitted and reads what is
answered. Secrets go straight from the task into the call and are kept nowhere.
"""

from __future__ import annotations

import os
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jupyter_sky.config import user_name
from jupyter_sky.errors import JobNotFoundError, UsageError
from jupyter_sky.flows import agents, clusters
from jupyter_sky.flows.views import JobView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_sky.spec import Resources, Task
    from jupyter_sky.state import ClusterRecord

#: What a job that names no CPUs takes of a node, so that a few small jobs run side by side (as in SkyPilot).
DEFAULT_CPUS = 0.5


def job_resources(task: Task) -> Resources:
    """Give the resources that decide a job's place in the queue: the first alternative of the task."""
    alternatives, _ = task.resources_alternatives()
    return alternatives[0]


def job_spec(
    task: Task, record: ClusterRecord, *, count_cpus: bool, no_setup: bool = False
) -> dict[str, Any]:
    """Build what the agent queues for a task; see the agent's `job.submit`.

    Parameters
    ----------
    count_cpus
        Whether the task's `cpus` are a demand of the job. They are in `exec`; in `launch` they describe the
        node, whose CPUs a job then shares.
    """
    resources = job_resources(task)
    name, gpus = next(iter(resources.accelerators.items()), (None, 0.0))
    if name is not None and not any(key.upper() == name.upper() for key in _cluster_gpus(record)):
        name, gpus = None, 0.0
    cpus = DEFAULT_CPUS
    if count_cpus and resources.cpus is not None:
        cpus = resources.cpus.value
    nodes = task.num_nodes or 1
    stamp = datetime.now().astimezone().strftime("%Y-%m-%d-%H-%M-%S-%f")
    middle = f"{record.name}-{task.name}" if task.name else record.name
    return {
        "submission_id": os.urandom(16).hex(),
        "name": task.name,
        "user": user_name(),
        "task_id": f"sky-{stamp}_{middle}_{{job_id}}",
        "setup": None if no_setup else task.setup,
        "run": task.run,
        "envs": dict(task.envs),
        "num_nodes": nodes,
        "cpus": cpus,
        "gpus": gpus,
        "gpu_name": name,
        "resources_str": _describe(nodes, name, gpus, cpus),
        "ports": list(resources.ports),
    }


def _cluster_gpus(record: ClusterRecord) -> dict[str, float]:
    return dict(record.resources["offer"]["accelerators"])


def _describe(nodes: int, gpu: str | None, gpus: float, cpus: float) -> str:
    inner = f"{gpu}:{gpus:g}" if gpu else f"CPU:{cpus:g}"
    return f"{nodes}x[{inner}]"


def submit(record: ClusterRecord, spec: dict[str, Any], secrets: dict[str, str]) -> int:
    """Queue a job and give its id. Safe to repeat: the agent knows the submission by its own id."""
    answer = agents.call(record, "job.submit", spec=spec, secrets=secrets)
    return int(answer["job_id"])


def view(record: ClusterRecord, raw: dict[str, Any]) -> JobView:
    """Turn an agent's answer about one job into a row."""
    started, ended = raw["started_at"], raw["ended_at"]
    duration = None if started is None else (ended or time.time()) - started
    return JobView(
        cluster=record.name,
        id=raw["job_id"],
        name=raw["name"],
        user=raw["user"],
        submitted_at=raw["submitted_at"],
        started_at=started,
        ended_at=ended,
        duration_s=duration,
        resources=raw["resources_str"],
        status=raw["status"],
        log=raw["log_path"],
        reason=raw["reason"],
        exit_codes=list(raw["exit_codes"]),
    )


def queue(cluster: str, *, skip_finished: bool = False) -> list[JobView]:
    """List the jobs of a cluster, the newest first."""

    def ask(record: ClusterRecord) -> list[JobView]:
        raw = agents.call(record, "job.list", ids=None, active=skip_finished)
        return sorted((view(record, job) for job in raw), key=lambda job: -job.id)

    return agents.with_agent(cluster, ask)


def get(cluster: str, job_id: int | None = None) -> JobView:
    """Give one job of a cluster; the latest where no id is given."""
    return agents.with_agent(
        cluster, lambda record: view(record, agents.call(record, "job.get", job_id=job_id))
    )


def cancel(cluster: str, job_ids: Sequence[int] | None = None, *, all_jobs: bool = False) -> list[int]:
    """Cancel jobs of a cluster and give the ids of those that were still waiting or running.

    Raises
    ------
    JobNotFoundError
        A job is not there; none is cancelled then.
    """
    if not job_ids and not all_jobs:
        raise UsageError(
            "No job was named.",
            hint=f"`jupyter sky cancel {cluster} 3`, or --all for every job of the cluster.",
        )
    ids = None if all_jobs else list(job_ids or ())

    def ask(record: ClusterRecord) -> list[int]:
        if ids is not None:
            known = {job["job_id"] for job in agents.call(record, "job.list", ids=ids, active=False)}
            missing = [job_id for job_id in ids if job_id not in known]
            if missing:
                raise no_such_job(cluster, missing)
        answer = agents.call(record, "job.cancel", ids=ids, timeout=60)
        return [int(job_id) for job_id in answer["cancelled"]]

    return agents.with_agent(cluster, ask)


def no_such_job(cluster: str, missing: Sequence[int]) -> JobNotFoundError:
    """Give the error that names the jobs which a cluster does not have."""
    return JobNotFoundError(
        f"Cluster {cluster!r} has no job {', '.join(map(str, sorted(missing)))}.",
        hint=f"`jupyter sky queue {cluster}` lists its jobs.",
    )


def wait(cluster: str, job_id: int, *, until: str = "ended", timeout: float | None = None) -> JobView:
    """Wait until a job has started or `ended`; give it as it is then, or after `timeout` seconds."""
    deadline = None if timeout is None else time.monotonic() + timeout
    meant = clusters.require(cluster)
    while True:
        left = 60.0 if deadline is None else max(0.0, min(60.0, deadline - time.monotonic()))

        def ask(record: ClusterRecord, left: float = left) -> JobView:
            agents.check_same(meant, record)
            raw = agents.call(record, "job.wait", job_id=job_id, until=until, wait=left, timeout=left + 30)
            return view(record, raw)

        job = agents.with_agent(cluster, ask)
        if job.ended or (until == "started" and job.started_at is not None):
            return job
        if deadline is not None and time.monotonic() >= deadline:
            return job

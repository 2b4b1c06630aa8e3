"""Exec: one more job on a cluster that is UP. Quick, so it runs in the caller's process.

Only the workdir is sent (unchanged files do not travel) and `setup` is not run, as in SkyPilot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_sky.errors import UsageError
from jupyter_sky.events import SilentReporter
from jupyter_sky.flows import agents, files, jobs
from jupyter_sky.flows.launch import check_fits
from jupyter_sky.flows.operations.starting import refuse_secrets
from jupyter_sky.flows.views import ExecResult
from jupyter_sky.state import State

if TYPE_CHECKING:
    from jupyter_sky.events import Reporter
    from jupyter_sky.spec import Task
    from jupyter_sky.state import ClusterRecord


def exec_task(
    task: Task, cluster_name: str, *, report: Reporter | None = None, command: str = ""
) -> ExecResult:
    """Queue a task's `run` on an existing cluster and give the job's id.

    Raises
    ------
    ClusterNotFoundError, ClusterNotUpError, ClusterMismatchError
        There is no such cluster, it is not UP, or the task asks for more than it has.
    """
    if task.run is None:
        raise UsageError("There is nothing to execute: the task has no `run`.")
    reporter = report or SilentReporter()
    record = agents.require_up(cluster_name)
    check_fits(task, record)
    files.check_sources(task)
    spec = jobs.job_spec(task, record, count_cpus=True, no_setup=True)
    # The node's database and a script keep the one, our database the other.
    refuse_secrets({"task": spec, "command": command}, task.reveal_secrets())

    def work(record: ClusterRecord) -> int:
        files.send_task_files(task, record, reporter)
        return jobs.submit(record, spec, task.reveal_secrets())

    job_id = agents.with_agent(cluster_name, work)
    if command:
        State.open().clusters.update(cluster_name, last_use=command)
    return ExecResult(cluster_name, job_id)

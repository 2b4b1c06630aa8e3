"""The Python interface: what a person imports to do from code what the commands do.

Functions have the names and the main parameters of SkyPilot's SDK, but block until the thing is done and
return it, instead of a request to wait for. They may be called while an event loop runs (as in a notebook):
the asynchronous work happens in a thread of its own. Listings come back as lists with a table as their look
in a notebook.

This module imports nothing at its top that costs time; every function imports the flow it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jupyter_sky.sdk.listing import Listing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from jupyter_sky.events import Reporter
    from jupyter_sky.flows.views import ClusterView, JobView
    from jupyter_sky.infra.base import InfraCheck
    from jupyter_sky.optimizer import Plan
    from jupyter_sky.spec import Task
    from jupyter_sky.state import CostRow

__all__ = [
    "Launched",
    "Listing",
    "autostop",
    "cancel",
    "check",
    "cost_report",
    "down",
    "download_logs",
    "exec",
    "job_status",
    "launch",
    "list_accelerators",
    "optimize",
    "queue",
    "rsync_down",
    "rsync_up",
    "start",
    "status",
    "stop",
    "tail_logs",
]


@dataclass(frozen=True, slots=True)
class Launched:
    """What `launch` and `exec` return; unpacks as `job_id, handle`, like SkyPilot's.

    `job_id` is None where the task has nothing to run or the launch was a dry run; `handle` is the
    cluster's row in `status`, None for a dry run; `plan` tells where it could have run, None where the
    cluster existed.
    """

    cluster_name: str
    job_id: int | None
    handle: ClusterView | None
    plan: Plan | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter((self.job_id, self.handle))

    def __str__(self) -> str:
        where = f"cluster {self.cluster_name}"
        return where if self.job_id is None else f"job {self.job_id} on {where}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002 - IPython's protocol
        printer.text(str(self))


def launch(
    task: Task,
    cluster_name: str | None = None,
    retry_until_up: bool = False,
    idle_minutes_to_autostop: float | None = None,
    dryrun: bool = False,
    down: bool = False,
    *,
    no_setup: bool = False,
    fast: bool = False,
    report: Reporter | None = None,
) -> Launched:
    """Make a cluster, or use the one of that name, and queue a task there.

    Parameters
    ----------
    task
        What to run.
    cluster_name
        A DNS-1123 label; made up where None.
    retry_until_up
        Try all places again and again until one gives the nodes.
    idle_minutes_to_autostop
        Stop the cluster after so many idle minutes.
    dryrun
        Only plan: nothing is made, and `plan` of the result tells where it would run.
    down
        Remove the cluster instead of stopping it when it is idle; without `idle_minutes_to_autostop`, as
        soon as the job has ended.
    no_setup
        Skip the task's `setup`.
    fast
        Skip `setup` where the cluster is UP already.
    report
        Hears phases, progress and log lines meanwhile.

    Returns
    -------
    Launched
        The job may still wait in the queue; `tail_logs` waits for its end.

    Raises
    ------
    NoOfferError
        No enabled infra can satisfy the task's resources.
    ClusterMismatchError
        A cluster of that name exists and has less than the task asks for.
    ProvisionError
        No place could give the nodes.
    """
    from jupyter_sky.flows import launch as flow

    done = flow.launch(
        task,
        cluster_name,
        retry_until_up=retry_until_up,
        idle_minutes_to_autostop=idle_minutes_to_autostop,
        dryrun=dryrun,
        down=down,
        no_setup=no_setup,
        fast=fast,
        report=report,
        command="jupyter_sky.launch(…)",
    )
    handle = None if dryrun else _row(done.cluster_name)
    return Launched(done.cluster_name, done.job_id, handle, done.plan)


def exec(  # noqa: A001 - the name that SkyPilot's users type
    task: Task, cluster_name: str, dryrun: bool = False, *, report: Reporter | None = None
) -> Launched:
    """Queue a task's `run` on a cluster that is UP; `setup` is not run. With `dryrun` nothing is done.

    Raises
    ------
    ClusterNotFoundError, ClusterNotUpError, ClusterMismatchError
        There is no such cluster, it is not UP, or the task asks for more than it has.
    """
    from jupyter_sky.flows import exec as flow

    if dryrun:
        return Launched(cluster_name, None, None)
    done = flow.exec_task(task, cluster_name, report=report, command="jupyter_sky.exec(…)")
    return Launched(done.cluster_name, done.job_id, _row(cluster_name))


def _row(name: str) -> ClusterView | None:
    from jupyter_sky.flows import status as flow

    return next(iter(flow.status([name])), None)


def optimize(task: Task) -> Plan:
    """Say where a task could run and for how much, cheapest first; nothing is made."""
    from jupyter_sky.flows import launch as flow

    return flow.make_plan(task)


def status(cluster_names: str | Sequence[str] | None = None, refresh: bool = False) -> Listing[ClusterView]:
    """List clusters as they really are.

    Parameters
    ----------
    cluster_names
        A name, or names and shell patterns (`train-*`); all clusters where None.
    refresh
        Ask also the infras whose answer takes long.
    """
    from jupyter_sky.flows import status as flow
    from jupyter_sky.sdk import views

    return views.clusters(flow.status(_names(cluster_names), refresh=refresh))


def _names(given: str | Sequence[str] | None) -> list[str]:
    return [given] if isinstance(given, str) else list(given or ())


def queue(cluster_name: str, skip_finished: bool = False) -> Listing[JobView]:
    """List the jobs of a cluster, the newest first."""
    from jupyter_sky.flows import jobs as flow
    from jupyter_sky.sdk import views

    return views.jobs(flow.queue(cluster_name, skip_finished=skip_finished))


def job_status(cluster_name: str, job_ids: Sequence[int] | None = None) -> dict[int, str]:
    """Give the state of jobs by their ids; of the latest job where none are given."""
    from jupyter_sky.flows import jobs as flow

    wanted: list[int | None] = [*job_ids] if job_ids else [None]
    chosen = [flow.get(cluster_name, job_id) for job_id in wanted]
    return {job.id: job.status for job in chosen}


def tail_logs(
    cluster_name: str,
    job_id: int | None = None,
    follow: bool = True,
    tail: int = 0,
    output_stream: Callable[[str], object] | None = None,
    *,
    rank: int | None = None,
) -> int:
    """Print a job's log, by default until the job has ended.

    Parameters
    ----------
    cluster_name, job_id
        Which job; the cluster's latest where no id is given.
    follow
        Go on until the job has ended.
    tail
        Begin with the last so many lines; 0 means all.
    output_stream
        Called with each piece of text; by default it is written to `sys.stdout`.
    rank
        One rank's own log instead of all ranks' lines.

    Returns
    -------
    int
        0 when the job succeeded, 100 when it failed, 101 when it has not ended, 103 when it was cancelled.
    """
    import codecs
    import sys

    from jupyter_sky.flows import logs as flow

    write = output_stream or sys.stdout.write
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    end = flow.tail(
        cluster_name,
        job_id,
        rank=rank,
        follow=follow,
        tail=tail or None,
        write=lambda piece: write(decode(piece)),
    )
    if rest := decode(b"", final=True):
        write(rest)
    return end.exit_code


def download_logs(
    cluster_name: str, job_ids: Sequence[int] | None = None, local_dir: str | Path | None = None
) -> dict[int, Path]:
    """Copy the logs of jobs (all by default) into `local_dir` (`sky_logs/<cluster>` by default)."""
    from pathlib import Path

    from jupyter_sky.flows import logs as flow

    return flow.download(cluster_name, job_ids, Path(local_dir) if local_dir is not None else None)


def cancel(
    cluster_name: str,
    all: bool = False,  # noqa: A002 - SkyPilot's name
    job_ids: Sequence[int] | None = None,
) -> list[int]:
    """Cancel jobs and give the ids of those that were still waiting or running."""
    from jupyter_sky.flows import jobs as flow

    return flow.cancel(cluster_name, job_ids, all_jobs=all)


def stop(cluster_name: str, *, report: Reporter | None = None) -> None:
    """Stop a cluster and keep its files."""
    from jupyter_sky.flows import lifecycle

    lifecycle.stop([cluster_name], report=report)


def start(
    cluster_name: str,
    idle_minutes_to_autostop: float | None = None,
    *,
    down: bool = False,
    report: Reporter | None = None,
) -> ClusterView | None:
    """Start a stopped cluster again, with its files, and give its row in `status`."""
    from jupyter_sky.flows import lifecycle

    lifecycle.start(
        [cluster_name], idle_minutes_to_autostop=idle_minutes_to_autostop, down=down, report=report
    )
    return _row(cluster_name)


def down(cluster_name: str, purge: bool = False, *, report: Reporter | None = None) -> None:
    """Remove a cluster with all its processes and files.

    With `purge` it is forgotten even if its infra cannot be asked to remove it.
    """
    from jupyter_sky.flows import lifecycle

    lifecycle.down([cluster_name], purge=purge, report=report)


def autostop(
    cluster_name: str,
    idle_minutes: float,
    wait_for: str | None = None,
    down: bool = False,
    hook: str | None = None,
    hook_timeout: float | None = None,
) -> None:
    """Stop (or with `down` remove) a cluster after so many idle minutes; a negative number turns that off.

    Parameters
    ----------
    cluster_name, idle_minutes, down
        Which cluster, when, and what then.
    wait_for
        What counts as being busy: `jobs_and_ssh` (the default), `jobs` or `none`.
    hook
        A shell command that is run on the head before.
    hook_timeout
        Seconds the hook may take.
    """
    from jupyter_sky.flows import autostop as flow

    flow.autostop(
        cluster_name, idle_minutes, down=down, wait_for=wait_for, hook=hook, hook_timeout=hook_timeout
    )


def cost_report() -> Listing[CostRow]:
    """List what each cluster, living or gone, has cost."""
    from jupyter_sky.flows import cost as flow
    from jupyter_sky.sdk import views

    return views.costs(flow.cost_report())


def check(infra_list: Sequence[str] | None = None) -> Listing[InfraCheck]:
    """Say for each infra (all known ones by default) whether it can be used, and if not, what to do."""
    from jupyter_sky.flows import check as flow
    from jupyter_sky.sdk import views

    return views.checks(flow.check(infra_list))


def list_accelerators(infra_list: Sequence[str] | None = None) -> Listing[dict[str, Any]]:
    """List the GPUs of the enabled infras: how many a node may have, there are, and are free."""
    from jupyter_sky.flows import check as flow
    from jupyter_sky.sdk import views

    return views.gpus(flow.gpus(infra_list))


def rsync_up(cluster_name: str, local: str | Path, remote: str, *, report: Reporter | None = None) -> None:
    """Copy a local file or folder to every node of a cluster; only what differs travels."""
    from jupyter_sky.flows import files as flow

    flow.rsync_up(cluster_name, local, remote, report=report)


def rsync_down(
    cluster_name: str, remote: str, local: str | Path, *, rank: int = 0, report: Reporter | None = None
) -> None:
    """Copy a file or folder of one node (the head by default) here."""
    from jupyter_sky.flows import files as flow

    flow.rsync_down(cluster_name, remote, local, rank=rank, report=report)

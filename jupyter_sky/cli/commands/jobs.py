"""`queue`, `logs`, `cancel`: what is done with the jobs of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jupyter_sky.cli import complete, options
from jupyter_sky.cli.face import Face, Outcome, Record
from jupyter_sky.cli.grammar import SkyCommand
from jupyter_sky.cli.watching import follow
from jupyter_sky.errors import JobNotFoundError, NotConfirmedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_sky.flows.views import JobView
    from jupyter_sky.sdk.listing import Listing


def _ids(cluster: str, jobs: Sequence[str]) -> list[int]:
    """Give the ids of jobs that were named by id or by name; a name means its latest job."""
    if all(map(str.isdecimal, jobs)):
        return [int(job) for job in jobs]
    from jupyter_sky.flows import jobs as flow

    latest = {row.name: row.id for row in reversed(flow.queue(cluster)) if row.name}
    missing = [job for job in jobs if not job.isdecimal() and job not in latest]
    if missing:
        raise JobNotFoundError(
            f"Cluster {cluster!r} has no job named {missing[0]!r}.",
            hint=f"`jupyter sky queue {cluster}` lists its jobs.",
        )
    return [int(job) if job.isdecimal() else latest[job] for job in jobs]


@click.command(cls=SkyCommand)
@options.clusters_argument
@click.option("-s", "--skip-finished", is_flag=True, help="Only jobs that have not ended.")
@options.output
@options.pass_face
def queue(_: Face, /, *, names: tuple[str, ...], skip_finished: bool) -> Listing[JobView]:
    """List the jobs of clusters.

    Without names: of all clusters that are up.
    """
    from jupyter_sky.flows import jobs as flow
    from jupyter_sky.flows import status
    from jupyter_sky.sdk import views

    if len(names) == 1 and not any(mark in names[0] for mark in "*?["):
        chosen = list(names)
    else:
        chosen = [row.name for row in status.status(names) if row.status in {"UP", "AUTOSTOPPING"}]
    rows = [row for name in chosen for row in flow.queue(name, skip_finished=skip_finished)]
    return views.jobs(rows, with_cluster=len(chosen) > 1)


@click.command(cls=SkyCommand)
@options.cluster_argument
@click.argument("jobs", metavar="[JOB]...", nargs=-1, shell_complete=complete.jobs)
@click.option("--follow/--no-follow", "wait", default=True, help="Whether to go on until the job has ended.")
@click.option(
    "--tail", type=click.IntRange(min=0), metavar="N", help="Begin with the last N lines; 0 means all."
)
@click.option("--rank", type=click.IntRange(min=0), metavar="RANK", help="Only what this node wrote.")
@click.option("--status", "status_only", is_flag=True, help="Only say how the job stands.")
@click.option("-s", "--sync-down", is_flag=True, help="Copy logs here instead of showing them.")
@options.output
@options.pass_face
def logs(
    face: Face,
    /,
    *,
    cluster: str,
    jobs: tuple[str, ...],
    wait: bool,
    tail: int | None,
    rank: int | None,
    status_only: bool,
    sync_down: bool,
) -> Outcome | Record | None:
    """Show the log of a job, while it is written.

    JOB is an id or a name; the latest job where it is left out. The exit code tells how the job stands: 0
    when it succeeded, 100 when it failed, 101 when it has not ended, 103 when it was cancelled.
    """
    ids = _ids(cluster, jobs)
    if sync_down:
        return _download(face, cluster, ids)
    if len(ids) > 1:
        raise UsageError(
            "One log can be shown at a time.", hint="Name one job, or copy them with --sync-down."
        )
    job_id = ids[0] if ids else None
    if status_only:
        from jupyter_sky.flows import jobs as flow
        from jupyter_sky.flows.views import exit_code_of

        job = flow.get(cluster, job_id)
        face.note(f"Job {job.id}: {job.status}")
        return Outcome(cluster, job.id, job.status, exit_code=exit_code_of(job.status))
    return follow(face, cluster, job_id, rank=rank, tail=tail or None, wait=wait)


def _download(face: Face, cluster: str, ids: list[int]) -> Record:
    from jupyter_sky.flows import logs as flow

    done = flow.download(cluster, ids or None)
    if not done:
        face.note(f"Cluster {cluster!r} has no jobs.")
    folders = {job_id: str(folder) for job_id, folder in done.items()}
    return Record(folders, text="\n".join(folders.values()))


@click.command(cls=SkyCommand)
@options.cluster_argument
@click.argument("jobs", metavar="[JOB]...", nargs=-1, shell_complete=complete.jobs)
@click.option("-a", "--all", "all_jobs", is_flag=True, help="All jobs that have not ended.")
@options.yes
@options.output
@options.pass_face
def cancel(face: Face, /, *, cluster: str, jobs: tuple[str, ...], all_jobs: bool, yes: bool) -> Record:
    """Cancel jobs of a cluster.

    JOB is an id or a name; the latest job that has not ended where it is left out.
    """
    from jupyter_sky.flows import jobs as flow

    if all_jobs and jobs:
        raise UsageError("Name jobs or say --all, not both.")
    ids = _ids(cluster, jobs)
    if not ids and not all_jobs:
        ids = [row.id for row in flow.queue(cluster, skip_finished=True)][:1]
        if not ids:
            raise JobNotFoundError(f"Cluster {cluster!r} has no job that could be cancelled.")
    what = "all jobs" if all_jobs else f"job{'s' if len(ids) > 1 else ''} {', '.join(map(str, ids))}"
    if not yes and not face.ask(f"Cancelling {what} on cluster {cluster!r}. Proceed?"):
        raise NotConfirmedError("Nothing was cancelled.")
    cancelled = flow.cancel(cluster, ids, all_jobs=all_jobs)
    if cancelled:
        face.note(f"✓ Cancelled: {', '.join(map(str, cancelled))}")
    else:
        face.note("Nothing was left to cancel: the jobs had ended.")
    return Record({"cluster_name": cluster, "cancelled": cancelled})

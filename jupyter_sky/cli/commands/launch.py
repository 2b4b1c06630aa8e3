"""`launch` and `exec`: a task onto a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jupyter_sky.cli import complete, options
from jupyter_sky.cli.face import Face, Outcome
from jupyter_sky.cli.grammar import SkyCommand
from jupyter_sky.cli.watching import follow, operations_go_on
from jupyter_sky.errors import UsageError

if TYPE_CHECKING:
    from jupyter_sky.optimizer import Plan
    from jupyter_sky.sdk.listing import Listing


@click.command(cls=SkyCommand)
@options.task
@click.option(
    "-c",
    "--cluster",
    metavar="CLUSTER",
    shell_complete=complete.clusters,
    help="The cluster; made up where left out.",
)
@click.option("-d", "--detach-run", is_flag=True, help="Do not wait for the job: return when it is queued.")
@options.autostop
@click.option("-r", "--retry-until-up", is_flag=True, help="Try all places again until one gives the nodes.")
@click.option("--no-setup", is_flag=True, help="Skip the task's setup.")
@click.option("--fast", is_flag=True, help="Skip the setup where the cluster is up already.")
@click.option("--dryrun", is_flag=True, help="Show where it would run and for how much; make nothing.")
@options.yes
@options.output
@options.pass_face
def launch(
    face: Face,
    /,
    *,
    entrypoint: tuple[str, ...],
    cluster: str | None,
    detach_run: bool,
    idle_minutes_to_autostop: float | None,
    down: bool,
    retry_until_up: bool,
    no_setup: bool,
    fast: bool,
    dryrun: bool,
    yes: bool,
    **task_options: Any,
) -> Listing[Any] | Outcome | None:
    r"""Make a cluster, or use it, and run a task there.

    TASK.yaml is a task file. Anything else is a command for the node's shell: one quoted text, or words
    behind --. Without either, the cluster is made and nothing runs on it.

    \b
    jupyter sky launch -c dev task.yaml --env EPOCHS=3
    jupyter sky launch -c dev --gpus T4:1 -- python train.py --lr 0.1
    """
    from jupyter_sky.flows import launch as flow
    from jupyter_sky.sdk import views

    task = options.build_task(face, entrypoint, task_options)

    def confirm(name: str, plan: Plan) -> bool:
        face.show(views.plan(plan))
        return yes or face.ask(f"Launching a new cluster {name!r}. Proceed?")

    with operations_go_on() as watch, face.progress() as report:
        done = flow.launch(
            task,
            cluster,
            retry_until_up=retry_until_up,
            idle_minutes_to_autostop=idle_minutes_to_autostop,
            down=down,
            no_setup=no_setup,
            fast=fast,
            dryrun=dryrun,
            confirm=confirm,
            on_begin=watch.on_begin,
            report=report,
            command=face.command_line,
        )
    if dryrun:
        if done.plan is not None:
            return views.plan(done.plan)
        face.note(f"Cluster {done.cluster_name!r} exists, and the task fits on it.")
        return None
    if done.job_id is None:
        face.note(f"✓ Cluster {done.cluster_name!r} is up. The task has nothing to run.")
        return Outcome(done.cluster_name, operation_id=done.operation_id)
    return _queued(face, done.cluster_name, done.job_id, operation_id=done.operation_id, detach=detach_run)


@click.command(cls=SkyCommand, name="exec")
@options.task
@click.option(
    "-c",
    "--cluster",
    metavar="CLUSTER",
    shell_complete=complete.clusters,
    help="The cluster, if not the first word.",
)
@click.option("-d", "--detach-run", is_flag=True, help="Do not wait for the job: return when it is queued.")
@click.option("--dryrun", is_flag=True, help="Check the task and the cluster's name; queue nothing.")
@options.output
@options.pass_face
def exec_(
    face: Face,
    /,
    *,
    entrypoint: tuple[str, ...],
    cluster: str | None,
    detach_run: bool,
    dryrun: bool,
    **task_options: Any,
) -> Outcome | None:
    r"""Run a task on a cluster that is up.

    The first word is the cluster. Only the workdir is sent again, and setup is not run.

    \b
    jupyter sky exec dev task.yaml
    jupyter sky exec dev -- python train.py --lr 0.1
    """
    from jupyter_sky.flows import exec as flow
    from jupyter_sky.names import check_name

    words = list(entrypoint)
    if cluster is None:
        if not words:
            raise click.UsageError("No cluster was named.", ctx=click.get_current_context())
        cluster = words.pop(0)
    check_name(cluster)
    if not words and face.cell is None:
        raise UsageError(
            "There is nothing to execute.",
            hint=f"`jupyter sky exec {cluster} task.yaml`, or a command behind --.",
        )
    task = options.build_task(face, tuple(words), task_options)
    if dryrun:
        face.note(f"The task would run on cluster {cluster!r}.")
        return None
    with face.progress() as report:
        done = flow.exec_task(task, cluster, report=report, command=face.command_line)
    return _queued(face, done.cluster_name, done.job_id, detach=detach_run)


def _queued(
    face: Face, cluster: str, job_id: int, *, operation_id: str | None = None, detach: bool = False
) -> Outcome:
    """Say what can be done with a job that was queued; follow it, unless the person goes."""
    if not detach:
        return follow(face, cluster, job_id, operation_id=operation_id)
    face.note(
        f"✓ Job submitted, ID: {job_id}\n"
        f"  `jupyter sky logs {cluster} {job_id}` shows its log, `jupyter sky queue {cluster}` all jobs, "
        f"`jupyter sky cancel {cluster} {job_id}` ends it."
    )
    return Outcome(cluster, job_id, operation_id=operation_id)

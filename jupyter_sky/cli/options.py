"""Options that several commands share, and what they mean for a task.

Each is a decorator, as click's own; the values stay strings until the task's own model reads them, so that
there is one place that knows what `A100:8` or `4+` mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from jupyter_sky.cli import complete
from jupyter_sky.cli.face import Face

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_sky.spec import Task

F = TypeVar("F", bound="Callable[..., Any]")

#: Gives a command the face of whoever typed it, as its first argument.
pass_face = click.pass_obj


def _choose_output(ctx: click.Context, _: click.Parameter, value: str) -> None:
    if isinstance(ctx.obj, Face):
        ctx.obj.output = value


def output(function: F) -> F:
    """Add `-o json`."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        expose_value=False,
        is_eager=True,
        callback=_choose_output,
        help="How the answer is written.",
    )(function)


def yes(function: F) -> F:
    """Add `-y`."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask; the answer is yes.")(function)


def cluster_argument(function: F) -> F:
    """Add the name of one cluster."""
    return click.argument("cluster", metavar="CLUSTER", shell_complete=complete.clusters)(function)


def clusters_argument(function: F) -> F:
    """Add any number of clusters, by name or shell pattern."""
    return click.argument("names", metavar="[CLUSTER]...", nargs=-1, shell_complete=complete.clusters)(
        function
    )


def autostop(function: F) -> F:
    """Add when an idle cluster stops, and whether it is removed then."""
    for option in (
        click.option(
            "--down",
            is_flag=True,
            help="Remove the cluster instead of stopping it; alone: once its jobs have ended.",
        ),
        click.option(
            "-i",
            "--idle-minutes-to-autostop",
            type=click.FloatRange(min=0),
            metavar="MINUTES",
            help="Stop the cluster after so many idle minutes.",
        ),
    ):
        function = option(function)
    return function


_TASK = (
    click.option("-n", "--name", metavar="NAME", help="The task's name."),
    click.option(
        "--workdir",
        metavar="FOLDER",
        type=click.Path(file_okay=False),
        help="Send this folder, and run there.",
    ),
    click.option("--infra", metavar="INFRA", help="Where: local, kubernetes/CONTEXT, aws/REGION/ZONE, gcp/…"),
    click.option("--cloud", metavar="CLOUD", help="Where; older spelling of --infra CLOUD."),
    click.option("--region", metavar="REGION", help="Where; older spelling of --infra CLOUD/REGION."),
    click.option("--zone", metavar="ZONE", help="Where; older spelling of --infra CLOUD/REGION/ZONE."),
    click.option("--num-nodes", type=click.IntRange(min=1), metavar="N", help="How many nodes."),
    click.option("--cpus", metavar="CPUS", help="CPUs of a node: 4, or 4+ for at least."),
    click.option("--memory", metavar="GIB", help="Memory of a node in GiB: 16, 16+, or 2x the CPUs."),
    click.option("--gpus", metavar="GPUS", help="GPUs of a node: T4:1, A100:8."),
    click.option("-t", "--instance-type", metavar="TYPE", help="The infra's own name of a kind of node."),
    click.option(
        "--use-spot/--no-use-spot", default=None, help="Whether nodes may be taken away, for less money."
    ),
    click.option(
        "--image-id", metavar="IMAGE", help="What nodes start from: docker:IMAGE, or a machine image."
    ),
    click.option("--disk-size", metavar="GIB", help="The disk of a node in GiB."),
    click.option(
        "--disk-tier", metavar="TIER", help="How fast the disk is: low, medium, high, ultra, best, none."
    ),
    click.option("--network-tier", metavar="TIER", help="How fast the network is: standard, best."),
    click.option(
        "--ports", metavar="PORT", multiple=True, help="Open a port or a range (8000-8010); repeatable."
    ),
    click.option(
        "--env",
        metavar="NAME[=VALUE]",
        multiple=True,
        help="Set a variable, or pass on one of yours; repeatable.",
    ),
    click.option(
        "--env-file", metavar="FILE", multiple=True, help="Set the variables that a file lists; repeatable."
    ),
    click.option(
        "--secret",
        metavar="NAME[=VALUE]",
        multiple=True,
        help="As --env, and shown nowhere. Prefer --secret NAME: a value on the command line can be seen.",
    ),
    click.option(
        "--secret-file", metavar="FILE", multiple=True, help="Set the secrets that a file lists; repeatable."
    ),
)

_RESOURCES = (
    "infra",
    "cloud",
    "region",
    "zone",
    "cpus",
    "memory",
    "instance_type",
    "use_spot",
    "image_id",
    "disk_size",
    "disk_tier",
    "network_tier",
)


def task(function: F) -> F:
    """Add what describes a task: its words, and every option that overrides its file."""
    for option in reversed(_TASK):
        function = option(function)
    return click.argument(
        "entrypoint", metavar="[TASK.yaml | COMMAND]...", nargs=-1, shell_complete=complete.entrypoint
    )(function)


def build_task(face: Face, entrypoint: tuple[str, ...], given: dict[str, Any]) -> Task:
    """Give the task that the words, the cell and the options describe together."""
    from jupyter_sky.cli.entrypoint import environment, task_of

    env = environment(given["env"], given["env_file"], "--env")
    secrets = environment(given["secret"], given["secret_file"], "--secret")
    task = task_of(entrypoint, cell=face.cell, env=env, secrets=secrets)
    resources = {key: given[key] for key in _RESOURCES if given[key] is not None}
    if given["gpus"] is not None:
        resources["accelerators"] = given["gpus"]
    if given["ports"]:
        resources["ports"] = list(given["ports"])
    overrides: dict[str, Any] = {
        "name": given["name"],
        "num_nodes": given["num_nodes"],
        "workdir": given["workdir"],
        "resources": resources or None,
    }
    overrides = {key: value for key, value in overrides.items() if value is not None}
    return task.with_overrides(**overrides) if overrides else task

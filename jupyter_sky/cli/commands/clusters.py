"""`status`, `start`, `stop`, `autostop`, `down`: what is done with clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jupyter_sky.cli import options
from jupyter_sky.cli.face import Face, Record
from jupyter_sky.cli.grammar import SkyCommand
from jupyter_sky.cli.watching import operations_go_on
from jupyter_sky.errors import NotConfirmedError, UsageError

if TYPE_CHECKING:
    from jupyter_sky.flows.views import ClusterView
    from jupyter_sky.sdk.listing import Listing


@click.command(cls=SkyCommand)
@options.clusters_argument
@click.option(
    "-v", "--verbose", "-a", "--all", "verbose", is_flag=True, help="Also the head and the last command."
)
@click.option("-r", "--refresh", is_flag=True, help="Ask also the infras whose answer takes long.")
@click.option("--ip", is_flag=True, help="Only the head's address of one cluster.")
@options.output
@options.pass_face
def status(
    _: Face, /, *, names: tuple[str, ...], verbose: bool, refresh: bool, ip: bool
) -> Listing[ClusterView] | Record:
    """List clusters."""
    from jupyter_sky.flows import status as flow
    from jupyter_sky.sdk import views

    rows = flow.status(names, refresh=refresh)
    if not ip:
        return views.clusters(rows, wide=verbose)
    if len(rows) != 1:
        raise UsageError(f"--ip is for one cluster, and there are {len(rows)}.", hint="Name one.")
    if rows[0].head_ip is None:
        raise UsageError(f"Cluster {rows[0].name!r} is {rows[0].status} and has no address.")
    return Record({"name": rows[0].name, "head_ip": rows[0].head_ip}, text=rows[0].head_ip)


def _consent(face: Face, names: tuple[str, ...], *, all_clusters: bool, verb: str, yes: bool) -> list[str]:
    """Give the clusters that are meant, after asking whether they are; none where --all means none."""
    from jupyter_sky.flows.clusters import select

    if all_clusters and names:
        raise UsageError("Name clusters or say --all, not both.")
    chosen = [record.name for record in select(names, all_clusters=all_clusters)]
    if not chosen:
        # All of none is done: a script that cleans up may run twice.
        face.note("You have no clusters.")
        return []
    many = "s" if len(chosen) > 1 else ""
    if not yes and not face.ask(f"{verb} {len(chosen)} cluster{many}: {', '.join(chosen)}. Proceed?"):
        raise NotConfirmedError("Nothing was done.")
    return chosen


def _done(face: Face, names: list[str], what: str) -> None:
    for name in names:
        face.note(f"✓ Cluster {name!r} {what}.")


_all = click.option("-a", "--all", "all_clusters", is_flag=True, help="All clusters.")


@click.command(cls=SkyCommand)
@options.clusters_argument
@_all
@options.autostop
@options.yes
@options.pass_face
def start(
    face: Face,
    /,
    *,
    names: tuple[str, ...],
    all_clusters: bool,
    idle_minutes_to_autostop: float | None,
    down: bool,
    yes: bool,
) -> None:
    """Start stopped clusters again."""
    from jupyter_sky.flows import lifecycle

    if down and idle_minutes_to_autostop is None:
        raise UsageError("--down needs to know when.", hint="Add -i MINUTES.")
    chosen = _consent(face, names, all_clusters=all_clusters, verb="Starting", yes=yes)
    if not chosen:
        return
    with operations_go_on() as watch, face.progress() as report:
        lifecycle.start(
            chosen,
            idle_minutes_to_autostop=idle_minutes_to_autostop,
            down=down,
            on_begin=watch.on_begin,
            report=report,
        )
    _done(face, chosen, "is up")


@click.command(cls=SkyCommand)
@options.clusters_argument
@_all
@options.yes
@options.pass_face
def stop(face: Face, /, *, names: tuple[str, ...], all_clusters: bool, yes: bool) -> None:
    """Stop clusters and keep their files."""
    from jupyter_sky.flows import lifecycle

    chosen = _consent(face, names, all_clusters=all_clusters, verb="Stopping", yes=yes)
    if not chosen:
        return
    with operations_go_on() as watch, face.progress() as report:
        lifecycle.stop(chosen, on_begin=watch.on_begin, report=report)
    _done(face, chosen, "is stopped; `jupyter sky start` starts it again")


@click.command(cls=SkyCommand)
@options.clusters_argument
@_all
@click.option("-p", "--purge", is_flag=True, help="Forget clusters even if their infra cannot be asked.")
@options.yes
@options.pass_face
def down(face: Face, /, *, names: tuple[str, ...], all_clusters: bool, purge: bool, yes: bool) -> None:
    """Remove clusters with all their files."""
    from jupyter_sky.flows import lifecycle

    chosen = _consent(face, names, all_clusters=all_clusters, verb="Terminating", yes=yes)
    if not chosen:
        return
    with operations_go_on() as watch, face.progress() as report:
        lifecycle.down(chosen, purge=purge, on_begin=watch.on_begin, report=report)
    _done(face, chosen, "is gone")


@click.command(cls=SkyCommand)
@options.clusters_argument
@_all
@click.option(
    "-i",
    "--idle-minutes",
    type=click.FloatRange(min=0),
    metavar="MINUTES",
    help="After so many; 5 by default.",
)
@click.option("--cancel", is_flag=True, help="Never stop them.")
@click.option("--down", is_flag=True, help="Remove them instead of stopping them.")
@click.option(
    "--wait-for",
    type=click.Choice(["jobs_and_ssh", "jobs", "none"]),
    help="What counts as being busy; jobs_and_ssh by default.",
)
@click.option("--hook", metavar="COMMAND", help="A shell command that the head runs before.")
@click.option(
    "--hook-timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="How long the hook may take."
)
@options.yes
@options.pass_face
def autostop(
    face: Face,
    /,
    *,
    names: tuple[str, ...],
    all_clusters: bool,
    idle_minutes: float | None,
    cancel: bool,
    down: bool,
    wait_for: str | None,
    hook: str | None,
    hook_timeout: float | None,
    yes: bool,
) -> None:
    """Stop or remove clusters when they are idle."""
    from jupyter_sky.flows import autostop as flow

    if cancel and (idle_minutes is not None or down):
        raise UsageError("--cancel turns autostop off, so -i and --down cannot stand beside it.")
    minutes = -1.0 if cancel else 5.0 if idle_minutes is None else idle_minutes
    verb = (
        "Cancelling autostop of" if cancel else f"Setting auto{'down' if down else 'stop'} ({minutes:g}m) of"
    )
    chosen = _consent(face, names, all_clusters=all_clusters, verb=verb, yes=yes)
    for name in chosen:
        flow.autostop(name, minutes, down=down, wait_for=wait_for, hook=hook, hook_timeout=hook_timeout)
    what = (
        "does not stop by itself"
        if cancel
        else f"is {'removed' if down else 'stopped'} after {minutes:g} idle min"
    )
    _done(face, chosen, what)

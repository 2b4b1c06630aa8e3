"""`rsync`: files to and from a cluster. Only what differs travels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jupyter_sky.cli import options
from jupyter_sky.cli.grammar import Entry, SkyCommand, SkyGroup
from jupyter_sky.sdk.human import size

if TYPE_CHECKING:
    from jupyter_sky.cli.face import Face
    from jupyter_sky.link.files import SyncStats

rsync = SkyGroup(
    name="rsync",
    help="Copy files to and from a cluster.",
    entries={
        "up": Entry("rsync:up", "Copy a file or folder to every node of a cluster."),
        "down": Entry("rsync:down", "Copy a file or folder of a node here."),
    },
)


def _tell(face: Face, done: SyncStats) -> None:
    """Say what there was, and how much of it travelled; over several nodes that is their sum."""
    what = "1 file" if done.files == 1 else f"{done.files} files"
    if not done.sent_files:
        how = ": all there already"
    elif done.sent_files == done.files:
        how = f", copied in {done.seconds:.1f} s"
    else:
        how = f": {done.sent_files} copied, {size(done.sent_bytes)}, in {done.seconds:.1f} s"
    face.note(f"✓ {what}, {size(done.bytes)}{how}.")


@click.command(cls=SkyCommand)
@options.cluster_argument
@click.argument("local", metavar="LOCAL", type=click.Path())
@click.argument("remote", metavar="[REMOTE]", default="~/sky_workdir/")
@click.option(
    "--rank", type=click.IntRange(min=0), multiple=True, metavar="RANK", help="Only this node; repeatable."
)
@click.option("--no-ignore", is_flag=True, help="Send also what .skyignore and .gitignore leave out.")
@options.pass_face
def up(
    face: Face, /, *, cluster: str, local: str, remote: str, rank: tuple[int, ...], no_ignore: bool
) -> None:
    """Copy a file or folder to every node of a cluster.

    REMOTE is relative to the node's home, ~/sky_workdir/ by default.
    """
    from jupyter_sky.flows import files

    with face.progress() as report:
        done = files.rsync_up(cluster, local, remote, ranks=rank or None, ignore=not no_ignore, report=report)
    _tell(face, done)


@click.command(cls=SkyCommand)
@options.cluster_argument
@click.argument("remote", metavar="REMOTE")
@click.argument("local", metavar="[LOCAL]", default=".", type=click.Path())
@click.option(
    "--rank", type=click.IntRange(min=0), default=0, metavar="RANK", help="The node; the head by default."
)
@options.pass_face
def down(face: Face, /, *, cluster: str, remote: str, local: str, rank: int) -> None:
    """Copy a file or folder of a node here."""
    from jupyter_sky.flows import files

    with face.progress() as report:
        done = files.rsync_down(cluster, remote, local, rank=rank, report=report)
    _tell(face, done)

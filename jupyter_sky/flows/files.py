"""Which files travel, from where to where: a task's workdir and mounts, and copies a person asks for.

How bytes travel is `link.files`'s business. Paths on this machine are relative to the present folder, as in
SkyPilot; a mount's place on a node is relative to the workdir there.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_sky.config import home
from jupyter_sky.errors import SyncError
from jupyter_sky.flows import agents, clusters, git
from jupyter_sky.link import files as link_files
from jupyter_sky.link import portal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_sky.events import Reporter
    from jupyter_sky.link.files import SyncStats
    from jupyter_sky.spec import GitWorkdir, Task
    from jupyter_sky.state import ClusterRecord

#: Where a task's workdir is on every node, and where its commands run.
WORKDIR = "~/sky_workdir"


def check_sources(task: Task) -> None:
    """Refuse a task whose local files are not there, before anything is made for it."""
    if isinstance(task.workdir, str):
        folder = Path(task.workdir).expanduser()
        if not folder.is_dir():
            found = "it is a file" if folder.exists() else "there is no such folder"
            raise SyncError(
                f"The workdir {task.workdir!r} cannot be sent: {found} ({folder.absolute()}).",
                hint="Give an existing folder, relative to the present one.",
            )
    if task.volumes:
        raise SyncError(
            f"The task mounts volumes ({', '.join(task.volumes)}), which this version cannot do yet.",
            hint="Leave `volumes` out; what lies below `workdir` and `file_mounts` is sent.",
        )
    for target, source in task.file_mounts.items():
        if not isinstance(source, str) or "://" in source:
            raise SyncError(
                f"The file mount {target!r} takes its files from a bucket, which this version cannot do yet.",
                hint="Mount a local path, or fetch the files in `setup`.",
            )
        if not Path(source).expanduser().exists():
            raise SyncError(
                f"The file mount {target!r} cannot be sent: there is no {source!r} "
                f"({Path(source).expanduser().absolute()}).",
                hint="Paths are relative to the present folder.",
            )


def send_task_files(task: Task, record: ClusterRecord, report: Reporter) -> None:
    """Bring the workdir and the file mounts of a task to every node it runs on."""
    ranks = clusters.ranks_of(record)
    if task.workdir is not None:
        report.phase("sync", f"workdir → {WORKDIR}")
        folder = _workdir_folder(task.workdir, report)
        _push(record, folder, WORKDIR + "/", ranks, report, ignore=True)
    for target, source in task.file_mounts.items():
        assert isinstance(source, str)
        report.phase("sync", f"{source} → {target}")
        path = Path(source).expanduser()
        place = target if target.startswith(("/", "~")) else f"{WORKDIR}/{target}"
        ends = "/" if path.is_dir() and not place.endswith("/") else ""
        _push(record, path, place + ends, ranks, report, ignore=True)


def _push(
    record: ClusterRecord,
    local: Path,
    remote: str,
    ranks: list[int],
    report: Reporter | None,
    *,
    ignore: bool,
) -> SyncStats:
    own = home()
    if local.resolve() == own.resolve():
        raise SyncError(
            f"{str(local)!r} is the state folder of Jupyter Sky, which is not sent anywhere.",
            hint="Work in another folder, or let JUPYTER_SKY_HOME name another one.",
        )
    return portal.run(
        functools.partial(
            link_files.push,
            agents.link_to(record),
            local,
            remote,
            ranks=ranks,
            ignore=ignore,
            # What this machine knows of clusters is no task's data; on `local` it holds the nodes themselves.
            hidden=own,
            report=report,
        )
    )


def _workdir_folder(workdir: str | GitWorkdir, report: Reporter) -> Path:
    if isinstance(workdir, str):
        return Path(workdir).expanduser()
    return git.fetch(workdir.url, workdir.ref or "HEAD", report)


def rsync_up(
    cluster: str,
    local: str | Path,
    remote: str,
    *,
    ranks: Sequence[int] | None = None,
    ignore: bool = True,
    report: Reporter | None = None,
) -> SyncStats:
    """Copy a local file or folder to the nodes of a cluster (all of them by default)."""
    path = Path(local).expanduser()
    if not path.exists():
        raise SyncError(f"There is no {str(local)!r} to copy ({path.absolute()}).")

    def work(record: ClusterRecord) -> SyncStats:
        return _push(record, path, remote, clusters.ranks_of(record, ranks), report, ignore=ignore)

    return agents.with_agent(cluster, work)


def rsync_down(
    cluster: str, remote: str, local: str | Path, *, rank: int = 0, report: Reporter | None = None
) -> SyncStats:
    """Copy a file or folder of one node here."""

    def work(record: ClusterRecord) -> SyncStats:
        (only,) = clusters.ranks_of(record, [rank])
        link = agents.link_to(record)
        return portal.run(
            functools.partial(
                link_files.pull, link, remote, Path(local).expanduser(), rank=only, report=report
            )
        )

    return agents.with_agent(cluster, work)

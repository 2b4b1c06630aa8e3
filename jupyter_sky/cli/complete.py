"""What can be typed next: names of clusters, jobs and operations, as they are now.

Used by the shells' completion and by the magic's. A completion that takes long or fails is worse than none,
so whatever goes wrong here completes to nothing.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Callable

    import click

#: Seconds that asking a cluster for its jobs may take before completion goes without.
_PATIENCE = 1.5


def _within(ask: Callable[[], list[CompletionItem]]) -> list[CompletionItem]:
    """Run a question in a thread and give its answer, or nothing if it fails or takes too long."""
    found: list[CompletionItem] = []

    def work() -> None:
        try:
            found.extend(ask())
        except Exception:  # noqa: BLE001 - a person in the middle of a word must not see an error
            found.clear()

    thread = threading.Thread(target=work, name="jupyter-sky-completion", daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return [] if thread.is_alive() else found


def clusters(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a cluster that is not named yet on this line."""
    taken = set(ctx.params.get("names") or ())

    def ask() -> list[CompletionItem]:
        from jupyter_sky.state import State

        return [
            CompletionItem(record.name, help=f"{record.status.value} on {record.infra}")
            for record in State.open().clusters.list()
            if record.name.startswith(incomplete) and record.name not in taken
        ]

    return _within(ask)


def jobs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the id or the name of a job of the cluster that this line names."""
    cluster = ctx.params.get("cluster")
    if not cluster:
        return []
    taken = {str(value) for value in ctx.params.get(param.name or "") or ()}

    def ask() -> list[CompletionItem]:
        from jupyter_sky.flows import jobs as flow

        items: dict[str, CompletionItem] = {}
        for job in flow.queue(cluster):
            about = f"{job.name} {job.status}" if job.name else job.status
            items.setdefault(str(job.id), CompletionItem(str(job.id), help=about))
            if job.name:
                items.setdefault(job.name, CompletionItem(job.name, help=f"job {job.id} {job.status}"))
        return [item for name, item in items.items() if name.startswith(incomplete) and name not in taken]

    return _within(ask)


def operations(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the id of an operation."""

    def ask() -> list[CompletionItem]:
        from jupyter_sky.flows import operations as flow
        from jupyter_sky.sdk.views import SHORT_ID

        return [
            CompletionItem(row.id[:SHORT_ID], help=f"{row.kind} of {row.target} {row.status.value}")
            for row in flow.listing(active=None)
            if row.id.startswith(incomplete)
        ]

    return _within(ask)


def infras(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of an infra."""

    def ask() -> list[CompletionItem]:
        from jupyter_sky.infra.registry import infra_names

        return [CompletionItem(name) for name in infra_names() if name.startswith(incomplete)]

    return _within(ask)


def entrypoint(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the path of a task file; for `exec`, the cluster that comes first."""
    words: Any = ctx.params.get(param.name or "") or ()
    if ctx.command.name == "exec" and not words and not ctx.params.get("cluster"):
        return clusters(ctx, param, incomplete)
    # A shell completes paths better than we could; the magic asks `paths`.
    return [CompletionItem(incomplete, type="file")]


def paths(incomplete: str, *, folders_only: bool = False) -> list[CompletionItem]:
    """Complete a path of this machine."""
    head, _, tail = incomplete.rpartition("/")
    start = head + "/" if "/" in incomplete else ""
    try:
        entries = sorted(Path(start or ".").expanduser().iterdir())
    except OSError:
        return []
    items = []
    for entry in entries:
        if not entry.name.startswith(tail) or (entry.name.startswith(".") and not tail.startswith(".")):
            continue
        if entry.is_dir():
            items.append(CompletionItem(f"{start}{entry.name}/"))
        elif not folders_only:
            items.append(CompletionItem(f"{start}{entry.name}"))
    return items

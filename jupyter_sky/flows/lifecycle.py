"""The rest of a cluster's life: stop, start, down; like launch, each is an operation in its own process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from jupyter_sky.errors import ClusterNotUpError, InfraError, SkyError
from jupyter_sky.flows import agents, autostop, clusters, operations, sshconfig, truth
from jupyter_sky.flows.views import nodes_text
from jupyter_sky.link import pool
from jupyter_sky.state import ClusterStatus, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jupyter_sky.events import Reporter
    from jupyter_sky.flows.operations import OperationContext
    from jupyter_sky.state import ClusterRecord, OperationRecord


def stop(
    names: Iterable[str],
    *,
    all_clusters: bool = False,
    on_begin: Callable[[OperationRecord], object] | None = None,
    report: Reporter | None = None,
) -> list[str]:
    """Stop clusters and keep their files; give their names."""
    records = clusters.select(names, all_clusters=all_clusters)
    for record in records:
        clusters.require_stop(record)
    return _each("stop", records, {}, on_begin, report)


def start(
    names: Iterable[str],
    *,
    all_clusters: bool = False,
    idle_minutes_to_autostop: float | None = None,
    down: bool = False,
    on_begin: Callable[[OperationRecord], object] | None = None,
    report: Reporter | None = None,
) -> list[str]:
    """Start stopped clusters again, with their files; give their names."""
    records = clusters.select(names, all_clusters=all_clusters)
    for record in records:
        clusters.require_stop(record)
    chosen = None
    if idle_minutes_to_autostop is not None:
        chosen = autostop.settings(idle_minutes_to_autostop, down=down)
    return _each("start", records, {"autostop": chosen}, on_begin, report)


def down(
    names: Iterable[str],
    *,
    all_clusters: bool = False,
    purge: bool = False,
    on_begin: Callable[[OperationRecord], object] | None = None,
    report: Reporter | None = None,
) -> list[str]:
    """Remove clusters with all their processes and files; give their names.

    With `purge` the database forgets a cluster even if its infra cannot be asked to remove it.
    """
    records = clusters.select(names, all_clusters=all_clusters)
    return _each("down", records, {"purge": purge}, on_begin, report)


def _each(
    kind: str,
    records: list[ClusterRecord],
    request: dict[str, Any],
    on_begin: Callable[[OperationRecord], object] | None,
    report: Reporter | None,
) -> list[str]:
    """Run one operation a cluster, side by side; wait for all of them before the first error is raised."""
    begun = []
    for record in records:
        operation = operations.begin(kind, record.name, {"cluster": record.name, **request})
        begun.append(operation)
        if on_begin is not None:
            on_begin(operation)
    failure: SkyError | None = None
    for operation in begun:
        try:
            operations.wait(operation.id, report)
        except SkyError as error:
            failure = failure or error
    for record in records:
        pool.forget(record.id)
    if failure is not None:
        raise failure
    return [record.name for record in records]


def run_stop(request: dict[str, Any], secrets: dict[str, str], ctx: OperationContext) -> dict[str, Any]:  # noqa: ARG001 - every operation is called alike
    """Stop one cluster, in the operation's own process."""
    name = request["cluster"]
    with operations.cluster_lock(name, report=ctx):
        record = truth.reconcile_locked(clusters.require(name))
        if record is None:
            raise clusters.unknown_cluster(name)
        if record.status is not ClusterStatus.STOPPED:
            ctx.phase("stop", f"stopping {nodes_text(record.num_nodes)}")
            clusters.infra_of(record).stop(clusters.handle_of(record), ctx)
            now = time.time()
            State.open().clusters.close_interval(record.id, now)
            State.open().clusters.update(name, status=ClusterStatus.STOPPED, note=None)
        sshconfig.remove_entry(name)
    return {"cluster": name}


def run_start(request: dict[str, Any], secrets: dict[str, str], ctx: OperationContext) -> dict[str, Any]:  # noqa: ARG001 - every operation is called alike
    """Start one stopped cluster, in the operation's own process."""
    name = request["cluster"]
    with operations.cluster_lock(name, report=ctx):
        record = truth.reconcile_locked(clusters.require(name))
        if record is None:
            raise clusters.unknown_cluster(name)
        if record.launched_at is None:
            raise ClusterNotUpError(
                f"The launch of cluster {name!r} never finished, so there is nothing to start.",
                hint=f"Launch it again with its task, or `jupyter sky down {name}`.",
            )
        if record.status is ClusterStatus.UP:
            ctx.log(f"cluster {name} is up already")
            record = agents.heal_locked(record)
        else:
            record = start_locked(record, ctx)
        if request["autostop"] is not None:
            autostop.hand_over(record, request["autostop"])
    return {"cluster": name}


def start_locked(record: ClusterRecord, ctx: OperationContext) -> ClusterRecord:
    """Start a cluster whose lock is held, and give it UP."""
    ctx.phase("start", f"starting {nodes_text(record.num_nodes)} on {record.infra}")
    pool.forget(record.id)
    was_up = record.status is ClusterStatus.UP
    state = State.open()
    # INIT until the agents know each other again: a kill in between must not leave a cluster that looks
    # ready.
    state.clusters.update(
        record.name, status=ClusterStatus.INIT, note="its start did not finish; start it again"
    )
    handle = clusters.infra_of(record).start(clusters.handle_of(record), ctx)
    record = state.clusters.update(record.name, handle=handle.to_dict())
    ctx.phase("connect", "greeting the agents")
    agents.introduce(record)
    if not was_up:
        state.clusters.open_interval(record.id, time.time())
    # As in SkyPilot, a start begins without autostop: whoever starts a cluster means to use it.
    record = state.clusters.update(record.name, status=ClusterStatus.UP, autostop=None, note=None)
    sshconfig.write_entry(record.name)
    return record


def run_down(request: dict[str, Any], secrets: dict[str, str], ctx: OperationContext) -> dict[str, Any]:  # noqa: ARG001 - every operation is called alike
    """Remove one cluster, in the operation's own process."""
    name = request["cluster"]
    with operations.cluster_lock(name, report=ctx):
        record = State.open().clusters.get(name)
        if record is None:
            ctx.log("it is gone already")
            return {"cluster": name}
        ctx.phase("down", f"removing {nodes_text(record.num_nodes)} on {record.infra}")
        try:
            clusters.infra_of(record).terminate(clusters.handle_of(record), ctx)
        except InfraError as error:
            if not request["purge"]:
                raise
            ctx.log(f"forgetting the cluster although its infra failed: {error}")
        now = time.time()
        state = State.open()
        state.clusters.close_interval(record.id, now)
        state.clusters.remove(name, ended_at=now)
        sshconfig.remove_entry(name)
    return {"cluster": name}

"""Where a database row meets what really exists: asking infras, and writing down what they say.

It knows nothing of agents, tasks or jobs, and loads no link, so that `status` stays quick.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from jupyter_sky.errors import ClusterNotFoundError, InfraError, OperationError
from jupyter_sky.events import SilentReporter
from jupyter_sky.flows import operations
from jupyter_sky.flows.clusters import handle_of, infra_of
from jupyter_sky.infra.base import NodeState
from jupyter_sky.infra.registry import get_infra
from jupyter_sky.state import ClusterStatus, State

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from jupyter_sky.infra.base import NodeStatus
    from jupyter_sky.state import ClusterRecord


def reconcile(
    records: Sequence[ClusterRecord],
    *,
    ask_all: bool = False,
    busy: Container[str] | None = None,
    locked: bool = False,
) -> list[ClusterRecord]:
    """Make the database say what is really there, and give the clusters that still exist.

    Infras whose `query` is cheap are always asked, the others only with `ask_all`. A cluster that a living
    operation works on (`busy`, looked up where None) is left to that operation. `locked` says that the caller
    holds the clusters' locks.
    """
    if busy is None:
        busy = busy_targets()
    by_infra: dict[str, list[ClusterRecord]] = {}
    for record in records:
        if record.name not in busy:
            by_infra.setdefault(record.handle["infra"], []).append(record)
    truth: dict[str, list[NodeStatus]] = {}
    unreachable: dict[str, str] = {}
    for infra_name, members in by_infra.items():
        try:
            infra = get_infra(infra_name)
            if ask_all or infra.query_is_cheap:
                truth.update(infra.query([handle_of(record) for record in members]))
        except InfraError as error:
            unreachable.update((record.id, str(error)) for record in members)
    kept = []
    for record in records:
        now: ClusterRecord | None = record
        # Without its lock a cluster may be removed, and its name given to another, while we look.
        with contextlib.suppress(ClusterNotFoundError):
            if record.id in truth:
                now = _apply(record, truth[record.id], locked=locked)
            elif record.id in unreachable:
                now = _note(record, f"could not be asked: {unreachable[record.id]}")
            if now is not None:
                kept.append(now)
    return kept


def reconcile_locked(record: ClusterRecord) -> ClusterRecord | None:
    """Reconcile one cluster whose lock the caller holds; None where it is gone."""
    found = reconcile([record], ask_all=True, busy=(), locked=True)
    return found[0] if found else None


def busy_targets() -> dict[str, str]:
    """Give the clusters that living operations work on, with the operation's id."""
    return {op.target: op.id for op in operations.listing(active=True)}


def _note(record: ClusterRecord, note: str | None) -> ClusterRecord:
    if record.note == note:
        return record
    return _write(record, note=note)


def _write(record: ClusterRecord, **fields: Any) -> ClusterRecord:
    return State.open().clusters.update(record.name, cluster_id=record.id, **fields)


def _apply(record: ClusterRecord, nodes: list[NodeStatus], *, locked: bool) -> ClusterRecord | None:
    """Write what an infra said about one cluster; None where the cluster is gone."""
    clusters = State.open().clusters
    states = {node.state for node in nodes} or {NodeState.GONE}
    ended_at = max((node.ended_at for node in nodes if node.ended_at is not None), default=None)
    reason = next((node.reason for node in nodes if node.reason), "")
    if states == {NodeState.GONE}:
        if record.status is ClusterStatus.INIT and record.launched_at is None:
            return _note(record, record.note or "its launch did not finish; launch it again or take it down")
        if locked:
            _remove_gone(record, ended_at)
            return None
        try:
            with operations.cluster_lock(record.name, timeout=0):
                _remove_gone(record, ended_at)
        except OperationError:
            return record  # who holds the lock is at work on it
        return None
    if states == {NodeState.RUNNING}:
        note = "its agent ended; the next command starts it again" if reason == "agent_lost" else None
        if record.status is ClusterStatus.INIT:
            return _note(record, record.note)
        wanted = ClusterStatus.AUTOSTOPPING if reason == "autostopping" else ClusterStatus.UP
        if record.status is not wanted or record.note != note:
            if record.status is ClusterStatus.STOPPED:
                clusters.open_interval(record.id, time.time())
            record = _write(record, status=wanted, note=note)
        return record
    if NodeState.RUNNING not in states and NodeState.STARTING not in states:
        note = f"stopped: {reason}" if reason and reason != "stop" else None
        if record.status is not ClusterStatus.STOPPED or record.note != note:
            clusters.close_interval(record.id, ended_at or time.time())
            record = _write(record, status=ClusterStatus.STOPPED, note=note)
        return record
    lost = [
        f"{node.rank} ({node.reason or node.state.value})"
        for node in nodes
        if node.state is not NodeState.RUNNING
    ]
    note = f"node {', '.join(lost)} is not running; start the cluster again or take it down"
    if record.status is not ClusterStatus.INIT or record.note != note:
        record = _write(record, status=ClusterStatus.INIT, note=note)
    return record


def _remove_gone(record: ClusterRecord, ended_at: float | None) -> None:
    """Forget a cluster that is not there any more; another one that got its name meanwhile is left alone."""
    clusters = State.open().clusters
    now = clusters.get(record.name)
    if now is not None and now.id == record.id:
        infra_of(record).terminate(handle_of(record), SilentReporter())
        clusters.close_interval(record.id, ended_at or time.time())
        clusters.remove(record.name, ended_at=ended_at)

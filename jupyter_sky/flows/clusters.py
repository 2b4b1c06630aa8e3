"""Finding a cluster and talking to it: the record, its infra, its truth and its link.

Every flow that needs a cluster comes through here, so that there is one place where a database row meets what
really exists. It knows nothing of tasks or jobs.
"""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import functools
import sys
import time
from typing import TYPE_CHECKING, Any, TypeVar

from jupyter_sky.errors import (
    AgentError,
    ClusterNotFoundError,
    ClusterNotUpError,
    InfraError,
    LinkError,
    OperationError,
    UsageError,
)
from jupyter_sky.events import SilentReporter
from jupyter_sky.infra.base import ClusterHandle, NodeState
from jupyter_sky.infra.registry import get_infra
from jupyter_sky.names import check_name
from jupyter_sky.state import ClusterStatus, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Iterable, Sequence

    from jupyter_sky.infra.base import Infra, NodeStatus
    from jupyter_sky.link.link import Link
    from jupyter_sky.state import ClusterRecord

T = TypeVar("T")

#: Seconds that a quick question to an agent may take.
CALL_TIMEOUT = 30.0
#: What a call or a stream ends with when the agent, or the connection to it, was replaced under it.
PASSING = frozenset({"agent_restarted", "session_lost", "closed", "connection_lost"})
#: How often, in seconds, who waits for an answer over a broken link looks whether its agent lives.
_LOOK = 0.3
#: How often an agent may be replaced during one call.
_REPLACEMENTS = 3


def handle_of(record: ClusterRecord) -> ClusterHandle:
    """Give the infra's own handle of a cluster."""
    return ClusterHandle.from_dict(record.handle)


def infra_of(record: ClusterRecord) -> Infra:
    """Give the infra that holds a cluster."""
    return get_infra(record.handle["infra"])


def require(name: str) -> ClusterRecord:
    """Give the record of a cluster as the database has it, or say that there is none."""
    check_name(name)
    record = State.open().clusters.get(name)
    if record is None:
        raise unknown_cluster(name)
    return record


def require_stop(record: ClusterRecord) -> None:
    """Refuse to stop a cluster, or to start it again, where its infra can do neither."""
    if "stop" not in infra_of(record).capabilities:
        raise UsageError(
            f"Clusters on {record.infra} cannot stop.", hint=f"`jupyter sky down {record.name}` removes it."
        )


def ranks_of(record: ClusterRecord, wanted: Sequence[int] | None = None) -> list[int]:
    """Give the ranks of a cluster's nodes: all, or those that are wanted, if it has them."""
    if wanted is None:
        return list(range(record.num_nodes))
    bad = [rank for rank in wanted if not 0 <= rank < record.num_nodes]
    if bad:
        raise UsageError(
            f"Cluster {record.name!r} has no node of rank {', '.join(map(str, bad))}: "
            f"its ranks are 0 to {record.num_nodes - 1}."
        )
    return list(wanted)


def unknown_cluster(name: str) -> ClusterNotFoundError:
    """Make the error for a cluster that is not there, naming the one that was probably meant."""
    names = [record.name for record in State.open().clusters.list()]
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        hint = f"Did you mean {near[0]!r}? `jupyter sky status` lists your clusters."
    elif names:
        hint = "`jupyter sky status` lists your clusters."
    else:
        hint = f"You have no clusters; `jupyter sky launch -c {name} …` makes one."
    return ClusterNotFoundError(f"There is no cluster {name!r}.", hint=hint)


def is_pattern(text: str) -> bool:
    """Say whether a text is a shell pattern of names rather than a name."""
    return any(mark in text for mark in "*?[")


def select(patterns: Iterable[str], *, all_clusters: bool = False) -> list[ClusterRecord]:
    """Give the clusters that names or shell patterns (`train-*`) mean, in the order of their names.

    A plain name that is unknown is an error; a pattern that matches nothing is one too.
    """
    records = {record.name: record for record in State.open().clusters.list()}
    if all_clusters:
        return list(records.values())
    chosen: dict[str, ClusterRecord] = {}
    patterns = list(patterns)
    if not patterns:
        raise UsageError("No cluster was named.", hint="Give one or more names or patterns, or --all.")
    for pattern in patterns:
        if is_pattern(pattern):
            found = fnmatch.filter(records, pattern)
            if not found:
                raise ClusterNotFoundError(
                    f"No cluster's name matches {pattern!r}.",
                    hint="`jupyter sky status` lists your clusters.",
                )
        else:
            check_name(pattern)
            if pattern not in records:
                raise unknown_cluster(pattern)
            found = [pattern]
        chosen.update((name, records[name]) for name in found)
    return [chosen[name] for name in sorted(chosen)]


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
    from jupyter_sky.flows import operations

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
        from jupyter_sky.flows import operations

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
            _hang_up(record)
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
    _hang_up(record)


def _hang_up(record: ClusterRecord) -> None:
    """Close this process's link to a cluster that is not there any more, if there ever was one."""
    if "jupyter_sky.link.pool" in sys.modules:
        sys.modules["jupyter_sky.link.pool"].forget(record.id)


def require_up(name: str) -> ClusterRecord:
    """Give a cluster that is UP and whose agents live, or say why it is not and what to type.

    An agent that died while its node lives is started again here; its jobs went on meanwhile.
    """
    found = reconcile([require(name)])
    if not found:
        raise ClusterNotFoundError(
            f"Cluster {name!r} is gone: it was taken down on its infra.", hint="Launch it again."
        )
    record = found[0]
    if record.status in {ClusterStatus.UP, ClusterStatus.AUTOSTOPPING}:
        record = heal(record)
        operation = None if _is_served(record) else busy_targets().get(name)
        if operation is None:
            return record
        raise ClusterNotUpError(
            f"Cluster {name!r} is being stopped, started or removed.",
            hint=f"`jupyter sky ops attach {operation}` shows how far that is.",
        )
    operation = busy_targets().get(name)
    if operation:
        hint = f"An operation works on it: `jupyter sky ops attach {operation}` shows how far it is."
    elif record.status is ClusterStatus.STOPPED:
        hint = f"`jupyter sky start {name}` starts it."
    else:
        hint = f"`jupyter sky launch -c {name} …` finishes its launch, `jupyter sky down {name}` removes it."
    note = f" ({record.note})" if record.note else ""
    raise ClusterNotUpError(f"Cluster {name!r} is {record.status.value}, not UP{note}.", hint=hint)


def heal(record: ClusterRecord) -> ClusterRecord:
    """Start the agents of a running cluster again where they died."""
    if not _agent_lost(record):
        return record
    from jupyter_sky.flows import operations

    with operations.cluster_lock(record.name):
        return heal_locked(record)


def heal_locked(record: ClusterRecord) -> ClusterRecord:
    """Do what `heal` does, for a caller that holds the cluster's lock."""
    if not _agent_lost(record):
        return record
    handle = infra_of(record).start(handle_of(record), SilentReporter())
    record = State.open().clusters.update(record.name, handle=handle.to_dict(), note=None)
    introduce(record)
    return record


def _agent_lost(record: ClusterRecord) -> bool:
    return any(node.reason == "agent_lost" for node in _look_at(record))


def _look_at(record: ClusterRecord) -> list[NodeStatus]:
    """Give the state of a cluster's nodes where it costs next to nothing to ask, else nothing."""
    infra = infra_of(record)
    return infra.query([handle_of(record)])[record.id] if infra.query_is_cheap else []


def _is_served(record: ClusterRecord) -> bool:
    """Say whether an answer may still come: the cluster is the same, not stopped, and its agents live."""
    now = State.open().clusters.get(record.name)
    if now is None or now.id != record.id or now.status is ClusterStatus.STOPPED:
        return False
    alive = {NodeState.RUNNING, NodeState.STARTING}
    return all(node.state in alive and node.reason != "agent_lost" for node in _look_at(record))


def introduce(record: ClusterRecord) -> dict[str, Any]:
    """Tell the head of a cluster who its nodes are, and give the head's `node.info`."""
    handle = handle_of(record)
    if len(handle.nodes) > 1:
        peers = [
            {"rank": node.rank, "ip": node.ip, "host": node.ip, "port": node.port} for node in handle.nodes
        ]
        call(record, "node.configure", peers=peers, timeout=60)
    info: dict[str, Any] = call(record, "node.info")
    return info


def link_to(record: ClusterRecord) -> Link:
    """Give this process's link to the head of a cluster, opened if there is none yet."""
    from jupyter_sky.link import pool

    make = functools.partial(infra_of(record).carrier, handle_of(record))
    return pool.get_link(record.id, make)


def call(
    record: ClusterRecord,
    method: str,
    *,
    timeout: float = CALL_TIMEOUT,
    rank: int | None = None,
    **params: Any,
) -> Any:
    """Ask the agent of a cluster one thing. `timeout` is in seconds.

    It is asked again where the agent was replaced meanwhile: all that is asked may be asked twice.
    """
    from jupyter_sky.link import portal

    link = link_to(record)
    ask = functools.partial(link.call, method, timeout=timeout, rank=rank, **params)
    for _ in range(_REPLACEMENTS):
        try:
            return portal.run(while_served, record, link, ask)
        except AgentError as error:
            if error.code not in PASSING:
                raise
    return portal.run(while_served, record, link, ask)


async def while_served(record: ClusterRecord, link: Link, ask: Callable[[], Awaitable[Any]]) -> Any:
    """Wait for what an agent gives over its link, but not where the agent has ended.

    Raises
    ------
    LinkError
        The link is broken and no agent is left at its other end; `require_up` starts one, or says that the
        cluster was stopped or removed.
    """
    import asyncio

    asking = asyncio.ensure_future(ask())
    try:
        while True:
            done, _ = await asyncio.wait({asking}, timeout=_LOOK)
            if done:
                return asking.result()
            if link.state == "down" and not await asyncio.to_thread(_is_served, record):
                raise LinkError(f"The agent of cluster {record.name!r} ended before it answered.")
    finally:
        asking.cancel()


def with_agent(name: str, work: Callable[[ClusterRecord], T]) -> T:
    """Run `work` on a cluster that is UP; once more, after healing, if its agent could not be reached.

    `work` must be safe to repeat: what it asks of an agent is either a question or idempotent by its own id.
    """
    record = require_up(name)
    try:
        return work(record)
    except LinkError:
        return work(require_same(record))


def require_same(record: ClusterRecord) -> ClusterRecord:
    """Give a cluster that is UP as `require_up` does, but not another one that got its name meanwhile."""
    now = require_up(record.name)
    check_same(record, now)
    return now


def check_same(before: ClusterRecord, now: ClusterRecord) -> None:
    """Refuse to go on with a cluster that only has the name of the one that was meant: its jobs differ."""
    if now.id != before.id:
        raise ClusterNotFoundError(
            f"Cluster {before.name!r} was taken down meanwhile; another one has its name now.",
            hint="Run the command again if you mean the new one.",
        )

"""Talking to the agents of a cluster: who answers is UP, healed where it died, and the one that was meant.

Every flow that needs an answer from a node comes through here. It knows nothing of tasks or jobs; whatever it
asks may be asked twice.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, TypeVar

from jupyter_sky.errors import AgentError, ClusterNotFoundError, ClusterNotUpError, LinkError
from jupyter_sky.events import SilentReporter
from jupyter_sky.flows import operations
from jupyter_sky.flows.clusters import handle_of, infra_of, require
from jupyter_sky.flows.truth import busy_targets, reconcile
from jupyter_sky.infra.base import NodeState
from jupyter_sky.link import pool, portal
from jupyter_sky.state import ClusterStatus, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jupyter_sky.infra.base import NodeStatus
    from jupyter_sky.link.link import Link
    from jupyter_sky.state import ClusterRecord

T = TypeVar("T")

#: Seconds that a quick question to an agent may take.
CALL_TIMEOUT = 30.0
#: What a call or a stream ends with when the agent, or the connection to it, was replaced under it.
PASSING = frozenset({"agent_restarted", "session_lost", "closed", "connection_lost"})
#: How often, in seconds, who waits for an answer over a broken link looks whether its agent lives.
_LOOK = 0.3
#: How often an agent may be replaced while it is asked one thing.
_REPLACEMENTS = 3


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


def heal(record: ClusterRecord) -> ClusterRecord:
    """Start the agents of a running cluster again where they died."""
    if not _agent_lost(record):
        return record
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
    """Run `work` on a cluster that is UP; again, after healing, where its agent could not be reached.

    `work` must be safe to repeat: what it asks of an agent is either a question or idempotent by its own id.
    """
    record = require_up(name)
    for _ in range(_REPLACEMENTS):
        try:
            return work(record)
        except LinkError:
            # Also what a cluster says that is being taken down: one look more tells which it is.
            record = require_same(record)
    return work(record)

"""Finding clusters: the record a name or a pattern means, and the infra that holds it.

The database is believed here; what is really there is `truth`'s business, and talking to it `agents`'.
"""

from __future__ import annotations

import difflib
import fnmatch
from typing import TYPE_CHECKING

from jupyter_sky.errors import ClusterNotFoundError, UsageError
from jupyter_sky.infra.base import ClusterHandle
from jupyter_sky.infra.registry import get_infra
from jupyter_sky.names import check_name
from jupyter_sky.state import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jupyter_sky.infra.base import Infra
    from jupyter_sky.state import ClusterRecord


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

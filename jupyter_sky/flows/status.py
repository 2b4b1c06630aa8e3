"""Status: every cluster, as it really is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_sky.flows import clusters, truth
from jupyter_sky.flows.views import ClusterView
from jupyter_sky.state import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jupyter_sky.state import ClusterRecord


def status(names: Iterable[str] | None = None, *, refresh: bool = False) -> list[ClusterView]:
    """List clusters by name, after asking what is really there.

    Parameters
    ----------
    names
        Names or shell patterns; all clusters where None or empty.
    refresh
        Ask also the infras whose answer takes long.
    """
    wanted = list(names or ())
    records = clusters.select(wanted) if wanted else State.open().clusters.list()
    busy = truth.busy_targets()
    found = truth.reconcile(records, ask_all=refresh, busy=busy)
    return [_view(record, busy.get(record.name)) for record in found]


def _view(record: ClusterRecord, operation_id: str | None) -> ClusterView:
    nodes = record.handle["nodes"]
    return ClusterView(
        name=record.name,
        id=record.id,
        infra=record.infra,
        resources=record.resources["describe"],
        num_nodes=record.num_nodes,
        status=record.status.value,
        autostop=record.autostop,
        launched_at=record.launched_at,
        price_hourly=record.price_hourly * record.num_nodes,
        head_ip=nodes[0]["ip"] if nodes else None,
        command=record.last_use or None,
        note=record.note,
        operation_id=operation_id,
    )

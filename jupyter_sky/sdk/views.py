"""How each kind of row looks: the columns of every table.

The head lines and their order are those of SkyPilot's tables, so that scripts and habits hold. Rows are
described by what is read from them; their own modules are imported by no one here at run time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_sky.sdk.human import NOTHING, ago, duration, money
from jupyter_sky.sdk.listing import Column, Listing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jupyter_sky.flows.views import ClusterView, JobView
    from jupyter_sky.infra.base import InfraCheck
    from jupyter_sky.optimizer import Plan, PlanRow
    from jupyter_sky.state import CostRow, OperationRecord

#: How many digits of an operation's id tables show; commands take any unambiguous beginning.
SHORT_ID = 8


def clusters(rows: Iterable[ClusterView], *, wide: bool = False) -> Listing[ClusterView]:
    """Show clusters as `status` does; `wide` adds where the head is and what was last run."""
    rows = list(rows)
    columns: list[Column[ClusterView]] = [
        Column("NAME", lambda row: row.name),
        Column("INFRA", lambda row: row.infra),
        Column("RESOURCES", lambda row: row.resources),
        Column("STATUS", lambda row: row.status),
        Column("AUTOSTOP", lambda row: _autostop(row.autostop)),
        Column("LAUNCHED", lambda row: ago(row.launched_at)),
        Column("HEAD_IP", lambda row: row.head_ip or NOTHING, wide=True),
        Column("COMMAND", lambda row: row.command or NOTHING, wide=True, spare=True),
    ]
    remarks = [f"{row.name}: {text}" for row in rows for text in _remarks(row)]
    return Listing(rows, columns, empty="No existing clusters.", after=remarks, wide=wide)


def _autostop(settings: dict[str, Any] | None) -> str:
    if settings is None:
        return NOTHING
    text = f"{settings['idle_minutes']:g}m"
    return f"{text} (down)" if settings["down"] else text


def _remarks(row: ClusterView) -> list[str]:
    remarks = [row.note] if row.note else []
    if row.operation_id:
        remarks.append(f"operation {row.operation_id[:SHORT_ID]} works on it")
    return remarks


def jobs(rows: Iterable[JobView], *, with_cluster: bool = False) -> Listing[JobView]:
    """Show jobs as `queue` does; `with_cluster` adds whose they are."""
    columns: list[Column[JobView]] = [
        Column("ID", lambda row: str(row.id)),
        Column("NAME", lambda row: row.name or NOTHING),
        Column("USER", lambda row: row.user),
        Column("SUBMITTED", lambda row: ago(row.submitted_at)),
        Column("STARTED", lambda row: ago(row.started_at)),
        Column("DURATION", lambda row: duration(row.duration_s)),
        Column("RESOURCES", lambda row: row.resources),
        Column("STATUS", lambda row: row.status),
        Column("LOG", lambda row: row.log, spare=True),
    ]
    if with_cluster:
        columns.insert(0, Column("CLUSTER", lambda row: row.cluster))
    return Listing(rows, columns, empty="No jobs.")


def costs(rows: Iterable[CostRow]) -> Listing[CostRow]:
    """Show what clusters cost, with the sum below."""
    rows = list(rows)
    columns: list[Column[CostRow]] = [
        Column("NAME", lambda row: row.name),
        Column("INFRA", lambda row: row.infra),
        Column("LAUNCHED", lambda row: ago(row.launched_at)),
        Column("DURATION", lambda row: duration(row.duration_s)),
        Column("RESOURCES", lambda row: row.resources),
        Column("STATUS", lambda row: row.status.value if row.status else "TERMINATED"),
        Column("COST/hr", lambda row: money(row.price_hourly * row.num_nodes), align="right"),
        Column("COST (est.)", lambda row: money(row.cost), align="right"),
    ]
    total = [f"Total: {money(sum(row.cost for row in rows))}"] if rows else []
    return Listing(rows, columns, empty="No clusters have been launched.", after=total)


def checks(rows: Iterable[InfraCheck]) -> Listing[InfraCheck]:
    """Show which infras can be used, and what mends the others."""
    columns: list[Column[InfraCheck]] = [
        Column("INFRA", lambda row: row.infra),
        Column("STATUS", lambda row: "enabled" if row.enabled else "disabled"),
        Column("REASON", lambda row: row.reason or NOTHING),
        Column("TO ENABLE", lambda row: NOTHING if row.enabled else row.hint or NOTHING),
    ]
    return Listing(rows, columns, empty="No infra is known.")


def gpus(rows: Iterable[dict[str, Any]]) -> Listing[dict[str, Any]]:
    """Show GPUs: how many a node may have, how many there are and how many are free."""
    rows = list(rows)
    columns: list[Column[dict[str, Any]]] = [
        Column("GPU", lambda row: str(row["gpu"])),
        Column("QTY_PER_NODE", lambda row: _quantities(row["qty_per_node"])),
        Column("TOTAL_GPUS", lambda row: _count(row["total"])),
        Column("TOTAL_FREE_GPUS", lambda row: _count(row["free"])),
    ]
    if len({row["infra"] for row in rows}) > 1:
        columns.insert(0, Column("INFRA", lambda row: str(row["infra"])))
    return Listing(rows, columns, empty="No GPUs were found.")


def _quantities(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else _count(value)


def _count(value: object) -> str:
    return NOTHING if value is None else str(value)


def operations(rows: Iterable[OperationRecord]) -> Listing[OperationRecord]:
    """Show operations: what is being done to which cluster, and how far it is."""
    columns: list[Column[OperationRecord]] = [
        Column("ID", lambda row: row.id[:SHORT_ID]),
        Column("KIND", lambda row: row.kind),
        Column("TARGET", lambda row: row.target),
        Column("STATUS", lambda row: row.status.value),
        Column("PHASE", lambda row: row.phase or NOTHING),
        Column("STARTED", lambda row: ago(row.started_at or row.created_at)),
        Column("DURATION", _operation_duration),
    ]
    return Listing(rows, columns, empty="No operations.")


def _operation_duration(row: OperationRecord) -> str:
    if row.started_at is None or row.ended_at is None:
        return NOTHING
    return duration(row.ended_at - row.started_at)


def plan(chosen: Plan) -> Listing[PlanRow]:
    """Show where a task could run, above what the optimizer's choice costs."""
    from jupyter_sky.flows.views import nodes_text
    from jupyter_sky.optimizer import PLAN_COLUMNS, plan_rows

    return Listing(
        plan_rows(chosen),
        [_plan_column(header) for header in PLAN_COLUMNS],
        before=[f"Considered resources ({nodes_text(chosen.num_nodes)}):"],
        after=[f"Estimated cost: {money(chosen.hourly_cost)} / hour"],
    )


def _plan_column(header: str) -> Column[PlanRow]:
    number = header in {"vCPUs", "Mem(GB)", "COST ($)"}
    return Column(header, lambda row: row.cells()[header], align="right" if number else "left")

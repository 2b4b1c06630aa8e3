"""A plan as rows: numbers for programs, and the cells of the table that people know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_sky.infra.base import Offer
    from jupyter_sky.optimizer.plan import Plan

PLAN_COLUMNS = ("INFRA", "INSTANCE", "vCPUs", "Mem(GB)", "GPUS", "COST ($)", "CHOSEN")

_CHOSEN = "✔"


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One way to run a task, as a program reads it.

    `vcpus`, `memory_gb` (GiB) and `accelerators` are those of a node; `cost_hourly` is what all nodes cost
    together, in US dollars per hour.
    """

    infra: str
    instance_type: str
    use_spot: bool
    vcpus: float
    memory_gb: float
    accelerators: dict[str, float]
    cost_hourly: float
    chosen: bool

    def cells(self) -> dict[str, str]:
        """Give the row as people read it, by head line."""
        gpus = ", ".join(f"{name}:{count:g}" for name, count in self.accelerators.items())
        texts = (
            self.infra,
            f"{self.instance_type}[Spot]" if self.use_spot else self.instance_type,
            f"{self.vcpus:g}",
            f"{self.memory_gb:g}",
            gpus or "-",
            f"{self.cost_hourly:.2f}",
            _CHOSEN if self.chosen else "",
        )
        return dict(zip(PLAN_COLUMNS, texts, strict=True))


def plan_rows(plan: Plan) -> list[PlanRow]:
    """Give one row for every different offer, best first."""
    rows: list[PlanRow] = []
    for candidate in plan.candidates:
        row = _row(candidate.offer, plan.num_nodes, chosen=not rows)
        if not any(_alike(row, other) for other in rows):
            rows.append(row)
    return rows


def _row(offer: Offer, num_nodes: int, *, chosen: bool) -> PlanRow:
    return PlanRow(
        infra=offer.place,
        instance_type=offer.instance_type,
        use_spot=offer.use_spot,
        vcpus=offer.cpus,
        memory_gb=offer.memory_gb,
        accelerators=dict(offer.accelerators),
        cost_hourly=offer.price_hourly * num_nodes,
        chosen=chosen,
    )


def _alike(row: PlanRow, other: PlanRow) -> bool:
    """Say whether a person would see the same row twice."""
    return {**row.cells(), "CHOSEN": ""} == {**other.cells(), "CHOSEN": ""}

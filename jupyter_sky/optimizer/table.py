"""A plan as the rows of the table that people know, one for each offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_sky.infra.base import Offer
    from jupyter_sky.optimizer.plan import Plan

PLAN_COLUMNS = ("INFRA", "INSTANCE", "vCPUs", "Mem(GB)", "GPUS", "COST ($)", "CHOSEN")

_CHOSEN = "✔"


def plan_rows(plan: Plan) -> list[dict[str, str]]:
    """Give one row for every offer, best first; costs are those of the whole cluster per hour."""
    rows: dict[tuple[str, ...], None] = {}
    for candidate in plan.candidates:
        offer = candidate.offer
        rows[
            _place(offer),
            f"{offer.instance_type}[Spot]" if offer.use_spot else offer.instance_type,
            f"{offer.cpus:g}",
            f"{offer.memory_gb:g}",
            ", ".join(f"{name}:{count:g}" for name, count in offer.accelerators.items()) or "-",
            f"{offer.price_hourly * plan.num_nodes:.2f}",
        ] = None
    return [
        dict(zip(PLAN_COLUMNS, (*row, _CHOSEN if index == 0 else ""), strict=True))
        for index, row in enumerate(rows)
    ]


def _place(offer: Offer) -> str:
    return "/".join(part for part in (offer.infra, offer.region, offer.zone) if part)

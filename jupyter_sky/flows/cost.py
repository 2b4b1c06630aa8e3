"""The bill: what every cluster, living or gone, has cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_sky.flows import truth
from jupyter_sky.state import State

if TYPE_CHECKING:
    from jupyter_sky.state import CostRow


def cost_report() -> list[CostRow]:
    """List what each cluster cost: running time by nodes by hourly price, in US dollars."""
    state = State.open()
    truth.reconcile(state.clusters.list())
    return [row for row in state.clusters.cost_rows() if row.launched_at is not None]

"""Check: which infras can be used from here, and which GPUs they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_sky.infra.registry import check_infra, get_infra, infra_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jupyter_sky.infra.base import InfraCheck


def check(infras: Iterable[str] | None = None) -> list[InfraCheck]:
    """Say for each infra (all known ones by default) whether it can be used, and if not, what to do."""
    wanted = list(infras or ())
    known = infra_names()
    for name in wanted:
        if name not in known:
            get_infra(name)  # raises the error that names the known ones
    return [check_infra(name) for name in wanted or known]


def gpus(infras: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """List GPUs: `infra`, `gpu`, `qty_per_node`, `total`, `free` (None where that is not known)."""
    rows: list[dict[str, Any]] = []
    for result in check(infras):
        if result.enabled:
            rows.extend({"infra": result.infra, **row} for row in result.details.get("gpus", []))
    return rows

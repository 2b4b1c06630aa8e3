"""Check: which infras can be used from here, and which GPUs they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_sky.config import CONFIG_FILE, Config, home
from jupyter_sky.infra.base import InfraCheck
from jupyter_sky.infra.registry import check_infra, get_infra, infra_names

if TYPE_CHECKING:
    from collections.abc import Iterable


def check(infras: Iterable[str] | None = None) -> list[InfraCheck]:
    """Say for each infra (all known ones by default) whether it can be used, and if not, what to do."""
    wanted = list(infras or ())
    known = infra_names()
    for name in wanted:
        if name not in known:
            get_infra(name)  # raises the error that names the known ones
    allowed = allowed_infras()
    return [check_infra(name) if name in allowed else _not_allowed(name) for name in wanted or known]


def allowed_infras() -> list[str]:
    """Give the installed infras that the configuration's `allowed_clouds` does not rule out."""
    allowed = Config.load().allowed_clouds
    return [name for name in infra_names() if allowed is None or name in allowed]


def _not_allowed(name: str) -> InfraCheck:
    return InfraCheck(
        name,
        enabled=False,
        reason="`allowed_clouds` in the configuration leaves it out",
        hint=f"Add {name} to allowed_clouds in {home() / CONFIG_FILE}.",
    )


def gpus(infras: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """List GPUs: `infra`, `gpu`, `qty_per_node`, `total`, `free` (None where that is not known)."""
    rows: list[dict[str, Any]] = []
    for result in check(infras):
        if result.enabled:
            rows.extend({"infra": result.infra, **row} for row in result.details.get("gpus", []))
    return rows

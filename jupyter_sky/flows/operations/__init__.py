"""Long-running actions, each in a detached process that survives whoever asked for it.

`begin` starts one; `follow`, `history`, `wait`, `cancel` and `listing` attach to it from any process;
`cluster_lock` keeps two from changing one cluster at once. What an operation does is its handler's business,
and nothing here knows it.
"""

from __future__ import annotations

from jupyter_sky.flows.operations.attaching import cancel, follow, get, history, listing, wait
from jupyter_sky.flows.operations.context import OperationContext
from jupyter_sky.flows.operations.handlers import HANDLERS
from jupyter_sky.flows.operations.locks import cluster_lock
from jupyter_sky.flows.operations.starting import begin

__all__ = [
    "HANDLERS",
    "OperationContext",
    "begin",
    "cancel",
    "cluster_lock",
    "follow",
    "get",
    "history",
    "listing",
    "wait",
]

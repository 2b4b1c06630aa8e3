"""What this machine knows: clusters with their cost, and operations, in one SQLite file.

`State.open()` is the way in. The state knows no task, no infra and no person, and never receives a secret.
"""

from __future__ import annotations

from jupyter_sky.state.records import (
    ClusterRecord,
    ClusterStatus,
    CostRow,
    OperationRecord,
    OperationStatus,
)
from jupyter_sky.state.store import State

__all__ = ["ClusterRecord", "ClusterStatus", "CostRow", "OperationRecord", "OperationStatus", "State"]

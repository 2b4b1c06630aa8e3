"""Choosing: where a task could run, for how much, and which of that is taken.

A first, honest optimizer: it asks every place, shows what each said, and takes the cheapest. It knows no
particular infra, no state and no face.
"""

from __future__ import annotations

from jupyter_sky.optimizer.plan import Candidate, Plan, optimize
from jupyter_sky.optimizer.table import PLAN_COLUMNS, PlanRow, plan_rows

__all__ = ["PLAN_COLUMNS", "Candidate", "Plan", "PlanRow", "optimize", "plan_rows"]

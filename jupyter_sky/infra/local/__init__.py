"""The machine we are on as a place that gives nodes, each a sandbox with its own home, agent and address."""

from __future__ import annotations

from jupyter_sky.infra.local.infra import LocalInfra

__all__ = ["LocalInfra"]

"""Operations with handlers of our own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_sky.flows.operations import begin, get

if TYPE_CHECKING:
    from operation_helpers import InPhase, Start

    from jupyter_sky.state import OperationRecord


@pytest.fixture
def start(sky_home: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Begin an operation of kind `launch` that runs a function of `operation_handlers`."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))

    def begin_it(
        handler: str, target: str = "dev", secrets: dict[str, str] | None = None, **request: Any
    ) -> OperationRecord:
        return begin("launch", target, request, secrets, handler=f"operation_handlers:{handler}")

    return begin_it


@pytest.fixture
def in_phase(wait_until: Any) -> InPhase:
    """Wait until an operation is in a phase; give its record."""

    def wait_for_phase(record: OperationRecord, phase: str) -> OperationRecord:
        wait_until(lambda: get(record.id).phase == phase, 20, what=f"phase {phase}")
        return get(record.id)

    return wait_for_phase

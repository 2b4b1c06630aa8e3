"""What the tests of operations share."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any, Protocol

import psutil

if TYPE_CHECKING:
    from jupyter_sky.state import OperationRecord


class Start(Protocol):
    """The type of the `start` fixture."""

    def __call__(
        self, handler: str, target: str = "dev", secrets: dict[str, str] | None = None, **request: Any
    ) -> OperationRecord: ...


class InPhase(Protocol):
    """The type of the `in_phase` fixture."""

    def __call__(self, record: OperationRecord, phase: str) -> OperationRecord: ...


def process_of(operation_id: str) -> psutil.Process:
    """Find the process of an operation by its command line, whether or not the row knows it yet."""
    for process in psutil.process_iter():
        try:
            if operation_id in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except psutil.Error:
            continue
    raise LookupError(operation_id)


def kill(record: OperationRecord) -> None:
    """Kill the process of an operation that runs."""
    assert record.pid is not None
    os.kill(record.pid, signal.SIGKILL)

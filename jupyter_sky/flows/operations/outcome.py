"""How operations end, and how that end travels: row, journal event, and what a waiter gets or catches."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jupyter_sky.errors import (
    OperationCancelledError,
    OperationError,
    OperationInterruptedError,
    SkyError,
)
from jupyter_sky.events import Event
from jupyter_sky.state import OperationStatus

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_sky.state import OperationRecord


@dataclass(frozen=True, slots=True)
class Outcome:
    """An end: SUCCEEDED has a `result`, every other an `error` of code, message, hint and exit_code."""

    status: OperationStatus
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None

    #: seconds since the epoch
    at: float = field(default_factory=time.time)

    def event(self) -> Event:
        """Give the last line of the journal."""
        data = {"status": self.status.value, "result": self.result, "error": self.error}
        return Event("end", self.status.value, data, self.at)

    def columns(self) -> dict[str, Any]:
        """Give what the row says from now on."""
        return {"status": self.status, "result": self.result, "error": self.error, "ended_at": self.at}

    @classmethod
    def of_event(cls, event: Event) -> Outcome:
        """Read back what `event` gave."""
        data = event.data
        return cls(OperationStatus(data["status"]), data["result"], data["error"], event.at)

    @classmethod
    def of_record(cls, record: OperationRecord) -> Outcome:
        """Give the end that a row tells of."""
        return cls(record.status, record.result, record.error, record.ended_at or time.time())

    def result_or_raise(self) -> dict[str, Any]:
        """Give the result, or raise what kept the operation from having one."""
        if self.status is OperationStatus.SUCCEEDED:
            return self.result or {}
        error = self.error or {}
        message, hint = str(error.get("message", "")), error.get("hint")
        if self.status is OperationStatus.CANCELLED:
            raise OperationCancelledError(message, hint=hint)
        if self.status is OperationStatus.INTERRUPTED:
            raise OperationInterruptedError(message, hint=hint)
        raise OperationError(
            message, code=error.get("code", "operation"), hint=hint, exit_code=error.get("exit_code", 1)
        )


def failed(error: SkyError) -> Outcome:
    """Give the end of an operation whose work raised an error for the person."""
    return Outcome(OperationStatus.FAILED, error=_error(error))


def broken(record: OperationRecord, error: BaseException, output: Path) -> Outcome:
    """Give the end of an operation whose work met a defect of ours, or a trouble that nobody foresaw."""
    said = str(error).strip() or type(error).__name__
    return Outcome(
        OperationStatus.FAILED,
        error={
            "code": "internal",
            "message": f"The {_named(record)} failed unexpectedly: {type(error).__name__}: {said}"[:2000],
            "hint": f"Run it again to continue where it stopped. The details are in {output}",
            "exit_code": 1,
        },
    )


def cancelled(record: OperationRecord, phase: str, trouble: BaseException | None = None) -> Outcome:
    """Give the end of an operation that a person cancelled; `trouble` is what went wrong in cleaning up."""
    message = f"The {_named(record)} was cancelled{_during(phase)}."
    if trouble is not None:
        message += f" Cleaning up met a problem: {trouble}"
    hint = getattr(trouble, "hint", None)
    return Outcome(OperationStatus.CANCELLED, error=_error(OperationCancelledError(message, hint=hint)))


def interrupted(record: OperationRecord, output: Path) -> Outcome:
    """Give the end of an operation whose process is gone."""
    if record.pid is None:
        return never_began(record, output)
    hint = "Run the same command again: it continues where this one stopped"
    if record.kind == "launch":
        hint += f", or `jupyter sky down {record.target}` removes what had been made"
    message = f"The process of the {_named(record)} ended unexpectedly{_during(record.phase)}."
    error = OperationInterruptedError(message, hint=f"{hint}. Its output is in {output}")
    return Outcome(OperationStatus.INTERRUPTED, error=_error(error))


def never_began(record: OperationRecord, output: Path) -> Outcome:
    """Give the end of an operation whose process, or whose caller, was gone before it could begin."""
    message = f"The {_named(record)} never began: its process or its caller ended before. Nothing was done."
    hint = f"Run the same command again. What the process said is in {output}"
    return Outcome(OperationStatus.INTERRUPTED, error=_error(OperationInterruptedError(message, hint=hint)))


def _error(error: SkyError) -> dict[str, Any]:
    return {**error.to_dict(), "exit_code": error.exit_code}


def _named(record: OperationRecord) -> str:
    return f"{record.kind} of {record.target!r} (operation {record.id})"


def _during(phase: str) -> str:
    return f" in phase {phase!r}" if phase else ""

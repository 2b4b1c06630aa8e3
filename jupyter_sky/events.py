"""What a long-running piece of work says while it runs.

Flows and infras report to a `Reporter`; who listens (a journal, a terminal, a notebook) is not their
business. The same events are written to an operation's journal and read back by any face.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

EventKind = Literal["phase", "progress", "log", "end"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, as a journal line carries it.

    `kind` is `phase` (a new phase began; `text` is its name, `data["detail"]` a sentence), `progress` (`data`
    has `done`, `total` or None, `unit`), `log` (`text` is one line for the person) or `end` (`data` has
    `status`, `result`, `error`). `at` is seconds since the epoch.
    """

    kind: EventKind
    text: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    at: float = field(default_factory=time.time)

    def to_dict(self) -> dict[str, Any]:
        """Give the event as a JSON object."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Event:
        """Read back what `to_dict` gave."""
        return cls(kind=raw["kind"], text=raw["text"], data=raw["data"], at=raw["at"])


class Reporter(Protocol):
    """Who listens to a piece of work."""

    def phase(self, name: str, detail: str = "") -> None:
        """Say that a new phase begins."""

    def progress(self, done: float, total: float | None = None, unit: str = "") -> None:
        """Say how far the present phase is; `total` is None where it cannot be known."""

    def log(self, text: str) -> None:
        """Say one line to the person."""


class SilentReporter:
    """A reporter for callers that do not want to hear anything."""

    def phase(self, name: str, detail: str = "") -> None:
        """Hear nothing."""

    def progress(self, done: float, total: float | None = None, unit: str = "") -> None:
        """Hear nothing."""

    def log(self, text: str) -> None:
        """Hear nothing."""

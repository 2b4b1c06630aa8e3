"""What the handler of an operation reports to: the journal hears everything, the database the phases.

Reporting never fails the work: where the disk is full or the database busy, the work goes on and the
handler's own writes say so in their own words.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jupyter_sky.errors import SkyError
from jupyter_sky.events import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jupyter_sky.flows.operations.cancellation import Cancellation
    from jupyter_sky.flows.operations.journal import JournalWriter
    from jupyter_sky.flows.operations.redaction import Redactor
    from jupyter_sky.state import OperationRecord, State

#: The least time between two progress events, in seconds.
PROGRESS_INTERVAL = 0.1
#: How often the row says that the process is at work, and how far, in seconds.
HEARTBEAT = 2.0


class OperationContext:
    """A `Reporter` with the identity of the operation; its methods may be called from any thread."""

    def __init__(
        self,
        record: OperationRecord,
        state: State,
        journal: JournalWriter,
        redactor: Redactor,
        cancellation: Cancellation,
    ) -> None:
        self.operation_id = record.id
        self.kind = record.kind
        self.target = record.target
        #: The name of the phase that was begun last.
        self.present_phase = ""
        self._state = state
        self._journal = journal
        self._redactor = redactor
        self._cancellation = cancellation
        self._progress_written = 0.0
        self._progress_waiting: Event | None = None
        self._progress: dict[str, Any] | None = None
        self._complaint = ""

    def phase(self, name: str, detail: str = "") -> None:
        """Say that a new phase begins."""
        with self._cancellation.held():
            self._write(Event("phase", name, {"detail": detail}))
            self.present_phase = name
            self._progress = None
            text = self._redactor.text
            self._store(phase=text(name), detail=text(detail), progress=None, heartbeat_at=time.time())

    def progress(self, done: float, total: float | None = None, unit: str = "") -> None:
        """Say how far the present phase is; a journal takes ten a second, and always the last one."""
        event = Event("progress", "", {"done": done, "total": total, "unit": unit})
        self._progress = event.data
        if event.at - self._progress_written < PROGRESS_INTERVAL and done != total:
            self._progress_waiting = event
            return
        with self._cancellation.held():
            self._progress_waiting = None
            self._progress_written = event.at
            self._journal.write(event)

    def log(self, text: str) -> None:
        """Say one line to the person."""
        with self._cancellation.held():
            self._write(Event("log", text))

    def check_cancelled(self) -> None:
        """Raise `OperationCancelledError` if a person asked for the end."""
        self._cancellation.check()

    def redact(self, secrets: Iterable[str]) -> None:
        """Hide these values too in everything that is written from now on."""
        self._redactor.add(secrets)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Write the heartbeat and the latest progress to the row while the block runs."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(HEARTBEAT):
                self._store(heartbeat_at=time.time(), progress=self._redactor.data(self._progress))
                self._journal.flush()

        thread = threading.Thread(target=beat, name="operation-heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _write(self, event: Event) -> None:
        waiting, self._progress_waiting = self._progress_waiting, None
        if waiting is not None:
            self._journal.write(waiting)
        self._journal.write(event)

    def _store(self, **fields: Any) -> None:
        try:
            self._state.operations.update(self.operation_id, **fields)
        except SkyError as error:
            if error.message != self._complaint:
                self._complaint = error.message
                print(error.message, file=sys.stderr)  # noqa: T201  stderr is the operation's own log here

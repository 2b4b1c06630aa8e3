"""The process of one operation: `python -m jupyter_sky.flows.operations.process <id> <lock descriptor>`.

It inherits the locked descriptor that proves it alive, reads the secrets from its standard input, runs the
handler, and writes down how that ended, first in the row and then in the journal. What it prints goes to the
operation's `output.log`, without secrets. This module imports little, for every launch waits for it.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from jupyter_sky.errors import OperationCancelledError, OperationNotFoundError, SkyError, StateError
from jupyter_sky.flows.operations import handlers, outcome
from jupyter_sky.flows.operations.cancellation import Cancellation
from jupyter_sky.flows.operations.context import OperationContext
from jupyter_sky.flows.operations.folder import OperationFolder
from jupyter_sky.flows.operations.journal import JournalWriter
from jupyter_sky.flows.operations.outcome import Outcome
from jupyter_sky.flows.operations.redaction import Redactor
from jupyter_sky.state import OperationRecord, OperationStatus, State

if TYPE_CHECKING:
    from jupyter_sky.events import Event

#: How long a process tries to write its end to the row, and then to the journal, on a full disk; in seconds.
LAST_WORDS = 10.0


class RedactedStream(io.TextIOBase):
    """Standard output or error of the process, without secrets, line by line."""

    def __init__(self, descriptor: int, redactor: Redactor) -> None:
        self._descriptor = descriptor
        self._redactor = redactor
        self._partial = ""

    def write(self, text: str) -> int:
        """Write whole lines; the rest waits for its end, for a secret may be cut in two."""
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            self._put(line + "\n")
        return len(text)

    def finish(self) -> None:
        """Write what has no end of line."""
        last, self._partial = self._partial, ""
        self._put(last)

    def fileno(self) -> int:
        """Give the descriptor, for child processes."""
        return self._descriptor

    def writable(self) -> bool:
        """Say that one can write to it."""
        return True

    def _put(self, text: str) -> None:
        data = self._redactor.text(text).encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            self._partial = ""  # a full disk costs us output, never the work


def main(operation_id: str, lock: int) -> None:
    """Run one operation from beginning to end."""
    os.set_inheritable(lock, False)  # no child of ours may keep us alive in the eyes of others
    cancellation = Cancellation()
    cancellation.install()
    secrets = _receive_secrets()
    redactor = Redactor((secrets or {}).values())
    streams = [RedactedStream(descriptor, redactor) for descriptor in (1, 2)]
    sys.stdout, sys.stderr = streams
    folder = OperationFolder(operation_id)
    journal = JournalWriter(folder.journal, redactor)
    try:
        state = State.open()
        record = state.operations.get(operation_id)
        assert record is not None, "an operation is in the database before its process is started"
        now = time.time()
        record = state.operations.update(
            operation_id, status=OperationStatus.RUNNING, pid=os.getpid(), started_at=now, heartbeat_at=now
        )
    except SkyError as error:
        _append(journal, outcome.failed(error).event())
        return
    context = OperationContext(record, state, journal, redactor, cancellation)
    if secrets is None:
        end = outcome.never_began(record, folder.output)
    else:
        with context.beating():
            end = _work(record, secrets, context, cancellation, folder)
    end = replace(end, result=redactor.data(end.result), error=redactor.data(end.error))
    _record_end(record, state, journal, end)
    for stream in streams:
        stream.finish()
    from jupyter_sky.flows.operations.upkeep import forget_old

    forget_old(state)


def _receive_secrets() -> dict[str, str] | None:
    """Read the secrets to the end of the pipe; None where the caller died before it had written them."""
    with os.fdopen(0, "rb", closefd=False) as pipe:
        data = pipe.read()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if not data.endswith(b"\n"):
        return None
    secrets: dict[str, str] = json.loads(data)["secrets"]
    return secrets


def _work(
    record: OperationRecord,
    secrets: dict[str, str],
    context: OperationContext,
    cancellation: Cancellation,
    folder: OperationFolder,
) -> Outcome:
    try:
        try:
            cancellation.open()
            result = handlers.load(record.handler)(record.request, secrets, context)
            json.dumps(result)  # a result that cannot be kept is found here, with a traceback
        finally:
            cancellation.close()
    except OperationCancelledError:
        return outcome.cancelled(record, context.present_phase)
    except SkyError as error:
        if cancellation.requested:
            return outcome.cancelled(record, context.present_phase, error)
        return outcome.failed(error)
    except BaseException as error:  # noqa: BLE001  whatever ends the work, its waiters must hear of it
        import traceback

        traceback.print_exc()
        if cancellation.requested:
            return outcome.cancelled(record, context.present_phase, error)
        return outcome.broken(record, error, folder.output)
    return Outcome(OperationStatus.SUCCEEDED, result)


def _record_end(record: OperationRecord, state: State, journal: JournalWriter, end: Outcome) -> None:
    """Write the end to the row, then to the journal: who reads it there finds the row true."""
    deadline = time.monotonic() + LAST_WORDS
    while not _store_end(record, state, end) and time.monotonic() < deadline:
        time.sleep(0.1)
    _append(journal, end.event())


def _store_end(record: OperationRecord, state: State, end: Outcome) -> bool:
    try:
        state.operations.update(record.id, **end.columns())
    except StateError as error:
        print(error.message, file=sys.stderr)  # noqa: T201  stderr is the operation's own log here
        return False
    except OperationNotFoundError:  # the home folder was removed: there is nobody to tell
        return True
    return True


def _append(journal: JournalWriter, event: Event) -> None:
    """Write the last event, waiting a while for room on a full disk; a reader mends the row from it."""
    deadline = time.monotonic() + LAST_WORDS
    written = journal.write(event)
    while not written and time.monotonic() < deadline:
        time.sleep(0.1)
        written = journal.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

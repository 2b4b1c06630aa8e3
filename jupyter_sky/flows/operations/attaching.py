"""Attach to operations: follow, wait, cancel, list. Any number of processes may do so at once, at any time.

Whoever looks at an operation whose process is gone writes down the truth: it was interrupted, in this phase.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jupyter_sky.errors import OperationNotFoundError, StateError
from jupyter_sky.events import Event, SilentReporter
from jupyter_sky.flows.operations import outcome
from jupyter_sky.flows.operations.folder import OperationFolder
from jupyter_sky.flows.operations.journal import JournalReader, append_end
from jupyter_sky.flows.operations.outcome import Outcome
from jupyter_sky.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_sky.events import Reporter
    from jupyter_sky.state import OperationRecord

POLL = 0.02
#: How long `cancel` waits for a process that is just starting to be able to hear it, in seconds.
_START_TIMEOUT = 20.0


def get(operation_id: str) -> OperationRecord:
    """Give an operation as it truly is now; `OperationNotFoundError` if the id is not known."""
    record = State.open().operations.get(operation_id)
    if record is None:
        raise OperationNotFoundError(
            f"No operation has the id {operation_id!r}.", hint="Operations that ended long ago are forgotten."
        )
    return _reconciled(record)


def listing(active: bool | None = True, target: str | None = None) -> list[OperationRecord]:
    """Give operations as they truly are now, newest first.

    Parameters
    ----------
    active
        True for those that have not ended, False for those that have, None for both.
    target
        Only those that act on this name.
    """
    records = State.open().operations.list(active=active or None, target=target)
    now = [_reconciled(record) for record in records]
    return now if active is None else [record for record in now if record.status.active is active]


def history(operation_id: str) -> list[Event]:
    """Give the events of an operation so far; `OperationNotFoundError` if the id is not known."""
    get(operation_id)
    return JournalReader(OperationFolder(operation_id).journal).read()


def follow(operation_id: str, *, from_start: bool = True) -> Iterator[Event]:
    """Give the events of an operation as they come; the last one is its `end`.

    Parameters
    ----------
    operation_id
        The operation; `OperationNotFoundError` at once if it is not known.
    from_start
        Give the past too; else begin with the present phase.
    """
    get(operation_id)
    return _events(operation_id, from_start)


def _events(operation_id: str, from_start: bool) -> Iterator[Event]:
    folder = OperationFolder(operation_id)
    reader = JournalReader(folder.journal)
    if not from_start:
        past = reader.read()
        telling = [event for event in past if event.kind in {"phase", "end"}][-1:]
        yield from telling
        if telling and telling[0].kind == "end":
            return
    while True:
        # the order matters: what a dead process has written is all there after it was seen dead
        alive = folder.is_alive()
        events = reader.read()
        for event in events:
            yield event
            if event.kind == "end":
                return
        if not alive:
            yield Outcome.of_record(get(operation_id)).event()
            return
        if not events:
            time.sleep(POLL)


def wait(operation_id: str, reporter: Reporter | None = None) -> dict[str, Any]:
    """Wait for the end of an operation and give its result; an interrupt of the waiter leaves it running.

    Parameters
    ----------
    operation_id
        The operation.
    reporter
        Who hears its events, past ones included.

    Raises
    ------
    OperationError
        It failed; with the code, message, hint and exit code of the original error.
    OperationCancelledError
        A person cancelled it.
    OperationInterruptedError
        Its process ended before it did.
    """
    listener = reporter or SilentReporter()
    for event in follow(operation_id):
        if event.kind == "phase":
            listener.phase(event.text, event.data.get("detail", ""))
        elif event.kind == "progress":
            listener.progress(event.data["done"], event.data["total"], event.data["unit"])
        elif event.kind == "log":
            listener.log(event.text)
        else:
            return Outcome.of_event(event).result_or_raise()
    raise AssertionError("a journal ends with its end")


def cancel(operation_id: str) -> bool:
    """Ask an operation to end and clean up; do not wait for that. Asking twice changes nothing.

    Returns
    -------
    bool
        Whether it was asked; False where it had ended already.
    """
    folder = OperationFolder(operation_id)
    deadline = time.monotonic() + _START_TIMEOUT
    record = get(operation_id)
    while record.status.active and record.pid is None:
        if time.monotonic() > deadline:
            raise StateError(
                f"The process of operation {operation_id} does not start.",
                hint=f"Its output is in {folder.output}",
            )
        time.sleep(POLL)
        record = get(operation_id)
    if not record.status.active or record.pid is None:
        return False
    with suppress(ProcessLookupError):
        return _terminate(record.pid, folder)
    return False


def _terminate(pid: int, folder: OperationFolder) -> bool:
    """Send SIGTERM to the owner of the lock, and to no other process that may have got its id."""
    if sys.platform != "linux":
        alive = folder.is_alive()
        if alive:
            os.kill(pid, signal.SIGTERM)
        return alive
    # the descriptor means one process for ever; the lock, looked at after it, proves that this one is the
    # owner
    descriptor = os.pidfd_open(pid)
    try:
        alive = folder.is_alive()
        if alive:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        return alive
    finally:
        os.close(descriptor)


def _reconciled(record: OperationRecord) -> OperationRecord:
    """Give the record as it truly is; one whose process is gone without a word was interrupted."""
    folder = OperationFolder(record.id)
    if not record.status.active or folder.is_alive():
        return record
    store = State.open().operations
    latest = store.get(record.id)
    if latest is None or not latest.status.active:
        return latest or record  # it ended between the two looks
    written = [event for event in JournalReader(folder.journal).read() if event.kind == "end"]
    end = Outcome.of_event(written[0]) if written else outcome.interrupted(latest, folder.output)
    columns = end.columns()
    try:
        if store.end_if_active(record.id, **columns) and not written:
            append_end(folder.journal, end.event())
    except (StateError, OSError):
        return replace(latest, **columns)  # a full disk must not hide the truth from who asks
    return store.get(record.id) or latest

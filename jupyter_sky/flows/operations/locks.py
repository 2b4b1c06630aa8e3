"""One lock per cluster: whatever makes, changes or removes a cluster holds it, in whichever process.

The kernel lets go of it when its holder ends, however it ends. A note beside it names the holder, so that who
waits can say what for; the note proves nothing.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jupyter_sky.config import MAKE_ROOM, private_folder
from jupyter_sky.errors import OperationError, StateError
from jupyter_sky.events import SilentReporter
from jupyter_sky.flows.operations.context import OperationContext
from jupyter_sky.names import check_name
from jupyter_sky.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jupyter_sky.events import Reporter

FOLDER = "locks"
_POLL = 0.02
#: How often who waits looks again at what it waits for, in seconds.
_LOOK = 0.5


@contextmanager
def cluster_lock(
    name: str, *, report: Reporter | None = None, timeout: float | None = None
) -> Iterator[None]:
    """Hold the lock of a cluster while the block runs; it is not reentrant.

    Parameters
    ----------
    name
        The cluster; `InvalidNameError` if it cannot be the name of one.
    report
        Who hears what is being waited for; an `OperationContext` is also noted as the holder.
    timeout
        How long to wait, in seconds; for ever where not given.

    Raises
    ------
    OperationError
        The time is over (code `busy`); names the holder.
    StateError
        The lock's file cannot be made.
    """
    from filelock import FileLock, Timeout

    check_name(name)
    listener = report or SilentReporter()
    file = private_folder(FOLDER) / f"cluster-{name}.lock"
    note = file.with_suffix(".holder")
    lock = FileLock(file, mode=0o600)
    deadline = None if timeout is None else time.monotonic() + timeout
    said, look_at = "", 0.0
    while True:
        try:
            lock.acquire(blocking=False)
            break
        except Timeout:
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                raise OperationError(
                    f"The cluster {name!r} is busy with {_holder(note)}.",
                    code="busy",
                    hint="Wait for it to end, or cancel it, and run the command again.",
                ) from None
            if now >= look_at:
                look_at = now + _LOOK
                said = _say(listener, said, f"Waiting for {_holder(note)} to let go of {name!r}.")
            time.sleep(_POLL)
        except OSError as error:
            raise StateError(
                f"The lock {file} cannot be made: {error.strerror}.",
                hint=MAKE_ROOM,
            ) from error
    try:
        _note(note, report)
        yield
    finally:
        lock.release()


def _say(listener: Reporter, before: str, text: str) -> str:
    """Tell what is waited for: a phase at first, then a line whenever it changes."""
    if not before:
        listener.phase("waiting", text)
    elif text != before:
        listener.log(text)
    return text


def _note(note: Path, report: Reporter | None) -> None:
    operation = report.operation_id if isinstance(report, OperationContext) else None
    draft = note.with_suffix(".new")  # only the holder of the lock writes, so the name is free
    try:
        descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump({"operation": operation, "pid": os.getpid()}, stream)
        draft.replace(note)
    except OSError:
        # the note is a courtesy; a full disk must not keep the lock from its holder
        draft.unlink(missing_ok=True)


def _holder(note: Path) -> str:
    """Say who holds the lock, as far as the note tells."""
    try:
        holder = json.loads(note.read_text(encoding="utf-8"))
        record = State.open().operations.get(holder["operation"]) if holder["operation"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return "another command"
    if record is None or not record.status.active:
        return f"another command (process {holder['pid']})"
    phase = f", phase {record.phase!r}" if record.phase else ""
    return f"the {record.kind} of {record.target!r} (operation {record.id}{phase})"

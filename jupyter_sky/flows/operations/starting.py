"""Begin an operation: a row, a folder, and a process of its own that outlives whoever asked for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jupyter_sky.config import HOME_VARIABLE, MAKE_ROOM
from jupyter_sky.errors import OperationError, StateError, UsageError
from jupyter_sky.flows.operations import outcome
from jupyter_sky.flows.operations.folder import OperationFolder
from jupyter_sky.flows.operations.handlers import handler_path
from jupyter_sky.state import OperationRecord, State

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Shorter values stand in many texts by chance; a longer one in a request is the secret itself.
_TELLING_LENGTH = 8


def begin(
    kind: str,
    target: str,
    request: Mapping[str, Any],
    secrets: Mapping[str, str] | None = None,
    *,
    handler: str | None = None,
) -> OperationRecord:
    """Start an operation in its own process and return at once.

    The process has its own session, so that it survives a closed terminal, an interrupted cell and the end of
    its caller. It works in the caller's present folder. Secrets go to it through a pipe and are written
    nowhere.

    Parameters
    ----------
    kind
        A key of `HANDLERS`, or any word where `handler` is given.
    target
        The name of what it acts on.
    request
        What the handler gets; plain JSON, kept in the database.
    secrets
        What the handler gets beside it and nobody keeps.
    handler
        `module:function` that does the work, importable in the new process.

    Raises
    ------
    StateError
        The state folder cannot be written.
    UsageError
        The kind is unknown, or the value of a secret stands in the request.
    OperationError
        No process could be started.
    """
    hidden = dict(secrets or {})
    refuse_secrets(request, hidden)
    record = OperationRecord(
        id=os.urandom(6).hex(),
        kind=kind,
        target=target,
        handler=handler or handler_path(kind),
        request=dict(request),
    )
    state = State.open()
    folder = OperationFolder(record.id)
    try:
        folder.make()
        lock = folder.lock()
        try:
            output = folder.open_output()
            try:
                state.operations.add(record)
                _spawn(record, state, output, lock, hidden)
            finally:
                os.close(output)
        finally:
            os.close(lock)  # the process holds it now
    except OSError as error:
        raise StateError(
            f"The operation's files in {folder.path} cannot be written: {error.strerror}.",
            hint=MAKE_ROOM,
        ) from error
    return record


def _spawn(record: OperationRecord, state: State, output: int, lock: int, secrets: dict[str, str]) -> None:
    # -P: a file called like a module of ours in the present folder must not be taken for it
    program = [sys.executable, "-P", "-m", "jupyter_sky.flows.operations.process", record.id, str(lock)]
    try:
        process = subprocess.Popen(
            program,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=[lock],
            start_new_session=True,
            env={**os.environ, HOME_VARIABLE: str(state.home)},
        )
    except OSError as error:
        refusal = OperationError(
            f"No process could be started for the {record.kind} of {record.target!r}: {error.strerror}.",
            hint="Look at the number of processes and the free memory of this machine, and run it again.",
        )
        state.operations.update(record.id, **outcome.failed(refusal).columns())
        raise refusal from error
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as pipe:  # a process that died at once is seen by its lock
        pipe.write(json.dumps({"secrets": secrets}).encode() + b"\n")
    # a long-lived caller must not keep the dead process as a zombie
    threading.Thread(target=process.wait, name=f"operation-{record.id}", daemon=True).start()


def refuse_secrets(request: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
    """Refuse to keep a request in which the value of a secret stands in clear.

    Raises
    ------
    UsageError
        It names the secret and never its value.
    """
    texts = list(_texts(request))
    for name, value in secrets.items():
        if len(value) >= _TELLING_LENGTH and any(value in text for text in texts):
            raise UsageError(
                f"The value of the secret {name} also stands in clear in the task, "
                "and the task is kept in a database.",
                hint=f"Write ${name} there instead of the value.",
            )


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in _texts(item)]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _texts(item)]
    return []

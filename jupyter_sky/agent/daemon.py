"""Becoming a daemon, and being the only one that serves a node.

The process a person or an infra started waits until the agent serves, or tells why it cannot: whoever starts
an agent learns the truth from one exit code. The lock dies with its process, however that dies, so a killed
agent can be replaced at once.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from typing import Optional

from .node import NodeError

#: `serve` ends with it where another agent serves the root already.
ALREADY_SERVED = 3
#: How long an agent may take from its last word to its end, in seconds.
_ENDING_LIMIT = 10.0


class Launcher:
    """The process that waits to hear whether the agent serves; in the foreground there is none."""

    def __init__(self, fd: Optional[int] = None) -> None:
        self._fd = fd

    def tell(self, code: int, message: str = "") -> None:
        """Say how it went; the first word counts."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            try:
                os.write(fd, json.dumps([code, message]).encode())
            except BrokenPipeError:
                return  # it was killed meanwhile
            finally:
                os.close(fd)
        elif code:
            sys.stderr.write(message + "\n")


def detach() -> Launcher:
    """Go on as a daemon: no terminal, no parent, a session of its own. The caller's process never returns."""
    reading, writing = os.pipe()
    middle = os.fork()
    if middle:
        os.close(writing)
        os.waitpid(middle, 0)
        _report(reading)
    os.close(reading)
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.close(null)
    return Launcher(writing)


def _report(reading: int) -> None:
    said = b""
    while True:
        part = os.read(reading, 1 << 16)
        if not part:
            break
        said += part
    code, message = (
        json.loads(said) if said else (1, "The agent ended before it served; its agent.log may say why.")
    )
    if message:
        sys.stderr.write(message + "\n")
    sys.stderr.flush()
    os._exit(code)


def lock_root(root: str) -> int:
    """Become the one agent that serves `root`, for as long as the descriptor given back is open.

    Raises
    ------
    NodeError
        Another agent serves it, named by its process id, or the root cannot be written to.
    """
    path = os.path.join(root, "lock")
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NodeError(f"{root} cannot be served: {error}") from None
    deadline = time.monotonic() + _ENDING_LIMIT
    while not _try_lock(fd):
        # One that has said its last word still holds the lock for a moment.
        if not os.path.exists(os.path.join(root, "ended.json")) or time.monotonic() > deadline:
            owner = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise NodeError(f"An agent (process {owner}) already serves {root}.", ALREADY_SERVED)
        time.sleep(0.01)
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
    except OSError:
        return fd  # a full disk: the lock holds without the name in it
    return fd


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False

"""Starting processes, learning how they ended, and ending those that should.

The agent adopts every process of its node that loses its parent (it is a subreaper), so one reaper collects
all children, known or not. Processes of an earlier agent are no children of this one; their end is watched
through a pidfd where the system has them, else by looking. This module knows no job.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from typing import Callable, Dict, Optional, Sequence, Set

from . import process

#: Between TERM and KILL, in seconds.
GRACE = 5.0
_LOOK = 0.1


class Children:
    """The agent's children. Everything runs on the event loop's thread, so that no exit is missed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._exits: Dict[int, asyncio.Future[int]] = {}
        self._loop.add_signal_handler(signal.SIGCHLD, self._reap)

    def close(self) -> None:
        """Stop collecting."""
        self._loop.remove_signal_handler(signal.SIGCHLD)

    def spawn(
        self, argv: Sequence[str], *, env: Dict[str, str], cwd: str, output: Optional[int] = None
    ) -> int:
        """Start a process in a session of its own, without input; `output` gets what it prints. Give its id.

        Raises
        ------
        OSError
            The program, the folder or the memory for it was not there.
        """
        started = subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if output is None else output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        # The reaper collects it. With a code set, the Popen object takes that for done and leaves it alone.
        started.returncode = 0
        self._exits[started.pid] = self._loop.create_future()
        return started.pid

    async def exited(self, pid: int) -> int:
        """Wait for a child to end; give its code, or 128 + the signal that ended it."""
        return await asyncio.shield(self._exits[pid])

    def is_child(self, pid: int) -> bool:
        """Say whether `pid` was started here and its end has not been forgotten."""
        return pid in self._exits

    def forget(self, pid: int) -> None:
        """Drop what is known of a child that has ended."""
        self._exits.pop(pid, None)

    async def gone(self, pid: int, start_time: str) -> None:
        """Wait until a process that is no child of this one has ended."""
        fd = self._pidfd(pid)
        if fd is None or not process.is_alive(pid, start_time):
            if fd is not None:
                os.close(fd)
            while process.is_alive(pid, start_time):  # noqa: ASYNC110 - nobody tells when it ends
                await asyncio.sleep(_LOOK)
            return
        ended: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(fd, _settle, ended)
        try:
            await ended
        finally:
            self._loop.remove_reader(fd)
            os.close(fd)

    async def end(self, find: Callable[[], Set[int]], grace: float = GRACE) -> Set[int]:
        """End whatever `find` gives: TERM, then KILL after `grace` seconds, again until it gives nothing.

        Processes that appear meanwhile are ended, too. Returns what would not end within ten seconds after
        the KILL: a process stuck in the kernel.
        """
        number = signal.SIGTERM
        kill_at = time.monotonic() + grace
        give_up = kill_at + 10
        told: Set[int] = set()
        pause = 0.005
        while True:
            left = find()
            if not left or time.monotonic() > give_up:
                return left
            if number == signal.SIGTERM and time.monotonic() >= kill_at:
                number = signal.SIGKILL
                told.clear()
            process.send(left - told, number)
            told |= left
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.1)

    def _pidfd(self, pid: int) -> Optional[int]:
        try:
            return os.pidfd_open(pid)
        except (AttributeError, OSError):  # Python 3.8, not Linux, an old kernel, or no such process
            return None

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            waiter = self._exits.get(pid)
            if waiter is not None and not waiter.done():
                waiter.set_result(code)


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)

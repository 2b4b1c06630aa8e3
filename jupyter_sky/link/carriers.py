"""Carriers: ways to run the agent's relay on a node and hold its standard input and output.

A carrier is all that a link needs of an infra. It knows nothing of sessions and streams; it is asked for
a new channel whenever the last one broke. Here is the one that runs a local command; it serves any
program that reaches a node by its standard streams.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from jupyter_sky.agent.wire.channel import FdChannel, enlarge_pipe
from jupyter_sky.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jupyter_sky.agent.wire import Channel

#: How long a relay that lost its standard input may take to end by itself, in seconds.
_GRACE = 0.5
#: How much of what a relay said on standard error is kept, in bytes.
_MAX_WORDS = 4096


class Carrier(ABC):
    """A way to reach one node."""

    @abstractmethod
    async def open(self) -> Channel:
        """Start a fresh relay and give its channel.

        Raises
        ------
        SkyError
            The relay could not be started.
        """

    @abstractmethod
    def describe(self) -> str:
        """Say in a few words what is reached and how, for error messages."""


class LocalCarrier(Carrier):
    """Runs a command on this machine that speaks for the node.

    Parameters
    ----------
    argv
        The command, such as `[python, agent.pyz, "relay", "--root", folder]`.
    env
        Its environment; None: this process's.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._argv = list(argv)
        self._env = env

    async def open(self) -> Channel:
        """Start the command with large pipes; see `Carrier.open`."""
        child_in, our_out = os.pipe()
        our_in, child_out = os.pipe()
        our_err, child_err = os.pipe()
        for fd in (our_out, our_in):
            enlarge_pipe(fd)
        try:
            # started in its own session, so that a keyboard interrupt here does not end it;
            # exec takes about a millisecond, less than handing it to a thread
            process = subprocess.Popen(  # noqa: ASYNC220 - see above
                self._argv,
                stdin=child_in,
                stdout=child_out,
                stderr=child_err,
                env=self._env,
                start_new_session=True,
            )
        except OSError as error:
            for fd in (our_out, our_in, our_err):
                os.close(fd)
            raise LinkError(
                f"{self.describe()} could not be started: {error.strerror or error}",
                hint="`jupyter sky status --refresh` tells whether the node is still there.",
            ) from error
        finally:
            for fd in (child_in, child_out, child_err):
                os.close(fd)
        return ProcessChannel(process, our_in, our_out, our_err)

    def describe(self) -> str:
        """Name the command."""
        return f"the relay `{shlex.join(self._argv)}`"


class ProcessChannel(FdChannel):
    """The standard streams of a process; closing it ends the process."""

    def __init__(self, process: subprocess.Popen[bytes], rfd: int, wfd: int, efd: int) -> None:
        for fd in (rfd, wfd, efd):
            os.set_blocking(fd, False)
        super().__init__(rfd, wfd)
        self.process = process
        self._words_fd = efd
        self._words = b""
        self._words_open = True
        self._fds = (rfd, wfd, efd)
        self._reaping: asyncio.Task[None] | None = None
        self._loop.add_reader(efd, self._hear)
        _CHANNELS.add(self)

    def _hear(self) -> None:
        try:
            words = os.read(self._words_fd, _MAX_WORDS)
        except BlockingIOError:
            return
        self._words = (self._words + words)[-_MAX_WORDS:]
        if not words:
            self._stop_hearing()

    def _stop_hearing(self) -> None:
        if self._words_open:
            self._words_open = False
            self._loop.remove_reader(self._words_fd)
            os.close(self._words_fd)

    def explain(self) -> str:
        """Give the process's last words on standard error, or how it ended."""
        words = self._words.decode("utf-8", "replace").strip()
        code = self.process.returncode
        if words or code is None:
            return words
        return f"its process ended with code {code}" if code >= 0 else f"its process was killed ({-code})"

    def close(self) -> None:
        """Close the streams and end the process: it has a moment to go by itself."""
        super().close()
        _CHANNELS.discard(self)
        if self._reaping is None and not self._loop.is_closed():
            self._reaping = self._loop.create_task(self._reap())

    async def _reap(self) -> None:
        pause, waited = 0.001, 0.0
        while self.process.poll() is None:
            if waited >= _GRACE:
                # with all it may have started; it may be stopped, and this signal does not mind
                os.killpg(self.process.pid, signal.SIGKILL)
            await asyncio.sleep(pause)
            waited += pause
            pause = min(2 * pause, 0.02)
        if self._words_open:
            self._hear()
            self._stop_hearing()

    async def wait_closed(self) -> None:
        """Wait until the process is gone and its last words were heard."""
        if self._reaping is not None:
            await asyncio.shield(self._reaping)

    def abandon(self) -> None:
        """In a forked child: let go of the parent's descriptors without touching its loop or its process."""
        for fd in self._fds:
            try:
                os.close(fd)
            except OSError:
                continue  # the parent had closed it before the fork


_CHANNELS: weakref.WeakSet[ProcessChannel] = weakref.WeakSet()


def _abandon_all() -> None:
    # a forked child that kept these open would keep a relay alive that its parent had let go
    for channel in list(_CHANNELS):
        channel.abandon()
    _CHANNELS.clear()


os.register_at_fork(after_in_child=_abandon_all)

"""A channel: any duplex pipe of bytes, and the one over file descriptors.

A channel may end at any moment, and promises nothing about what was on its way: that is the resumable
stream's work. `FdChannel` goes around asyncio's transports, because they copy everything they send once
more and cannot tell when bytes were handed to the kernel.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from abc import ABC, abstractmethod

from .errors import ChannelClosed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Sequence, Union

    Buffer = Union[bytes, bytearray, memoryview]

#: How much one read may take, in bytes.
RECV_SIZE = 1 << 18
#: How large a pipe is made where the system allows it, in bytes.
PIPE_SIZE = 1 << 20
#: After so many bytes sent without ever having to wait, other tasks get their turn.
BURST = 1 << 20
#: No system takes fewer buffers in one writev.
_IOV_MAX = 1024
#: Linux's fcntl command to resize a pipe; the module names it only from Python 3.10 on.
_F_SETPIPE_SZ = 1031


class Channel(ABC):
    """A duplex pipe of bytes with back-pressure. One task receives, one task sends."""

    @abstractmethod
    async def recv(self) -> Buffer:
        """Wait for bytes; empty at the end. What is returned is valid only until the next call.

        Raises
        ------
        ChannelClosed
            The channel broke or was closed on this side.
        """

    @abstractmethod
    async def send(self, buffers: Sequence[Buffer]) -> None:
        """Send all buffers in order; return when they were handed on, so that a slow peer slows the caller.

        Raises
        ------
        ChannelClosed
            The channel broke or was closed on this side; how much was sent is unknown.
        """

    @abstractmethod
    def close(self) -> None:
        """Close both directions at once and wake whoever waits. Closing twice is no error."""

    async def wait_closed(self) -> None:  # noqa: B027 - most leave nothing to wait for
        """Wait until everything behind the closed channel is gone, too."""

    def explain(self) -> str:
        """Say what is known of why the channel ended, such as the last words of its process."""
        return ""


def enlarge_pipe(fd: int) -> None:
    """Make a pipe as large as the system allows, up to 1 MiB; other descriptors are left as they are."""
    if not sys.platform.startswith("linux"):
        return
    import fcntl

    size = PIPE_SIZE
    while size > 1 << 16:
        try:
            fcntl.fcntl(fd, _F_SETPIPE_SZ, size)
        except PermissionError:
            size >>= 1  # the user's share of pipe memory is used up: ask for less
        except OSError:
            return  # not a pipe
        else:
            return


class FdChannel(Channel):
    """A channel over one socket, or over two descriptors such as the ends of two pipes. It owns them."""

    def __init__(self, rfd: int, wfd: int, sock: Optional[socket.socket] = None) -> None:
        self._rfd = rfd
        self._wfd = wfd
        self._sock = sock
        self._loop = asyncio.get_event_loop()
        self._buffer: Optional[memoryview] = None
        self._reader: Optional[asyncio.Future[int]] = None
        self._writer: Optional[asyncio.Future[None]] = None
        self._watching = False
        self._burst = 0
        self._closed = False

    @classmethod
    def from_fds(cls, rfd: int, wfd: int) -> FdChannel:
        """Take over two descriptors; both become non-blocking, pipes become larger."""
        for fd in (rfd, wfd):
            os.set_blocking(fd, False)
            enlarge_pipe(fd)
        return cls(rfd, wfd)

    @classmethod
    def from_socket(cls, sock: socket.socket) -> FdChannel:
        """Take over a connected unix or TCP socket; a unix socket's buffer becomes larger."""
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIPE_SIZE)
        return cls(sock.fileno(), sock.fileno(), sock)

    async def recv(self) -> Buffer:
        """Wait for bytes; see `Channel.recv`."""
        if self._closed:
            raise ChannelClosed("the connection was closed on this side")
        if self._buffer is None:
            self._buffer = memoryview(bytearray(RECV_SIZE))
        self._reader = self._loop.create_future()
        if not self._watching:
            self._loop.add_reader(self._rfd, self._on_readable)
            self._watching = True
        try:
            count = await self._reader
        finally:
            self._reader = None
        return self._buffer[:count]

    def _on_readable(self) -> None:
        if self._reader is None or self._reader.done():
            # nobody waits: stop watching, or the loop would spin
            self._loop.remove_reader(self._rfd)
            self._watching = False
            return
        assert self._buffer is not None
        try:
            count = os.readv(self._rfd, [self._buffer])
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._reader.set_exception(ChannelClosed(f"the connection broke: {error.strerror}"))
        else:
            self._reader.set_result(count)

    async def send(self, buffers: Sequence[Buffer]) -> None:
        """Send all buffers without joining them; see `Channel.send`."""
        rest: List[Buffer] = list(buffers)
        while rest:
            if self._closed:
                raise ChannelClosed("the connection was closed on this side")
            try:
                count = os.writev(self._wfd, rest[:_IOV_MAX])
            except (BlockingIOError, InterruptedError):
                await self._writable()
                continue
            except OSError as error:
                raise ChannelClosed(f"the connection broke: {error.strerror}") from None
            self._burst += count
            done = 0
            while done < len(rest) and count >= len(rest[done]):
                count -= len(rest[done])
                done += 1
            del rest[:done]
            if count:
                rest[0] = memoryview(rest[0])[count:]
        if self._burst >= BURST:
            self._burst = 0
            await asyncio.sleep(0)

    async def _writable(self) -> None:
        self._burst = 0
        self._writer = self._loop.create_future()
        self._loop.add_writer(self._wfd, self._on_writable)
        try:
            await self._writer
        finally:
            self._writer = None
            if not self._closed:
                self._loop.remove_writer(self._wfd)

    def _on_writable(self) -> None:
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def shutdown_write(self) -> None:
        """Tell a socket's peer that nothing more comes, while its bytes are still received."""
        if self._sock is not None and not self._closed:
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                return  # the peer is gone already: the next read tells it

    def abort(self) -> None:
        """Close a TCP socket so that its peer sees a reset, not a normal end."""
        if self._sock is not None and not self._closed and self._sock.family != socket.AF_UNIX:
            import struct

            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close the descriptors; whoever waits gets `ChannelClosed`."""
        if self._closed:
            return
        self._closed = True
        if not self._loop.is_closed():
            self._loop.remove_reader(self._rfd)
            self._loop.remove_writer(self._wfd)
        for waiter in (self._reader, self._writer):
            if waiter is not None and not waiter.done():
                waiter.set_exception(ChannelClosed("the connection was closed on this side"))
        if self._sock is not None:
            self._sock.close()
            return
        os.close(self._rfd)
        if self._wfd != self._rfd:
            os.close(self._wfd)

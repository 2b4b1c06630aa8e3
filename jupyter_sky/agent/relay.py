"""The relay: copies bytes between its standard input and output and the agent's socket.

It is what an infra executes on a node to reach the agent, once per connection, so it must start at once
and import almost nothing. Two threads that block are the fastest copy Python has. It ends when either
side ends. It knows nothing of what it copies.
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType

#: How much is copied at a time, and how large its pipes are made where the system allows it, in bytes.
SIZE = 1 << 20
#: The exit code when no agent listens; `agent relay` says so on standard error, too.
NO_AGENT = 7
_F_SETPIPE_SZ = 1031
_AF_UNIX = 1
_SOCK_STREAM = 1


def relay(root: str) -> int:
    """Join standard input and output with the agent of the node `root` until either side ends.

    Returns
    -------
    int
        The exit code: 0, or `NO_AGENT` where no agent listens in `root`.
    """
    # the C module is there long before `socket` has made its enumerations
    from _socket import SO_SNDBUF, SOL_SOCKET, socket

    sock = socket(_AF_UNIX, _SOCK_STREAM, 0)
    try:
        os.chdir(root)  # a socket's path may have about 100 characters: a relative one always fits
        sock.connect("agent.sock")
        sock.setsockopt(SOL_SOCKET, SO_SNDBUF, SIZE)
    except OSError as error:
        os.write(2, f"no agent is running in {root} (agent.sock: {error.strerror})\n".encode())
        return NO_AGENT
    _enlarge_pipes()
    ended = allocate_lock()
    ended.acquire()
    fd = sock.fileno()
    start_new_thread(_copy, (0, fd, ended))
    start_new_thread(_copy, (fd, 1, ended))
    ended.acquire()
    return 0


def _copy(source: int, target: int, ended: LockType) -> None:
    """Copy until the end of either, then let the relay end."""
    buffer = memoryview(bytearray(SIZE))
    try:
        while True:
            count = os.readv(source, [buffer])
            if not count:
                return
            done = os.write(target, buffer[:count])
            while done < count:
                done += os.write(target, buffer[done:count])
    except OSError:
        return  # one side is gone, which is how every connection ends
    finally:
        if ended.locked():
            ended.release()


def _enlarge_pipes() -> None:
    if not sys.platform.startswith("linux"):
        return
    import fcntl

    for fd in (0, 1):
        try:
            fcntl.fcntl(fd, _F_SETPIPE_SZ, SIZE)
        except OSError:
            continue  # not a pipe, or no more pipe memory for this user

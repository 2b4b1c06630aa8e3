"""The agent's own log: `agent.log`, one line an event, never more than five megabytes with its predecessor.

It writes with one system call a line and swallows a full disk, because an agent that cannot write its log
must go on serving. Nobody passes a secret here: callers log ids, phases and codes, never environments or
scripts.
"""

from __future__ import annotations

import os
import time
import traceback
from typing import Optional

_LIMIT = 5_000_000 // 2


class Journal:
    """Appends lines to a file and turns it over in time.

    Parameters
    ----------
    path
        The file; its predecessor gets the suffix `.1`.
    take_stdio
        Whether the process's standard output and error go to the file, too (a detached agent).
    """

    def __init__(self, path: str, take_stdio: bool = False) -> None:
        self._path = path
        self._take_stdio = take_stdio
        self._fd = -1
        self._size = 0
        self._open()

    def _open(self) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self._size = os.fstat(fd).st_size
        if self._take_stdio:
            os.dup2(fd, 1)
            os.dup2(fd, 2)

    def write(self, text: str, error: Optional[BaseException] = None) -> None:
        """Append one event, with the traceback of `error` where there is one."""
        if error is not None:
            text += (
                "\n" + "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip()
            )
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        line = f"{stamp}.{int(now % 1 * 1000):03d}Z {text}\n".encode("utf-8", "replace")
        try:
            if self._size + len(line) > _LIMIT:
                os.replace(self._path, self._path + ".1")
                self._open()
            self._size += os.write(self._fd, line)
        except OSError:
            return  # a full or vanished disk must not end the agent

"""Giving a log to whoever asks: from an offset or the last lines, to its end now or the end of the job.

Files are read in large pieces straight from the page cache; a follower that has caught up looks again after
five milliseconds, then ever more slowly up to fifty. Nothing is held in memory but one piece, whatever a job
prints: lines are looked at only to find the last so many.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Awaitable, Callable, Optional

if TYPE_CHECKING:
    from .signals import Signal
    from .wire import Stream

_PIECE = 1 << 18
_QUICK, _SLOW = 0.005, 0.05


class LogSource:
    """One growing file.

    Parameters
    ----------
    path
        The file; it need not exist yet.
    is_over
        Whether it grows no more. What was written before this turns true is all there is.
    changed
        Fired when `is_over` may have turned true.
    """

    def __init__(self, path: str, is_over: Callable[[], bool], changed: Signal) -> None:
        self.path = path
        self.is_over = is_over
        self.changed = changed

    def tail_offset(self, lines: int) -> int:
        """Give where the last `lines` lines begin, in bytes. A last line without an end counts as a line."""
        try:
            with open(self.path, "rb") as file:
                return _tail_offset(file.fileno(), lines)
        except FileNotFoundError:
            return 0

    async def copy(self, offset: int, write: Callable[[bytes], Awaitable[None]], *, follow: bool) -> int:
        """Hand everything from `offset` on to `write`; give the offset where it ended.

        Parameters
        ----------
        follow
            Go on until the source is over, else end at the present end.
        """
        pause = _QUICK
        fd: Optional[int] = None
        try:
            while True:
                over = not follow or self.is_over()
                if fd is None:
                    fd = _open(self.path)
                data = os.pread(fd, _PIECE, offset) if fd is not None else b""
                if data:
                    offset += len(data)
                    await write(data)
                    pause = _QUICK
                elif over:
                    return offset
                else:
                    await self.changed.wait(_SLOW if fd is None else pause)
                    pause = min(pause * 1.5, _SLOW)
        finally:
            if fd is not None:
                os.close(fd)


async def send_log(
    stream: Stream,
    job_id: int,
    source: LogSource,
    *,
    offset: Optional[int],
    tail: Optional[int],
    follow: bool,
) -> None:
    """Serve a `logs` stream: a JSON line that says where it begins, then the bytes.

    Parameters
    ----------
    offset
        Begin there; beyond the end means at the end.
    tail
        Begin with the last so many lines instead.
    """
    begin = source.tail_offset(tail) if tail is not None else min(offset or 0, _size(source.path))
    head = json.dumps({"job_id": job_id, "offset": begin}) + "\n"
    await stream.write(head.encode())
    await source.copy(begin, stream.write, follow=follow)
    await stream.write_eof()


def _tail_offset(fd: int, lines: int) -> int:
    size = os.fstat(fd).st_size
    if lines <= 0:
        return size
    end = size
    # the end of the last line does not begin another one
    missing = lines + 1 if size and os.pread(fd, 1, size - 1) == b"\n" else lines
    while end > 0:
        begin = max(end - _PIECE, 0)
        piece = os.pread(fd, end - begin, begin)
        count = piece.count(b"\n")
        if count < missing:
            missing -= count
            end = begin
            continue
        position = len(piece)
        for _ in range(missing):
            position = piece.rfind(b"\n", 0, position)
        return begin + position + 1
    return 0


def _open(path: str) -> Optional[int]:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0

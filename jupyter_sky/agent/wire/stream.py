"""One stream of a bundle: an ordered flow of bytes each way, like a socket.

Either direction may end before the other. Reading makes room, and room is granted to the other end as
window; the window grows, up to a bound, for a reader that keeps up, so that a distant peer is not held back
by it.
"""

from __future__ import annotations

import asyncio
from collections import deque

from .errors import ProtocolError, StreamReset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Deque, Dict, List, Optional, Tuple

    from .channel import Buffer
    from .mux import Mux

#: What a stream may have under way in one direction at first, and at most, in bytes.
WINDOW = 1 << 20
MAX_WINDOW = 1 << 22
#: The most data in one frame, in bytes: short enough that many streams take turns quickly.
FRAME_DATA = 1 << 16
#: Smaller pieces than this are joined before they travel.
_SMALL = 1 << 12
#: `write` returns when no more than this still waits for its turn.
_LOW_WATER = 1 << 16


class Stream:
    """A stream: `read`, `write`, `write_eof`, `reset`, `close`. One task reads, one task writes.

    The methods after these are for the bundle.

    Attributes
    ----------
    id
        Its number within the session.
    header
        What the end that opened it said it was for.
    """

    def __init__(self, mux: Mux, number: int, header: Dict[str, Any]) -> None:
        self.id = number
        self.header = header
        self._mux = mux
        self._loop = asyncio.get_event_loop()
        # receiving
        self._chunks: Deque[bytes] = deque()
        self._pos = 0
        self._unread = 0
        self._window = WINDOW
        self._room = WINDOW
        self._consumed = 0
        self._received_eof = False
        self._discarding = False
        self._reader: Optional[asyncio.Future[None]] = None
        # sending
        self._out: Deque[Buffer] = deque()
        self._out_size = 0
        self._credit = WINDOW
        self._eof_wanted = False
        self._sent_eof = False
        self._writers: List[asyncio.Future[None]] = []
        self._stopped: Optional[StreamReset] = None
        self._reset: Optional[StreamReset] = None
        # what the bundle has still to say about it
        self.opening: Optional[bytes] = None
        self.reset_to_send: Optional[StreamReset] = None
        self.stop_to_send = False
        self.in_urgent = False
        self.in_ready = False

    # --- for those who use it ---

    async def read(self, limit: int = 1 << 18) -> bytes:
        """Wait for bytes and give up to `limit` of them; empty at the end.

        Raises
        ------
        StreamReset
            The stream was reset; what had been received before was given first.
        """
        if not self._chunks:
            await self._fill()
            if not self._chunks:
                return b""
        chunk = self._chunks[0]
        if self._pos == 0 and len(chunk) <= limit:
            self._chunks.popleft()
            piece = chunk
        else:
            piece = self._cut(min(len(chunk), self._pos + limit))
        self._took(len(piece))
        return piece

    async def readexactly(self, size: int) -> bytes:
        """Give exactly `size` bytes.

        Raises
        ------
        StreamReset
            The stream was reset, or ended (`code` is "eof") before so many bytes came.
        """
        parts: List[bytes] = []
        missing = size
        while missing:
            part = await self.read(missing)
            if not part:
                raise StreamReset(
                    "eof", f"the stream ended {missing} bytes before the {size} that were expected"
                )
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def readline(self, limit: int = 1 << 20) -> bytes:
        r"""Give the bytes up to and including the next "\n", or what is left at the end.

        Raises
        ------
        StreamReset
            The stream was reset, or `limit` bytes came without a line's end (`code` is "line_too_long").
        """
        parts: List[bytes] = []
        size = 0
        while True:
            if not self._chunks:
                await self._fill()
                if not self._chunks:
                    return b"".join(parts)
            chunk = self._chunks[0]
            end = chunk.find(b"\n", self._pos) + 1
            part = self._cut(end or len(chunk))
            self._took(len(part))
            parts.append(part)
            size += len(part)
            if end:
                return part if len(parts) == 1 else b"".join(parts)
            if size > limit:
                raise StreamReset(
                    "line_too_long", f"{size} bytes came without a line's end; the limit is {limit}"
                )

    async def write(self, data: Buffer) -> None:
        """Send bytes; wait while the other end has no room for them.

        Raises
        ------
        StreamReset
            The stream was reset, or the other end no longer reads (`code` is "stopped").
        """
        self._check_writable()
        if not len(data):
            return
        self._out.append(data if isinstance(data, bytes) else bytes(data))
        self._out_size += len(data)
        if self._credit:
            self._mux.ready(self)
        while self._out_size > _LOW_WATER:
            waiter = self._loop.create_future()
            self._writers.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._writers:
                    self._writers.remove(waiter)
            if self._reset is not None or self._stopped is not None:
                self._check_writable()

    async def write_eof(self) -> None:
        """End this direction, after all that was written; the other direction goes on."""
        if not self._eof_wanted and self._reset is None:
            self._eof_wanted = True
            self._mux.ready(self)

    async def reset(self, code: str, message: str = "", hint: Optional[str] = None) -> None:
        """End both directions at once; the other end's reads and writes raise with these words."""
        self.send_reset(StreamReset(code, message, hint))

    async def close(self) -> None:
        """End this direction after all that was written, and receive nothing more."""
        await self.write_eof()
        await self.close_reading()

    async def close_reading(self) -> None:
        """Receive nothing more; the other end's writes raise `StreamReset` ("stopped")."""
        if not self._discarding and not self._received_eof and self._reset is None:
            self._discarding = True
            self._chunks.clear()
            self._pos = self._unread = 0
            self.stop_to_send = True
            self._mux.urge(self)
            self._wake_reader()

    async def wait_stopped(self) -> None:
        """Wait until writing makes no sense any more: the other end stopped reading, or the stream ended."""
        while self._stopped is None and self._reset is None and not self._sent_eof:
            waiter = self._loop.create_future()
            self._writers.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._writers:
                    self._writers.remove(waiter)

    def _check_writable(self) -> None:
        if self._reset is not None:
            raise fresh(self._reset)
        if self._stopped is not None:
            raise fresh(self._stopped)
        if self._eof_wanted:
            raise StreamReset("closed", "the stream was ended on this side")

    async def _fill(self) -> None:
        """Wait until there is a chunk, or the end."""
        while not self._chunks:
            if self._reset is not None:
                raise fresh(self._reset)
            if self._received_eof or self._discarding:
                return
            if self._reader is not None:
                raise RuntimeError("two tasks read one stream")
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None

    def _cut(self, end: int) -> bytes:
        chunk = self._chunks[0]
        piece = chunk[self._pos : end]
        if end == len(chunk):
            self._chunks.popleft()
            self._pos = 0
        else:
            self._pos = end
        return piece

    def _took(self, size: int) -> None:
        self._unread -= size
        self._consumed += size
        if self._consumed * 4 >= self._window and not self._received_eof and self._reset is None:
            self._mux.urge(self)

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _wake_writers(self) -> None:
        writers, self._writers = self._writers, []
        for waiter in writers:
            if not waiter.done():
                waiter.set_result(None)

    # --- for the bundle ---

    @property
    def finished(self) -> bool:
        """Whether neither end has anything more to say about this stream."""
        return self._reset is not None or (self._sent_eof and self._received_eof)

    @property
    def let_go(self) -> bool:
        """Whether this side has closed the stream; what it wrote before may still be on its way."""
        return self.finished or (self._eof_wanted and (self._discarding or self._received_eof))

    @property
    def can_send(self) -> bool:
        """Whether data or an end could travel now."""
        if self._out:
            return self._credit > 0
        return self._eof_wanted and not self._sent_eof

    def take_payload(self) -> Optional[Tuple[Buffer, ...]]:
        """Give the data of this stream's next frame, or None."""
        room = min(FRAME_DATA, self._credit)
        if not self._out or room <= 0:
            return None
        parts: List[Buffer] = []
        size = 0
        while self._out and size < room:
            part = self._out.popleft()
            if len(part) > room - size:
                view = memoryview(part)
                self._out.appendleft(view[room - size :])
                part = view[: room - size]
            parts.append(part)
            size += len(part)
        self._out_size -= size
        self._credit -= size
        if self._writers and self._out_size <= _LOW_WATER:
            self._wake_writers()
        if len(parts) > 1 and size < _SMALL * len(parts):
            return (b"".join(parts),)
        return tuple(parts)

    def take_eof(self) -> bool:
        """Whether the end of this direction is to be sent now."""
        if self._out or not self._eof_wanted or self._sent_eof or self._reset is not None:
            return False
        self._sent_eof = True
        self._wake_writers()
        return True

    def take_grant(self) -> int:
        """Give how many bytes of window are to be granted now, or 0."""
        if self._consumed * 4 < self._window or self._received_eof or self._reset is not None:
            return 0
        grant, self._consumed = self._consumed, 0
        if self._window < MAX_WINDOW and self._unread * 4 < self._window and not self._discarding:
            grant += self._window
            self._window *= 2
        self._room += grant
        return grant

    def on_data(self, data: bytes) -> None:
        """Take received data."""
        if self._received_eof:
            raise ProtocolError(f"data came on stream {self.id} after its end")
        self._room -= len(data)
        if self._room < 0:
            raise ProtocolError(f"more data came on stream {self.id} than its window allows")
        if self._reset is not None or self._discarding or not data:
            return
        self._chunks.append(data)
        self._unread += len(data)
        self._wake_reader()

    def on_eof(self) -> None:
        """Take the end of the received direction."""
        self._received_eof = True
        self._wake_reader()

    def on_window(self, grant: int) -> None:
        """Take more room to send."""
        self._credit += grant
        if self._out:
            self._mux.ready(self)

    def on_stop(self) -> None:
        """Learn that the other end no longer reads; this direction ends."""
        self._stopped = StreamReset("stopped", "the other end no longer reads this stream")
        self._out.clear()
        self._out_size = 0
        self._eof_wanted = True
        self._wake_writers()
        self._mux.ready(self)

    def on_reset(self, reset: StreamReset) -> None:
        """Learn that both directions ended; what was received can still be read."""
        if self._reset is None:
            self._reset = reset
            self._out.clear()
            self._out_size = 0
            self._wake_reader()
            self._wake_writers()

    def send_reset(self, reset: StreamReset) -> None:
        """End both directions, and tell the other end."""
        if self.finished:
            return
        self._chunks.clear()
        self._pos = self._unread = 0
        self.on_reset(reset)
        self.reset_to_send = reset
        self._mux.urge(self)


def fresh(reset: StreamReset) -> StreamReset:
    """Give a fresh exception, so that tracebacks do not pile up on one that is raised again and again."""
    return StreamReset(reset.code, reset.message, reset.hint)

"""Many streams over one flow of records, none of which can hold up another.

Each direction of each stream has a window: how many bytes the receiver still has room for. A sender out of
window waits, alone. Streams with something to send take turns, one frame each; windows, openings and resets
go before data. The client opens streams, the server accepts them.

Frames carry a kind and the number of their stream. This module does not know how frames travel.
"""

from __future__ import annotations

import json
import struct
from collections import deque

from .errors import ProtocolError, StreamReset
from .stream import MAX_WINDOW, Stream, fresh

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, Optional, Tuple

    from .channel import Buffer

#: The longest header of a stream, as JSON, in bytes.
MAX_HEADER = 1 << 18
#: How many streams one session may have open.
MAX_STREAMS = 4096

_OPEN, _DATA, _EOF, _RESET, _WINDOW, _STOP = range(1, 7)
_FRAME = struct.Struct("!BI")
_WINDOW_FRAME = struct.Struct("!BII")
_U32 = struct.Struct("!I")
_MAX_TEXT = 1 << 14


class Mux:
    """One end of a bundle of streams.

    Parameters
    ----------
    wake
        Called when `next_frame` has something to give after it had nothing.
    accept
        Takes each stream that the other end opened; None on the side that opens them.
    """

    def __init__(self, wake: Callable[[], None], accept: Optional[Callable[[Stream], None]] = None) -> None:
        self._wake = wake
        self._accept = accept
        self._streams: Dict[int, Stream] = {}
        self._last_id = 0
        self._urgent: Deque[Stream] = deque()
        self._ready: Deque[Stream] = deque()
        self._ended: Optional[StreamReset] = None

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def is_waited_for(self) -> bool:
        """Whether anybody on this side still reads or writes a stream."""
        return not all(stream.let_go for stream in self._streams.values())

    def open(self, header: Dict[str, Any]) -> Stream:
        """Open a stream; `header` tells the other end what it is for.

        Raises
        ------
        StreamReset
            Too many streams are open, or the session has ended.
        ValueError
            The header is too long, or no JSON.
        """
        if self._ended is not None:
            raise fresh(self._ended)
        if len(self._streams) >= MAX_STREAMS:
            raise StreamReset("too_many_streams", f"{MAX_STREAMS} streams are open already")
        text = json.dumps(header, separators=(",", ":")).encode()
        if len(text) > MAX_HEADER:
            raise ValueError(f"a stream's header has {len(text)} bytes; the limit is {MAX_HEADER}")
        self._last_id += 1
        stream = Stream(self, self._last_id, header)
        stream.opening = text
        self._streams[stream.id] = stream
        self.urge(stream)
        return stream

    def abort(self, code: str, message: str, hint: Optional[str] = None) -> None:
        """End every stream with a reset; nothing can be opened after it."""
        self._ended = StreamReset(code, message, hint)
        streams, self._streams = list(self._streams.values()), {}
        self._urgent.clear()
        self._ready.clear()
        for stream in streams:
            stream.on_reset(StreamReset(code, message, hint))

    def urge(self, stream: Stream) -> None:
        """Queue a stream that has an opening, a window, a stop or a reset to send."""
        if not stream.in_urgent and self._ended is None:
            stream.in_urgent = True
            self._urgent.append(stream)
            self._wake()

    def ready(self, stream: Stream) -> None:
        """Queue a stream that has data or an end to send, and the window to do so."""
        if not stream.in_ready and self._ended is None:
            stream.in_ready = True
            self._ready.append(stream)
            self._wake()

    def next_frame(self) -> Optional[Tuple[Buffer, ...]]:
        """Give the next frame to send, or None."""
        while self._urgent:
            stream = self._urgent[0]
            frame = self._urgent_frame(stream)
            if frame is not None:
                return frame
            stream.in_urgent = False
            self._urgent.popleft()
            self._forget_if_done(stream)
        while self._ready:
            stream = self._ready.popleft()
            stream.in_ready = False
            payload = stream.take_payload()
            if payload is not None:
                if stream.can_send:
                    stream.in_ready = True
                    self._ready.append(stream)
                return (_FRAME.pack(_DATA, stream.id), *payload)
            if stream.take_eof():
                self._forget_if_done(stream)
                return (_FRAME.pack(_EOF, stream.id),)
        return None

    def _urgent_frame(self, stream: Stream) -> Optional[Tuple[Buffer, ...]]:
        if stream.opening is not None:
            text, stream.opening = stream.opening, None
            if stream.reset_to_send is not None:
                stream.reset_to_send = None  # the other end never hears of this stream
                return None
            return (_FRAME.pack(_OPEN, stream.id), text)
        if stream.reset_to_send is not None:
            reset, stream.reset_to_send = stream.reset_to_send, None
            body = {"code": reset.code[:64], "message": reset.message[:_MAX_TEXT], "hint": reset.hint}
            return (_FRAME.pack(_RESET, stream.id), json.dumps(body, separators=(",", ":")).encode())
        if stream.stop_to_send:
            stream.stop_to_send = False
            return (_FRAME.pack(_STOP, stream.id),)
        grant = stream.take_grant()
        if grant:
            return (_WINDOW_FRAME.pack(_WINDOW, stream.id, grant),)
        return None

    def _forget_if_done(self, stream: Stream) -> None:
        if stream.finished and not stream.in_urgent:
            self._streams.pop(stream.id, None)

    def on_frame(self, frame: memoryview) -> None:
        """Take a received frame; it is not kept.

        Raises
        ------
        ProtocolError
            The frame is malformed, or not allowed now.
        """
        if len(frame) < _FRAME.size:
            raise ProtocolError(f"a frame of {len(frame)} bytes came; its head alone has {_FRAME.size}")
        kind, number = _FRAME.unpack_from(frame)
        body = frame[_FRAME.size :]
        if kind == _OPEN:
            self._on_open(number, body)
            return
        stream = self._streams.get(number)
        if stream is None:
            if number > self._last_id or not _OPEN < kind <= _STOP:
                raise ProtocolError(
                    f"a frame of kind {kind} came for stream {number}, which was never opened"
                )
            return  # it was on its way when this end let go of the stream
        if kind == _DATA:
            stream.on_data(bytes(body))
        elif kind == _EOF:
            stream.on_eof()
        elif kind == _WINDOW:
            stream.on_window(_grant(body))
        elif kind == _STOP:
            stream.on_stop()
        elif kind == _RESET:
            stream.on_reset(_read_reset(body))
        else:
            raise ProtocolError(f"a frame of the unknown kind {kind} came")
        self._forget_if_done(stream)

    def _on_open(self, number: int, body: memoryview) -> None:
        if self._accept is None:
            raise ProtocolError("the server tried to open a stream")
        if number <= self._last_id:
            raise ProtocolError(f"stream {number} was opened after stream {self._last_id}")
        header = _json_object(body, "a stream's header", MAX_HEADER)
        self._last_id = number
        stream = Stream(self, number, header)
        self._streams[number] = stream
        if len(self._streams) > MAX_STREAMS:
            stream.send_reset(StreamReset("too_many_streams", f"{MAX_STREAMS} streams are open already"))
            return
        self._accept(stream)


def _grant(body: memoryview) -> int:
    if len(body) != _U32.size:
        raise ProtocolError(f"a window of {len(body)} bytes came where {_U32.size} were expected")
    grant: int = _U32.unpack(body)[0]
    if grant > 2 * MAX_WINDOW:
        raise ProtocolError(f"a window of {grant} bytes was granted; the limit is {2 * MAX_WINDOW}")
    return grant


def _json_object(body: memoryview, what: str, limit: int) -> Dict[str, Any]:
    if len(body) > limit:
        raise ProtocolError(f"{what} has {len(body)} bytes; the limit is {limit}")
    try:
        value = json.loads(bytes(body).decode())
    except (ValueError, RecursionError):
        raise ProtocolError(f"{what} is not JSON") from None
    if not isinstance(value, dict):
        raise ProtocolError(f"{what} is not a JSON object")
    return value


def _read_reset(body: memoryview) -> StreamReset:
    fields = _json_object(body, "a reset", MAX_HEADER)
    hint = fields.get("hint")
    return StreamReset(
        str(fields.get("code", "reset")), str(fields.get("message", "")), None if hint is None else str(hint)
    )

"""The blocking face of an asynchronous stream, for one worker thread.

Disk work blocks, so a sync runs in a thread of its own and the event loop stays free. Two pump tasks move
bytes between the stream and two bounded queues; the thread sees plain `send` and `recv` of frames. A frame
is a kind (one byte), a length (four bytes) and a body. Every wait has the same limit: when no byte moves for
that long, the sync ends with an error. Whichever end works on its disk for long says so with PING frames,
from the work itself and not from the pumps, so that a stuck disk is not mistaken for a busy one.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Deque, Iterator, List, Optional, TypeVar, Union

from .errors import FilesError

if TYPE_CHECKING:
    from typing import Protocol

    class StreamLike(Protocol):
        """What a sync asks of a stream."""

        @property
        def header(self) -> dict[str, Any]:
            """What the opener sent."""

        def read(self, limit: int = ...) -> Awaitable[bytes]:
            """Give the next bytes, or none at the end."""

        def write(self, data: Buffer) -> Awaitable[None]:
            """Send bytes, waiting for the window."""

        def write_eof(self) -> Awaitable[None]:
            """Say that no more will be sent."""

        def reset(self, code: str, message: str = "") -> Awaitable[None]:
            """End both directions with an error."""

        def close(self) -> Awaitable[None]:
            """Forget the stream."""


T = TypeVar("T")
Buffer = Union[bytes, bytearray, memoryview]

#: No byte in or out for this long ends a sync, seconds.
TIMEOUT = 60.0
#: A frame longer than this is refused: it is more than any honest peer sends.
MAX_FRAME = 64 << 20
PING = 0

_HEADER = struct.Struct(">BI")
_READ = 256 << 10
_BACKLOG = 4 << 20
_GATHER = 128 << 10
_LONG = 32 << 10
_PING_EVERY = 5.0
_GRACE = 5.0


class Pipe:
    """Frames over a stream, used by exactly one thread.

    Parameters
    ----------
    stream
        The stream to pump.
    timeout
        Seconds without a byte after which `send` and `recv` raise.
    backlog
        Bytes received and not yet used beyond which the stream is no longer read. A sender, which receives
        only short requests and must never make its peer wait while it sends itself, takes a large one.
    """

    def __init__(self, stream: StreamLike, *, timeout: float = TIMEOUT, backlog: int = _BACKLOG) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._high = backlog
        self._lock = threading.Condition()
        self._inbox: Deque[bytes] = deque()
        self._inbox_bytes = 0
        self._inbox_end = False
        self._inbox_full = False
        self._outbox: Deque[Buffer] = deque()
        self._outbox_bytes = 0
        self._outbox_end = False
        self._error: Optional[FilesError] = None
        self._room = asyncio.Event()
        self._work = asyncio.Event()
        # These belong to the worker thread alone.
        self._gathered: List[Buffer] = []
        self._gathered_bytes = 0
        self._chunk = memoryview(b"")
        self._last_send = time.monotonic()

    # The worker thread's side.

    def send(self, kind: int, *parts: Buffer) -> None:
        """Queue one frame; waits while the queue is full. The parts must not change afterwards."""
        length = sum(map(len, parts))
        self._gathered.append(_HEADER.pack(kind, length))
        self._gathered += parts
        self._gathered_bytes += length + _HEADER.size
        if self._gathered_bytes >= _GATHER:
            self.flush()

    def flush(self) -> None:
        """Hand over what `send` gathered."""
        if not self._gathered:
            return
        parts, size = self._gathered, self._gathered_bytes
        self._gathered, self._gathered_bytes = [], 0
        self._last_send = time.monotonic()
        with self._lock:
            self._wait(lambda: self._outbox_bytes < _BACKLOG)
            idle = not self._outbox
            self._outbox += parts
            self._outbox_bytes += size
        if idle:
            self._loop.call_soon_threadsafe(self._work.set)

    def tick(self) -> None:
        """Tell the peer, now and then, that the disk is at work; raises if the stream has failed."""
        if self._error is not None:
            raise self._error
        if time.monotonic() - self._last_send > _PING_EVERY:
            self.send(PING)
            self.flush()

    def recv(self) -> tuple[int, int]:
        """Wait for the next frame; give its kind and the length of its body, which must be read next."""
        while True:
            kind, length = _HEADER.unpack(self.body(_HEADER.size))
            if length > MAX_FRAME:
                raise FilesError(f"The peer sent a frame of {length} bytes.", code="protocol")
            if kind != PING:
                return kind, length

    def body(self, length: int) -> bytes:
        """Read exactly `length` bytes."""
        if len(self._chunk) >= length:
            data = bytes(self._chunk[:length])
            self._chunk = self._chunk[length:]
            return data
        return b"".join(self.pieces(length))

    def pieces(self, length: int) -> Iterator[memoryview]:
        """Read exactly `length` bytes, piece by piece as they arrived, without copying."""
        while length:
            if not self._chunk:
                self._chunk = memoryview(self._take())
            piece = self._chunk[:length]
            self._chunk = self._chunk[len(piece) :]
            length -= len(piece)
            yield piece

    def _take(self) -> bytes:
        self.flush()
        with self._lock:
            self._wait(lambda: bool(self._inbox) or self._inbox_end)
            if not self._inbox:
                raise FilesError(
                    "The connection ended in the middle of the sync.",
                    code="cut",
                    hint="Run it again: it continues.",
                )
            data = self._inbox.popleft()
            self._inbox_bytes -= len(data)
            resume = self._inbox_full and self._inbox_bytes <= self._high // 2
            if resume:
                self._inbox_full = False
        if resume:
            self._loop.call_soon_threadsafe(self._room.set)
        return data

    def _wait(self, ready: Callable[[], bool]) -> None:
        """Wait, with the lock held, for `ready`; each notification means that bytes moved."""
        while self._error is None and not ready():
            if not self._lock.wait(self._timeout):
                raise FilesError(
                    f"No progress for {self._timeout:g} s.",
                    code="timeout",
                    hint="Check the connection and the disks at both ends, and run it again: it continues.",
                )
        if self._error is not None:
            raise self._error

    # The event loop's side.

    def fail(self, error: FilesError) -> None:
        """Make the worker thread's next `send`, `recv` or `tick` raise `error`."""
        with self._lock:
            if self._error is None:
                self._error = error
            self._lock.notify_all()

    def finish(self) -> None:
        """Let `pump_out` end once everything was written."""
        with self._lock:
            self._outbox_end = True
        self._work.set()

    async def pump_in(self) -> None:
        """Move bytes from the stream to the inbox until the stream ends."""
        while True:
            data = await self._stream.read(_READ)
            with self._lock:
                if data:
                    self._inbox.append(data)
                    self._inbox_bytes += len(data)
                else:
                    self._inbox_end = True
                if self._inbox_bytes > self._high:
                    self._inbox_full = True
                    self._room.clear()
                full = self._inbox_full
                self._lock.notify_all()
            if not data:
                return
            if full:
                await self._room.wait()

    async def pump_out(self) -> None:
        """Move bytes from the outbox to the stream until `finish`, then say so to the peer."""
        while True:
            with self._lock:
                batch, self._outbox = self._outbox, deque()
                if not batch:
                    if self._outbox_end:
                        break
                    self._work.clear()
            if not batch:
                await self._work.wait()
            for data in _joined(batch):
                await self._stream.write(data)
                with self._lock:
                    self._outbox_bytes -= len(data)
                    self._lock.notify_all()
        await self._stream.write_eof()


def _joined(parts: Deque[Buffer]) -> Iterator[Buffer]:
    """Join short buffers; long ones pass as they are."""
    small: List[Buffer] = []
    size = 0
    for part in parts:
        if len(part) < _LONG:
            small.append(part)
            size += len(part)
            if size < _GATHER:
                continue
        if small:
            yield b"".join(small)
            small, size = [], 0
        if len(part) >= _LONG:
            yield part
    if small:
        yield b"".join(small)


async def run(
    stream: StreamLike,
    work: Callable[[Pipe], T],
    *,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - a limit on silence, not on the whole
    backlog: int = _BACKLOG,
) -> T:
    """Run `work` in a thread of its own, with a `Pipe` over `stream`, and end the stream after it.

    Raises
    ------
    FilesError
        What `work` raised, or what the peer or the line did. The peer is told by a reset.
    """
    loop = asyncio.get_running_loop()
    pipe = Pipe(stream, timeout=timeout, backlog=backlog)
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(result: Optional[T], error: Optional[BaseException]) -> None:
        if outcome.done():
            return
        if error is None:
            outcome.set_result(result)  # type: ignore[arg-type]  # no error: it is the result of work
        else:
            outcome.set_exception(error)

    def body() -> None:
        result: Optional[T] = None
        problem: Optional[BaseException] = None
        try:
            result = work(pipe)
            pipe.flush()
        except BaseException as error:  # noqa: BLE001  # handed over to the task that waits, whatever it is
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
            loop.call_soon_threadsafe(settle, result, problem)

    async def pump(moving: Callable[[], Awaitable[None]]) -> None:
        try:
            await moving()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # a stream may fail in its own ways; the sync ends all the same
            pipe.fail(_translated(error))

    pumps = [loop.create_task(pump(pipe.pump_in)), loop.create_task(pump(pipe.pump_out))]
    # A daemon, because a thread that hangs on a dead disk must not keep the process from ending.
    threading.Thread(target=body, name="files-sync", daemon=True).start()
    try:
        result = await _outcome(outcome, pumps, pipe)
        pipe.finish()
        await asyncio.wait_for(asyncio.shield(pumps[1]), timeout)
        await stream.close()
        return result
    except asyncio.CancelledError:
        pipe.fail(FilesError("The sync was cancelled.", code="cancelled"))
        await _reset(stream, "cancelled", "The sync was cancelled.")
        await asyncio.wait([outcome], timeout=_GRACE)
        raise
    except asyncio.TimeoutError:
        await _reset(stream, "timeout", f"No progress for {timeout:g} s.")
        raise FilesError(f"No progress for {timeout:g} s.", code="timeout") from None
    except FilesError as error:
        hint = f" {error.hint}" if error.hint else ""
        await _reset(stream, error.code, error.message + hint)
        raise
    except BaseException:
        await _reset(stream, "internal", "The sync failed at the other end; its log says more.")
        raise
    finally:
        if not outcome.cancel() and not outcome.cancelled():
            outcome.exception()  # looked at, so that the loop does not complain of it
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _outcome(outcome: asyncio.Future[T], pumps: List[asyncio.Task[None]], pipe: Pipe) -> T:
    """Wait for the thread; once the stream has failed, wait no longer than a grace for it to notice."""
    while not outcome.done():
        running = [task for task in pumps if not task.done()]
        if pipe._error is not None:  # noqa: SLF001  # the same module
            done, _ = await asyncio.wait([outcome], timeout=_GRACE)
            if not done:
                outcome.cancel()
                raise pipe._error  # noqa: SLF001  # the same module
            break
        waiting: List[asyncio.Future[Any]] = [outcome, *running]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    return outcome.result()


async def _reset(stream: StreamLike, code: str, message: str) -> None:
    with contextlib.suppress(Exception):  # the line may be gone: there is nobody to tell
        await asyncio.wait_for(stream.reset(code, message), _GRACE)


def _translated(error: Exception) -> FilesError:
    if isinstance(error, FilesError):
        return error
    code = getattr(error, "code", None)
    message = getattr(error, "message", None) or str(error) or type(error).__name__
    hint = getattr(error, "hint", None)
    return FilesError(str(message), code=code if isinstance(code, str) else "cut", hint=hint)

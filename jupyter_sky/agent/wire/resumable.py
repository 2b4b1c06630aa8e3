"""A stream of numbered records that survives the loss of the channel under it.

Both ends count the records they received and keep those they sent until the other end has acknowledged
them. After a cut each end tells the other its count, and what the other missed is sent again: nothing is
lost, nothing comes twice. What is kept is bounded; when the bound is reached sending waits, and nothing is
ever dropped. Records are pulled from a source only when they can be sent, so the source decides, at the
last moment, what is most urgent.

This module does not know what a record means, nor how channels are made.
"""

from __future__ import annotations

import asyncio
from collections import deque

from . import records
from .errors import ChannelClosed, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Deque, List, Optional, Tuple

    from .channel import Buffer, Channel

    Record = Tuple[Buffer, ...]
    Source = Callable[[], Optional[Record]]
    Sink = Callable[[memoryview], None]

#: How many bytes are gathered for one send; urgent records wait at most behind so many.
BATCH = 1 << 18
#: An acknowledgement is due after so many bytes or records, or at the next tick.
ACK_BYTES = 1 << 18
ACK_RECORDS = 256
#: How many ticks (two a heartbeat) may pass without a byte before a ping, and before the channel is given up.
_PING_TICKS = 2
_DEAD_TICKS = 6


class Resumable:
    """One end of the stream.

    Parameters
    ----------
    source
        Gives the next record to send as buffers, or None when there is nothing to send; `wake` says that this
        may have changed.
    sink
        Takes each received record, once and in order. It must not keep the view.
    buffer
        How many sent but unacknowledged bytes are kept before sending waits.
    """

    def __init__(self, source: Source, sink: Sink, *, buffer: int) -> None:
        self._source = source
        self._sink = sink
        self._limit = buffer
        #: how many records were received, ever
        self.received = 0
        self._sent = 0
        self._kept: Deque[Tuple[int, Record]] = deque()
        self._kept_size = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._channel: Optional[Channel] = None
        self._silent_ticks = 0
        self._unacknowledged_bytes = 0
        self._unacknowledged = 0
        self._due: List[int] = []
        self._bye = False
        self._broken: Optional[Exception] = None

    def wake(self) -> None:
        """Say that the source may have something to send."""
        self._idle.clear()
        self._wake.set()

    def detach(self) -> None:
        """Give up the present channel, if any; its `run` ends."""
        if self._channel is not None:
            self._channel.close()

    async def flush(self, *, bye: bool) -> None:
        """Wait until all the source has was handed to the channel; with `bye`, say good-bye after it.

        Without a channel it returns at once: there is nobody to hand anything to.
        """
        if self._channel is None:
            return
        self._bye = bye
        self.wake()
        channel = self._channel
        while self._channel is channel and not self._idle.is_set():
            await self._idle.wait()

    async def run(
        self, channel: Channel, rest: bytes, *, peer_received: int, peer_buffer: int, heartbeat: float
    ) -> None:
        """Carry records over `channel` until it ends; it is closed then.

        Parameters
        ----------
        rest
            Bytes that were already read from the channel, after its greeting.
        peer_received, peer_buffer
            What the other end said in its greeting: how many records it received, how many bytes it keeps.
        heartbeat
            Seconds; an end from which no byte came for three of them is taken for lost.

        Raises
        ------
        ChannelClosed
            How the channel ended; another one may follow.
        ProtocolError
            The other end cannot be trusted any more.
        """
        self._forget(peer_received)
        self._channel = channel
        self._silent_ticks = 0
        self._broken = None
        self._due.clear()
        self._unacknowledged = self._unacknowledged_bytes = 0  # the greeting told the count
        ack_bytes = min(ACK_BYTES, peer_buffer // 4)
        reader = records.RecordReader()
        helpers = [
            asyncio.ensure_future(self._pump(channel, deque(record for _, record in self._kept))),
            asyncio.ensure_future(self._tick(channel, heartbeat / 2)),
        ]
        try:
            self._take(reader, rest, ack_bytes)
            while True:
                chunk = await channel.recv()
                if not len(chunk):
                    raise ChannelClosed("the other end closed the connection")  # noqa: TRY301 - one way out
                self._silent_ticks = 0
                self._take(reader, chunk, ack_bytes)
        except ChannelClosed as error:
            raise self._broken or error from None
        finally:
            self._channel = None
            channel.close()
            for helper in helpers:
                helper.cancel()
            await asyncio.wait(helpers)
            self._idle.set()

    def _take(self, reader: records.RecordReader, chunk: Buffer, ack_bytes: int) -> None:
        for kind, body in reader.feed(chunk):
            if kind == records.DATA:
                self.received += 1
                self._unacknowledged += 1
                self._unacknowledged_bytes += len(body)
                self._sink(body)
                continue
            self._forget(records.read_count(body))
            if kind == records.PING:
                self._want(records.PONG)
            elif kind == records.BYE:
                raise Bye
        if self._unacknowledged_bytes > ack_bytes or self._unacknowledged >= ACK_RECORDS:
            self._want(records.ACK)

    def _want(self, kind: int) -> None:
        if kind not in self._due:
            self._due.append(kind)
        self.wake()

    def _forget(self, count: int) -> None:
        """Let go of what the other end has received."""
        kept = self._kept
        if not self._sent - len(kept) <= count <= self._sent:
            raise ProtocolError(
                f"the other end counts {count} records, but {self._sent} were sent "
                f"and {self._sent - len(kept)} acknowledged"
            )
        full = self._kept_size >= self._limit
        for _ in range(count - (self._sent - len(kept))):
            self._kept_size -= kept.popleft()[0]
        if full and self._kept_size < self._limit:
            self.wake()

    async def _pump(self, channel: Channel, again: Deque[Record]) -> None:
        """Send what is due, then what the other end missed, then what the source has."""
        try:
            while True:
                batch: List[Buffer] = []
                size = self._gather(batch, again)
                if batch:
                    await channel.send(batch)
                elif self._bye:
                    await channel.send([records.count_record(records.BYE, self.received)])
                    self._bye = False
                if size or again:
                    continue
                if not self._due and self._kept_size < self._limit:
                    self._idle.set()
                self._wake.clear()
                if not self._due and not self._bye:
                    await self._wake.wait()
        except ChannelClosed as error:
            self._broken = error
            channel.close()
        except Exception as error:
            self._broken = ChannelClosed(f"sending failed: {error!r}")
            channel.close()
            raise

    def _gather(self, batch: List[Buffer], again: Deque[Record]) -> int:
        if self._due:
            for kind in self._due:
                batch.append(records.count_record(kind, self.received))
            self._due.clear()
            self._unacknowledged = self._unacknowledged_bytes = 0
        size = 0
        while again and size < BATCH:
            record = again.popleft()
            batch.extend(record)
            size += sum(map(len, record))
        if again:
            return size
        while size < BATCH and self._kept_size < self._limit:
            body = self._source()
            if body is None:
                break
            length = sum(map(len, body))
            record = (records.data_head(length), *body)
            self._sent += 1
            self._kept.append((length, record))
            self._kept_size += length
            batch.extend(record)
            size += length
        return size

    async def _tick(self, channel: Channel, seconds: float) -> None:
        """Watch for silence. Ticks are counted, not seconds: a machine that slept was not silent."""
        while True:
            await asyncio.sleep(seconds)
            self._silent_ticks += 1
            if self._silent_ticks > _DEAD_TICKS:
                self._broken = ChannelClosed(f"the other end was silent for {seconds * _DEAD_TICKS:g} s")
                channel.close()
                return
            if self._silent_ticks >= _PING_TICKS:
                self._want(records.PING)
            elif self._unacknowledged:
                self._want(records.ACK)


class Bye(Exception):  # noqa: N818 - no error: the proper end of a session
    """The other end closed the session for good."""

"""Bridges: what arrives at one end of a thing goes out at the other, with half-closes and resets.

Used by both ends for TCP connections, and by a head node to pass a stream on to a worker.
"""

from __future__ import annotations

import asyncio

from .errors import ChannelClosed, StreamReset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Awaitable, Iterable

    from .channel import FdChannel
    from .stream import Stream


async def bridge_socket(stream: Stream, channel: FdChannel) -> None:
    """Join a stream and a socket until both directions ended; the socket is closed then, and the stream, too.

    A reset on one side becomes a reset on the other.
    """

    async def outward() -> None:
        while True:
            data = await stream.read()
            if not data:
                channel.shutdown_write()
                return
            await channel.send([data])

    async def inward() -> None:
        while True:
            data = await channel.recv()
            if not len(data):
                await stream.write_eof()
                return
            try:
                await stream.write(data)
            except StreamReset as reset:
                if reset.code != "stopped":
                    raise
                return  # nobody reads this direction any more; the other may still have much to deliver

    try:
        await _both((outward(), inward()))
    except StreamReset:
        channel.abort()
    except ChannelClosed as error:
        await stream.reset("connection_lost", str(error))
    finally:
        channel.close()
        await stream.close()


async def bridge_streams(one: Stream, other: Stream) -> None:
    """Join two streams until both directions ended; both are closed then. Resets pass with their words."""
    try:
        await _both((_pass(one, other), _pass(other, one)))
    finally:
        await one.close()
        await other.close()


async def _pass(source: Stream, target: Stream) -> None:
    try:
        while True:
            data = await source.read()
            if not data:
                await target.write_eof()
                return
            try:
                await target.write(data)
            except StreamReset as reset:
                if reset.code != "stopped":
                    raise
                await source.close_reading()
                return
    except StreamReset as reset:
        for stream in (source, target):
            await stream.reset(reset.code, reset.message, reset.hint)
        raise


async def _both(halves: Iterable[Awaitable[None]]) -> None:
    """Run both halves; when one fails the other is cancelled, and the failure goes on."""
    tasks = [asyncio.ensure_future(half) for half in halves]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

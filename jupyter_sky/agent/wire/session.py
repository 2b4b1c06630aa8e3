"""The client's end of a session: it dials, greets, and goes on over a new channel whenever one is lost.

To those who hold its streams a lost channel is a pause. Only when the other end turns out to be a new
process, which knows nothing of the session, are the streams reset ("agent_restarted"); the session then
begins anew and stays usable.
"""

from __future__ import annotations

import asyncio
import os

from .calls import call
from .errors import ChannelClosed, ProtocolError, SessionClosed, StreamReset, UnknownSession
from .mux import Mux
from .records import PROTOCOL_VERSION, greeting, read_greeting
from .resumable import Bye, Resumable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Awaitable, Callable, Dict, Optional

    from .channel import Channel
    from .stream import Stream

#: How many sent but unacknowledged bytes an end keeps.
BUFFER = 8 << 20
#: The first and the longest pause between two attempts to connect, in seconds.
_FIRST_PAUSE, _LAST_PAUSE = 0.05, 2.0
#: For how long a connection that nobody waits for is tried again, in seconds; then the next stream does it.
_PATIENCE = 10.0
#: How long the channel may take to greet, in seconds; a dial may start a remote process, so it is generous.
_GREETING_TIMEOUT = 30.0
#: How long closing waits until everything was handed on, in seconds.
_CLOSE_TIMEOUT = 1.0


class Session:
    """Streams to one agent that outlive the connection to it.

    Parameters
    ----------
    dial
        Makes a fresh channel to the agent.
    heartbeat
        Seconds between signs of life; after three without one the channel is given up.
    buffer
        How many sent but unacknowledged bytes are kept; sending waits when they are reached.
    on_state
        Called with each new `state`.

    Attributes
    ----------
    state
        "connecting" (at first), "up", "down" (connecting again), "closed".
    last_error
        Why the last channel, or attempt to make one, failed.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[Channel]],
        *,
        heartbeat: float = 10.0,
        buffer: int = BUFFER,
        on_state: Optional[Callable[[str], None]] = None,
    ) -> None:
        self._dial = dial
        self._heartbeat = heartbeat
        self._buffer = buffer
        self._on_state = on_state
        self._attempt = 0
        self._channel: Optional[Channel] = None
        self._task: Optional[asyncio.Task[None]] = None
        self._wanted = asyncio.Event()
        self.state = "connecting"
        self.last_error: Optional[Exception] = None
        self._renew()

    def _renew(self) -> None:
        """Begin a session of which the other end has never heard."""
        self._id = os.urandom(16).hex()
        self._greeted = False
        self._mux = Mux(self._wake)
        self._resumable = Resumable(self._mux.next_frame, self._mux.on_frame, buffer=self._buffer)

    def _wake(self) -> None:
        self._resumable.wake()

    async def start(self, timeout: float) -> None:  # noqa: ASYNC109 - a limit is part of what is asked
        """Connect for the first time.

        Raises
        ------
        WireError, OSError
            Why the connection could not be made; the session is closed then.
        asyncio.TimeoutError
            It took longer than `timeout` seconds.
        """
        loop = asyncio.get_event_loop()
        first: asyncio.Future[None] = loop.create_future()
        self._task = loop.create_task(self._run(first))
        try:
            await asyncio.wait_for(first, timeout)
        except BaseException:
            await self.close()
            raise

    async def open(self, header: Dict[str, Any]) -> Stream:
        """Open a stream; while the connection is down it waits like everything else that is sent.

        Raises
        ------
        SessionClosed
            The session was closed.
        """
        if self.state == "closed":
            raise SessionClosed("the session is closed")
        stream = self._mux.open(header)
        self._wanted.set()
        return stream

    async def call(
        self,
        method: str,
        params: Dict[str, Any],
        timeout: float,  # noqa: ASYNC109 - a call's limit is part of what is asked
        **extra: Any,
    ) -> Any:
        """Call a method of the agent; see `calls.call`. `extra` joins the header, such as a `rank`."""
        return await call(self, method, params, timeout, **extra)

    async def close(self) -> None:
        """Say good-bye and close; open streams are reset ("closed")."""
        if self.state == "closed":
            return
        if self.state == "up":
            flush = asyncio.ensure_future(self._resumable.flush(bye=True))
            # where the other end does not take it in time, it will notice that nobody comes back
            await asyncio.wait([flush], timeout=_CLOSE_TIMEOUT)
            flush.cancel()
        self._set_state("closed")
        self._mux.abort("closed", "the session was closed on this side")
        while self._task is not None and not self._task.done():
            # before Python 3.12 `wait_for` swallows a cancellation that comes as what it waits for ends
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_FIRST_PAUSE)
        await self._drop_channel()

    async def _drop_channel(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
            await channel.wait_closed()

    def _set_state(self, state: str) -> None:
        if self.state not in (state, "closed"):
            self.state = state
            if self._on_state is not None:
                self._on_state(state)

    async def _run(self, first: asyncio.Future[None]) -> None:
        loop = asyncio.get_event_loop()
        pause, lost_at = 0.0, loop.time()
        while True:
            self._wanted.clear()
            try:
                await self._connect_and_carry(first)
            except UnknownSession as error:
                self.last_error = error
                self._restart("agent_restarted", "the agent was restarted and no longer knows this stream")
                continue
            except (ProtocolError, Bye) as error:
                self.last_error = error
                if first.done():
                    self._restart("protocol", f"the session was broken off: {error}")
            except (ChannelClosed, OSError, asyncio.TimeoutError) as error:
                self.last_error = error
            except Exception as error:  # noqa: BLE001 - carriers fail in their own ways; `start` raises it
                self.last_error = error
            finally:
                up = self.state == "up"
                if self.state != "closed":
                    self._set_state("down" if first.done() else "connecting")
                await self._drop_channel()
            if self.state == "closed":
                return  # a cancellation may be swallowed when what was awaited ends at the same moment
            if not first.done():
                first.set_exception(self.last_error or ChannelClosed("no connection"))
                return
            if up:
                pause, lost_at = 0.0, loop.time()
                continue
            pause = min(max(2 * pause, _FIRST_PAUSE), _LAST_PAUSE)
            # spread out, so that many clients of a machine that comes back do not come at once
            limit: Optional[float] = pause * (0.5 + os.urandom(1)[0] / 512)
            if not self._mux.is_waited_for and loop.time() - lost_at > _PATIENCE:
                limit = None  # each attempt may start a process, for ever, where the node is gone for good
            try:
                await asyncio.wait_for(self._wanted.wait(), limit)
            except asyncio.TimeoutError:
                continue
            lost_at = loop.time()

    def _restart(self, code: str, message: str) -> None:
        mux = self._mux
        self._renew()
        mux.abort(code, message)

    async def _connect_and_carry(self, first: asyncio.Future[None]) -> None:
        self._attempt += 1
        limit = max(3 * self._heartbeat, _GREETING_TIMEOUT)
        channel = self._channel = await asyncio.wait_for(self._dial(), limit)
        try:
            reply, rest = await asyncio.wait_for(self._greet(channel), limit)
        except asyncio.TimeoutError:
            raise ChannelClosed(f"the agent did not greet within {limit:g} s") from None
        except (ChannelClosed, ProtocolError) as error:
            channel.close()
            await channel.wait_closed()
            words = channel.explain()
            raise type(error)(f"{error}: {words}" if words else str(error)) from None
        self._greeted = True
        self._set_state("up")
        if not first.done():
            first.set_result(None)
        await self._resumable.run(
            channel,
            rest,
            peer_received=_count(reply, "received"),
            peer_buffer=_count(reply, "buffer"),
            heartbeat=self._heartbeat,
        )

    async def _greet(self, channel: Channel) -> Any:
        hello = {
            "version": PROTOCOL_VERSION,
            "session": self._id,
            "new": not self._greeted,
            "attempt": self._attempt,
            "received": self._resumable.received,
            "buffer": self._buffer,
            "heartbeat": self._heartbeat,
        }
        await channel.send([greeting(hello)])
        reply, rest = await read_greeting(channel)
        error = reply.get("error")
        if error == "unknown_session":
            raise UnknownSession("the agent does not know the session")
        if error is not None:
            raise ProtocolError(f"the agent refused the connection: {reply.get('message', error)}")
        return reply, rest


def _count(fields: Dict[str, Any], name: str) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ProtocolError(f"the greeting says {name} = {value!r}, not a count")
    return value


__all__ = ["BUFFER", "Session", "StreamReset"]

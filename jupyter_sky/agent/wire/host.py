"""The server's end of sessions: it greets whoever connects, and keeps each session while its client is away.

A client that loses its connection comes back with its session's number and finds everything as it was. A
second channel of the same session replaces the first, because a client knows before its server that a
connection is dead.
"""

from __future__ import annotations

import asyncio

from .errors import ChannelClosed, ProtocolError, StreamReset, UnknownSession
from .mux import Mux
from .records import PROTOCOL_VERSION, greeting, read_greeting
from .resumable import Bye, Resumable
from .session import BUFFER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Awaitable, Callable, Dict, Optional, Set

    from .channel import Channel
    from .stream import Stream

#: How many sessions without a connection are kept; beyond it the one that left first is dropped.
MAX_DETACHED = 64
#: How long a new channel may take to greet, in seconds.
_GREETING_TIMEOUT = 10.0
#: How long closing waits until everything was handed on, in seconds.
_CLOSE_TIMEOUT = 1.0


class SessionHost:
    """All sessions of one agent.

    Parameters
    ----------
    on_stream
        Serves one stream, in a task of its own. When it returns the stream is closed. A `StreamReset` that it
        lets out is the normal way to learn that the client is gone; any other exception resets the stream
        ("internal") and goes to the loop's exception handler.
    linger
        Seconds for which a session without a connection is kept.
    buffer
        How many sent but unacknowledged bytes each session keeps; sending waits when they are reached.
    """

    def __init__(
        self,
        on_stream: Callable[[Stream], Awaitable[None]],
        *,
        linger: float = 3600.0,
        buffer: int = BUFFER,
    ) -> None:
        self._on_stream = on_stream
        self._linger = linger
        self._buffer = buffer
        self._peers: Dict[str, _Peer] = {}
        self._tasks: Set[asyncio.Task[None]] = set()
        self._channels: Set[Channel] = set()
        self._closed = False

    @property
    def connected(self) -> int:
        """How many sessions have a connection now."""
        return sum(peer.running for peer in self._peers.values())

    async def attach(self, channel: Channel) -> None:
        """Serve a new channel until it ends; the session it belongs to stays.

        Raises
        ------
        ProtocolError
            The other end broke the protocol; the channel, and the session if there was one, are closed.
        """
        self._channels.add(channel)
        try:
            await self._serve(channel)
        except (ChannelClosed, UnknownSession):
            return
        finally:
            self._channels.discard(channel)
            channel.close()
            await channel.wait_closed()

    async def _serve(self, channel: Channel) -> None:
        try:
            fields, rest = await asyncio.wait_for(read_greeting(channel), _GREETING_TIMEOUT)
            hello = _Hello(fields)
            peer = self._find(hello)
        except asyncio.TimeoutError:
            raise ProtocolError(f"no greeting came within {_GREETING_TIMEOUT:g} s") from None
        except UnknownSession as error:
            await self._refuse(channel, "unknown_session", error)
            raise
        except ProtocolError as error:
            await self._refuse(channel, "protocol", error)
            raise
        if peer.newest is not None:
            peer.newest.close()
        peer.newest = channel
        async with peer.lock:  # whoever served the session before has to let go of it
            if peer.newest is not channel or self._peers.get(peer.id) is not peer:
                return
            await self._carry(peer, channel, hello, rest)

    async def _carry(self, peer: _Peer, channel: Channel, hello: _Hello, rest: bytes) -> None:
        if peer.timer is not None:
            peer.timer.cancel()
            peer.timer = None
        peer.running = True
        try:
            reply = {
                "version": PROTOCOL_VERSION,
                "received": peer.resumable.received,
                "buffer": self._buffer,
            }
            await channel.send([greeting(reply)])
            await peer.resumable.run(
                channel,
                rest,
                peer_received=hello.received,
                peer_buffer=hello.buffer,
                heartbeat=hello.heartbeat,
            )
        except Bye:
            self._drop(peer, "closed", "the client closed the session")
        except ProtocolError as error:
            self._drop(peer, "protocol", str(error))
            raise
        finally:
            peer.running = False
            if peer.newest is channel:
                peer.newest = None
                self._detached(peer)

    def _find(self, hello: _Hello) -> _Peer:
        peer = self._peers.get(hello.session)
        if self._closed or (peer is None and not hello.new):
            raise UnknownSession(f"there is no session {hello.session}")
        if peer is None:
            peer = self._peers[hello.session] = _Peer(hello.session, self._accept, self._buffer)
        if hello.attempt < peer.attempt:
            raise ProtocolError("a newer connection of the same session is there already")
        peer.attempt = hello.attempt
        return peer

    @staticmethod
    async def _refuse(channel: Channel, word: str, error: Exception) -> None:
        reply = {"version": PROTOCOL_VERSION, "error": word, "message": str(error)[:1000]}
        telling = asyncio.ensure_future(channel.send([greeting(reply)]))
        # it may have left, or not read: then it does not hear why
        await asyncio.wait([telling], timeout=_CLOSE_TIMEOUT)
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)

    def _detached(self, peer: _Peer) -> None:
        """Keep a session that lost its connection, for a while."""
        if self._peers.get(peer.id) is not peer:
            return
        loop = asyncio.get_event_loop()
        peer.timer = loop.call_later(
            self._linger, self._drop, peer, "session_lost", "the client did not return"
        )
        # the mapping is in order of leaving among those who left
        del self._peers[peer.id]
        self._peers[peer.id] = peer
        away = [other for other in self._peers.values() if other.timer is not None]
        for other in away[:-MAX_DETACHED]:
            self._drop(other, "session_lost", "too many clients are away")

    def _drop(self, peer: _Peer, code: str, message: str) -> None:
        if peer.timer is not None:
            peer.timer.cancel()
            peer.timer = None
        self._peers.pop(peer.id, None)
        peer.mux.abort(code, message)
        peer.resumable.detach()

    def _accept(self, stream: Stream) -> None:
        task = asyncio.get_event_loop().create_task(self._serve_stream(stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_stream(self, stream: Stream) -> None:
        try:
            await self._on_stream(stream)
            await stream.close()
        except StreamReset:
            await stream.close()
        except Exception as error:  # noqa: BLE001 - a defect in one stream must not end the others
            await stream.reset("internal", f"{type(error).__name__}: {error}")
            asyncio.get_event_loop().call_exception_handler(
                {"message": f"serving a stream {stream.header.get('kind')!r} failed", "exception": error}
            )

    async def close(self) -> None:
        """Hand on what is under way, then end every session, stream and channel."""
        self._closed = True
        flushes = [
            asyncio.get_event_loop().create_task(peer.resumable.flush(bye=False))
            for peer in self._peers.values()
        ]
        if flushes:
            _, late = await asyncio.wait(flushes, timeout=_CLOSE_TIMEOUT)
            for flush in late:
                flush.cancel()
        for peer in list(self._peers.values()):
            self._drop(peer, "session_lost", "the agent ends")
        for channel in list(self._channels):
            channel.close()
        present = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not present]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


class _Peer:
    """One session."""

    def __init__(self, number: str, accept: Callable[[Stream], None], buffer: int) -> None:
        self.id = number
        self.attempt = 0
        self.mux = Mux(self._wake, accept)
        self.resumable = Resumable(self.mux.next_frame, self.mux.on_frame, buffer=buffer)
        self.lock = asyncio.Lock()
        #: the channel that serves the session, or is about to
        self.newest: Optional[Channel] = None
        self.running = False
        self.timer: Optional[asyncio.TimerHandle] = None

    def _wake(self) -> None:
        self.resumable.wake()


class _Hello:
    """A client's greeting, checked."""

    def __init__(self, fields: Dict[str, Any]) -> None:
        session = fields.get("session")
        if not isinstance(session, str) or not 16 <= len(session) <= 64:
            raise ProtocolError("the greeting names no session")
        self.session = session
        self.new = fields.get("new") is True
        self.attempt = _number(fields, "attempt", 0, 1 << 53)
        self.received = _number(fields, "received", 0, 1 << 53)
        self.buffer = _number(fields, "buffer", 1, 1 << 40)
        self.heartbeat = float(_number(fields, "heartbeat", 0.01, 3600))


def _number(fields: Dict[str, Any], name: str, least: float, most: float) -> Any:
    value = fields.get(name)
    whole = isinstance(least, int)
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise ProtocolError(f"the greeting says {name} = {value!r}, not a number")
    if not least <= value <= most:
        raise ProtocolError(f"the greeting says {name} = {value!r}, not a number from {least} to {most}")
    return value

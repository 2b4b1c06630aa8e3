"""The head's connections to its workers, by mutual TLS with the cluster's own authority.

A connection is made when it is first needed and then kept; a worker that goes away is dialled until it is
back. How long one may be away before its jobs are given up is decided here (`PeerLostError`). On a single
node nothing of this is imported, and so neither is `ssl`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, Optional, Set, TypeVar

from .signals import Signal
from .wire import CallError, Session, Stream, WireError, client_context, dial_tls

if TYPE_CHECKING:
    from .node import Node

_T = TypeVar("_T")
_HEARTBEAT = 5.0
_DIAL_TIMEOUT = 10.0
_FIRST_PAUSE, _LAST_PAUSE = 0.05, 2.0
#: What a call ends with when the worker's agent, or the session with it, was replaced under it: ask again.
_AGAIN = ("agent_restarted", "session_lost", "protocol", "closed")


class PeerLostError(Exception):
    """A worker has not been reached for too long."""


class Peer:
    """One worker.

    Parameters
    ----------
    node
        This node, whose certificate is shown.
    rank, host, port
        Where the worker listens.
    on_up
        Called, and awaited, whenever the worker is there (again), before anyone else asks it anything.
    """

    def __init__(
        self, node: Node, rank: int, host: str, port: int, on_up: Callable[["Peer"], Awaitable[None]]
    ) -> None:
        self.rank = rank
        self._node = node
        self._host = host
        self._port = port
        self._on_up = on_up
        self._session: Optional[Session] = None
        self._changed = Signal()
        self._up = False
        self._lost = False
        self._lost_timer: Optional[asyncio.TimerHandle] = None
        self._greeting: Optional[asyncio.Future[None]] = None
        self.why = "it has not answered yet"
        self._mark_down()
        self._task = asyncio.ensure_future(self._connect())

    def move(self, host: str, port: int) -> None:
        """Dial the worker at this address from now on: it was started again there, and its jobs go on."""
        if (host, port) == (self._host, self._port):
            return
        self._host, self._port = host, port
        self._task.cancel()
        old, self._session = self._session, None
        self._lost = False
        self._mark_down()
        self._task = asyncio.ensure_future(self._connect_anew(old))

    async def close(self) -> None:
        """Let go of the worker."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._lost_timer is not None:
            self._lost_timer.cancel()
        if self._greeting is not None:
            self._greeting.cancel()
        if self._session is not None:
            await self._session.close()

    async def ask(self, method: str, params: Dict[str, Any], limit: float) -> Any:
        """Call a method of the worker, again where its agent was restarted meanwhile.

        Raises
        ------
        PeerLostError
            The worker is away for longer than the node allows.
        CallError
            The worker refused, or did not answer within `limit` seconds though it is there.
        """
        while True:
            session = await self._ready()
            try:
                return await self.while_there(session.call(method, params, limit))
            except CallError as error:
                if error.code not in _AGAIN:
                    raise
            except asyncio.TimeoutError:
                raise CallError("timeout", f"worker {self.rank} did not answer {method} in time") from None

    async def open(self, header: Dict[str, Any]) -> Stream:
        """Open a stream to the worker. Raises `PeerLostError` where it cannot be reached."""
        session = await self._ready()
        return await session.open(header)

    async def while_there(self, work: Awaitable[_T]) -> _T:
        """Wait for work with the worker; cancel it and raise `PeerLostError` when the worker is lost."""
        working = asyncio.ensure_future(work)
        losing = asyncio.ensure_future(self._wait_lost())
        waits: Set[asyncio.Future[Any]] = {working, losing}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise self._explain()
            return working.result()
        finally:
            for task in waits:
                task.cancel()

    async def _ready(self) -> Session:
        while not self._up:
            if self._lost:
                raise self._explain()
            await self._changed.wait()
        assert self._session is not None
        return self._session

    async def _wait_lost(self) -> None:
        while not self._lost:
            await self._changed.wait()

    def _explain(self) -> PeerLostError:
        return PeerLostError(
            f"worker {self.rank} at {self._host}:{self._port} has not been reached for "
            f"{self._node.lost_after:g} s ({self.why})"
        )

    async def _connect_anew(self, old: Optional[Session]) -> None:
        if old is not None:
            await old.close()
        await self._connect()

    async def _connect(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            session = Session(self._dial, heartbeat=_HEARTBEAT, on_state=self._on_state)
            self._session = session
            try:
                await session.start(_DIAL_TIMEOUT)
            except (OSError, WireError, asyncio.TimeoutError) as error:
                self.why = str(error) or "it did not answer in time"
                self._changed.fire()
            else:
                return  # from here on the session connects again by itself
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE)

    async def _dial(self) -> Any:
        assert self._node.tls is not None
        tls = self._node.tls
        context = client_context(tls["ca"], tls["cert"], tls["key"])
        return await dial_tls(self._host, self._port, context)

    def _on_state(self, state: str) -> None:
        if state == "up":
            self._greeting = asyncio.ensure_future(self._greet())
        elif state == "down":
            self._mark_down()

    async def _greet(self) -> None:
        try:
            await self._on_up(self)
        except (CallError, asyncio.TimeoutError) as error:
            self.why = str(error)
        if self._session is None or self._session.state != "up":
            return  # it went away meanwhile; the next time it comes this is done again
        self._up = True
        self._lost = False
        if self._lost_timer is not None:
            self._lost_timer.cancel()
            self._lost_timer = None
        self._changed.fire()

    def _mark_down(self) -> None:
        self._up = False
        if self._session is not None and self._session.last_error is not None:
            self.why = str(self._session.last_error)
        if self._lost_timer is None:
            self._lost_timer = asyncio.get_running_loop().call_later(self._node.lost_after, self._mark_lost)

    def _mark_lost(self) -> None:
        self._lost = True
        self._lost_timer = None
        self._changed.fire()

    async def tell(self, method: str, params: Dict[str, Any], limit: float) -> Any:
        """Call a method during `on_up`, when the worker does not count as there yet."""
        assert self._session is not None
        return await self._session.call(method, params, limit)

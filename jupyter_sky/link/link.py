"""A link: calls and streams to one cluster's agents, in the words of the layers above.

It adds to the wire's session what a person needs: errors that say what was asked of whom, and forwards of
local ports. It knows the kinds of streams by name only; what they mean is the agent's and the flows'
business.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from jupyter_sky.agent.wire import (
    CallError,
    FdChannel,
    Session,
    SessionClosed,
    Stream,
    StreamReset,
    WireError,
    bridge_socket,
)
from jupyter_sky.errors import AgentError, LinkError, LinkTimeoutError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_sky.link.carriers import Carrier

#: Seconds between signs of life; a connection without one for three of them is replaced.
HEARTBEAT = 10.0
_RETRY_HINT = "`jupyter sky status --refresh` tells whether the node is still there."


class Link:
    """Calls and streams to the agent at the other end of a carrier. Made by `connect`.

    It survives the loss of its connection: calls and streams pause and go on. When the agent itself was
    restarted, streams end with `StreamReset` ("agent_restarted") and the link stays usable.
    """

    def __init__(self, session: Session, what: str) -> None:
        self._session = session
        self._what = what
        self._forwards: set[Forward] = set()

    @classmethod
    async def connect(
        cls,
        carrier: Carrier,
        *,
        timeout: float = 30,  # noqa: ASYNC109 - the limit is part of what is asked
        heartbeat: float = HEARTBEAT,
        on_state: Callable[[str], None] | None = None,
    ) -> Link:
        """Connect to the agent that `carrier` reaches.

        Parameters
        ----------
        timeout
            Seconds for the first connection.
        heartbeat
            Seconds between signs of life on it.
        on_state
            Called in the loop with each new `state`.

        Raises
        ------
        LinkError
            It could not be reached; the message has the relay's own words.
        LinkTimeoutError
            It did not answer in time.
        """
        session = Session(carrier.open, heartbeat=heartbeat, on_state=on_state)
        what = carrier.describe()
        try:
            await session.start(timeout)
        except (WireError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise LinkTimeoutError(
                    f"{what} did not answer within {timeout:g} s.", hint=_RETRY_HINT
                ) from None
            raise LinkError(f"{what} gave no connection to the agent: {error}") from error
        return cls(session, what)

    @property
    def state(self) -> str:
        """Give "up", "down" (connecting again) or "closed"."""
        return self._session.state

    async def call(
        self,
        method: str,
        *,
        timeout: float = 30,  # noqa: ASYNC109 - the limit is part of what is asked
        rank: int | None = None,
        **params: Any,
    ) -> Any:
        """Call a method of the agent, or of the node `rank` through it.

        Raises
        ------
        AgentError
            The agent refused; `code` is its word for why.
        LinkTimeoutError
            No answer within `timeout` seconds.
        LinkError
            The link was closed.
        """
        extra = {} if rank is None else {"rank": rank}
        try:
            return await self._session.call(method, params, timeout, **extra)
        except CallError as error:
            if error.code == "closed":
                raise LinkError(f"the link was closed before {method} was answered") from None
            raise AgentError(error.message, code=error.code, hint=error.hint) from None
        except SessionClosed:
            raise LinkError(f"the link is closed; {method} cannot be asked any more") from None
        except TimeoutError:
            raise LinkTimeoutError(self._late(method, timeout), hint=_RETRY_HINT) from None

    def _late(self, method: str, seconds: float) -> str:
        message = f"the agent did not answer {method} within {seconds:g} s"
        if self.state == "up":
            return message
        return f"{message}; {self._what} is down: {self._session.last_error}"

    async def open(self, kind: str, *, rank: int | None = None, **params: Any) -> Stream:
        """Open a stream of `kind`, to the agent or to the node `rank` through it.

        What goes wrong with it is told by its methods, as `StreamReset` with the agent's code.

        Raises
        ------
        LinkError
            The link is closed, or has too many streams.
        """
        header = {"kind": kind, **params}
        if rank is not None:
            header["rank"] = rank
        try:
            return await self._session.open(header)
        except (SessionClosed, StreamReset) as error:
            raise LinkError(f"a stream {kind!r} cannot be opened: {error}") from None

    async def dial(self, host: str, port: int, *, rank: int | None = None) -> Stream:
        """Open a TCP connection to `host:port` as seen from the node; refusals come as `StreamReset`."""
        return await self.open("dial", rank=rank, host=host, port=port)

    async def forward(self, host: str, port: int, *, local_port: int = 0, rank: int | None = None) -> Forward:
        """Accept connections on a port of 127.0.0.1 and bridge each to `host:port` as seen from the node.

        Parameters
        ----------
        local_port
            The port; 0: any free one, which `Forward.port` tells.

        Raises
        ------
        LinkError
            The port cannot be had.
        """
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", local_port))
            sock.listen(128)
            sock.setblocking(False)
        except OverflowError:
            sock.close()
            raise UsageError(f"{local_port} is no port: a port is a number from 0 to 65535") from None
        except OSError as error:
            sock.close()
            raise LinkError(
                f"127.0.0.1:{local_port} cannot be forwarded: {error.strerror}",
                hint="Give another local port, or 0 for any free one.",
            ) from None
        forward = Forward(self, sock, host, port, rank, self._forwards.discard)
        self._forwards.add(forward)
        return forward

    async def close(self) -> None:
        """Close the link with its forwards; open streams are reset ("closed")."""
        for forward in list(self._forwards):
            await forward.close()
        await self._session.close()


class Forward:
    """A local port whose connections go to a node. `port` is its number."""

    def __init__(
        self,
        link: Link,
        sock: socket.socket,
        host: str,
        port: int,
        rank: int | None,
        forget: Callable[[Forward], None],
    ) -> None:
        self._link = link
        self._forget = forget
        self._sock = sock
        self._target = (host, port, rank)
        self._connections: set[asyncio.Task[None]] = set()
        self.port: int = sock.getsockname()[1]
        self._accepting = asyncio.create_task(self._accept())

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._sock)
            except OSError:
                # out of descriptors, or the peer left already; the port itself lives on
                await asyncio.sleep(0.05)
                continue
            task = asyncio.create_task(self._serve(connection))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _serve(self, connection: socket.socket) -> None:
        channel = FdChannel.from_socket(connection)
        host, port, rank = self._target
        try:
            stream = await self._link.dial(host, port, rank=rank)
            await bridge_socket(stream, channel)
        except LinkError:
            channel.abort()
        finally:
            channel.close()

    async def close(self) -> None:
        """Close the port and every connection through it."""
        tasks = [self._accepting, *self._connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._sock.close()
        self._forget(self)

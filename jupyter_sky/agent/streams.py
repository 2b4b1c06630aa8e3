"""What a stream asks for, and who serves it.

The header of a stream says its kind. One that names another rank is passed on to that worker as it is, so
that whatever an agent serves can be had from every node through the head.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, Mapping

from .cluster import find_peer
from .logs import LogSource, send_log
from .params import is_whole, refusal
from .wire import CallError, FdChannel, Stream, bridge_socket, bridge_streams, serve_calls

if TYPE_CHECKING:
    from .server import Agent

_DIAL_TIMEOUT = 10.0
_Handler = Callable[[Stream], Awaitable[None]]


class Streams:
    """Serves the streams of one agent."""

    def __init__(self, agent: Agent, methods: Mapping[str, Any]) -> None:
        self._agent = agent
        self._methods = methods
        self._kinds: Dict[str, _Handler] = {
            "call": self._call,
            "logs": self._logs,
            "rank.log": self._rank_log,
            "dial": self._dial,
            "hold": self._hold,
        }

    async def serve(self, stream: Stream) -> None:
        """Serve one stream to its end; a refusal is a reset with a code."""
        kind = stream.header.get("kind")
        rank = stream.header.get("rank")
        try:
            if rank not in (None, self._agent.node.rank) and kind != "logs":
                header = {key: value for key, value in stream.header.items() if key != "rank"}
                await self._pass_on(stream, rank, header)
            elif isinstance(kind, str) and kind.startswith("files."):
                from .files import serve as files_serve

                await files_serve(stream, self._agent.node.home)
            elif isinstance(kind, str) and kind in self._kinds:
                await self._kinds[kind](stream)
            else:
                await stream.reset("unknown_kind", f"this agent serves no stream of kind {kind!r}")
        except CallError as error:
            await stream.reset(error.code, error.message, error.hint)

    async def _pass_on(self, stream: Stream, rank: Any, header: Dict[str, Any]) -> None:
        from .peers import PeerLostError

        peer = find_peer(self._agent.cluster, rank)
        try:
            other = await peer.open(header)
            await peer.while_there(bridge_streams(stream, other))
        except PeerLostError as error:
            raise CallError("peer_unreachable", str(error)) from None

    async def _call(self, stream: Stream) -> None:
        await serve_calls(stream, self._methods)
        self._agent.answered()

    async def _logs(self, stream: Stream) -> None:
        header = stream.header
        rank = header.get("rank")
        offset, tail = _count(header, "offset"), _count(header, "tail")
        follow = bool(header.get("follow"))
        queue = self._agent.queue
        if queue is None:
            job_id = _count(header, "job_id")
            if job_id is None:
                raise CallError("bad_params", "a worker must be told which job")
            source: LogSource = self._agent.runner.log(job_id)
        else:
            job = queue.get(_count(header, "job_id"))
            job_id = job.job_id
            if rank is not None and not (isinstance(rank, int) and 0 <= rank < job.num_nodes):
                raise CallError(
                    "rank_not_found",
                    f"job {job_id} has no rank {rank}; its ranks are 0 to {job.num_nodes - 1}",
                )
            if rank:
                if follow:
                    job = await queue.wait(job_id, "started", float("inf"))
                if job.started_at is not None:
                    onward = {key: value for key, value in header.items() if key != "rank"}
                    await self._pass_on(stream, rank, {**onward, "job_id": job_id})
                    return
            source = queue.log(job, rank)
        await send_log(stream, job_id, source, offset=offset, tail=tail, follow=follow)

    async def _rank_log(self, stream: Stream) -> None:
        from .merging import send_pieces

        await send_pieces(stream, self._agent.runner)

    async def _hold(self, stream: Stream) -> None:
        autostop = self._agent.autostop
        if autostop is None:
            raise CallError("not_head", "only the head of a cluster counts its sessions")
        autostop.held(1)
        try:
            while await stream.read():
                continue
        finally:
            autostop.held(-1)

    async def _dial(self, stream: Stream) -> None:
        host, port = stream.header.get("host"), stream.header.get("port")
        if not isinstance(host, str) or not isinstance(port, int) or not 0 < port < 65536:
            raise CallError("bad_params", f"{host!r}, {port!r} is no address that can be dialled")
        try:
            sock = await asyncio.wait_for(_connect(host, port), _DIAL_TIMEOUT)
        except ConnectionRefusedError:
            raise CallError("refused", f"nothing listens on {host}:{port} of the node") from None
        except asyncio.TimeoutError:
            raise CallError("timeout", f"{host}:{port} did not answer within {_DIAL_TIMEOUT:g} s") from None
        except OSError as error:
            raise CallError(
                "unreachable", f"{host}:{port} cannot be reached from the node: {error}"
            ) from None
        await bridge_socket(stream, FdChannel.from_socket(sock))


async def _connect(host: str, port: int) -> socket.socket:
    """Connect to the first address of `host` that answers; the last failure is raised."""
    loop = asyncio.get_running_loop()
    failure: OSError = OSError(f"{host} has no address")
    for family, address in await _addresses(host, port):
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
            return sock
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure


async def _addresses(host: str, port: int) -> Any:
    # An address needs no resolver, and the resolver needs threads.
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return [(family, (host, port))]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


def _count(header: Mapping[str, Any], name: str) -> Any:
    value = header.get(name)
    if value is not None and not is_whole(value):
        raise refusal(name, value, "a whole number from 0, or null")
    return value

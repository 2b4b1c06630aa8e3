"""The way OpenSSH takes into a cluster: its ProxyCommand joins standard input and output to a port of a node.

The bytes go through the cluster's link, so no address of a node need be reachable from here. This end neither
reads nor understands them: keys and passwords are between the person's ssh and the node's server.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

from jupyter_sky.agent.wire import FdChannel, StreamReset
from jupyter_sky.errors import LinkError
from jupyter_sky.flows import agents, clusters
from jupyter_sky.link import portal

if TYPE_CHECKING:
    from jupyter_sky.agent.wire import Stream
    from jupyter_sky.link.link import Link

SSH_PORT = 22


def bridge(cluster: str, *, rank: int = 0, port: int = SSH_PORT, stdin: int = 0, stdout: int = 1) -> None:
    """Join two descriptors to a port of a node until the node's side ends.

    Parameters
    ----------
    cluster, rank
        Which node.
    port
        Where its ssh server listens.
    stdin, stdout
        Descriptors that are taken over: they become non-blocking and are closed at the end.

    Raises
    ------
    LinkError
        Nothing listens there.
    """
    record = agents.require_up(cluster)
    handle = clusters.handle_of(record)
    clusters.ranks_of(record, [rank])
    link = agents.link_to(record)
    try:
        portal.run(functools.partial(_join, link, handle.nodes[rank].ip, port, rank, stdin, stdout))
    except StreamReset as reset:
        raise LinkError(
            f"Node {rank} of cluster {cluster!r} has no ssh server on port {port}: {reset.message}",
            hint="Start one on the node, or use `jupyter sky exec` and `jupyter sky logs`, which need none.",
        ) from None


async def _join(link: Link, host: str, port: int, rank: int, stdin: int, stdout: int) -> None:
    stream = await link.dial(host, port, rank=rank or None)
    channel = FdChannel.from_fds(stdin, stdout)
    sending = asyncio.ensure_future(_send(channel, stream))
    try:
        # ssh ends when its server does, so the way back decides; what a person still types then goes nowhere
        while data := await stream.read():
            await channel.send([data])
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        channel.close()
        await stream.close()


async def _send(channel: FdChannel, stream: Stream) -> None:
    while True:
        data = await channel.recv()
        if not len(data):
            await stream.write_eof()
            return
        await stream.write(data)

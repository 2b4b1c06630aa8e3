"""Channels over mutual TLS, between the nodes of one cluster.

Both ends show a certificate of the cluster's own authority, and neither talks to anyone who cannot. `ssl`
is imported only by those who use it: it is a third of an idle agent's memory.
"""

from __future__ import annotations

import asyncio

from .channel import RECV_SIZE, Channel
from .errors import ChannelClosed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Awaitable, Callable, Optional, Sequence

    from .channel import Buffer


class TlsChannel(Channel):
    """A channel over asyncio's streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def recv(self) -> Buffer:
        """Wait for bytes; see `Channel.recv`."""
        try:
            data = await self._reader.read(RECV_SIZE)
        except OSError as error:
            raise ChannelClosed(f"the connection broke: {error}") from None
        if not data and self._writer.is_closing():
            raise ChannelClosed("the connection was closed on this side")
        return data

    async def send(self, buffers: Sequence[Buffer]) -> None:
        """Send all buffers; see `Channel.send`."""
        if self._writer.is_closing():
            raise ChannelClosed("the connection is closed")
        try:
            self._writer.write(b"".join(buffers))
            await self._writer.drain()
        except (OSError, RuntimeError) as error:
            raise ChannelClosed(f"the connection broke: {error}") from None

    def close(self) -> None:
        """Close the connection at once, without TLS's good-bye: the session has said its own."""
        if not self._writer.is_closing():
            self._writer.transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the transport let go of the socket."""
        try:
            await self._writer.wait_closed()
        except OSError:
            return  # how it ended was told to whoever read or wrote


def client_context(ca: str, cert: str, key: str) -> ssl.SSLContext:
    """Give the TLS settings to dial with: paths of the authority, the own certificate and its key."""
    import ssl

    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    context.load_cert_chain(cert, key)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def server_context(ca: str, cert: str, key: str) -> ssl.SSLContext:
    """Give the TLS settings to listen with; whoever shows no certificate of the authority is turned away."""
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    context.load_cert_chain(cert, key)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def dial_tls(
    host: str, port: int, context: ssl.SSLContext, *, server_name: Optional[str] = None
) -> TlsChannel:
    """Connect to `host:port`; its certificate must name `server_name`, or else `host`.

    Raises
    ------
    OSError
        It cannot be reached, or its certificate is not good (`ssl.SSLError` is an `OSError`).
    """
    reader, writer = await asyncio.open_connection(
        host, port, ssl=context, server_hostname=server_name or host, limit=RECV_SIZE
    )
    return TlsChannel(reader, writer)


async def listen_tls(
    host: str, port: int, context: ssl.SSLContext, serve: Callable[[Channel], Awaitable[None]]
) -> asyncio.AbstractServer:
    """Listen on `host:port` (0: any port) and hand each connection to `serve`, in a task of its own."""

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(TlsChannel(reader, writer))

    return await asyncio.start_server(accepted, host, port, ssl=context, limit=RECV_SIZE)

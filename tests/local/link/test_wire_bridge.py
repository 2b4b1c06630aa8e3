"""A stream joined to a TCP socket: what one end sent before it left arrives at the other."""

from __future__ import annotations

import asyncio
import socket

import pytest

from jupyter_sky.agent.wire import FdChannel, Stream, StreamReset, bridge_socket


@pytest.mark.parametrize("size", [0, 1000, 3_000_000])
def test_what_was_sent_before_closing_is_delivered(pair, size: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", 0))

        async def serve(stream: Stream) -> None:
            sock = socket.create_connection(listener.getsockname())
            await bridge_socket(stream, FdChannel.from_socket(sock))

        def take() -> bytes:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"nobody reads this")
                parts = []
                while part := connection.recv(1 << 16):
                    parts.append(part)
                return b"".join(parts)

        async with pair(serve) as link:
            taking = loop.run_in_executor(None, take)
            stream = await link.session.open({})
            await stream.write(b"x" * size)
            await stream.close()
            assert len(await asyncio.wait_for(taking, 10)) == size
        listener.close()

    asyncio.run(main())


def test_a_reset_passes_both_ways(pair, until) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", 0))

        async def serve(stream: Stream) -> None:
            sock = socket.create_connection(listener.getsockname())
            await bridge_socket(stream, FdChannel.from_socket(sock))

        async with pair(serve) as link:
            stream = await link.session.open({})
            connection, _ = await loop.run_in_executor(None, listener.accept)
            await stream.reset("enough")
            with pytest.raises(ConnectionResetError):
                await loop.run_in_executor(None, connection.recv, 1)
            connection.close()

            stream = await link.session.open({})
            connection, _ = await loop.run_in_executor(None, listener.accept)
            FdChannel.from_socket(connection).abort()
            with pytest.raises(StreamReset) as caught:
                await asyncio.wait_for(stream.read(), 10)
            assert caught.value.code == "connection_lost"
        listener.close()

    asyncio.run(main())

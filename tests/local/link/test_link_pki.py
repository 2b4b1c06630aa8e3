"""Certificates of a cluster: its nodes talk to each other, and to nobody else."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import TYPE_CHECKING

import pytest

from jupyter_sky.agent.wire import (
    Session,
    SessionHost,
    Stream,
    client_context,
    dial_tls,
    listen_tls,
    server_context,
)
from jupyter_sky.link.pki import issue, make_ca

if TYPE_CHECKING:
    from pathlib import Path


async def echo(stream: Stream) -> None:
    while data := await stream.read():
        await stream.write(data)


def write(folder: Path, cluster: str, node: str, ips: list[str]) -> tuple[str, str, str]:
    ca = make_ca(cluster)
    return write_node(folder, ca, node, ips)


def write_node(folder: Path, ca, node: str, ips: list[str]) -> tuple[str, str, str]:
    cert, key = issue(ca, node, ips)
    paths = []
    for name, data in ((f"{node}-ca", ca.cert_pem), (f"{node}-cert", cert), (f"{node}-key", key)):
        path = folder / name
        path.write_bytes(data)
        paths.append(str(path))
    return paths[0], paths[1], paths[2]


def test_a_session_over_mutual_tls(tmp_path: Path) -> None:
    ca = make_ca("c" * 32)
    head = write_node(tmp_path, ca, "head", ["127.0.0.1"])
    worker = write_node(tmp_path, ca, "worker", ["127.0.0.1", "worker.local"])
    data = os.urandom(8 << 20)

    async def main() -> None:
        host = SessionHost(echo)
        server = await listen_tls("127.0.0.1", 0, server_context(*worker), host.attach)
        port = server.sockets[0].getsockname()[1]
        channels = []

        async def dial():
            channels.append(await dial_tls("127.0.0.1", port, client_context(*head)))
            return channels[-1]

        session = Session(dial)
        await session.start(5)
        stream = await session.open({})

        async def send() -> None:
            for start in range(0, len(data), 1 << 18):
                await stream.write(data[start : start + (1 << 18)])
                if start == 4 << 20:
                    channels[-1].close()
            await stream.write_eof()

        sending = asyncio.create_task(send())
        got = b""
        while piece := await stream.read():
            got += piece
        await sending
        assert got == data
        assert len(channels) == 2
        named = await dial_tls("127.0.0.1", port, client_context(*head), server_name="worker.local")
        named.close()
        with pytest.raises(ssl.SSLCertVerificationError, match="match"):
            await dial_tls("127.0.0.1", port, client_context(*head), server_name="other.local")
        await session.close()
        server.close()
        await host.close()

    asyncio.run(main())


def test_strangers_are_turned_away_on_both_sides(tmp_path: Path) -> None:
    ours = write(tmp_path, "a" * 32, "ours", ["127.0.0.1"])
    theirs = write(tmp_path, "b" * 32, "theirs", ["127.0.0.1"])

    async def main() -> None:
        host = SessionHost(echo)
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        server = await listen_tls("127.0.0.1", 0, server_context(*ours), host.attach)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ssl.SSLCertVerificationError):
            await dial_tls("127.0.0.1", port, client_context(*theirs))

        blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        blind.check_hostname = False
        blind.verify_mode = ssl.CERT_NONE

        async def dial():
            return await dial_tls("127.0.0.1", port, blind)

        with pytest.raises(Exception, match=r"connection|alert|closed|required"):
            await Session(dial).start(5)
        assert not host._peers
        server.close()
        await host.close()

    asyncio.run(main())


def test_a_key_is_not_shown(tmp_path: Path) -> None:
    assert "PRIVATE" not in repr(make_ca("d" * 32))

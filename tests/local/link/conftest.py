"""A serving process behind a real relay, and pairs of sockets where a process adds nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_sky.agent.wire import FdChannel, Session, SessionHost, Stream, serve_calls
from jupyter_sky.link.bundle import agent_bundle
from jupyter_sky.link.carriers import LocalCarrier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

SERVER = Path(__file__).parent / "wire_server.py"
RELAY = "import sys; from jupyter_sky_agent.relay import relay; sys.exit(relay(sys.argv[1]))"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return agent_bundle(tmp_path_factory.mktemp("bundle"))


class Node:
    """A folder with a process that serves it."""

    def __init__(self, root: Path, bundle: Path) -> None:
        self.root = root
        self.env = {**os.environ, "PYTHONPATH": str(bundle)}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, python: str = sys.executable, *args: str) -> None:
        (self.root / "agent.sock").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [python, "-S", str(SERVER), str(self.root), *args], env=self.env, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def carrier(self, python: str = sys.executable) -> LocalCarrier:
        return LocalCarrier([python, "-S", "-c", RELAY, str(self.root)], self.env)


@pytest.fixture
def node(tmp_path: Path, bundle: Path) -> Iterator[Node]:
    node = Node(tmp_path, bundle)
    yield node
    node.stop()


class Pair:
    """A session and a host in one loop, joined by socket pairs that a test can cut."""

    def __init__(self, serve: Callable[[Stream], Awaitable[None]], **options: Any) -> None:
        host_options = {key: options.pop(key) for key in ("linger", "buffer") if key in options}
        self.host = SessionHost(serve, **host_options)
        self.states: list[str] = []
        if "buffer" in host_options:
            options["buffer"] = host_options["buffer"]
        self.session = Session(self.dial, on_state=self.states.append, **options)
        self.attached: list[asyncio.Task[None]] = []
        self.ends: tuple[FdChannel, FdChannel] | None = None
        self.dials = 0
        #: cleared, new connections are refused
        self.open = asyncio.Event()
        self.open.set()

    async def dial(self) -> FdChannel:
        self.dials += 1
        if not self.open.is_set():
            raise ConnectionRefusedError("the test refuses")
        near, far = (FdChannel.from_socket(end) for end in socket.socketpair())
        self.attached.append(asyncio.create_task(self.host.attach(far)))
        self.ends = near, far
        return near

    def cut(self, end: int = 0) -> None:
        assert self.ends is not None
        self.ends[end].close()

    async def __aenter__(self) -> Pair:
        await self.session.start(5)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        await self.host.close()
        await asyncio.wait_for(asyncio.gather(*self.attached, return_exceptions=True), 5)


async def serve_calls_only(stream: Stream) -> None:
    async def add(params: dict[str, Any]) -> Any:
        return params["a"] + params["b"]

    await serve_calls(stream, {"add": add})


@pytest.fixture
def pair() -> type[Pair]:
    return Pair


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Wait in a loop for an event, with a limit."""

    async def until(condition: Callable[[], object], limit: float = 10) -> None:
        deadline = asyncio.get_running_loop().time() + limit
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, "waited in vain"
            await asyncio.sleep(0.005)

    return until

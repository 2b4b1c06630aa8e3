"""A link to a real process through real relays, which are killed, stopped and cut off while data flows."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from jupyter_sky.agent.wire import StreamReset
from jupyter_sky.errors import AgentError, LinkError, LinkTimeoutError
from jupyter_sky.link import pool, portal
from jupyter_sky.link.carriers import LocalCarrier, ProcessChannel
from jupyter_sky.link.link import Link

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator


def old_python() -> str:
    """Find the oldest Python of those the agent supports, or give this one."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    known = (str(path) for path in sorted(pyenv.glob("3.8.*/bin/python")))
    named = (shutil.which(f"python3.{minor}") for minor in range(8, 11))
    for candidate in (*known, *named):
        if (
            candidate
            and subprocess.run([candidate, "-c", ""], check=False, capture_output=True).returncode == 0
        ):
            return candidate
    return sys.executable


class Relays(LocalCarrier):
    """A carrier that remembers its channels."""

    def __init__(self, inner: LocalCarrier) -> None:
        super().__init__(inner._argv, inner._env)
        self.channels: list[ProcessChannel] = []

    async def open(self) -> ProcessChannel:
        channel = await super().open()
        assert isinstance(channel, ProcessChannel)
        self.channels.append(channel)
        return channel

    def signal(self, number: int) -> None:
        self.channels[-1].process.send_signal(number)

    def all_gone(self) -> bool:
        return all(channel.process.poll() is not None for channel in self.channels)


def with_link(node: Any, work: Callable[[Link, Relays], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run `work` with a link to the node; no relay may be left after it."""

    async def main() -> None:
        relays = Relays(node.carrier())
        link = await Link.connect(relays, **options)
        try:
            await asyncio.wait_for(work(link, relays), 100)
        finally:
            await link.close()
        assert relays.all_gone()

    if node.process is None:
        node.start()
    asyncio.run(main())


def test_the_relay_killed_a_hundred_times_while_lines_flow(node, until) -> None:
    async def work(link: Link, relays: Relays) -> None:
        stream = await link.open("lines", count=100_000)
        cuts = 0
        for number in range(100_000):
            assert await stream.readline() == b"line %d\n" % number
            if number % 1000 == 500:
                await until(lambda: link.state == "up")
                before = len(relays.channels)
                relays.signal(signal.SIGKILL)
                await until(lambda before=before: len(relays.channels) > before)
                cuts += 1
        assert await stream.readline() == b""
        assert cuts == 100

    with_link(node, work)


def test_a_flood_down_and_up_under_kills_is_identical(node, until) -> None:
    size = 28 << 20
    expected = hashlib.sha256()
    whole = b"".join(hashlib.sha256(number.to_bytes(8, "big")).digest() for number in range(size // 32))
    expected.update(whole)

    async def work(link: Link, relays: Relays) -> None:
        async def kill() -> None:
            for _ in range(8):
                await until(lambda: link.state == "up")
                before = len(relays.channels)
                await asyncio.sleep(0.03)  # let some bytes pass
                relays.signal(signal.SIGKILL)
                await until(lambda before=before: len(relays.channels) > before)

        killing = asyncio.create_task(kill())
        up = await link.open("sink", hash=True)
        down = await link.open("pattern", size=size)

        async def send() -> bytes:
            for start in range(0, size, 100_000):
                await up.write(whole[start : start + 100_000])
            await up.write_eof()
            return await up.readline()

        sending = asyncio.create_task(send())
        got = hashlib.sha256()
        while data := await down.read():
            got.update(data)
        assert got.digest() == expected.digest()
        assert expected.hexdigest() in (await sending).decode()
        await killing

    with_link(node, work)


def test_a_relay_that_hangs_is_noticed_and_replaced(node, until) -> None:
    async def work(link: Link, relays: Relays) -> None:
        stream = await link.open("echo")
        relays.signal(signal.SIGSTOP)
        await stream.write(b"through another one")
        assert await asyncio.wait_for(stream.readexactly(19), 10) == b"through another one"
        assert len(relays.channels) == 2
        await until(lambda: relays.channels[0].process.poll() is not None)

    with_link(node, work, heartbeat=0.1)


def test_a_restarted_agent_is_noticed_and_the_link_goes_on(node) -> None:
    async def work(link: Link, relays: Relays) -> None:
        stream = await link.open("echo")
        await stream.write(b"x")
        await stream.readexactly(1)
        node.stop()
        with pytest.raises(LinkTimeoutError, match="no agent is running in"):
            await link.call("add", timeout=1, a=1, b=2)
        node.start()
        with pytest.raises(StreamReset) as caught:
            await asyncio.wait_for(stream.read(), 10)
        assert caught.value.code == "agent_restarted"
        assert await link.call("add", timeout=10, a=1, b=2) == 3

    with_link(node, work)


def test_errors_name_what_was_asked_and_found(node, tmp_path: Path) -> None:
    with pytest.raises(LinkError, match=r"no agent is running in .*agent.sock: No such file") as caught:
        asyncio.run(Link.connect(node.carrier()))
    assert not isinstance(caught.value, LinkTimeoutError)
    with pytest.raises(LinkError, match="could not be started: No such file"):
        asyncio.run(Link.connect(LocalCarrier([str(tmp_path / "nothing")])))
    with pytest.raises(LinkError, match="out of order"):
        asyncio.run(Link.connect(LocalCarrier(["sh", "-c", "echo out of order >&2; exit 3"])))
    with pytest.raises(LinkError, match="ended with code 3"):
        asyncio.run(Link.connect(LocalCarrier(["sh", "-c", "exit 3"])))
    with pytest.raises(LinkTimeoutError, match="did not answer within"):
        asyncio.run(Link.connect(LocalCarrier(["sleep", "100"]), timeout=0.2))

    async def work(link: Link, relays: Relays) -> None:
        with pytest.raises(AgentError, match="come back later") as refused:
            await link.call("refuse")
        assert (refused.value.code, refused.value.hint) == ("not_now", "wait")
        with pytest.raises(LinkTimeoutError, match="did not answer wait within"):
            await link.call("wait", seconds=50, timeout=0.05)
        await link.close()
        with pytest.raises(LinkError, match="closed"):
            await link.call("add", a=1, b=1)
        with pytest.raises(LinkError, match="closed"):
            await link.open("echo")

    with_link(node, work)


def test_the_memory_of_the_serving_process_is_bounded_by_windows(node) -> None:
    async def work(link: Link, relays: Relays) -> None:
        floods = [await link.open("source", size=1 << 30) for _ in range(4)]
        stuffed = [await link.open("hold") for _ in range(4)]
        writing = [asyncio.create_task(stream.write(bytes(32 << 20))) for stream in stuffed]
        serving = psutil.Process(node.process.pid)
        most = 0
        for _ in range(50):
            await link.call("add", a=1, b=1)
            most = max(most, serving.memory_info().rss)
        assert most < 64 << 20
        for task in writing:
            assert not task.done()
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)
        for stream in (*floods, *stuffed):
            await stream.reset("enough")

    with_link(node, work)


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A real TCP server that echoes until the client's end, then says so and closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(1 << 16):
                connection.sendall(data)
            connection.sendall(b"bye")

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def talk(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(1 << 16):
            parts.append(part)
        return b"".join(parts)


def test_dial_and_forward_reach_a_real_server_with_half_closes(node, echo_port: int) -> None:
    async def work(link: Link, relays: Relays) -> None:
        stream = await link.dial("127.0.0.1", echo_port)
        await stream.write(b"direct")
        await stream.write_eof()
        assert await stream.readexactly(9) == b"directbye"
        assert await stream.read() == b""

        forward = await link.forward("localhost", echo_port)
        data = os.urandom(100_000)
        answers = await asyncio.gather(*(asyncio.to_thread(talk, forward.port, data) for _ in range(10)))
        assert answers == [data + b"bye"] * 10
        with pytest.raises(LinkError, match="cannot be forwarded"):
            await link.forward("localhost", echo_port, local_port=forward.port)
        await forward.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.to_thread(talk, forward.port, b"")

    with_link(node, work)


def test_a_refused_remote_closes_only_its_own_connection(node, echo_port: int) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = unused.getsockname()[1]

    async def work(link: Link, relays: Relays) -> None:
        forward = await link.forward("127.0.0.1", nobody)
        for _ in range(3):
            with pytest.raises(ConnectionResetError):
                await asyncio.to_thread(talk, forward.port, b"")
        # the acceptor lives on: as soon as somebody listens there, connections pass
        listener = socket.create_server(("127.0.0.1", nobody))
        answer = asyncio.create_task(asyncio.to_thread(talk, forward.port, b""))
        connection, _ = await asyncio.to_thread(listener.accept)
        connection.sendall(b"hello")
        connection.close()
        listener.close()
        assert await answer == b"hello"

    with_link(node, work)


def test_the_oldest_python_serves_and_relays(node, until) -> None:
    python = old_python()
    node.start(python)

    async def main() -> None:
        relays = Relays(node.carrier(python))
        link = await Link.connect(relays)
        version = (await link.call("about"))["version"]
        stream = await link.open("pattern", size=1 << 20)
        got = b""
        while data := await stream.read():
            got += data
            if len(relays.channels) < 5:
                await until(lambda: link.state == "up")
                relays.signal(signal.SIGKILL)
                before = len(relays.channels)
                await until(lambda before=before: len(relays.channels) > before)
        assert got == b"".join(hashlib.sha256(n.to_bytes(8, "big")).digest() for n in range((1 << 20) // 32))
        await link.close()
        assert version >= [3, 8]

    asyncio.run(main())


def test_the_portal_serves_threads_running_loops_and_forked_children(node) -> None:
    node.start()
    key = f"test-{os.getpid()}"

    def make() -> LocalCarrier:
        return node.carrier()

    link = pool.get_link(key, make)
    try:
        assert pool.get_link(key, make) is link

        async def ask() -> int:
            return int(await link.call("add", a=20, b=22))

        async def inside_a_loop() -> int:
            return portal.run(ask)

        assert portal.run(ask) == 42
        assert asyncio.run(inside_a_loop()) == 42
        with pytest.raises(LinkTimeoutError):
            portal.run(asyncio.sleep, 50, timeout=0.05)

        async def from_the_portal_itself() -> None:
            portal.run(ask)

        with pytest.raises(LinkError, match="own thread"):
            portal.run(from_the_portal_itself)

        child = os.fork()
        if child == 0:
            # a child has neither its parent's loop nor its links, and ends without harm to them
            code = 1
            try:
                other = pool.get_link(key, make)

                async def ask_other() -> int:
                    return int(await other.call("add", a=1, b=1))

                code = 0 if other is not link and portal.run(ask_other) == 2 else 2
                pool.forget(key)
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert portal.run(ask) == 42
    finally:
        pool.forget(key)
    assert link.state == "closed"
    again = pool.get_link(key, make)
    assert again is not link
    pool.forget(key)


def test_a_keyboard_interrupt_cancels_what_runs_in_the_portal() -> None:
    program = """
import asyncio, sys
from jupyter_sky.link import portal

async def work():
    print("working", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        print("cancelled", flush=True)

try:
    portal.run(work)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"working\n"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=10)
    assert out == b"cancelled\ninterrupted\n"
    assert process.returncode == 0


def test_a_process_that_ends_leaves_no_relay(node, wait_until) -> None:
    node.start()
    argv = node.carrier()._argv
    program = f"""
from jupyter_sky.link import pool, portal
from jupyter_sky.link.carriers import LocalCarrier
link = pool.get_link("k", lambda: LocalCarrier({argv!r}))
async def ask():
    return await link.call("add", a=1, b=2)
print(portal.run(ask), flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program],
        env=node.env,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
    assert "Traceback" not in done.stderr

    def relays() -> list[psutil.Process]:
        return [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == argv]

    wait_until(lambda: not relays())

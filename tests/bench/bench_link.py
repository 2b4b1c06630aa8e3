"""The link against the bare relay: what framing, windows and resuming cost on the way to an agent and back.

Everything is real: a serving process on a unix socket, the relay from the agent's zipapp, pipes between.
The bare figures go the same way without the wire, measured turn by turn with the link's, so that a busy
machine slows both.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench_table import Row, print_table

from jupyter_sky.agent.wire.channel import enlarge_pipe
from jupyter_sky.link.bundle import agent_bundle
from jupyter_sky.link.carriers import LocalCarrier
from jupyter_sky.link.link import Link

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = Path(__file__).parents[1] / "local" / "link" / "wire_server.py"
RELAY = "import sys; from jupyter_sky_agent.relay import relay; sys.exit(relay(sys.argv[1]))"
TRIPS = 1000
SIZE = 512 << 20
ROUNDS = 3
CHUNK = b"x" * (1 << 18)


@contextmanager
def serving(bundle: Path, *args: str) -> Iterator[list[str]]:
    """Run the serving process and give the command of its relay."""
    with tempfile.TemporaryDirectory() as root:
        path = f"PYTHONPATH={bundle}"
        process = subprocess.Popen(
            ["env", path, sys.executable, "-S", str(SERVER), root, *args], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield ["env", path, sys.executable, "-S", "-c", RELAY, root]
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


class Bare:
    """The relay with bare bytes, by blocking reads and writes."""

    def __init__(self, argv: list[str], mode: bytes, size: int = 0) -> None:
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.out, self.into = self.process.stdin.fileno(), self.process.stdout.fileno()
        enlarge_pipe(self.out)
        enlarge_pipe(self.into)
        os.write(self.out, mode + size.to_bytes(8, "big"))

    def __enter__(self) -> Bare:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def send(self, size: int) -> None:
        while size > 0:
            size -= os.write(self.out, CHUNK[:size])

    def take(self, size: int) -> None:
        buffer = memoryview(bytearray(1 << 18))
        while size > 0:
            size -= os.readv(self.into, [buffer])


def bare_trips(argv: list[str]) -> list[float]:
    times = []
    with Bare(argv, b"e") as bare:
        for _ in range(TRIPS):
            began = time.perf_counter()
            os.write(bare.out, b"p" * 32)
            bare.take(32)
            times.append(time.perf_counter() - began)
    return times


def bare_rates(argv: list[str]) -> tuple[float, float, float]:
    with Bare(argv, b"s", SIZE) as bare:
        began = time.perf_counter()
        bare.send(SIZE)
        bare.take(1)
        up = SIZE / (time.perf_counter() - began)
    with Bare(argv, b"r", SIZE) as bare:
        began = time.perf_counter()
        bare.take(SIZE)
        down = SIZE / (time.perf_counter() - began)
    with Bare(argv, b"b", SIZE) as bare:
        began = time.perf_counter()
        sender = threading.Thread(target=bare.send, args=(SIZE,))
        sender.start()
        bare.take(SIZE)
        sender.join()
        both = SIZE / (time.perf_counter() - began)
    return up, down, both


async def link_trips(link: Link) -> list[float]:
    times = []
    stream = await link.open("echo")
    for _ in range(TRIPS):
        began = time.perf_counter()
        await stream.write(b"p" * 32)
        await stream.readexactly(32)
        times.append(time.perf_counter() - began)
    await stream.close()
    return times


async def link_calls(link: Link) -> list[float]:
    times = []
    for _ in range(TRIPS):
        began = time.perf_counter()
        await link.call("add", a=1, b=2)
        times.append(time.perf_counter() - began)
    return times


async def send(link: Link) -> None:
    stream = await link.open("sink")
    for _ in range(SIZE // len(CHUNK)):
        await stream.write(CHUNK)
    await stream.write_eof()
    await stream.readline()
    await stream.close()


async def take(link: Link) -> None:
    stream = await link.open("source", size=SIZE)
    size = 0
    while data := await stream.read():
        size += len(data)
    assert size == SIZE
    await stream.close()


async def link_rates(link: Link) -> tuple[float, float, float]:
    began = time.perf_counter()
    await send(link)
    up = SIZE / (time.perf_counter() - began)
    began = time.perf_counter()
    await take(link)
    down = SIZE / (time.perf_counter() - began)
    began = time.perf_counter()
    await asyncio.gather(send(link), take(link))
    both = SIZE / (time.perf_counter() - began)
    return up, down, both


async def flooded_trips(link: Link) -> list[float]:
    """Measure round trips beside a stream that sends all it can to a reader that takes all it can."""
    flood = asyncio.create_task(take(link))
    times = await link_trips(link)
    flood.cancel()
    await asyncio.gather(flood, return_exceptions=True)
    return times


async def measure(bare_argv: list[str], link_argv: list[str]) -> list[Row]:
    link = await Link.connect(LocalCarrier(link_argv))
    bare_ms, link_ms, call_ms = [], [], []
    bare_mb, link_mb = [], []
    for _ in range(ROUNDS):
        bare_ms += await asyncio.to_thread(bare_trips, bare_argv)
        link_ms += await link_trips(link)
        call_ms += await link_calls(link)
        bare_mb.append(await asyncio.to_thread(bare_rates, bare_argv))
        link_mb.append(await link_rates(link))
    flooded = await flooded_trips(link)
    await link.close()
    bare_trip, link_trip = (statistics.median(times) * 1e3 for times in (bare_ms, link_ms))
    rows = [
        Row("round trip, bare relay", bare_trip, "ms"),
        Row("round trip, link", link_trip, "ms", ratio=link_trip / bare_trip),
        Row("added by the link", link_trip - bare_trip, "ms", "≤ 0.4"),
        Row("a call", statistics.median(call_ms) * 1e3, "ms"),
        Row("round trip beside a flood, 99 %", statistics.quantiles(flooded, n=100)[98] * 1e3, "ms"),
    ]
    names = ("up", "down", "both ways at once, each")
    for name, bare, rate in zip(names, zip(*bare_mb, strict=True), zip(*link_mb, strict=True), strict=True):
        limit, figure = statistics.median(bare) / 1e6, statistics.median(rate) / 1e6
        rows.append(Row(f"{name}: bare relay", limit, "MB/s"))
        rows.append(Row(f"{name}: link", figure, "MB/s", "≥ 300", ratio=figure / limit))
    return rows


def main() -> None:
    """Measure and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = agent_bundle(Path(folder))
        with serving(bundle, "raw") as bare_argv, serving(bundle) as link_argv:
            rows = asyncio.run(measure(bare_argv, link_argv))
    busy = os.getloadavg()[0]
    print_table(f"link (load {busy:.1f} on {os.cpu_count()} cores; medians of {ROUNDS} rounds)", rows)


if __name__ == "__main__":
    main()

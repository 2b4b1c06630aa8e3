"""Sessions over socket pairs: what survives a cut, what a stream promises, what memory is bounded by."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from typing import Any

import pytest

from jupyter_sky.agent.wire import (
    CallError,
    FdChannel,
    SessionClosed,
    SessionHost,
    Stream,
    StreamReset,
    bridge_streams,
    serve_calls,
)
from jupyter_sky.agent.wire import session as session_module
from jupyter_sky.agent.wire.stream import MAX_WINDOW, WINDOW


async def echo(stream: Stream) -> None:
    while data := await stream.read():
        await stream.write(data)


async def read_all(stream: Stream) -> bytes:
    parts = []
    while data := await stream.read():
        parts.append(data)
    return b"".join(parts)


def test_a_hundred_cuts_lose_and_repeat_nothing(pair, until) -> None:
    async def serve(stream: Stream) -> None:
        for number in range(100_000):
            await stream.write(b"line %d %0300d\n" % (number, 0))

    async def main() -> None:
        async with pair(serve, heartbeat=5) as link:
            stream = await link.session.open({"kind": "lines"})
            for number in range(100_000):
                assert await stream.readline() == b"line %d %0300d\n" % (number, 0)
                if number % 1000 == 500:
                    dials = link.dials
                    link.cut(number // 1000 % 2)
                    await until(lambda dials=dials: link.dials > dials)
            assert await stream.readline() == b""
            assert link.dials == 101

    asyncio.run(main())


@pytest.mark.parametrize("buffer", [1 << 14, 1 << 20, 8 << 20])
def test_a_flood_both_ways_under_cuts_is_identical(pair, buffer: int) -> None:
    data = os.urandom(28 << 20)

    async def main() -> None:
        async with pair(echo, buffer=buffer, heartbeat=5) as link:
            stream = await link.session.open({"kind": "echo"})

            async def send() -> None:
                for start in range(0, len(data), 1 << 19):
                    await stream.write(memoryview(data)[start : start + (1 << 19)])
                    if start % (1 << 21) == 0:
                        link.cut(start >> 21 & 1)
                await stream.write_eof()

            sending = asyncio.create_task(send())
            got = hashlib.sha256()
            while piece := await stream.read():
                got.update(piece)
            await sending
            assert got.digest() == hashlib.sha256(data).digest()
            assert link.dials > 10

    asyncio.run(main())


def test_what_is_written_while_the_connection_is_down_waits_and_is_bounded(pair, until) -> None:
    total = 64 << 20

    async def main() -> None:
        async with pair(echo, buffer=1 << 20) as link:
            stream = await link.session.open({"kind": "echo"})
            link.open.clear()
            link.cut()
            await until(lambda: link.session.state == "down")
            written = 0

            async def send() -> None:
                nonlocal written
                while written < total:
                    await stream.write(bytes(1 << 16))
                    written += 1 << 16
                await stream.write_eof()

            sending = asyncio.create_task(send())
            dials = link.dials
            await until(lambda: link.dials > dials + 2)
            assert written < 1 << 20
            link.open.set()
            assert sum([len(data) async for data in pieces(stream)]) == total
            await sending

    asyncio.run(main())


async def pieces(stream: Stream) -> Any:
    while data := await stream.read():
        yield data


def test_either_direction_ends_alone(pair, until) -> None:
    heard: list[bytes] = []

    async def serve(stream: Stream) -> None:
        if stream.header["first"] == "client":
            heard.append(await read_all(stream))
            await stream.write(b"after your end")
            return
        await stream.write(b"before mine")
        await stream.write_eof()
        heard.append(await read_all(stream))

    async def main() -> None:
        async with pair(serve) as link:
            stream = await link.session.open({"first": "client"})
            await stream.write(b"all of it")
            await stream.write_eof()
            assert await read_all(stream) == b"after your end"
            other = await link.session.open({"first": "server"})
            assert await read_all(other) == b"before mine"
            await other.write(b"still open")
            await other.close()
            await until(lambda: len(heard) == 2)
            assert heard == [b"all of it", b"still open"]

    asyncio.run(main())


def test_a_stream_nobody_reads_holds_up_only_itself(pair, until) -> None:
    sent = 0

    async def serve(stream: Stream) -> None:
        nonlocal sent
        if stream.header["kind"] == "flood":
            while True:
                await stream.write(bytes(1 << 16))
                sent += 1 << 16
        await echo(stream)

    async def main() -> None:
        async with pair(serve, heartbeat=0.2) as link:
            flood = await link.session.open({"kind": "flood"})
            other = await link.session.open({"kind": "echo"})
            for _ in range(200):
                await other.write(b"ping")
                assert await asyncio.wait_for(other.readexactly(4), 5) == b"ping"
            await until(lambda: sent >= WINDOW)
            assert sent <= WINDOW + (1 << 18)
            assert link.dials == 1
            # reading goes on, and the window never grows beyond its bound
            await flood.readexactly(32 << 20)
            before = sent
            await other.write(b"ping")
            await other.readexactly(4)
            assert sent - (32 << 20) <= MAX_WINDOW + (1 << 18)
            assert sent >= before
            await flood.close()

    asyncio.run(main())


def test_two_hundred_streams_at_once(pair) -> None:
    async def one(link: Any, number: int) -> None:
        stream = await link.session.open({"number": number})
        data = hashlib.sha256(number.to_bytes(4, "big")).digest() * 2000
        await stream.write(data)
        await stream.write_eof()
        assert await read_all(stream) == data
        await stream.close()

    async def main() -> None:
        async with pair(echo) as link:
            tasks = [asyncio.create_task(one(link, number)) for number in range(200)]
            link.cut()
            await asyncio.gather(*tasks)
            assert len(link.session._mux) == 0

    asyncio.run(main())


def test_an_unknown_session_resets_streams_and_starts_anew(pair, until) -> None:
    async def main() -> None:
        async with pair(echo) as link:
            stream = await link.session.open({"kind": "echo"})
            await stream.write(b"x")
            await stream.readexactly(1)
            old, link.host = link.host, SessionHost(echo)
            await old.close()
            with pytest.raises(StreamReset) as caught:
                await asyncio.wait_for(stream.read(), 5)
            assert caught.value.code == "agent_restarted"
            again = await link.session.open({"kind": "echo"})
            await again.write(b"y")
            assert await asyncio.wait_for(again.readexactly(1), 5) == b"y"

    asyncio.run(main())


def test_a_session_left_alone_is_dropped_after_its_time(pair, until) -> None:
    async def main() -> None:
        served = asyncio.Event()

        async def serve(stream: Stream) -> None:
            with pytest.raises(StreamReset, match="did not return"):
                await stream.read()
            served.set()

        async with pair(serve, linger=0.05) as link:
            await link.session.open({})
            await until(lambda: link.host.connected)
            await until(lambda: len(next(iter(link.host._peers.values())).mux))
            link.open.clear()
            link.cut()
            await asyncio.wait_for(served.wait(), 5)
            assert not link.host._peers
            link.open.set()

    asyncio.run(main())


def test_closing_a_session_ends_it_on_the_host_at_once(pair, until) -> None:
    async def main() -> None:
        async with pair(echo) as link:
            stream = await link.session.open({})
            await link.session.close()
            await until(lambda: not link.host._peers)
            with pytest.raises(StreamReset, match="closed"):
                await stream.read()
            with pytest.raises(SessionClosed):
                await link.session.open({})
            assert link.states == ["up", "closed"]

    asyncio.run(main())


def test_a_second_channel_replaces_one_that_is_only_half_dead(pair) -> None:
    async def main() -> None:
        async with pair(echo, heartbeat=5) as link:
            stream = await link.session.open({})
            await stream.write(b"1")
            await stream.readexactly(1)
            near, _ = link.ends
            # only the client learns of the loss: its end is replaced by one nobody serves
            spare = socket.socketpair()
            os.dup2(spare[0].fileno(), near._rfd)
            link.session._resumable.detach()
            await stream.write(b"2")
            assert await asyncio.wait_for(stream.readexactly(1), 5) == b"2"
            assert link.dials == 2
            for sock in spare:
                sock.close()

    asyncio.run(main())


def test_a_peer_that_answers_nothing_is_given_up(pair, until) -> None:
    async def main() -> None:
        silent: list[socket.socket] = []
        async with pair(echo, heartbeat=0.05) as link:
            dial = link.session._dial
            stream = await link.session.open({})
            await stream.write(b"1")
            await stream.readexactly(1)
            # replace the socket under the client's channel by one at which nobody sits
            near, _ = link.ends
            one, other = socket.socketpair()
            silent += [one, other]
            os.dup2(one.fileno(), near._rfd)
            await until(lambda: link.dials >= 2)
            assert "silent" in str(link.session.last_error)
            await stream.write(b"2")
            assert await asyncio.wait_for(stream.readexactly(1), 5) == b"2"
            assert dial is link.session._dial
        for sock in silent:
            sock.close()

    asyncio.run(main())


def test_calls_carry_results_refusals_and_defects(pair) -> None:
    defects: list[dict[str, Any]] = []

    async def add(params: dict[str, Any]) -> Any:
        return params["a"] + params["b"]

    async def refuse(params: dict[str, Any]) -> Any:
        raise CallError("not_now", "come back later", "wait")

    async def fail(params: dict[str, Any]) -> Any:
        raise ZeroDivisionError("a defect")

    async def wait(params: dict[str, Any]) -> Any:
        await asyncio.sleep(60)

    async def size(params: dict[str, Any]) -> Any:
        return len(params["text"])

    async def serve(stream: Stream) -> None:
        await serve_calls(stream, {"add": add, "refuse": refuse, "fail": fail, "wait": wait, "size": size})

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: defects.append(context))
        async with pair(serve) as link:
            call = link.session.call
            assert await call("add", {"a": 1, "b": 2}, 5) == 3
            assert await call("size", {"text": "x" * 3_000_000}, 5) == 3_000_000
            with pytest.raises(CallError) as caught:
                await call("refuse", {}, 5)
            assert (caught.value.code, caught.value.message, caught.value.hint) == (
                "not_now",
                "come back later",
                "wait",
            )
            with pytest.raises(CallError, match="ZeroDivisionError: a defect"):
                await call("fail", {}, 5)
            with pytest.raises(CallError, match="no method 'nothing'"):
                await call("nothing", {}, 5)
            with pytest.raises(TimeoutError):
                await call("wait", {}, 0.05)
            assert await call("add", {"a": "still ", "b": "there"}, 5) == "still there"
            assert len(link.session._mux) == 0
        assert [context["exception"].args for context in defects] == [("a defect",)]

    asyncio.run(main())


def test_a_reset_comes_after_what_was_sent_before(pair) -> None:
    async def serve(stream: Stream) -> None:
        await stream.write(b"some")
        while stream.header.get("wait") and await stream.read():
            pass
        await stream.reset("enough", "no more", "ask again")

    async def main() -> None:
        async with pair(serve) as link:
            stream = await link.session.open({"wait": True})
            assert await stream.read() == b"some"
            await stream.write_eof()
            with pytest.raises(StreamReset) as caught:
                await stream.read()
            assert (caught.value.code, caught.value.message, caught.value.hint) == (
                "enough",
                "no more",
                "ask again",
            )
            with pytest.raises(StreamReset):
                await stream.write(b"x")

    asyncio.run(main())


def test_a_writer_learns_that_nobody_reads_any_more(pair) -> None:
    async def main() -> None:
        stopped = asyncio.Event()

        async def serve(stream: Stream) -> None:
            await stream.write(b"hello")
            await stream.wait_stopped()
            stopped.set()
            with pytest.raises(StreamReset, match="no longer reads"):
                await stream.write(b"x")

        async with pair(serve) as link:
            stream = await link.session.open({})
            assert await stream.read() == b"hello"
            await stream.close()
            await asyncio.wait_for(stopped.wait(), 5)

    asyncio.run(main())


def test_lines_and_exact_sizes_are_cut_out_of_any_chunks(pair) -> None:
    async def main() -> None:
        async with pair(echo) as link:
            stream = await link.session.open({})
            for piece in (b"one\ntw", b"o\n", b"\n", b"rest"):
                await stream.write(piece)
            await stream.write_eof()
            assert [await stream.readline() for _ in range(5)] == [b"one\n", b"two\n", b"\n", b"rest", b""]
            other = await link.session.open({})
            await other.write(b"0123456789")
            await other.write_eof()
            assert await other.readexactly(4) == b"0123"
            assert await other.read(3) == b"456"
            with pytest.raises(StreamReset) as caught:
                await other.readexactly(4)
            assert caught.value.code == "eof"
            endless = await link.session.open({})
            writing = asyncio.create_task(endless.write(b"x" * 100_000))
            with pytest.raises(StreamReset) as caught:
                await endless.readline(limit=50_000)
            assert caught.value.code == "line_too_long"
            await writing

    asyncio.run(main())


def test_streams_are_bridged_with_ends_and_resets(pair) -> None:
    async def worker(stream: Stream) -> None:
        if stream.header["kind"] == "refuse":
            await stream.reset("refused", "nobody there", "dial again")
            return
        await stream.write(await read_all(stream))

    async def main() -> None:
        async with pair(worker) as inner:

            async def head(stream: Stream) -> None:
                await bridge_streams(stream, await inner.session.open(stream.header))

            async with pair(head) as outer:
                stream = await outer.session.open({"kind": "echo"})
                data = os.urandom(5 << 20)
                await stream.write(data[: 1 << 18])
                await stream.write(data[1 << 18 :])
                await stream.write_eof()
                assert await read_all(stream) == data
                refused = await outer.session.open({"kind": "refuse"})
                with pytest.raises(StreamReset) as caught:
                    await asyncio.wait_for(refused.read(), 5)
                assert (caught.value.code, caught.value.hint) == ("refused", "dial again")

    asyncio.run(main())


def test_a_refused_first_connection_is_told_and_nothing_is_left(pair) -> None:
    async def main() -> None:
        link = pair(echo)
        link.open.clear()
        with pytest.raises(ConnectionRefusedError, match="the test refuses"):
            await link.session.start(5)
        assert link.session.state == "closed"
        await link.host.close()

        async def never() -> FdChannel:
            near, far = socket.socketpair()
            kept.append(far)
            return FdChannel.from_socket(near)

        kept: list[socket.socket] = []
        late = pair(echo)
        late.session._dial = never
        with pytest.raises(TimeoutError):
            await late.session.start(0.05)
        await late.host.close()
        for sock in kept:
            sock.close()

    asyncio.run(main())


def test_a_connection_nobody_waits_for_is_not_tried_for_ever(pair, until, monkeypatch) -> None:
    monkeypatch.setattr(session_module, "_PATIENCE", 0.2)

    async def main() -> None:
        async with pair(echo) as link:
            stream = await link.session.open({"kind": "echo"})
            await stream.write(b"one")
            assert await stream.readexactly(3) == b"one"
            await stream.close()
            dial, attempts = link.session._dial, []

            async def refuse() -> FdChannel:
                attempts.append(asyncio.get_running_loop().time())
                raise ConnectionRefusedError("gone")

            link.session._dial = refuse
            link.cut(0)
            wanted = link.session._wanted
            await until(lambda: len(attempts) > 1 and attempts[-1] - attempts[0] > 0.2)
            seen = len(attempts)
            # the longest pause before the next attempt, were there one, is far shorter than this
            done, _ = await asyncio.wait({asyncio.ensure_future(wanted.wait())}, timeout=1.0)
            assert not done
            assert len(attempts) <= seen + 1
            link.session._dial = dial
            again = await link.session.open({"kind": "echo"})
            await again.write(b"two")
            assert await asyncio.wait_for(again.readexactly(3), 5) == b"two"

    asyncio.run(main())

"""A peer that breaks the protocol: a clear end of its connection, bounded memory, nobody else harmed."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_sky.agent.wire import FdChannel, ProtocolError, SessionHost, Stream
from jupyter_sky.agent.wire.mux import Mux
from jupyter_sky.agent.wire.records import (
    MAX_RECORD,
    PROTOCOL_VERSION,
    RecordReader,
    count_record,
    data_head,
    greeting,
)
from jupyter_sky.agent.wire.stream import WINDOW

HELLO = {
    "version": PROTOCOL_VERSION,
    "session": "ab" * 16,
    "new": True,
    "attempt": 1,
    "received": 0,
    "buffer": 1 << 20,
    "heartbeat": 5,
}


async def echo(stream: Stream) -> None:
    while data := await stream.read():
        await stream.write(data)


async def talk(data: bytes, host: SessionHost | None = None) -> tuple[BaseException | None, bytes]:
    """Send bytes to a host; give what its `attach` raised and all that it answered."""
    own = host or SessionHost(echo)
    near, far = socket.socketpair()
    near.setblocking(False)
    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(own.attach(FdChannel.from_socket(far)))

    async def send() -> None:
        try:
            await loop.sock_sendall(near, data)
            near.shutdown(socket.SHUT_WR)
        except OSError:
            return  # it hung up, as it should

    sending = asyncio.create_task(send())
    answer = b""
    try:
        while piece := await asyncio.wait_for(loop.sock_recv(near, 1 << 16), 5):
            answer += piece
    except ConnectionResetError:
        pass
    outcome = await asyncio.wait_for(asyncio.gather(serving, return_exceptions=True), 5)
    await sending
    near.close()
    if host is None:
        await own.close()
    return outcome[0], answer


def frame(kind: int, number: int, body: bytes = b"") -> bytes:
    data = struct.pack("!BI", kind, number) + body
    return data_head(len(data)) + data


OPENED = greeting(HELLO) + frame(1, 1, b'{"kind":"echo"}')


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"JSky" + struct.pack("!I", 1 << 30), "a greeting of 1073741824 bytes was announced"),
        (b"GET / HTTP/1.1\r\n\r\n" * 5000, "does not speak our protocol; it said: GET / HTTP/1.1"),
        (b"JSky" + struct.pack("!I", 2) + b"{]", "not JSON"),
        (b"JSky" + struct.pack("!I", 2) + b"[]", "not a JSON object"),
        (greeting({**HELLO, "version": 99}), "protocol version 99, this one"),
        (greeting({**HELLO, "session": 5}), "names no session"),
        (greeting({**HELLO, "received": -1}), "received = -1"),
        (greeting({**HELLO, "received": True}), "received = True"),
        (greeting({**HELLO, "heartbeat": 0}), "heartbeat = 0"),
        (greeting({**HELLO, "received": 3}), "counts 3 records, but 0 were sent"),
        (greeting(HELLO) + b"\xff" * 100, "unknown kind 255"),
        (greeting(HELLO) + data_head(MAX_RECORD + 1), "a record of 1048641 bytes was announced"),
        (greeting(HELLO) + count_record(1, 7), "counts 7 records"),
        (greeting(HELLO) + data_head(2) + b"ab", "a frame of 2 bytes"),
        (greeting(HELLO) + frame(2, 9, b"x"), "never opened"),
        (greeting(HELLO) + frame(1, 1, b"[" * 100_000), "not JSON"),
        (greeting(HELLO) + frame(1, 1, b"{}") + frame(1, 1, b"{}"), "was opened after stream 1"),
        (greeting(HELLO) + frame(1, 1, b'{"a":"' + b"x" * (1 << 18) + b'"}'), "the limit is 262144"),
        (OPENED + frame(99, 1), "unknown kind 99"),
        (OPENED + frame(5, 1, b"xx"), "a window of 2 bytes"),
        (OPENED + frame(5, 1, b"\xff" * 4), "was granted"),
        (OPENED + frame(3, 1) + frame(2, 1, b"x"), "after its end"),
    ],
)
def test_what_is_malformed_is_named_and_ends_the_connection(data: bytes, words: str) -> None:
    error, _ = asyncio.run(talk(data))
    assert isinstance(error, ProtocolError)
    assert words in str(error)


def test_a_stream_may_not_send_beyond_its_window() -> None:
    async def never(stream: Stream) -> None:
        await stream.wait_stopped()

    async def main() -> None:
        host = SessionHost(never)
        chunk = bytes(1 << 16)
        error, _ = await talk(OPENED + frame(2, 1, chunk) * (WINDOW // len(chunk) + 1), host)
        assert isinstance(error, ProtocolError)
        assert "more data came on stream 1 than its window allows" in str(error)
        assert not host._peers
        await host.close()

    asyncio.run(main())


def test_a_client_is_told_why_it_was_refused(pair) -> None:
    async def main() -> None:
        _, answer = await talk(greeting({**HELLO, "version": 99}))
        reply = json.loads(answer[8:])
        assert reply["error"] == "protocol"
        assert "version 99" in reply["message"]
        _, answer = await talk(greeting({**HELLO, "new": False}))
        assert json.loads(answer[8:])["error"] == "unknown_session"

    asyncio.run(main())


def test_an_older_attempt_does_not_replace_a_newer_one() -> None:
    async def main() -> None:
        host = SessionHost(echo)
        error, _ = await talk(greeting({**HELLO, "attempt": 7}), host)
        assert error is None
        error, _ = await talk(greeting({**HELLO, "attempt": 6}), host)
        assert "a newer connection" in str(error)
        await host.close()

    asyncio.run(main())


def test_a_login_shells_words_are_passed_over_and_quoted_where_nothing_else_comes(pair) -> None:
    async def main() -> None:
        async with pair(echo) as link:
            dial = link.dial

            async def noisy() -> FdChannel:
                near, far = socket.socketpair()
                far.sendall("Wëlcome! You have mail.\n".encode())
                link.attached.append(asyncio.create_task(link.host.attach(FdChannel.from_socket(far))))
                return FdChannel.from_socket(near)

            link.session._dial = noisy
            link.cut()
            stream = await link.session.open({})
            await stream.write(b"hi")
            assert await asyncio.wait_for(stream.readexactly(2), 5) == b"hi"
            assert dial is not noisy

        async def silent() -> FdChannel:
            near, far = socket.socketpair()
            far.sendall(b"python3: command not found\n")
            far.shutdown(socket.SHUT_WR)
            kept.append(far)
            return FdChannel.from_socket(near)

        kept: list[socket.socket] = []
        other = pair(echo)
        other.session._dial = silent
        with pytest.raises(Exception, match="it said: python3: command not found"):
            await other.session.start(5)
        await other.host.close()
        kept[0].close()

    asyncio.run(main())


@settings(max_examples=150)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_end_in_a_clean_close_or_a_protocol_error(data: bytes, greeted: bool) -> None:
    error, _ = asyncio.run(talk((OPENED if greeted else b"") + data))
    assert error is None or isinstance(error, ProtocolError)


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=50)), st.data())
def test_records_survive_any_chunking(bodies: list[bytes], data: Any) -> None:
    flow = b"".join(data_head(len(body)) + body for body in bodies)
    reader = RecordReader()
    got = []
    pos = 0
    while pos < len(flow):
        size = data.draw(st.integers(1, 20))
        got += [bytes(body) for _, body in reader.feed(flow[pos : pos + size])]
        pos += size
    assert got == bodies


def test_a_fair_turn_for_every_stream() -> None:
    async def main() -> None:
        mux = Mux(lambda: None)
        streams = [mux.open({"n": n}) for n in range(3)]
        writing = [asyncio.create_task(stream.write(os.urandom(1 << 20))) for stream in streams]
        await asyncio.sleep(0)
        turns = []
        while (piece := mux.next_frame()) is not None:
            kind, number = struct.unpack_from("!BI", bytes(piece[0]))
            if kind == 2:
                turns.append(number)
        assert turns[:6] == [1, 2, 3, 1, 2, 3]
        assert turns.count(1) == turns.count(3)
        await asyncio.gather(*writing)

    asyncio.run(main())

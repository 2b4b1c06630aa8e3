"""A process that serves streams as an agent does, for the tests and benchmarks of the link.

It runs on any Python from 3.8 on with the agent's zipapp as its path: `python wire_server.py ROOT`. It
listens on ROOT/agent.sock and says "ready". The kinds of streams are made to exercise the link; `raw` as a
second argument serves bare bytes instead, to compare with.
"""

import asyncio
import hashlib
import json
import os
import socket
import sys
import threading

from jupyter_sky_agent.wire import CallError, FdChannel, SessionHost, bridge_socket, serve_calls

CHUNK = b"x" * (1 << 18)


async def echo(stream):
    while True:
        data = await stream.read()
        if not data:
            return
        await stream.write(data)


async def sink(stream):
    """Take everything, then tell how much it was and its hash."""
    digest, size = hashlib.sha256(), 0
    while True:
        data = await stream.read()
        if not data:
            break
        size += len(data)
        if stream.header.get("hash"):
            digest.update(data)
    await stream.write(json.dumps({"size": size, "sha256": digest.hexdigest()}).encode())


async def source(stream):
    left = stream.header["size"]
    while left:
        await stream.write(CHUNK[:left])
        left -= min(left, len(CHUNK))


async def pattern(stream):
    """Send bytes that differ everywhere, so that nothing lost or moved goes unnoticed."""
    for number in range(stream.header["size"] // 32):
        await stream.write(hashlib.sha256(number.to_bytes(8, "big")).digest())


async def lines(stream):
    for number in range(stream.header["count"]):
        await stream.write(b"line %d\n" % number)


async def dial(stream):
    try:
        sock = socket.create_connection((stream.header["host"], stream.header["port"]), 5)
    except OSError as error:
        await stream.reset("refused", str(error))
        return
    await bridge_socket(stream, FdChannel.from_socket(sock))


async def hold(stream):
    await stream.wait_stopped()


async def add(params):
    return params["a"] + params["b"]


async def size(params):
    return len(params["text"])


async def refuse(params):
    raise CallError("not_now", "come back later", "wait")


async def fail(params):
    raise ZeroDivisionError("a defect")


async def wait(params):
    await asyncio.sleep(params["seconds"])


async def about(params):
    return {"version": list(sys.version_info[:2])}


CALLS = {"add": add, "size": size, "refuse": refuse, "fail": fail, "wait": wait, "about": about}
KINDS = {"echo": echo, "sink": sink, "source": source, "pattern": pattern}
KINDS.update(lines=lines, dial=dial, hold=hold)


async def on_stream(stream):
    kind = stream.header["kind"]
    if kind == "call":
        await serve_calls(stream, CALLS)
    elif kind in KINDS:
        await KINDS[kind](stream)
    else:
        await stream.reset("unknown_kind", kind)


async def serve(listener, linger):
    loop = asyncio.get_event_loop()
    loop.set_exception_handler(lambda _, context: print(context.get("exception"), flush=True))
    host = SessionHost(on_stream, linger=linger)
    listener.setblocking(False)
    attached = set()
    print("ready", flush=True)
    while True:
        connection, _ = await loop.sock_accept(listener)
        task = loop.create_task(host.attach(FdChannel.from_socket(connection)))
        attached.add(task)
        task.add_done_callback(attached.discard)


def serve_raw(listener):
    """Serve, by the first byte of a connection: e echo, s sink, r source of so many bytes."""
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=raw, args=(connection,), daemon=True).start()


def raw(connection):
    buffer = memoryview(bytearray(1 << 20))
    mode = connection.recv(9)
    left = int.from_bytes(mode[1:], "big")
    if mode[:1] == b"e":
        while True:
            count = connection.recv_into(buffer)
            if not count:
                return
            connection.sendall(buffer[:count])
    if mode[:1] in b"sb":
        taking = threading.Thread(target=take, args=(connection, buffer, left))
        taking.start()
        if mode[:1] == b"s":
            taking.join()
            connection.sendall(b"k")
            return
    while left > 0:
        connection.sendall(CHUNK[:left])
        left -= len(CHUNK)


def take(connection, buffer, left):
    while left > 0:
        left -= connection.recv_into(buffer)


def main():
    os.chdir(sys.argv[1])
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind("agent.sock")
    listener.listen(128)
    if sys.argv[2:3] == ["raw"]:
        serve_raw(listener)
    else:
        asyncio.run(serve(listener, float(sys.argv[2]) if len(sys.argv) > 2 else 3600.0))


if __name__ == "__main__":
    main()

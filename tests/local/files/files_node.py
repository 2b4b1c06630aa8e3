"""A node that serves file sync and nothing else, on stdin and stdout.

`files_node.py HOMES`: the home of rank k is HOMES/rank-k. It runs on every Python that the agent runs on.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from jupyter_sky.agent import files
from jupyter_sky.agent.wire import FdChannel, SessionHost


async def main(home: str) -> None:
    """Serve until the connection ends."""
    if "TEST_FILE_LIMIT" in os.environ:
        # What a full disk is to a process: the files of it that grow end in an error.
        limit = int(os.environ["TEST_FILE_LIMIT"])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    if "TEST_UID" in os.environ:
        # Whatever is loaded late, while the installation can still be read.
        import hashlib  # noqa: F401
        import zlib  # noqa: F401

        from jupyter_sky.agent.files import service  # noqa: F401

        os.setuid(int(os.environ["TEST_UID"]))

    async def on_stream(stream) -> None:
        if stream.header["kind"] == "beat":
            # Proves that the loop is free: one byte for each one that comes.
            while data := await stream.read(1):
                await stream.write(data)
            return
        await files.serve(stream, f"{home}/rank-{stream.header.get('rank') or 0}")

    host = SessionHost(on_stream)
    await host.attach(FdChannel.from_fds(os.dup(0), os.dup(1)))
    await host.close()


asyncio.run(main(*sys.argv[1:]))

"""The agent's half of a sync: takes one stream and receives for a push, or sends for a pull."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Dict, Tuple

from .errors import FilesError
from .paths import expand, place_for
from .pipe import TIMEOUT, Pipe, run
from .receiver import Receiver
from .scan import refuse_unreadable, scan
from .sender import Sender

if TYPE_CHECKING:
    from .pipe import StreamLike

#: What a sender may have waiting from its receiver: requests, whose number the manifest bounds.
SENDER_BACKLOG = 512 << 20
_MAX_TIMEOUT = 86400.0


async def handle(stream: StreamLike, home: str) -> None:
    """Serve one `files.push` or `files.pull`; whatever fails, the peer is told and the agent goes on."""
    kind = stream.header.get("kind")
    try:
        path, timeout = _asked(stream.header, home)
    except FilesError as error:
        await stream.reset(error.code, error.message)
        return
    # `run` has told the peer, which is the one that speaks to the person.
    with contextlib.suppress(FilesError):
        if kind == "files.push":
            await run(stream, lambda pipe: _receive(pipe, path), timeout=timeout)
        else:
            await run(stream, lambda pipe: _send(pipe, path), timeout=timeout, backlog=SENDER_BACKLOG)


def _asked(header: Dict[str, Any], home: str) -> Tuple[str, float]:
    """Give the path and the time-out of a request."""
    path, timeout = header.get("path"), header.get("timeout", TIMEOUT)
    if not isinstance(path, str) or not isinstance(timeout, (int, float)) or not 0 < timeout < _MAX_TIMEOUT:
        raise FilesError("The request holds no path, or no good time-out.", code="protocol")
    return expand(path, home), float(timeout)


def _receive(pipe: Pipe, path: str) -> None:
    def locate(single: str) -> Tuple[str, str]:
        return place_for(path, single)

    Receiver(pipe, locate).run()


def _send(pipe: Pipe, path: str) -> None:
    if not os.path.lexists(path):
        raise FilesError(f"There is no {path} on the node.", code="not_found")
    tree = scan(path, tick=pipe.tick)
    refuse_unreadable(tree)
    sender = Sender(tree, pipe)
    sender.notes += tree.notes
    sender.run()

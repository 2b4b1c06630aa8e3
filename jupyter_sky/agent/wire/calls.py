"""Calls: one request, one reply, over one stream.

A call opens a stream whose header names the method; the reply is one JSON document and the end, or a reset
that says why not. Parameters too long for a header follow as the stream's data.
"""

from __future__ import annotations

import asyncio
import json

from .errors import CallError, StreamReset
from .mux import MAX_HEADER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Awaitable, Callable, Dict, List, Mapping, Protocol

    from .stream import Stream

    Handler = Callable[[Dict[str, Any]], Awaitable[Any]]

    class Opener(Protocol):
        """Whoever can open streams."""

        async def open(self, header: Dict[str, Any]) -> Stream:
            """Open a stream."""


#: The longest parameters and the longest reply, as JSON, in bytes.
MAX_PARAMS = 16 << 20
MAX_REPLY = 64 << 20


async def call(
    opener: Opener,
    method: str,
    params: Dict[str, Any],
    timeout: float,  # noqa: ASYNC109 - a call's limit is part of what is asked
    **extra: Any,
) -> Any:
    """Call `method` and give its result.

    Parameters
    ----------
    opener
        Opens the stream, usually a session.
    method, params
        What to call, with parameters that JSON can carry.
    timeout
        Seconds for all of it.
    extra
        More fields of the header, such as `rank`.

    Raises
    ------
    CallError
        The other end refused, with its code, message and hint.
    asyncio.TimeoutError
        No reply came in time.
    """
    return await asyncio.wait_for(_call(opener, method, params, extra), timeout)


async def _call(opener: Opener, method: str, params: Dict[str, Any], extra: Dict[str, Any]) -> Any:
    header = {"kind": "call", "method": method, **extra}
    body = json.dumps(params, separators=(",", ":")).encode()
    short = len(body) <= MAX_HEADER // 2
    stream = await opener.open({**header, "params": params} if short else header)
    try:
        if not short:
            await stream.write(body)
        await stream.write_eof()
        reply = await _read_all(stream, MAX_REPLY)
    except StreamReset as reset:
        raise CallError(reset.code, reset.message, reset.hint) from None
    except BaseException:
        await stream.reset("cancelled", "the caller no longer waits")
        raise
    await stream.close()
    try:
        return json.loads(reply.decode())
    except (ValueError, RecursionError):
        raise CallError("bad_reply", f"the reply to {method} is not JSON") from None


async def _read_all(stream: Stream, limit: int) -> bytes:
    parts: List[bytes] = []
    size = 0
    while True:
        part = await stream.read()
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > limit:
            await stream.reset("too_long", f"more than {limit} bytes came")
            raise StreamReset("too_long", f"more than {limit} bytes came")


async def serve_calls(stream: Stream, methods: Mapping[str, Handler]) -> None:
    """Answer the call that `stream` carries with one of `methods`.

    A handler takes the parameters and gives what JSON can carry, or raises `CallError`. Any other
    exception is a defect: the caller is told ("internal"), and it goes on to the loop's exception handler.
    """
    method = stream.header.get("method")
    handler = methods.get(method) if isinstance(method, str) else None
    if handler is None:
        await stream.reset("unknown_method", f"there is no method {method!r}")
        return
    try:
        params = await _params(stream)
        reply = json.dumps(await handler(params), separators=(",", ":")).encode()
        await stream.write(reply)
        await stream.write_eof()
    except CallError as error:
        await stream.reset(error.code, error.message, error.hint)
    except StreamReset:
        return  # the caller is gone; what it asked for is done
    except Exception as error:  # noqa: BLE001 - a defect in one call must not end the agent
        await stream.reset("internal", f"{method} failed: {type(error).__name__}: {error}")
        asyncio.get_event_loop().call_exception_handler(
            {"message": f"the handler of {method} failed", "exception": error}
        )


async def _params(stream: Stream) -> Dict[str, Any]:
    params = stream.header.get("params")
    if params is None:
        try:
            params = json.loads((await _read_all(stream, MAX_PARAMS)).decode())
        except (ValueError, RecursionError):
            params = None
    if not isinstance(params, dict):
        raise CallError("bad_params", "the parameters of a call must be a JSON object")
    return params

"""The bytes on a channel: a greeting each way, then records.

A greeting is four magic bytes, a length and a JSON object. A record is a kind, a length and its bytes.
Nothing here trusts the other end: every length is checked before memory is set aside for it.
"""

from __future__ import annotations

import json
import struct

from .errors import ChannelClosed, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, Tuple

    from .channel import Buffer, Channel

#: Raised whenever two ends of different versions could no longer understand each other.
PROTOCOL_VERSION = 1
#: The longest record, in bytes without its head.
MAX_RECORD = (1 << 20) + 64
#: Kinds of record. Only DATA is numbered, buffered and sent again after a cut.
DATA, ACK, PING, PONG, BYE = range(5)

_MAGIC = b"JSky"
_LENGTH = struct.Struct("!I")
_HEAD = struct.Struct("!BI")
_COUNT = struct.Struct("!BIQ")
_U64 = struct.Struct("!Q")
_MAX_GREETING = 4096
#: A login shell may print a text of its own before our first byte; so much of it is passed over.
_MAX_NOISE = 1 << 16


def data_head(length: int) -> bytes:
    """Give the head of a DATA record of `length` bytes."""
    return _HEAD.pack(DATA, length)


def count_record(kind: int, count: int) -> bytes:
    """Give a whole ACK, PING, PONG or BYE record; `count` is how many DATA records were received."""
    return _COUNT.pack(kind, _U64.size, count)


def read_count(body: Buffer) -> int:
    """Read what `count_record` carried."""
    if len(body) != _U64.size:
        raise ProtocolError(f"a counter of {len(body)} bytes came where {_U64.size} were expected")
    count: int = _U64.unpack(body)[0]
    return count


class RecordReader:
    """Cuts a flow of chunks into records; holds at most one unfinished record."""

    def __init__(self) -> None:
        self._carry = bytearray()

    def feed(self, chunk: Buffer) -> Iterator[Tuple[int, memoryview]]:
        """Take a chunk and yield each record it completes as (kind, body), valid until the next."""
        view = memoryview(chunk)
        end = len(view)
        pos = 0
        if self._carry:
            carry = self._carry
            pos = min(max(_HEAD.size - len(carry), 0), end)
            carry += view[:pos]
            if len(carry) < _HEAD.size:
                return
            kind, length = self._head(carry, 0)
            missing = _HEAD.size + length - len(carry)
            if end - pos < missing:
                carry += view[pos:]
                return
            carry += view[pos : pos + missing]
            pos += missing
            self._carry = bytearray()
            yield kind, memoryview(carry)[_HEAD.size :]
        while end - pos >= _HEAD.size:
            kind, length = self._head(view, pos)
            start = pos + _HEAD.size
            if end - start < length:
                break
            pos = start + length
            yield kind, view[start:pos]
        if pos < end:
            self._carry += view[pos:]

    @staticmethod
    def _head(buffer: Buffer, pos: int) -> Tuple[int, int]:
        kind, length = _HEAD.unpack_from(buffer, pos)
        if kind > BYE:
            raise ProtocolError(f"a record of the unknown kind {kind} came")
        if length > MAX_RECORD:
            raise ProtocolError(f"a record of {length} bytes was announced; the limit is {MAX_RECORD}")
        return kind, length


def greeting(fields: Dict[str, Any]) -> bytes:
    """Give the bytes that carry the greeting `fields`."""
    body = json.dumps(fields, separators=(",", ":")).encode()
    return _MAGIC + _LENGTH.pack(len(body)) + body


async def read_greeting(channel: Channel) -> Tuple[Dict[str, Any], bytes]:
    """Wait for the other end's greeting; also give the bytes that came after it.

    Text before the greeting, such as what a login shell prints, is passed over.

    Raises
    ------
    ChannelClosed
        The channel ended first.
    ProtocolError
        What came is no greeting of a version that is understood.
    """
    data = bytearray()
    head = len(_MAGIC) + _LENGTH.size
    while True:
        chunk = await channel.recv()
        if not len(chunk):
            raise ChannelClosed("the other end closed the connection before it said a word" + _quoted(data))
        data += chunk
        start = data.find(_MAGIC)
        if start < 0 or len(data) - start < head:
            if len(data) > _MAX_NOISE:
                raise ProtocolError("the other end does not speak our protocol" + _quoted(data))
            continue
        (length,) = _LENGTH.unpack_from(data, start + len(_MAGIC))
        if length > _MAX_GREETING:
            raise ProtocolError(f"a greeting of {length} bytes was announced; the limit is {_MAX_GREETING}")
        end = start + head + length
        if len(data) >= end:
            return _fields(bytes(data[start + head : end])), bytes(data[end:])


def _fields(body: bytes) -> Dict[str, Any]:
    try:
        fields = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise ProtocolError("the other end's greeting is not JSON") from None
    if not isinstance(fields, dict):
        raise ProtocolError("the other end's greeting is not a JSON object")
    version = fields.get("version")
    if version != PROTOCOL_VERSION:
        raise ProtocolError(f"the other end speaks protocol version {version!r}, this one {PROTOCOL_VERSION}")
    return fields


def _quoted(data: Buffer) -> str:
    text = bytes(data[:400]).decode("utf-8", "replace").strip()
    return f"; it said: {text}" if text else ""

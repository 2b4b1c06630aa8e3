"""Content digests, and the sizes that both ends must agree on."""

from __future__ import annotations

import os
from typing import Callable, Optional

#: Bytes of a digest: enough that two different blocks never meet by chance.
DIGEST = 16
#: A file longer than this travels by blocks, and can be continued.
LARGE = 4 << 20
#: The length of a block, bytes.
BLOCK = 1 << 20
#: A block that holds nothing, which travels as a number.
ZEROS = bytes(BLOCK)


def digest(data: bytes) -> bytes:
    """Give the digest of some content."""
    # hashlib loads OpenSSL; an agent that syncs nothing must not pay for it.
    from hashlib import blake2b

    return blake2b(data, digest_size=DIGEST).digest()


def read_at(fd: int, length: int, offset: int) -> bytes:
    """Read `length` bytes at `offset`, fewer only at the end of the file."""
    data = os.pread(fd, length, offset)
    while data and len(data) < length:
        more = os.pread(fd, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def block_digests(fd: int, size: int, tick: Optional[Callable[[], None]] = None) -> bytes:
    """Give the digests of a file's blocks, one after the other."""
    found = bytearray()
    for offset in range(0, size, BLOCK):
        found += digest(read_at(fd, min(BLOCK, size - offset), offset))
        if tick is not None:
            tick()
    return bytes(found)

"""The frames of file sync: their kinds and the layout of their fixed parts, all big-endian."""

from __future__ import annotations

import struct

#: Bumped when an old peer could not understand a new one.
VERSION = 1

# From the sender.
HELLO = 1  # JSON {"version", "single": name or ""}
TREE = 2  # a zlib-compressed JSON piece of the manifest
TREE_END = 3
FILE = 4  # META, then the whole content
SAME = 5  # META: the content the receiver has is right, its mode and time may not be
GONE = 6  # INDEX: the file vanished or could not be read; DONE says which
OPEN = 7  # OPEN_LARGE: a large file follows, in order of offset
BLOCK = 8  # OFFSET, then the bytes
ZERO = 9  # RANGE of zeros
KEEP = 10  # RANGE that the receiver already has
CLOSE = 11  # END of the large file
DONE = 12  # JSON {"notes": [...], "failed": [[path, reason]...]}

# From the receiver.
WANT = 20  # INDEX, then the digest of the file there of the same size, if there is one
WANT_BLOCKS = 21  # INDEX, then the digests of the blocks it has
FIN = 22  # every request was answered
RESULT = 23  # JSON {"notes": [...]}

INDEX = struct.Struct(">I")
META = struct.Struct(">IqH")  # index, mtime in ns, mode
OPEN_LARGE = struct.Struct(">IQ")  # index, size as far as known
OFFSET = struct.Struct(">Q")
RANGE = struct.Struct(">QQ")  # offset, length
END = struct.Struct(">QqHB")  # size, mtime in ns, mode, whether it changed while it was read

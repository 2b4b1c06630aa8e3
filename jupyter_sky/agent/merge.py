r"""The merged log of a job on several nodes: whole lines of every rank, with a prefix that says whose.

A line ends with "\n" or "\r"; one longer than 64 KiB is cut. Before a piece is appended, an index of two
slots is told what will be appended: from which bytes of which rank, and where. An agent that was killed in
between finishes that piece from the rank's log, byte for byte, so that a follower sees no line twice and
misses none.
"""

from __future__ import annotations

import json
import os
import re
import struct
import zlib
from typing import Any, Dict, List, Optional, Tuple

#: The longest line, in bytes without its prefix.
MAX_LINE = 1 << 16
_HEAD = struct.Struct("!II")
_LINES = re.compile(rb"[^\n\r]*(?:\r\n|\n|\r)|[^\n\r]+\Z")


def prefix_of(rank: int, pid: int) -> bytes:
    """Give what a rank's lines begin with."""
    name = "head" if rank == 0 else f"worker{rank}"
    return f"({name}, rank={rank}, pid={pid}) ".encode()


def whole_lines(data: bytes, final: bool) -> int:
    r"""Give how many of `data`'s bytes are whole lines; `final` says that no more will come.

    A "\r" at the very end may be the first half of a "\r\n" and waits for what follows, and so does a line
    without an end, unless it is too long to wait for.
    """
    if final:
        return len(data)
    end = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
    rest = len(data) - end
    return end + rest - rest % MAX_LINE if rest > MAX_LINE else end


def with_prefix(data: bytes, prefix: bytes) -> bytes:
    """Give whole lines with the prefix before each; the same bytes always become the same bytes."""
    if not data:
        return b""
    if b"\r" not in data and not _has_long_line(data):
        ended = data if data.endswith(b"\n") else data + b"\n"
        return prefix + ended[:-1].replace(b"\n", b"\n" + prefix) + b"\n"
    parts: List[bytes] = []
    for line in _LINES.findall(data):
        for begin in range(0, len(line), MAX_LINE):
            piece = line[begin : begin + MAX_LINE]
            if piece in (b"\n", b"\r", b"\r\n") and begin:
                continue  # the end of a line that was cut exactly before it
            parts += (prefix, piece if piece.endswith((b"\n", b"\r")) else piece + b"\n")
    return b"".join(parts)


def _has_long_line(data: bytes) -> bool:
    position = 0
    while len(data) - position > MAX_LINE:
        end = data.rfind(b"\n", position, position + MAX_LINE + 1)
        if end < 0:
            return True
        position = end + 1
    return False


class Merged:
    """The merged log and its index; knows, for each rank, how much of its log is in.

    Parameters
    ----------
    path
        The merged log; the index stands beside it.
    num_ranks
        How many ranks the job has.
    """

    def __init__(self, path: str, num_ranks: int) -> None:
        self._slot_size = 256 + 24 * num_ranks
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._log = os.open(path, flags, 0o600)
        self._index = os.open(path + ".index", flags, 0o600)
        self._state: Dict[str, Any] = self._load() or {
            "seq": 0,
            "offsets": [0] * num_ranks,
            "end": 0,
            "last": None,
            "complete": False,
        }

    def close(self) -> None:
        """Close the files."""
        os.close(self._log)
        os.close(self._index)

    @property
    def is_complete(self) -> bool:
        """Whether every rank's log is in to its end."""
        return bool(self._state["complete"])

    def offset(self, rank: int) -> int:
        """Give how many bytes of a rank's log are in."""
        return int(self._state["offsets"][rank])

    def unfinished(self) -> Optional[Tuple[int, int, int]]:
        """Give the piece that may be written in part: its rank, and its part of that rank's log."""
        last = self._state["last"]
        if last is None or os.fstat(self._log).st_size >= self._state["end"]:
            return None
        return last["rank"], last["begin"], last["end"]

    def finish(self, data: bytes) -> None:
        """Write what is missing of the unfinished piece, given the rank's bytes of it. Raises `OSError`."""
        last = self._state["last"]
        text = with_prefix(data, last["prefix"].encode())
        size = os.fstat(self._log).st_size
        self._write(text[size - last["at"] :], size)

    def append(self, rank: int, data: bytes, prefix: bytes) -> None:
        """Append the next bytes of a rank's log, which are whole lines.

        Raises
        ------
        OSError
            The disk is full. Later, `finish` is to be called where `unfinished` gives this piece, else
            `append` again.
        """
        text = with_prefix(data, prefix)
        state = self._state
        begin, at = self.offset(rank), state["end"]
        offsets = list(state["offsets"])
        offsets[rank] = begin + len(data)
        last = {"rank": rank, "begin": begin, "end": offsets[rank], "at": at, "prefix": prefix.decode()}
        self._save({**state, "offsets": offsets, "end": at + len(text), "last": last})
        self._write(text, at)

    def complete(self) -> None:
        """Say that every rank's log is in."""
        self._save({**self._state, "complete": True})

    def _write(self, text: bytes, at: int) -> None:
        view = memoryview(text)
        while view:
            count = os.pwrite(self._log, view, at)
            at += count
            view = view[count:]

    def _save(self, state: Dict[str, Any]) -> None:
        # The slots take turns: a write that is cut short leaves the one before it whole.
        state["seq"] += 1
        body = json.dumps(state, separators=(",", ":")).encode()
        slot = _HEAD.pack(len(body), zlib.crc32(body)) + body
        os.pwrite(self._index, slot.ljust(self._slot_size), (state["seq"] % 2) * self._slot_size)
        self._state = state

    def _load(self) -> Optional[Dict[str, Any]]:
        found: List[Dict[str, Any]] = []
        for number in range(2):
            slot = os.pread(self._index, self._slot_size, number * self._slot_size)
            if len(slot) < _HEAD.size:
                continue
            length, check = _HEAD.unpack_from(slot)
            body = slot[_HEAD.size : _HEAD.size + length]
            if length and len(body) == length and zlib.crc32(body) == check:  # zeros: never written
                found.append(json.loads(body.decode()))
        return max(found, key=lambda state: int(state["seq"])) if found else None

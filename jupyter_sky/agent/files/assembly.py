"""One large file on its way: put together from blocks that arrive and blocks that are there already.

What arrived is kept under a name made from the file's path, in order of offset, so the sync after an
interrupted one finds a beginning to continue. Both that beginning and the file that is being replaced are
offered to the sender by the digests of their blocks, and a block is only reused after the sender said that
it has the same.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, List, Optional, Tuple

from .digest import BLOCK, DIGEST, ZEROS, block_digests, read_at
from .errors import FilesError

if TYPE_CHECKING:
    from .pipe import Pipe
    from .target import Target

#: How often a file that keeps changing is asked for, before it is taken as it was read.
TRIES = 3
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Assembly:
    """A large file between being asked for and being in its place."""

    def __init__(self, target: Target, folder: str, name: str, path: str) -> None:
        self._target = target
        self._folder = folder
        self._name = name
        self.path = path
        self.tries = 0
        self._existing: Optional[int] = None
        self._existing_info: Optional[os.stat_result] = None
        self._temp: Optional[int] = None
        self._temp_name = ""
        self._temp_folder = -1
        self._resumable = False
        #: Bytes at the start of the temporary file whose digests were offered.
        self._offered = 0
        #: Where the temporary file ends; beyond it there is nothing to overwrite with zeros.
        self._end = 0
        self._kept: List[Tuple[int, int]] = []
        self._next = 0

    def offer(self, pipe: Pipe) -> bytes:
        """Give the digests of the blocks that are here already, to be sent with the request."""
        self._next = 0
        if self._temp is None:
            partial = self._target.staging.partial(self.path, create=False)
            if partial is not None:
                self._take_temp(partial[0], partial[1], self._target.staging.base, resumable=True)
        digests = b""
        if self._temp is not None:
            self._end = os.fstat(self._temp).st_size
            self._offered = self._end // BLOCK * BLOCK
            digests = block_digests(self._temp, self._offered, pipe.tick)
        self._open_existing()
        if self._existing is not None and self._existing_info is not None:
            size = self._existing_info.st_size
            found = bytearray(digests)
            for offset in range(self._offered, size, BLOCK):
                found += block_digests_at(self._existing, offset, min(BLOCK, size - offset))
                pipe.tick()
            digests = bytes(found)
        return digests

    def _open_existing(self) -> None:
        if self._existing is not None:
            os.close(self._existing)
            self._existing = None
        if self.tries >= TRIES - 1:  # it keeps changing under us: rely on nothing in it
            return
        try:
            fd = os.open(self._name, _READ_FLAGS, dir_fd=self._target.folders.fd(self._folder))
        except OSError:  # none there, or one that cannot be read: then everything travels
            return
        info = os.fstat(fd)
        if stat.S_ISREG(info.st_mode):
            self._existing, self._existing_info = fd, info
        else:
            os.close(fd)

    def keep(self, offset: int, length: int) -> None:
        """Take a range from what is here. Nothing is copied until it is known that anything differs."""
        self._advance(offset, length)
        have = max(
            self._offered,
            self._existing_info.st_size if self._existing is not None and self._existing_info else 0,
        )
        if offset + length > have:
            raise FilesError("The sender kept a block that was never offered.", code="protocol")
        self._kept.append((offset, length))

    def zero(self, offset: int, length: int) -> None:
        """Make a range zero; beyond the end that is a hole, and costs no space."""
        self._advance(offset, length)
        fd = self._begin()
        stop = min(offset + length, self._end)
        while offset < stop:
            offset += os.pwrite(fd, ZEROS[: stop - offset], offset)

    def block(self, offset: int, length: int, pipe: Pipe) -> None:
        """Write a block as it arrives."""
        self._advance(offset, length)
        fd = self._begin()
        for piece in pipe.pieces(length):
            written = 0
            while written < len(piece):
                written += os.pwrite(fd, piece[written:], offset + written)
            offset += len(piece)
        self._end = max(self._end, offset)

    def close_file(self, size: int, mode: int, mtime_ns: int) -> None:
        """Put the file in its place, whole; raises OSError."""
        if self._temp is None and self._untouched(size):
            self.abandon()
            self._target.adjust(self._folder, self._name, mode, mtime_ns)
            return
        fd = self._begin()
        os.ftruncate(fd, size)
        os.fchmod(fd, mode)
        os.utime(fd, ns=(mtime_ns, mtime_ns))
        self._target.place(self._temp_folder, self._temp_name, self._folder, self._name)
        os.close(fd)
        self._temp = None
        self.abandon()

    def again(self, size: int) -> None:
        """Keep what arrived as the beginning of another try, because the file changed while it was read."""
        if self._kept or self._temp is not None:
            os.ftruncate(self._begin(), size)
        self.tries += 1

    def abandon(self, *, remove: bool = False) -> None:
        """Let go; what arrived stays for a later sync to continue, unless it is to be removed."""
        if self._temp is not None:
            if remove or not self._resumable:
                with contextlib.suppress(OSError):
                    os.unlink(self._temp_name, dir_fd=self._temp_folder)
            os.close(self._temp)
            self._temp = None
        if self._existing is not None:
            os.close(self._existing)
            self._existing = None

    def replaced_meanwhile(self) -> bool:
        """Say whether someone wrote to the file that blocks were kept from."""
        if self._existing is None or self._existing_info is None:
            return False
        now = os.fstat(self._existing)
        return (now.st_size, now.st_mtime_ns) != (
            self._existing_info.st_size,
            self._existing_info.st_mtime_ns,
        )

    def _advance(self, offset: int, length: int) -> None:
        if offset != self._next or not 0 < length < 1 << 62:
            raise FilesError("The sender sent blocks out of order.", code="protocol")
        self._next = offset + length

    def _untouched(self, size: int) -> bool:
        """Say whether all of the file was kept from the one that is there."""
        info = self._existing_info
        kept = sum(length for _, length in self._kept)
        return self._existing is not None and info is not None and info.st_size == size == kept

    def _begin(self) -> int:
        """Give the temporary file, with all in it that was kept so far."""
        if self._temp is None:
            partial = self._target.staging.partial(self.path, create=True)
            if partial is not None:
                self._take_temp(partial[0], partial[1], self._target.staging.base, resumable=True)
                os.ftruncate(partial[0], 0)
            else:  # another sync is writing the same file; this one takes a name of its own
                name = self._target.staging.fresh()
                folder = self._target.staging.fd
                self._take_temp(os.open(name, _NEW_FILE, 0o600, dir_fd=folder), name, folder, resumable=False)
            self._end = 0
        assert self._temp is not None
        kept, self._kept = self._kept, []
        for offset, length in kept:
            self._copy(self._temp, offset, length)
        return self._temp

    def _copy(self, fd: int, offset: int, length: int) -> None:
        """Copy a kept range from the file that is there; what the temporary file offered is in place."""
        stop = offset + length
        offset = max(offset, min(self._offered, stop))
        while offset < stop:
            assert self._existing is not None
            data = read_at(self._existing, min(BLOCK, stop - offset), offset)
            if not data:
                break  # shortened meanwhile: replaced_meanwhile tells, and the file is asked for again
            if offset < self._end or data != ZEROS[: len(data)]:
                written = 0
                while written < len(data):
                    written += os.pwrite(fd, memoryview(data)[written:], offset + written)
            offset += len(data)
            self._end = max(self._end, offset)

    def _take_temp(self, fd: int, name: str, folder: int, *, resumable: bool) -> None:
        self._temp, self._temp_name, self._temp_folder, self._resumable = fd, name, folder, resumable
        self._offered = 0


def block_digests_at(fd: int, offset: int, length: int) -> bytes:
    """Give the digest of one block."""
    from .digest import digest

    data = read_at(fd, length, offset)
    return digest(data) if data else bytes(DIGEST)

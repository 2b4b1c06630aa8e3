"""The side that has the files: it sends the manifest, then answers what the receiver asks for.

It reads each file once more at the moment it is asked for, so a file that changed since the scan travels as
it is now, with its present time; one that changes while it is read is read again, up to a limit, and then
sent as it was read, with a note. One that vanished is left out with a note. None of this ends the sync of
the others.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import TYPE_CHECKING, Callable, List, Optional, Tuple

from . import frames
from .digest import BLOCK, DIGEST, LARGE, ZEROS, read_at
from .errors import FilesError, show
from .paths import Folders, join, open_root

if TYPE_CHECKING:
    from .pipe import Pipe
    from .scan import Tree

#: How often a small file that changes under the reader is read before it is sent as it is.
_TRIES = 3
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Sender:
    """Sends one tree over one pipe.

    Parameters
    ----------
    tree
        What to send; it may be shared with other senders.
    pipe
        The way to the receiver.
    progress
        Called with (bytes of content gone out, bytes of content newly asked for).
    """

    def __init__(self, tree: Tree, pipe: Pipe, progress: Optional[Callable[[int, int], None]] = None) -> None:
        self._tree = tree
        self._pipe = pipe
        self._progress = progress or (lambda _done, _asked: None)
        self.sent_files = 0
        self.sent_bytes = 0
        self.notes: List[str] = []
        self.failed: List[Tuple[str, str]] = []
        self._folders: Folders

    def run(self) -> None:
        """Send everything that is asked for; returns when the receiver has said that all is in place."""
        self._folders = Folders(open_root(self._tree.root))
        try:
            self._hello()
            self._answer()
        finally:
            self._folders.close()
        kind, length = self._pipe.recv()
        if kind != frames.RESULT:
            raise FilesError(f"The receiver sent a frame of kind {kind} at the end.", code="protocol")
        self.notes += map(str, json.loads(self._pipe.body(length)).get("notes", []))

    def _hello(self) -> None:
        send = self._pipe.send
        send(frames.HELLO, json.dumps({"version": frames.VERSION, "single": self._tree.single}).encode())
        for chunk in self._tree.chunks():
            send(frames.TREE, chunk)
        send(frames.TREE_END)

    def _answer(self) -> None:
        while True:
            kind, length = self._pipe.recv()
            if kind == frames.FIN:
                break
            if kind not in (frames.WANT, frames.WANT_BLOCKS) or length < frames.INDEX.size:
                raise FilesError(f"The receiver sent a frame of kind {kind}.", code="protocol")
            (index,) = frames.INDEX.unpack(self._pipe.body(frames.INDEX.size))
            digests = self._pipe.body(length - frames.INDEX.size)
            if index >= len(self._tree.files):
                raise FilesError(f"The receiver asked for file {index}, which there is not.", code="protocol")
            self._one(index, digests, by_blocks=kind == frames.WANT_BLOCKS)
        done = {"notes": self.notes, "failed": self.failed}
        self._pipe.send(frames.DONE, json.dumps(done).encode())

    def _one(self, index: int, digests: bytes, *, by_blocks: bool) -> None:
        folder, name, _, _, size = self._tree.files[index]
        self._progress(0, size)
        path = join(folder, name)
        try:
            fd = os.open(name, _READ_FLAGS, dir_fd=self._folders.fd(folder))
        except (FileNotFoundError, NotADirectoryError):
            self._gone(index, f"{show(path)} vanished before it was copied; skipped.")
            return
        except OSError as error:
            if error.errno == errno.ELOOP:
                self._gone(index, f"{show(path)} is no file any more; skipped.")
                return
            self._gone(index)
            self.failed.append((path, error.strerror or str(error)))
            return
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                self._gone(index, f"{show(path)} is no file any more; skipped.")
            elif by_blocks or info.st_size > LARGE:
                self._large(index, fd, info, digests if by_blocks else b"")
            else:
                self._small(index, fd, info, digests)
        except OSError as error:  # what the disk says; the pipe raises FilesError
            raise FilesError(f"Cannot read {show(path)}: {error.strerror or error}.") from None
        finally:
            os.close(fd)

    def _gone(self, index: int, note: str = "") -> None:
        if note:
            self.notes.append(note)
        self._pipe.send(frames.GONE, frames.INDEX.pack(index))

    def _small(self, index: int, fd: int, info: os.stat_result, known: bytes) -> None:
        """Send a file whole, unless the receiver has the same content."""
        for attempt in range(_TRIES):
            data = read_at(fd, info.st_size, 0)
            after = os.fstat(fd)
            if len(data) == info.st_size and _version(after) == _version(info):
                break
            if attempt + 1 < _TRIES and after.st_size <= LARGE:
                info = after
        else:
            folder, name = self._tree.files[index][:2]
            self.notes.append(f"{show(join(folder, name))} changed while it was copied.")
        meta = frames.META.pack(index, info.st_mtime_ns, info.st_mode & 0o777)
        if known and self._tree.digest(index, info.st_mtime_ns, info.st_size, 0, data) == known:
            self._pipe.send(frames.SAME, meta)
            self._progress(len(data), 0)
        else:
            self._pipe.send(frames.FILE, meta, data)
            self._count(len(data))
            self.sent_files += 1

    def _large(self, index: int, fd: int, info: os.stat_result, known: bytes) -> None:
        """Send a file by blocks: what the receiver has is kept, zeros travel as a number."""
        size = info.st_size
        self._pipe.send(frames.OPEN, frames.OPEN_LARGE.pack(index, size))
        sparse = info.st_blocks * 512 < size
        run = _Run(self._pipe)
        before = self.sent_bytes
        offset = 0
        while offset < size:
            hole = _hole(fd, offset, size) if sparse else 0
            if hole:
                run.add(frames.ZERO, offset, hole)
                self._progress(hole, 0)
                offset += hole
                continue
            data = read_at(fd, min(BLOCK, size - offset), offset)
            if not data:
                break
            number = offset // BLOCK
            have = known[number * DIGEST : (number + 1) * DIGEST]
            if have and self._tree.digest(index, info.st_mtime_ns, size, number, data) == have:
                run.add(frames.KEEP, offset, len(data))
                self._progress(len(data), 0)
            elif data == (ZEROS if len(data) == BLOCK else ZEROS[: len(data)]):
                run.add(frames.ZERO, offset, len(data))
                self._progress(len(data), 0)
            else:
                run.end()
                self._pipe.send(frames.BLOCK, frames.OFFSET.pack(offset), data)
                self._count(len(data))
            offset += len(data)
        run.end()
        changed = offset != size or _version(os.fstat(fd)) != _version(info)
        self._pipe.send(
            frames.CLOSE, frames.END.pack(offset, info.st_mtime_ns, info.st_mode & 0o777, changed)
        )
        self.sent_files += self.sent_bytes > before

    def _count(self, length: int) -> None:
        self.sent_bytes += length
        self._progress(length, 0)


class _Run:
    """Neighbouring blocks that are kept, or zero: told in one frame when something else follows."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._kind = self._start = self._length = 0

    def add(self, kind: int, offset: int, length: int) -> None:
        """Add a block, which follows the last one if that was of the same kind."""
        if kind != self._kind:
            self.end()
            self._kind, self._start = kind, offset
        self._length += length
        self._pipe.tick()

    def end(self) -> None:
        """Tell what was gathered."""
        if self._length:
            self._pipe.send(self._kind, frames.RANGE.pack(self._start, self._length))
        self._kind = self._length = 0


def _version(info: os.stat_result) -> Tuple[int, int, int]:
    return info.st_size, info.st_mtime_ns, info.st_ino


def _hole(fd: int, offset: int, size: int) -> int:
    """Give the length, in whole blocks or to the end, of the hole of a sparse file at `offset`."""
    if not hasattr(os, "SEEK_DATA"):  # an old Python on macOS
        return 0
    try:
        data = os.lseek(fd, offset, os.SEEK_DATA)
    except OSError:  # ENXIO: nothing but a hole up to the end; or the file system cannot tell
        try:
            end = os.lseek(fd, offset, os.SEEK_HOLE)
        except OSError:
            return 0
        return size - offset if end == offset else 0
    return min(size, data) // BLOCK * BLOCK - offset if data - offset >= BLOCK else 0

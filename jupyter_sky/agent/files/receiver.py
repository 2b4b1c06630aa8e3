"""The side that wants the files: it compares the manifest with its disk and asks for what differs.

A file is taken for unchanged if its size and time are the same. Where only the time differs, the digests of
the contents decide, so a touched file does not travel. The peer is not trusted: names, numbers and the order
of what it sends are checked, and it can only fill names inside the target that it announced.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Deque, Dict, List, Optional, Tuple

from . import frames
from .assembly import TRIES, Assembly
from .digest import BLOCK, LARGE, digest, read_at
from .errors import FilesError, show
from .manifest import FolderPart, Item, unpack
from .paths import check_name, join
from .scan import LINK
from .target import Target

if TYPE_CHECKING:
    from .pipe import Pipe

#: Large files asked for ahead; each holds two descriptors.
_AHEAD = 8

#: Given the name of the single file (empty: a tree), the folder to receive in and the name to give the file.
Locate = Callable[[str], Tuple[str, str]]


class Receiver:
    """Receives one tree over one pipe.

    Parameters
    ----------
    pipe
        The way to the sender.
    locate
        Says where the tree or the single file goes, once its kind is known.
    progress
        Called with (bytes of content settled, bytes of content newly asked for).
    """

    def __init__(
        self, pipe: Pipe, locate: Locate, progress: Optional[Callable[[int, int], None]] = None
    ) -> None:
        self._pipe = pipe
        self._locate = locate
        self._progress = progress or (lambda _done, _asked: None)
        self.files = 0
        self.total_bytes = 0
        self.received_files = 0
        self.received_bytes = 0
        #: What was skipped or changed meanwhile at either end, known at the end.
        self.notes: List[str] = []
        #: What the sender could not read: relative path and reason.
        self.failed: List[Tuple[str, str]] = []
        self._own_notes: List[str] = []
        self._single = ""
        self._rename = ""
        self._target: Target
        self._folders: Dict[str, Tuple[int, int]] = {}
        #: Folders whose mode or time must be set at the end.
        self._unsettled: Dict[str, None] = {}
        self._new: set[str] = set()
        self._pending: Dict[int, Tuple[str, Item]] = {}
        self._waiting: Deque[int] = deque()
        self._assemblies: Dict[int, Assembly] = {}
        self._current: Optional[Tuple[int, Assembly, int]] = None
        self._listed = False
        self._finished = False

    def run(self) -> None:
        """Receive everything; returns when all is in place.

        Raises
        ------
        FilesError
            What the disk, the peer or the line did. Whatever was complete is in place and stays.
        """
        kind, length = self._pipe.recv()
        if kind != frames.HELLO:
            raise FilesError("The peer does not speak the protocol of file sync.", code="protocol")
        self._hello(_json(self._pipe.body(length)))
        try:
            while self._step():
                pass
            self._settle()
        finally:
            for assembly in self._assemblies.values():
                assembly.abandon()
            self._target.close()
        self._pipe.send(frames.RESULT, json.dumps({"notes": self._own_notes}).encode())

    def _hello(self, hello: Dict[str, Any]) -> None:
        if hello.get("version") != frames.VERSION:
            raise FilesError(
                f"The peer speaks file sync {hello.get('version')!r:.20}, and this end {frames.VERSION}.",
                code="version",
                hint="Start the cluster's agents again with this version of jupyter-sky.",
            )
        self._single = check_name(hello["single"]) if hello.get("single") else ""
        path, self._rename = self._locate(self._single)
        self._target = Target(path)

    def _step(self) -> bool:
        """Handle one frame; False after the last."""
        kind, length = self._pipe.recv()
        handler = self._HANDLERS.get(kind)
        if handler is None:
            raise FilesError(f"The sender sent a frame of kind {kind}.", code="protocol")
        try:
            handler(self, length)
        except struct.error:
            raise FilesError(
                f"The sender sent a frame of kind {kind} of {length} bytes.", code="protocol"
            ) from None
        if self._listed and not self._finished:
            self._ask_large()
            if not self._pending:
                self._finished = True
                self._pipe.send(frames.FIN)
        return kind != frames.DONE

    # The manifest.

    def _on_tree(self, length: int) -> None:
        if self._listed:
            raise FilesError("The sender went on with the manifest after its end.", code="protocol")
        for part in unpack(self._pipe.body(length)):
            if self._single:
                self._compare_single(part)
            else:
                self._compare(part)
            self._pipe.tick()
        self._pipe.flush()

    def _on_tree_end(self, length: int) -> None:
        self._pipe.body(length)
        self._listed = True

    def _compare_single(self, part: FolderPart) -> None:
        if part.path or len(part.items) != 1 or self.files or part.items[0].kind == LINK:
            raise FilesError("The sender announced one file and listed something else.", code="protocol")
        self._compare_item("", part.items[0]._replace(name=self._rename), look=True)

    def _compare(self, part: FolderPart) -> None:
        path = part.path
        if path not in self._folders:
            if path:
                if path.rpartition("/")[0] not in self._folders:
                    raise FilesError(f"The sender listed {show(path)} before its parent.", code="protocol")
                found, new = self._target.folder(path)
                if new:
                    self._new.add(path)
                    self._touch(path.rpartition("/")[0])
                if new or found.st_mode & 0o777 != part.mode or found.st_mtime_ns != part.mtime_ns:
                    self._unsettled[path] = None
            elif self._target.made:
                self._touch("")
            self._folders[path] = (part.mode, part.mtime_ns)
        look = path not in self._new
        for item in part.items:
            self._compare_item(path, item, look=look)

    def _compare_item(self, folder: str, item: Item, *, look: bool) -> None:
        found = self._target.look(folder, item.name) if look else None
        if found is not None and stat.S_ISDIR(found.st_mode):
            self._target.make_way(folder, item.name)
            found = None
        if item.kind == LINK:
            self._compare_link(folder, item, found)
            return
        index = self.files
        size = int(item.detail)
        self.files += 1
        self.total_bytes += size
        known = b""
        if found is not None and stat.S_ISREG(found.st_mode) and found.st_size == size:
            if found.st_mtime_ns == item.mtime_ns:
                if found.st_mode & 0o777 != item.mode:
                    self._target.adjust(folder, item.name, item.mode, item.mtime_ns)
                return
            if size <= LARGE:
                known = self._digest(folder, item.name, size)
        self._pending[index] = (folder, item)
        self._progress(0, size)
        if size > LARGE:
            self._waiting.append(index)
        else:
            self._pipe.send(frames.WANT, frames.INDEX.pack(index), known)

    def _compare_link(self, folder: str, item: Item, found: Optional[os.stat_result]) -> None:
        to = str(item.detail)
        if found is not None and stat.S_ISLNK(found.st_mode):
            try:
                if os.readlink(item.name, dir_fd=self._target.folders.fd(folder)) == to:
                    return
            except OSError as error:
                raise self._target.error("read", join(folder, item.name), error) from None
        self._touch(folder)
        self._target.link(folder, item.name, to, item.mtime_ns)

    def _digest(self, folder: str, name: str, size: int) -> bytes:
        """Give the digest of the file that is there, or nothing if it cannot be read: then it travels."""
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(name, flags, dir_fd=self._target.folders.fd(folder))
            try:
                return digest(read_at(fd, size + 1, 0))
            finally:
                os.close(fd)
        except OSError:
            return b""

    def _ask_large(self) -> None:
        while self._waiting and len(self._assemblies) < _AHEAD:
            index = self._waiting.popleft()
            folder, item = self._pending[index]
            self._assemblies[index] = Assembly(self._target, folder, item.name, join(folder, item.name))
            self._want_blocks(index)

    def _want_blocks(self, index: int) -> None:
        digests = self._assemblies[index].offer(self._pipe)
        self._pipe.send(frames.WANT_BLOCKS, frames.INDEX.pack(index), digests)
        self._pipe.flush()

    # What was asked for.

    def _asked(self, index: int) -> Tuple[str, Item]:
        if self._current is not None or index not in self._pending:
            raise FilesError(f"The sender sent file {index}, which was not asked for.", code="protocol")
        return self._pending[index]

    def _settled(self, index: int) -> None:
        del self._pending[index]
        self._assemblies.pop(index, None)

    def _on_file(self, length: int) -> None:
        index, mtime_ns, mode = frames.META.unpack(self._pipe.body(min(length, frames.META.size)))
        folder, item = self._asked(index)
        size = length - frames.META.size
        if size > LARGE:
            raise FilesError("The sender sent a large file in one piece.", code="protocol")
        data = self._pipe.body(size)
        self._touch(folder)
        self._target.write(folder, item.name, data, mode & 0o777, mtime_ns)
        self._drop_assembly(index)
        self._settled(index)
        self._count(size)
        self.received_files += 1

    def _on_same(self, length: int) -> None:
        index, mtime_ns, mode = frames.META.unpack(self._pipe.body(length))
        folder, item = self._asked(index)
        self._target.adjust(folder, item.name, mode & 0o777, mtime_ns)
        self._settled(index)
        self._progress(int(item.detail), 0)

    def _on_gone(self, length: int) -> None:
        (index,) = frames.INDEX.unpack(self._pipe.body(length))
        self._asked(index)
        self._drop_assembly(index)
        self._settled(index)

    def _drop_assembly(self, index: int) -> None:
        if index in self._assemblies:
            self._assemblies[index].abandon(remove=True)

    def _on_open(self, length: int) -> None:
        index, _ = frames.OPEN_LARGE.unpack(self._pipe.body(length))
        folder, item = self._asked(index)
        assembly = self._assemblies.get(index)
        if assembly is None:  # it was small when it was listed, and grew
            assembly = self._assemblies[index] = Assembly(
                self._target, folder, item.name, join(folder, item.name)
            )
        self._current = (index, assembly, self.received_bytes)

    def _large(self) -> Assembly:
        if self._current is None:
            raise FilesError("The sender sent a block of no file.", code="protocol")
        return self._current[1]

    def _on_block(self, length: int) -> None:
        assembly = self._large()
        (offset,) = frames.OFFSET.unpack(self._pipe.body(min(length, frames.OFFSET.size)))
        size = length - frames.OFFSET.size
        if size > BLOCK:
            raise FilesError("The sender sent a block that is too long.", code="protocol")
        self._on_disk(lambda: assembly.block(offset, size, self._pipe))
        self._count(size)

    def _on_zero(self, length: int) -> None:
        offset, size = frames.RANGE.unpack(self._pipe.body(length))
        assembly = self._large()
        self._on_disk(lambda: assembly.zero(offset, size))
        self._progress(size, 0)

    def _on_keep(self, length: int) -> None:
        offset, size = frames.RANGE.unpack(self._pipe.body(length))
        assembly = self._large()
        self._on_disk(lambda: assembly.keep(offset, size))
        self._progress(size, 0)

    def _on_close(self, length: int) -> None:
        size, mtime_ns, mode, changed = frames.END.unpack(self._pipe.body(length))
        assembly = self._large()
        assert self._current is not None
        index, _, before = self._current
        self._current = None
        folder, item = self._pending[index]
        if assembly.tries < TRIES - 1 and (changed or assembly.replaced_meanwhile()):
            self._on_disk(lambda: assembly.again(size))
            self._progress(0, int(item.detail))
            self._want_blocks(index)
            return
        if changed:
            self._own_notes.append(f"{show(assembly.path)} changed while it was copied.")
        self._touch(folder)
        self._on_disk(lambda: assembly.close_file(size, mode & 0o777, mtime_ns))
        self._settled(index)
        self.received_files += self.received_bytes > before

    def _on_disk(self, step: Callable[[], None]) -> None:
        """Run one step of a large file; what arrived is kept to be continued, but not on a full disk."""
        try:
            step()
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            for assembly in self._assemblies.values():
                assembly.abandon(remove=full)
            path = self._current[1].path if self._current is not None else ""
            raise self._target.error("write", path, error) from None

    # The end.

    def _on_done(self, length: int) -> None:
        if not self._finished:
            raise FilesError("The sender ended before everything was sent.", code="protocol")
        done = _json(self._pipe.body(length))
        self.notes = [*map(str, done.get("notes", [])), *self._own_notes]
        self.failed += [(str(path), str(reason)) for path, reason in done.get("failed", [])]

    def _touch(self, folder: str) -> None:
        self._unsettled[folder] = None

    def _settle(self) -> None:
        """Set the modes and times of folders, the deepest first: to reach one its parents must be open."""
        if not self._single:
            for path in sorted({*self._unsettled, *self._target.widened}, key=lambda path: -path.count("/")):
                if path in self._folders and (path or self._target.made):
                    self._target.settle(path, *self._folders[path])
                self._pipe.tick()

    def _count(self, length: int) -> None:
        self.received_bytes += length
        self._progress(length, 0)

    _HANDLERS: ClassVar[Dict[int, Callable[[Receiver, int], None]]] = {
        frames.TREE: _on_tree,
        frames.TREE_END: _on_tree_end,
        frames.FILE: _on_file,
        frames.SAME: _on_same,
        frames.GONE: _on_gone,
        frames.OPEN: _on_open,
        frames.BLOCK: _on_block,
        frames.ZERO: _on_zero,
        frames.KEEP: _on_keep,
        frames.CLOSE: _on_close,
        frames.DONE: _on_done,
    }


def _json(data: bytes) -> Dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise FilesError("The peer sent what is no JSON object.", code="protocol")
    return value

"""What there is to send: one walk over a tree, shared by every receiver.

The scan keeps files, folders (empty ones too) and links (dangling ones too) with their modes and times. What
is left out is told: sockets, pipes and devices are skipped with a note, and what cannot be read is listed,
all of it, so that the person mends it in one go.
"""

from __future__ import annotations

import json
import os
import stat
import threading
import zlib
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Tuple

from .digest import digest
from .errors import FilesError, from_os_error, show
from .paths import STAGING, Folders, join, open_root

if TYPE_CHECKING:
    from typing import Protocol

    class Rules(Protocol):
        """Who decides what stays at home."""

        def select(self, folder_fd: int, folder: str, names: Dict[str, bool]) -> Dict[str, bool]:
            """Give, of the names of one folder (True: itself a folder), those that travel."""


#: The kinds of an entry in the manifest.
FILE, LINK, FOLDER = "f", "l", "d"

_LISTED = 10
_CHUNK_ENTRIES = 2000
_CHUNK_CHARS = 256 << 10
_READABLE = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
_ODD = {
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a pipe",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}

#: Path of the folder, name, mode, mtime in ns, size.
FileInfo = Tuple[str, str, int, int, int]


class Tree:
    """The outcome of a scan.

    Attributes
    ----------
    files
        Every regular file; its place in this list is its index in the protocol.
    notes
        What was skipped, as sentences.
    unreadable
        Relative paths that cannot be read, with the reason.
    """

    def __init__(self, root: str, single: str = "") -> None:
        self.root = root
        #: The name of the one file, where the tree is a single file in `root`.
        self.single = single
        self.folders: List[List[Any]] = []
        self.files: List[FileInfo] = []
        self.links = 0
        self.total_bytes = 0
        self.notes: List[str] = []
        self.unreadable: List[Tuple[str, str]] = []
        self._chunks: Optional[List[bytes]] = None
        self._digests: Dict[Tuple[int, int, int, int], bytes] = {}
        self._lock = threading.Lock()

    def chunks(self) -> List[bytes]:
        """Give the manifest as compressed pieces, made once for all receivers."""
        with self._lock:
            if self._chunks is None:
                self._chunks = list(_packed(self.folders))
            return self._chunks

    def digest(self, index: int, mtime_ns: int, size: int, block: int, data: bytes) -> bytes:
        """Give the digest of a block of a file as it is now; computed once, however many receivers ask."""
        key = (index, mtime_ns, size, block)
        with self._lock:
            known = self._digests.get(key)
            if known is None:
                known = self._digests[key] = digest(data)
            return known


def scan(path: str, rules: Optional[Rules] = None, tick: Optional[Callable[[], None]] = None) -> Tree:
    """Walk the tree at `path`, or take the one file there.

    Parameters
    ----------
    path
        A folder or a file; a link to one is followed here, and only here.
    rules
        What stays at home.
    tick
        Called once a folder, for whoever waits.

    Raises
    ------
    FilesError
        If `path` itself is missing, cannot be read, or is neither a file nor a folder.
    """
    try:
        info = os.stat(path)
        if not stat.S_ISDIR(info.st_mode):
            return _single(path, info)
    except OSError as error:
        raise from_os_error("read", path, error) from None
    tree = Tree(path)
    folders = Folders(open_root(path))
    try:
        pending = [("", info.st_mode, info.st_mtime_ns)]
        while pending:
            folder, mode, mtime_ns = pending.pop()
            _scan_folder(tree, folders, folder, mode, mtime_ns, rules, pending)
            if tick is not None:
                tick()
    finally:
        folders.close()
    return tree


def refuse_unreadable(tree: Tree) -> None:
    """Raise FilesError with the list of what cannot be read, if there is anything."""
    if tree.unreadable:
        raise unreadable_error(tree.root, tree.unreadable)


def unreadable_error(root: str, unreadable: List[Tuple[str, str]]) -> FilesError:
    """Give the error that lists what cannot be read."""
    lines = [f"  {show(path)}: {reason}" for path, reason in unreadable[:_LISTED]]
    if len(unreadable) > _LISTED:
        lines.append(f"  and {len(unreadable) - _LISTED} more")
    what = "1 path" if len(unreadable) == 1 else f"{len(unreadable)} paths"
    return FilesError(
        f"Cannot read {what} in {show(root)}:\n" + "\n".join(lines),
        code="unreadable",
        hint="Make them readable, or leave them out with a .skyignore file.",
    )


def _single(path: str, info: os.stat_result) -> Tree:
    # realpath, so that the link to the file is followed here while nothing else ever follows one.
    folder, name = os.path.split(os.path.realpath(path))
    tree = Tree(folder, single=name)
    if not stat.S_ISREG(info.st_mode):
        tree.unreadable.append((name, f"it is {_ODD.get(stat.S_IFMT(info.st_mode), 'no regular file')}"))
    elif not os.access(path, os.R_OK):
        tree.unreadable.append((name, "Permission denied"))
    entry = [name, FILE, info.st_mode & 0o777, info.st_mtime_ns, info.st_size]
    tree.folders.append(["", 0o755, 0, [entry]])
    tree.files.append(("", name, info.st_mode & 0o777, info.st_mtime_ns, info.st_size))
    tree.total_bytes = info.st_size
    return tree


def _scan_folder(
    tree: Tree,
    folders: Folders,
    folder: str,
    mode: int,
    mtime_ns: int,
    rules: Optional[Rules],
    pending: List[Tuple[str, int, int]],
) -> None:
    """Add one folder's entries to `tree`, and its folders to `pending`."""
    try:
        fd = folders.fd(folder)
        with os.scandir(fd) as found:
            listed = {entry.name: entry for entry in found if entry.name != STAGING}
    except (FileNotFoundError, NotADirectoryError):
        tree.notes.append(f"{show(folder)} vanished while it was read; skipped.")
        return
    except OSError as error:
        tree.unreadable.append((folder or ".", error.strerror or str(error)))
        return
    names: Dict[str, bool] = {name: entry.is_dir(follow_symlinks=False) for name, entry in listed.items()}
    if rules is not None:
        names = rules.select(fd, folder, names)
    entries: List[List[Any]] = []
    tree.folders.append([folder, mode & 0o777, mtime_ns, entries])
    everything = os.geteuid() == 0
    below: List[Tuple[str, int, int]] = []
    for name in sorted(names):
        try:
            info = listed[name].stat(follow_symlinks=False)
            kind = stat.S_IFMT(info.st_mode)
            if kind == stat.S_IFLNK:
                entries.append([name, LINK, 0, info.st_mtime_ns, os.readlink(name, dir_fd=fd)])
                tree.links += 1
                continue
        except FileNotFoundError:
            continue
        except OSError as error:
            tree.unreadable.append((join(folder, name), error.strerror or str(error)))
            continue
        if kind == stat.S_IFREG:
            file_mode = info.st_mode & 0o777
            # Asking the system about each file costs a call; one that all may read needs none.
            if (
                not everything
                and file_mode & _READABLE != _READABLE
                and not os.access(name, os.R_OK, dir_fd=fd)
            ):
                tree.unreadable.append((join(folder, name), "Permission denied"))
                continue
            entries.append([name, FILE, file_mode, info.st_mtime_ns, info.st_size])
            tree.files.append((folder, name, file_mode, info.st_mtime_ns, info.st_size))
            tree.total_bytes += info.st_size
        elif kind == stat.S_IFDIR:
            below.append((join(folder, name), info.st_mode, info.st_mtime_ns))
        else:
            tree.notes.append(f"{show(join(folder, name))} is {_ODD.get(kind, 'no file')}; skipped.")
    pending += reversed(below)


def _packed(folders: List[List[Any]]) -> Iterator[bytes]:
    """Cut the manifest into pieces of bounded size; a long folder is spread over several."""
    piece: List[List[Any]] = []
    entries = chars = 0
    for folder, mode, mtime_ns, found in folders:
        start = 0
        for position, entry in enumerate(found):
            entries += 1
            chars += len(entry[0]) + (len(entry[4]) if entry[1] == LINK else 0)
            if entries >= _CHUNK_ENTRIES or chars >= _CHUNK_CHARS:
                piece.append([folder, mode, mtime_ns, found[start : position + 1]])
                yield zlib.compress(json.dumps(piece, separators=(",", ":")).encode(), 1)
                piece, entries, chars, start = [], 0, 0, position + 1
        if start < len(found) or not found:
            piece.append([folder, mode, mtime_ns, found[start:]])
            entries += 1
            chars += len(folder)
    if piece:
        yield zlib.compress(json.dumps(piece, separators=(",", ":")).encode(), 1)

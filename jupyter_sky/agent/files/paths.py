"""Paths that stay inside a root: checked names, and folders opened one component at a time.

Everything a sync does to a disk goes through a folder's descriptor and one name in it, and a folder is only
ever opened without following links. So a path cannot lead out of the root, whatever the peer sends and
whatever another process swaps meanwhile, and a path may be longer than the system's limit.
"""

from __future__ import annotations

import os
from collections import OrderedDict

from .errors import FilesError, from_os_error, show

#: Where files wait until they are whole, inside the root; never part of a sync itself.
STAGING = ".jupyter-sky-sync"

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FOLDERS = 48


def expand(path: str, home: str) -> str:
    """Give the absolute path a person meant on this machine: `~` and relative paths start at `home`."""
    if not path or "\0" in path:
        raise FilesError("A path is needed, and this one is empty or holds a NUL byte.", code="bad_path")
    if path == "~" or path.startswith("~/"):
        return os.path.join(home, path[2:].lstrip("/"))
    if path.startswith("~"):
        raise FilesError(
            f"{show(path)} names the home of another user.",
            code="bad_path",
            hint="Write an absolute path instead.",
        )
    return os.path.join(home, path)


def check_name(name: object) -> str:
    """Give back a peer's path component, or raise if it could mean anything but a name in its folder."""
    if not isinstance(name, str) or name in {"", ".", "..", STAGING} or "/" in name or "\0" in name:
        raise FilesError(f"The peer sent {ascii(name)[:100]} as a file name.", code="protocol")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise FilesError(f"The peer sent {ascii(name)[:100]} as a file name.", code="protocol") from None
    return name


def check_path(path: object) -> str:
    """Give back a relative folder path that a peer sent (empty: the root), or raise."""
    if not isinstance(path, str):
        raise FilesError("The peer sent a path that is no text.", code="protocol")
    if path:
        for name in path.split("/"):
            check_name(name)
    return path


def join(folder: str, name: str) -> str:
    """Join a relative folder (empty: the root) and a name."""
    return f"{folder}/{name}" if folder else name


def place_for(path: str, single: str) -> tuple[str, str]:
    """Say where what arrives goes: the folder to receive in, and the name of the single file there.

    A tree's contents go into `path`. A single file becomes `path`, unless that is a folder or ends in a
    slash: then it goes into it under its own name.
    """
    if not single:
        return path, ""
    if path.endswith("/") or os.path.isdir(path):
        return path, single
    folder, name = os.path.split(path)
    return folder or ".", check_name(name)


def open_root(path: str) -> int:
    """Open the root of a sync; links on the way to it are the person's own and are followed."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise from_os_error("open the folder", path, error) from None


class Folders:
    """The folders under a root, by relative path, a bounded number of them open at a time.

    A descriptor it gives is valid until the next call; it is not safe for several threads.
    """

    def __init__(self, root: int) -> None:
        self.root = root
        self._open: OrderedDict[str, int] = OrderedDict()

    def fd(self, path: str) -> int:
        """Give a descriptor of the folder; raises OSError if it is not there or a link is on the way."""
        if not path:
            return self.root
        known = self._open.get(path)
        if known is not None:
            self._open.move_to_end(path)
            return known
        names = path.split("/")
        depth = len(names) - 1
        while depth and "/".join(names[:depth]) not in self._open:
            depth -= 1
        current = self._open["/".join(names[:depth])] if depth else self.root
        for count in range(depth + 1, len(names) + 1):
            current = os.open(names[count - 1], _FOLDER_FLAGS, dir_fd=current)
            self._open["/".join(names[:count])] = current
            if len(self._open) > _OPEN_FOLDERS:
                _, oldest = self._open.popitem(last=False)
                os.close(oldest)
        return current

    def forget(self, path: str) -> None:
        """Close what is open at and below a path that is about to be replaced."""
        for known in [known for known in self._open if known == path or known.startswith(path + "/")]:
            os.close(self._open.pop(known))

    def close(self) -> None:
        """Close every descriptor, that of the root too."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
        os.close(self.root)

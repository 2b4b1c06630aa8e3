"""The disk a tree arrives on: what is there, and how an entry takes its place.

It knows names, modes and times, and nothing of frames. Whatever it changes it changes through the descriptor
of a folder inside the root, and a file or link takes its name by a rename, so that no name ever shows half a
file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Dict, Optional, Tuple

from .errors import FilesError, from_os_error, show
from .paths import Folders, join, open_root
from .staging import Staging

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_COPY = 1 << 20


class Target:
    """The folder that receives.

    Parameters
    ----------
    path
        Made, with its parents, if it is not there.

    Raises
    ------
    FilesError
        If it is no folder, or cannot be made or opened.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.made = not os.path.isdir(path)
        try:
            os.makedirs(path, exist_ok=True)
        except FileExistsError:
            raise FilesError(
                f"{show(path)} is a file, and a folder is to go there.",
                hint="Remove it, or choose another path.",
            ) from None
        except OSError as error:
            raise from_os_error("make the folder", path, error) from None
        self.folders = Folders(open_root(path))
        try:
            self.staging = Staging(self.folders.root, path)
        except BaseException:
            self.folders.close()
            raise
        #: Folders whose mode was widened to write into them, with the mode they had.
        self.widened: Dict[str, int] = {}

    def close(self) -> None:
        """Give back every descriptor, the modes that were widened, and the room in staging."""
        for folder, mode in self.widened.items():
            with contextlib.suppress(OSError):  # as far as it goes: the next sync sets what the manifest says
                os.fchmod(self.folders.fd(folder), mode)
        self.staging.close()
        self.folders.close()

    def error(self, doing: str, path: str, error: OSError) -> FilesError:
        """Say what could not be done to a path of this target."""
        return from_os_error(doing, os.path.join(self.path, path), error)

    def look(self, folder: str, name: str) -> Optional[os.stat_result]:
        """Give what is there, or None."""
        try:
            return os.lstat(name, dir_fd=self.folders.fd(folder))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self.error("read", join(folder, name), error) from None

    def folder(self, path: str) -> Tuple[os.stat_result, bool]:
        """Make sure that `path` is a folder, whatever is in the way; give what it is and if it is new."""
        parent, _, name = path.rpartition("/")
        try:
            found = self.look(parent, name)
            new = found is None or not stat.S_ISDIR(found.st_mode)
            if new:
                self.writable(parent)
                fd = self.folders.fd(parent)
                if found is not None:
                    os.unlink(name, dir_fd=fd)
                # Writable by us until its own mode is set, at the end.
                os.mkdir(name, 0o700, dir_fd=fd)
                found = os.lstat(name, dir_fd=fd)
            assert found is not None
            if not new and found.st_mode & 0o500 != 0o500 and found.st_uid == os.geteuid():
                # A folder of ours that we could not look into; the mode that is wanted is set at the end.
                os.chmod(name, stat.S_IMODE(found.st_mode) | 0o700, dir_fd=self.folders.fd(parent))
                self.widened[path] = stat.S_IMODE(found.st_mode)
        except OSError as error:
            raise self.error("make the folder", path, error) from None
        return found, new

    def writable(self, folder: str) -> None:
        """Make a folder that is ours but read-only writable until the end of the sync."""
        if folder in self.widened or os.geteuid() == 0:
            return
        try:
            fd = self.folders.fd(folder)
            info = os.fstat(fd)
            if info.st_mode & 0o300 != 0o300 and info.st_uid == os.geteuid():
                os.fchmod(fd, stat.S_IMODE(info.st_mode) | 0o700)
                self.widened[folder] = stat.S_IMODE(info.st_mode)
        except OSError as error:
            raise self.error("write to", folder, error) from None

    def make_way(self, folder: str, name: str) -> None:
        """Remove a folder that stands where a file or a link is to go: only an empty one."""
        path = join(folder, name)
        try:
            self.writable(folder)
            self.folders.forget(path)
            os.rmdir(name, dir_fd=self.folders.fd(folder))
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                raise FilesError(
                    f"A file is to go to {show(os.path.join(self.path, path))}, a folder that is not empty.",
                    hint="Remove the folder, or rename the file.",
                ) from None
            raise self.error("replace", path, error) from None

    def adjust(self, folder: str, name: str, mode: int, mtime_ns: int) -> None:
        """Set the mode and time of a file whose content is right already."""
        try:
            fd = self.folders.fd(folder)
            info = os.lstat(name, dir_fd=fd)
            if not stat.S_ISREG(info.st_mode):
                return
            # There is no chmod that does not follow links; the check above is enough against a peer, which
            # cannot act between the two calls.
            if info.st_mode & 0o777 != mode:
                os.chmod(name, mode, dir_fd=fd)
            if info.st_mtime_ns != mtime_ns:
                os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            raise self.error("set the mode and time of", join(folder, name), error) from None

    def write(self, folder: str, name: str, data: bytes, mode: int, mtime_ns: int) -> None:
        """Put a whole small file in its place."""
        staging = self.staging.fd
        waiting = self.staging.fresh()
        try:
            fd = os.open(waiting, _NEW_FILE, 0o600, dir_fd=staging)
            try:
                written = os.write(fd, data)
                while written < len(data):
                    written += os.write(fd, memoryview(data)[written:])
                os.fchmod(fd, mode)
                os.utime(fd, ns=(mtime_ns, mtime_ns))
            finally:
                os.close(fd)
            self.place(staging, waiting, folder, name)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(waiting, dir_fd=staging)
            raise self.error("write", join(folder, name), error) from None

    def link(self, folder: str, name: str, to: str, mtime_ns: int) -> None:
        """Put a link in its place."""
        staging = self.staging.fd
        waiting = self.staging.fresh()
        try:
            os.symlink(to, waiting, dir_fd=staging)
            with contextlib.suppress(
                OSError, NotImplementedError
            ):  # not every file system keeps a link's time
                os.utime(waiting, ns=(mtime_ns, mtime_ns), dir_fd=staging, follow_symlinks=False)
            self.place(staging, waiting, folder, name)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(waiting, dir_fd=staging)
            raise self.error("make the link", join(folder, name), error) from None

    def place(self, staging: int, waiting: str, folder: str, name: str) -> None:
        """Rename what waits to its own name; raises OSError."""
        self.writable(folder)
        fd = self.folders.fd(folder)
        try:
            os.rename(waiting, name, src_dir_fd=staging, dst_dir_fd=fd)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._carry_over(staging, waiting, fd, name)

    def _carry_over(self, staging: int, waiting: str, fd: int, name: str) -> None:
        """Place a file on another file system: by a copy beside its place, and a rename there."""
        beside = f".{waiting}-{os.urandom(8).hex()}{os.extsep}jupyter-sky-sync"
        try:
            info = os.lstat(waiting, dir_fd=staging)
            if stat.S_ISLNK(info.st_mode):
                os.symlink(os.readlink(waiting, dir_fd=staging), beside, dir_fd=fd)
            else:
                source = os.open(waiting, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=staging)
                goal = os.open(beside, _NEW_FILE, 0o600, dir_fd=fd)
                with open(source, "rb") as reader, open(goal, "wb") as writer:
                    while data := reader.read(_COPY):
                        writer.write(data)
                    writer.flush()
                    os.fchmod(goal, stat.S_IMODE(info.st_mode))
                    os.utime(goal, ns=(info.st_mtime_ns, info.st_mtime_ns))
            os.rename(beside, name, src_dir_fd=fd, dst_dir_fd=fd)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside, dir_fd=fd)
            raise
        os.unlink(waiting, dir_fd=staging)

    def settle(self, folder: str, mode: int, mtime_ns: int) -> None:
        """Give a folder its mode and time, once all is in it."""
        try:
            fd = self.folders.fd(folder)
            info = os.fstat(fd)
            self.widened.pop(folder, None)
            if info.st_mode & 0o777 != mode:
                os.fchmod(fd, stat.S_IMODE(info.st_mode) & 0o7000 | mode)
            if info.st_mtime_ns != mtime_ns:
                os.utime(fd, ns=(mtime_ns, mtime_ns))
        except OSError as error:
            raise self.error("set the mode and time of", folder, error) from None

"""Where arriving files wait until they are whole: a private folder inside the root.

Inside, because a rename is atomic only within one file system. Each sync has a folder of its own there,
which it holds locked; one whose lock is free was left by a sync that was killed, and is swept away by the
next. Large files wait beside these folders under a name made from their path, so that the next sync finds
and continues them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from typing import Optional, Tuple

from .errors import FilesError, from_os_error, show
from .paths import STAGING

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_SESSION, _PARTIAL = "s-", "p-"
#: A partial file that nobody continued for this long is given up, seconds.
_KEEP_PARTIAL = 7 * 24 * 3600.0
_TRIES = 20


class Staging:
    """The staging folder of one root: made when first needed, removed when nothing is left in it."""

    def __init__(self, root: int, shown_root: str) -> None:
        self._root = root
        self._shown = shown_root
        self._base: Optional[int] = None
        self._session: Optional[int] = None
        self._session_name = ""
        self._count = 0
        self._sweep_if_there()

    @property
    def fd(self) -> int:
        """The folder of this sync."""
        if self._session is None:
            self._begin()
        assert self._session is not None
        return self._session

    @property
    def base(self) -> int:
        """The folder that partial files are kept in."""
        if self._base is None:
            self._begin()
        assert self._base is not None
        return self._base

    def fresh(self) -> str:
        """Give a name in `fd` that is not in use."""
        self._count += 1
        return f"{self._count:x}"

    def partial(self, path: str, *, create: bool) -> Optional[Tuple[int, str]]:
        """Open the partial file of a relative path, locked: its descriptor and its name in `base`.

        None if there is none and none is to be made, or if another sync is writing it.
        """
        from .digest import digest

        name = _PARTIAL + digest(os.fsencode(path)).hex()
        if not create and self._base is None:
            return None
        for _ in range(_TRIES):
            try:
                fd = os.open(name, _FILE_FLAGS | (os.O_CREAT if create else 0), 0o600, dir_fd=self.base)
            except FileNotFoundError:
                return None
            except OSError as error:
                raise from_os_error("write to", self._shown, error) from None
            if not _lock(fd):
                os.close(fd)
                return None
            if _is(fd, name, self.base) and stat.S_ISREG(os.fstat(fd).st_mode):
                return fd, name
            os.close(fd)  # another sync put it in its place between the opening and the lock
        return None

    def close(self) -> None:
        """Remove what this sync left there; partial files stay."""
        if self._session is not None:
            _empty(self._session)
            with contextlib.suppress(OSError):
                os.rmdir(self._session_name, dir_fd=self.base)
            os.close(self._session)
            self._session = None
        if self._base is not None:
            os.close(self._base)
            self._base = None
            with contextlib.suppress(OSError):  # not empty: partial files, or another sync
                os.rmdir(STAGING, dir_fd=self._root)

    def _sweep_if_there(self) -> None:
        try:
            self._base = os.open(STAGING, _FOLDER_FLAGS, dir_fd=self._root)
        except OSError:
            return
        self._check_base()
        self._sweep()

    def _begin(self) -> None:
        """Make the folder of this sync, whatever other syncs remove meanwhile."""
        for _ in range(_TRIES):
            try:
                self._open_base()
                assert self._base is not None
                name = _SESSION + os.urandom(8).hex()
                os.mkdir(name, 0o700, dir_fd=self._base)
                fd = os.open(name, _FOLDER_FLAGS, dir_fd=self._base)
            except FileNotFoundError:  # the last other sync removed the folder as we came
                if self._base is not None:
                    os.close(self._base)
                    self._base = None
                continue
            except OSError as error:
                raise from_os_error("write to", self._shown, error) from None
            # Before it was locked, another sync may have taken it for an abandoned one.
            if _lock(fd) and _is(fd, name, self._base):
                self._session, self._session_name = fd, name
                return
            os.close(fd)
        raise FilesError(f"Cannot make a staging folder in {show(self._shown)}.")

    def _open_base(self) -> None:
        if self._base is None:
            with contextlib.suppress(FileExistsError):
                os.mkdir(STAGING, 0o700, dir_fd=self._root)
            self._base = os.open(STAGING, _FOLDER_FLAGS, dir_fd=self._root)
            self._check_base()

    def _check_base(self) -> None:
        """Refuse a staging folder that someone else could write to."""
        assert self._base is not None
        info = os.fstat(self._base)
        if info.st_uid != os.geteuid():
            raise FilesError(
                f"{show(self._shown)}/{STAGING} belongs to another user.", hint="Remove it, and run it again."
            )
        if info.st_mode & 0o777 != 0o700:
            os.fchmod(self._base, 0o700)

    def _sweep(self) -> None:
        """Remove what killed syncs left."""
        assert self._base is not None
        for name in os.listdir(self._base):
            # Whoever removed or replaced it meanwhile has done our work.
            with contextlib.suppress(OSError):
                if name.startswith(_SESSION):
                    fd = os.open(name, _FOLDER_FLAGS, dir_fd=self._base)
                    try:
                        if _lock(fd):
                            _empty(fd)
                            os.rmdir(name, dir_fd=self._base)
                    finally:
                        os.close(fd)
                elif name.startswith(_PARTIAL):
                    age = time.time() - os.lstat(name, dir_fd=self._base).st_ctime
                    if age > _KEEP_PARTIAL:
                        os.unlink(name, dir_fd=self._base)


def _lock(fd: int) -> bool:
    """Lock without waiting; False if another holds it. Where the file system has no locks, all are free."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
    return True


def _is(fd: int, name: str, folder: int) -> bool:
    """Say whether `name` in `folder` is still what `fd` is open on."""
    try:
        there = os.lstat(name, dir_fd=folder)
    except OSError:
        return False
    mine = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def _empty(fd: int) -> None:
    for name in os.listdir(fd):
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=fd)

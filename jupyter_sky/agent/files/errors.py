"""The one error of file sync, as it travels between the two ends."""

from __future__ import annotations

import errno
import os

#: What an errno means to the person, where the system's own words are too short.
_HINTS = {
    errno.ENOSPC: "Free some space there, or ask for a larger disk, and run it again.",
    errno.EDQUOT: "Free some space there, or raise the quota, and run it again.",
    errno.EROFS: "The file system is mounted read-only; choose another path.",
    errno.EACCES: "Choose a path that this user may write and read.",
    errno.EPERM: "Choose a path that this user may write and read.",
}


class FilesError(Exception):
    """A sync that cannot go on: a stable code, what happened to which path, and what to do."""

    def __init__(self, message: str, *, code: str = "sync", hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint


def from_os_error(doing: str, path: str, error: OSError) -> FilesError:
    """Say what could not be done to which path, and what to do about it."""
    code = {errno.ENOSPC: "disk_full", errno.EDQUOT: "disk_full", errno.EROFS: "read_only"}.get(
        error.errno or 0, "sync"
    )
    reason = error.strerror or type(error).__name__
    return FilesError(f"Cannot {doing} {show(path)}: {reason}.", code=code, hint=_HINTS.get(error.errno or 0))


def show(path: str, limit: int = 300) -> str:
    """Give a path that can be printed: no control characters, no lone surrogates, not endless."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace") if _encodable(path) else ascii(path)[1:-1]
    text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return text if len(text) <= limit else text[: limit // 2] + "…" + text[-limit // 2 :]


def _encodable(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True

"""The files of one operation, and the lock that tells whether its process lives.

`alive.lock` is locked (flock) before the operation is in the database and until its process ends, however it
ends: the kernel lets go of it. That makes it true where a process id may have been given to another process
since.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from jupyter_sky import config

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "operations"


class OperationFolder:
    """`<home>/operations/<id>`, mode 0700, every file in it 0600."""

    def __init__(self, operation_id: str) -> None:
        self.path: Path = config.home() / FOLDER / operation_id
        self.journal = self.path / "journal.jsonl"
        self.output = self.path / "output.log"
        self.alive_lock = self.path / "alive.lock"

    def make(self) -> None:
        """Make the folder; it must not be there."""
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        self.path.mkdir(mode=0o700)

    def open_output(self) -> int:
        """Make the journal and the log, so that a full disk is met before anything begins; give the log."""
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        os.close(os.open(self.journal, flags, 0o600))
        return os.open(self.output, flags, 0o600)

    def lock(self) -> int:
        """Take the lock of a new operation; give the descriptor that holds it, for the process to inherit."""
        descriptor = os.open(self.alive_lock, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor

    def is_alive(self) -> bool:
        """Say whether the operation's process lives (or, for a moment, the one that is about to start it)."""
        try:
            descriptor = os.open(self.alive_lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # shared, so that two who look at the same time do not take each other for the owner
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

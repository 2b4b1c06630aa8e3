"""The one way to the state: one open database per home folder and process, shared by all its threads."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from jupyter_sky import config
from jupyter_sky.state.clusters import ClusterStore
from jupyter_sky.state.database import Database
from jupyter_sky.state.operations import OperationStore

if TYPE_CHECKING:
    from pathlib import Path

FILE = "state.db"


class State:
    """What this machine knows about clusters and operations. Got by `State.open()`, safe in threads.

    The state never receives a secret: callers store references and redacted texts only, and the tables take
    nothing but plain JSON.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._database = Database(home / FILE)
        self.clusters = ClusterStore(self._database)
        self.operations = OperationStore(self._database)

    @classmethod
    def open(cls, home: Path | None = None) -> State:
        """Give the state of a home folder (the person's own where not given), opened once per process.

        Raises
        ------
        StateError
            It cannot be opened; names the file and what to do.
        """
        folder = config.home() if home is None else home
        with _cache.lock:
            known = _cache.states.get(folder)
            if known is None or not known.is_current():
                known = cls(folder)
                _cache.states[folder] = known
            return known

    def close(self) -> None:
        """Close the connections of this process; the state may be used again and opens new ones."""
        self._database.close()

    def is_current(self) -> bool:
        """Whether the file is still the one that was opened: the folder may have been made anew."""
        try:
            return self._database.file.stat().st_ino == self._database.inode
        except OSError:
            return False


class _Cache:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.states: dict[Path, State] = {}
        self.inherited: list[State] = []

    def after_fork(self) -> None:
        """Begin anew in a child: a SQLite connection must be neither used nor closed on both sides."""
        self.inherited.extend(self.states.values())
        self.states = {}
        self.lock = threading.Lock()


_cache = _Cache()
os.register_at_fork(after_in_child=_cache.after_fork)

"""One SQLite file, opened safely by any number of processes and threads at once.

Readers never wait (WAL); a writer takes the write lock when it begins, so that what it read is still true
when it writes. The schema is checked with one small SELECT; alembic is imported only where a migration is
due. Whatever SQLite says goes wrong becomes a `StateError` that names the file and the way out. This module
knows no record.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, create_engine, event, exc, select

from jupyter_sky.config import MAKE_ROOM
from jupyter_sky.errors import StateError
from jupyter_sky.state import tables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from filelock import FileLock
    from sqlalchemy import Connection, Engine

#: How long a writer waits for another process to finish its write, in seconds. A write takes milliseconds.
BUSY_TIMEOUT = 30.0
_WRITE = "jupyter_sky_write"


class Database:
    """The engine of one file, at the schema of this program.

    Parameters
    ----------
    file
        The database; made if absent. Its folder must exist.

    Raises
    ------
    StateError
        The file cannot be used, is damaged, or was made by a newer version of Jupyter Sky.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._engine = _engine(file)
        self._writer = self._engine.execution_options(**{_WRITE: True})
        try:
            if _absent(file):
                self._create()
            if self._version() != tables.HEAD:
                self._upgrade()
            self.inode = file.stat().st_ino
        except OSError as error:
            raise StateError(
                f"The state database {file} cannot be made: {error.strerror}.",
                hint=MAKE_ROOM,
            ) from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one consistent moment."""
        with self._explained(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection that holds the write lock; all it did is kept, or nothing of it."""
        with self._explained(), self._writer.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection; the next use opens new ones."""
        self.inode = 0  # with no connection open, another file may get the same number
        self._engine.dispose()

    def _create(self) -> None:
        """Make a new database at HEAD, complete before it has its name, without importing alembic."""
        with self._migration_lock():
            if not _absent(self.file):
                return
            draft = self.file.with_suffix(".new")
            draft.unlink(missing_ok=True)
            # SQLite gives its side files the mode of the main file, so this one line makes all of them
            # private
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
            engine = _engine(draft)
            try:
                with self._explained():
                    with engine.connect() as connection:
                        driver = connection.connection.driver_connection
                        assert isinstance(driver, sqlite3.Connection)
                        driver.execute("PRAGMA journal_mode=WAL")
                    with engine.execution_options(**{_WRITE: True}).begin() as connection:
                        tables.metadata.create_all(connection)
                        tables.version.create(connection)
                        connection.execute(tables.version.insert().values(version_num=tables.HEAD))
            finally:
                engine.dispose()
            for side in ("-wal", "-shm"):  # of a database that was moved away: it must not flow into this one
                self.file.with_name(self.file.name + side).unlink(missing_ok=True)
            draft.rename(self.file)

    def _version(self) -> str:
        """Give the schema's version, "" where no migration has run yet."""
        with self._explained(), self._engine.begin() as connection:
            found = connection.scalar(select(tables.version.c.version_num)) or ""
        if found > tables.HEAD:
            raise StateError(
                f"The state database {self.file} was made by a newer version of Jupyter Sky "
                f"(its schema is {found}, this version knows {tables.HEAD}).",
                hint="Upgrade with: pip install --upgrade jupyter-sky",
            )
        return found

    def _upgrade(self) -> None:
        """Bring the schema to HEAD, one process at a time; those that waited find it done."""
        with self._migration_lock():
            if self._version() == tables.HEAD:
                return
            from jupyter_sky.state.migrate import upgrade

            with self._explained(), self._writer.begin() as connection:
                upgrade(connection)

    def _migration_lock(self) -> FileLock:
        from filelock import FileLock

        return FileLock(self.file.with_suffix(".lock"), mode=0o600)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except exc.DBAPIError as error:
            raise _explain(error.orig, self.file) from error
        except sqlite3.Error as error:
            raise _explain(error, self.file) from error
        except json.JSONDecodeError as error:
            raise _damaged(self.file, str(error)) from error


def _absent(file: Path) -> bool:
    return not file.exists() or file.stat().st_size == 0


def _engine(file: Path) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(file)), connect_args={"timeout": BUSY_TIMEOUT})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, below
    connection.execute("PRAGMA synchronous=NORMAL")  # in WAL, a kill of a process loses nothing
    connection.execute("PRAGMA foreign_keys=ON")


def _on_begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(_WRITE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


_UNUSABLE: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_FULL: (
        "cannot be written: the disk is full",
        "Free some space and run the command again.",
    ),
    sqlite3.SQLITE_READONLY: (
        "cannot be written: it or its folder is read-only",
        "Make it writable, or set JUPYTER_SKY_HOME to another folder.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "cannot be opened",
        "Look at its owner and mode, or set JUPYTER_SKY_HOME to another folder.",
    ),
    sqlite3.SQLITE_BUSY: (
        f"is held by another process for more than {BUSY_TIMEOUT:.0f} seconds",
        "Look for a process that has it open, and run the command again.",
    ),
    sqlite3.SQLITE_IOERR: (
        "cannot be read or written: the disk reports an error",
        "Look at the disk's free space and health, and run the command again.",
    ),
}
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})


def _explain(error: BaseException | None, file: Path) -> StateError:
    """Give the error a person can act on; the driver's own words stay in it."""
    code = getattr(error, "sqlite_errorcode", None)
    primary: Any = code & 0xFF if isinstance(code, int) else None
    if primary in _DAMAGED:
        return _damaged(file, str(error))
    said, hint = _UNUSABLE.get(primary, ("refused a request", "Run the command again."))
    return StateError(f"The state database {file} {said} ({error}).", hint=hint)


def _damaged(file: Path, said: str) -> StateError:
    return StateError(
        f"The state database {file} is damaged ({said}).",
        hint=f"Move it away with: mkdir {file.parent}/damaged && mv {file}* {file.parent}/damaged/ — then "
        "run `jupyter sky status --refresh`, which finds the clusters that are still running.",
    )

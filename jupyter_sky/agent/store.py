"""The jobs of a cluster in its head's database, and a few settings.

One writer, few writes: a job costs three in its life. The jobs that are active live in memory, too (`Job`),
and memory is the truth while the disk is full; what could not be written is written when it can be. No secret
comes here: of secrets only the names are kept.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from typing import Any, Dict, List, Optional, Sequence

ACTIVE = ("INIT", "PENDING", "SETTING_UP", "RUNNING")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    job_id INTEGER PRIMARY KEY AUTOINCREMENT,
    submission_id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    submitted_at REAL NOT NULL,
    started_at REAL,
    ended_at REAL,
    exit_codes TEXT NOT NULL,
    gpus TEXT NOT NULL,
    reason TEXT,
    spec TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS jobs_status ON jobs (status);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_COLUMNS = "job_id, submission_id, status, submitted_at, started_at, ended_at, exit_codes, gpus, reason, spec"


class StoreError(Exception):
    """The database could not be read or written; says why."""


class Job:
    """One job. `spec` is what was submitted plus `secret_names`; times are seconds since the epoch."""

    def __init__(self, row: Sequence[Any]) -> None:
        self.job_id: int = row[0]
        self.submission_id: str = row[1]
        self.status: str = row[2]
        self.submitted_at: float = row[3]
        self.started_at: Optional[float] = row[4]
        self.ended_at: Optional[float] = row[5]
        self.exit_codes: List[Optional[int]] = json.loads(row[6])
        self.gpus: List[List[int]] = json.loads(row[7])
        self.reason: Optional[str] = row[8]
        self.spec: Dict[str, Any] = json.loads(row[9])

    @property
    def is_active(self) -> bool:
        """Whether the job waits or runs."""
        return self.status in ACTIVE

    @property
    def num_nodes(self) -> int:
        """On how many nodes it runs."""
        return int(self.spec["num_nodes"])

    @property
    def task_id(self) -> str:
        """The task's name for the world, with the job's number in it."""
        return str(self.spec["task_id"]).replace("{job_id}", str(self.job_id))

    def to_dict(self, log_path: str) -> Dict[str, Any]:
        """Give the job as calls answer it."""
        return {
            "job_id": self.job_id,
            "name": self.spec["name"],
            "user": self.spec["user"],
            "task_id": self.task_id,
            "submitted_at": self.submitted_at,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "status": self.status,
            "resources_str": self.spec["resources_str"],
            "num_nodes": self.num_nodes,
            "exit_codes": self.exit_codes,
            "reason": self.reason,
            "log_path": log_path,
            "gpus": self.gpus,
        }


class Store:
    """The database of a head."""

    def __init__(self, path: str) -> None:
        try:
            # Private from its first moment; the files that SQLite lays beside it take its mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None, timeout=5.0)
            self._db.execute("PRAGMA journal_mode=WAL")
            # A crash of the agent loses nothing this way; only a loss of power may lose the last moments.
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("PRAGMA cache_size=-512")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path} cannot be opened: {error}") from None

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def add(self, submission_id: str, spec: Dict[str, Any]) -> Job:
        """Add a PENDING job.

        Raises
        ------
        StoreError
            It could not be written (a full disk); there is no such job then.
        """
        none = json.dumps([None] * spec["num_nodes"])
        values = (submission_id, "PENDING", time.time(), none, json.dumps([]), json.dumps(spec))
        self._run(
            "INSERT INTO jobs (submission_id, status, submitted_at, exit_codes, gpus, spec) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            values,
        )
        job = self.find(submission_id)
        assert job is not None
        return job

    def save(self, job: Job) -> None:
        """Write what has changed of a job.

        Raises
        ------
        StoreError
            It could not be written.
        """
        self._run(
            "UPDATE jobs SET status=?, started_at=?, ended_at=?, exit_codes=?, gpus=?, reason=? "
            "WHERE job_id=?",
            (
                job.status,
                job.started_at,
                job.ended_at,
                json.dumps(job.exit_codes),
                json.dumps(job.gpus),
                job.reason,
                job.job_id,
            ),
        )

    def find(self, submission_id: str) -> Optional[Job]:
        """Give the job that was submitted under this id."""
        return self._first("WHERE submission_id=?", submission_id)

    def get(self, job_id: int) -> Optional[Job]:
        """Give one job."""
        return self._first("WHERE job_id=?", job_id)

    def latest(self) -> Optional[Job]:
        """Give the job that was submitted last."""
        return self._first("ORDER BY job_id DESC LIMIT 1")

    def all(self, active: bool = False) -> List[Job]:
        """Give every job, oldest first; only the active ones if asked."""
        if not active:
            return self._select("ORDER BY job_id")
        marks = ",".join("?" * len(ACTIVE))
        return self._select(f"WHERE status IN ({marks}) ORDER BY job_id", *ACTIVE)

    def last_end(self) -> Optional[float]:
        """Give when the last job ended."""
        row = self._run("SELECT MAX(ended_at) FROM jobs", ()).fetchone()
        return None if row is None or row[0] is None else float(row[0])

    def setting(self, name: str) -> Any:
        """Give a setting; None where it was never set."""
        row = self._run("SELECT value FROM settings WHERE name=?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def set(self, name: str, value: Any) -> None:
        """Set a setting to a JSON value.

        Raises
        ------
        StoreError
            It could not be written.
        """
        self._run("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", (name, json.dumps(value)))

    def _first(self, where: str, *values: Any) -> Optional[Job]:
        for job in self._select(where, *values):
            return job
        return None

    def _select(self, where: str, *values: Any) -> List[Job]:
        # `where` is one of this module's own texts; values are always bound.
        rows = self._run(f"SELECT {_COLUMNS} FROM jobs {where}", values)  # noqa: S608
        return [Job(row) for row in rows]

    def _run(self, statement: str, values: Sequence[Any]) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise StoreError(f"the node's database: {error}") from None

"""The operations this machine knows: what was asked, how far it is, how it ended.

Rows change at phases, not at every step of progress; the journal beside them tells the whole story. Whether
an operation is alive is not decided here: its process holds a lock, which only the flows look at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from jupyter_sky.errors import OperationNotFoundError
from jupyter_sky.state import rows
from jupyter_sky.state.records import OperationRecord, OperationStatus
from jupyter_sky.state.tables import operations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from jupyter_sky.state.database import Database

_ACTIVE = operations.c.ended_at.is_(None)


class OperationStore:
    """Every read and write of operations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: OperationRecord) -> None:
        """Add an operation; `StateError` if one of that id is there."""
        with self._database.write() as connection:
            rows.insert(connection, operations, record)

    def get(self, operation_id: str) -> OperationRecord | None:
        """Give the operation of that id, or None."""
        with self._database.read() as connection:
            return _one(connection, operation_id)

    def list(self, active: bool | None = None, target: str | None = None) -> list[OperationRecord]:
        """Give the operations, newest first.

        Parameters
        ----------
        active
            True for those that have not ended, False for those that have, None for both.
        target
            Only those that act on this name.
        """
        query = select(operations).order_by(operations.c.created_at.desc())
        if active is not None:
            query = query.where(_ACTIVE if active else ~_ACTIVE)
        if target is not None:
            query = query.where(operations.c.target == target)
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def update(self, operation_id: str, **fields: Any) -> OperationRecord:
        """Change fields of an operation; give it as it is now. An ended status needs `ended_at` with it.

        Raises
        ------
        OperationNotFoundError
            No operation of that id is known.
        """
        changes = rows.checked(OperationRecord, fields)
        with self._database.write() as connection:
            connection.execute(operations.update().where(operations.c.id == operation_id).values(changes))
            record = _one(connection, operation_id)
        if record is None:
            raise OperationNotFoundError(
                f"No operation has the id {operation_id!r}.",
                hint="Operations that ended long ago are forgotten.",
            )
        return record

    def end_if_active(self, operation_id: str, **fields: Any) -> bool:
        """Change fields only where the operation has not ended; say whether this call did it."""
        changes = rows.checked(OperationRecord, fields)
        with self._database.write() as connection:
            done = connection.execute(
                operations.update().where(operations.c.id == operation_id, _ACTIVE).values(changes)
            )
            return bool(done.rowcount)

    def prune(self, keep: int, older_than: float) -> Sequence[str]:
        """Forget ended operations beyond the `keep` newest, and those that ended before `older_than`.

        Returns
        -------
        sequence of str
            The ids that were forgotten, for whoever keeps files beside them.
        """
        with self._database.write() as connection:
            ended = select(operations.c.id).where(~_ACTIVE).order_by(operations.c.created_at.desc())
            beyond = connection.scalars(ended.limit(-1).offset(keep)).all()
            old = connection.scalars(ended.where(operations.c.ended_at < older_than)).all()
            gone = sorted({*beyond, *old})
            connection.execute(operations.delete().where(operations.c.id.in_(gone)))
        return gone


def _record(row: Row[Any]) -> OperationRecord:
    values = dict(row._mapping)  # noqa: SLF001  the public name of a row's mapping begins with an underscore
    values["status"] = OperationStatus(values["status"])
    return OperationRecord(**values)


def _one(connection: Connection, operation_id: str) -> OperationRecord | None:
    row = connection.execute(select(operations).where(operations.c.id == operation_id)).one_or_none()
    return None if row is None else _record(row)

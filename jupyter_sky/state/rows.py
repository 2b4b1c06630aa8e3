"""Between rows and records, for every table: what is stored is plain JSON, and nothing else can be stored."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from jupyter_sky.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Table


def values_of(record: Any) -> dict[str, Any]:
    """Give the columns of a record, shallow: JSON columns are stored as they are."""
    return {one.name: getattr(record, one.name) for one in dataclasses.fields(record)}


def checked(kind: type[Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Give `changes` if each is a field of `kind` and plain JSON.

    A value of another type (an object that hides a secret, above all) is a `TypeError`: it is a defect of the
    caller and must be seen where it happens, before anything is written.
    """
    unknown = changes.keys() - {one.name for one in dataclasses.fields(kind)}
    if unknown:
        raise TypeError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
    for name, value in changes.items():
        try:
            json.dumps(value)
        except TypeError as error:
            raise TypeError(f"{kind.__name__}.{name} must be plain JSON: {error}") from error
    return dict(changes)


def insert(connection: Connection, table: Table, record: Any) -> None:
    """Add a record; a record of the same identity is a `StateError`."""
    from sqlalchemy.exc import IntegrityError

    try:
        connection.execute(table.insert().values(checked(type(record), values_of(record))))
    except IntegrityError as error:
        what = getattr(record, "name", record.id)
        raise StateError(
            f"The state already holds {what!r} ({error.orig}).",
            hint="Another command made it meanwhile; look again.",
        ) from error

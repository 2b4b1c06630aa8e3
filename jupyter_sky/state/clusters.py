"""The clusters this machine knows, and what they have cost.

Time is counted in intervals: one is open while the cluster runs. Each keeps the number of nodes and the price
it began with, so that a later change does not rewrite the past, and the row of a removed cluster stays, so
that its cost is known for ever.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from jupyter_sky.errors import ClusterNotFoundError
from jupyter_sky.state import rows
from jupyter_sky.state.records import ClusterRecord, ClusterStatus, CostRow
from jupyter_sky.state.tables import clusters, intervals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Row

    from jupyter_sky.state.database import Database

_COLUMNS = [column for column in clusters.c if column.name != "ended_at"]
_LIVE = clusters.c.ended_at.is_(None)


class ClusterStore:
    """Every read and write of clusters. Names are those of clusters that are not removed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: ClusterRecord) -> None:
        """Add a cluster; `StateError` if one of that name or id is there."""
        with self._database.write() as connection:
            rows.insert(connection, clusters, record)

    def get(self, name: str) -> ClusterRecord | None:
        """Give the cluster of that name, or None."""
        with self._database.read() as connection:
            return _one(connection, name)

    def list(self, names: Iterable[str] | None = None) -> list[ClusterRecord]:
        """Give the clusters of those names (those that are known), or all, by name."""
        query = select(*_COLUMNS).where(_LIVE).order_by(clusters.c.name)
        if names is not None:
            query = query.where(clusters.c.name.in_(list(names)))
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def update(self, name: str, *, cluster_id: str | None = None, **fields: Any) -> ClusterRecord:
        """Change fields of a cluster, and `updated_at` with them; give the cluster as it is now.

        Parameters
        ----------
        name
            The cluster.
        cluster_id
            The id it must have, for a caller that does not hold its lock: meanwhile it may have been removed
            and its name given to another.

        Raises
        ------
        ClusterNotFoundError
            No cluster of that name (and id) is known; nothing was changed.
        """
        changes = {"updated_at": time.time(), **rows.checked(ClusterRecord, fields)}
        with self._database.write() as connection:
            record = _one(connection, name)
            if record is None or cluster_id not in {None, record.id}:
                raise _unknown(name)
            connection.execute(clusters.update().where(clusters.c.id == record.id).values(changes))
            record = _one(connection, name)
        assert record is not None
        return record

    def remove(self, name: str, ended_at: float | None = None) -> None:
        """Free the name; the cluster's cost stays known. Removing what is not there is no error.

        Parameters
        ----------
        name
            The cluster.
        ended_at
            When it ceased to cost anything, seconds since the epoch; now where not given.
        """
        at = time.time() if ended_at is None else ended_at
        with self._database.write() as connection:
            record = _one(connection, name)
            if record is not None:
                _close(connection, record.id, at)
                done = {"ended_at": at, "updated_at": time.time()}
                connection.execute(clusters.update().where(clusters.c.id == record.id).values(done))

    def open_interval(self, cluster_id: str, at: float | None = None) -> None:
        """Count the cost of a cluster from `at` on (seconds since the epoch; now where not given).

        Nothing changes where its cost is being counted already, or where the cluster is not known.
        """
        with self._database.write() as connection:
            running = select(intervals.c.id).where(
                intervals.c.cluster_id == cluster_id, intervals.c.ended_at.is_(None)
            )
            row = connection.execute(
                select(clusters.c.num_nodes, clusters.c.price_hourly).where(
                    _LIVE, clusters.c.id == cluster_id, ~running.exists()
                )
            ).one_or_none()
            if row is not None:
                connection.execute(
                    intervals.insert().values(
                        cluster_id=cluster_id,
                        started_at=time.time() if at is None else at,
                        num_nodes=row.num_nodes,
                        price_hourly=row.price_hourly,
                    )
                )

    def close_interval(self, cluster_id: str, at: float | None = None) -> None:
        """Cease to count from `at` (seconds since the epoch; now where not given). Twice is no error."""
        with self._database.write() as connection:
            _close(connection, cluster_id, time.time() if at is None else at)

    def cost_rows(self) -> Sequence[CostRow]:
        """Give the cost of every cluster there ever was, newest first."""
        # a clock that was set back must not give money back
        length = func.max(func.coalesce(intervals.c.ended_at, time.time()) - intervals.c.started_at, 0.0)
        spent = length / 3600.0 * intervals.c.num_nodes * intervals.c.price_hourly
        query = (
            select(
                clusters,
                func.coalesce(func.sum(length), 0.0).label("duration_s"),
                func.coalesce(func.sum(spent), 0.0).label("cost"),
            )
            .select_from(clusters.outerjoin(intervals))
            .group_by(clusters.c.id)
            .order_by(func.coalesce(clusters.c.launched_at, clusters.c.created_at).desc())
        )
        with self._database.read() as connection:
            return [
                CostRow(
                    name=row.name,
                    id=row.id,
                    infra=row.infra,
                    resources=str(row.resources.get("describe", "")),
                    num_nodes=row.num_nodes,
                    launched_at=row.launched_at,
                    duration_s=row.duration_s,
                    price_hourly=row.price_hourly,
                    cost=row.cost,
                    status=ClusterStatus(row.status) if row.ended_at is None else None,
                )
                for row in connection.execute(query)
            ]


def _record(row: Row[Any]) -> ClusterRecord:
    values = dict(row._mapping)  # noqa: SLF001  the public name of a row's mapping begins with an underscore
    values["status"] = ClusterStatus(values["status"])
    return ClusterRecord(**values)


def _one(connection: Connection, name: str) -> ClusterRecord | None:
    row = connection.execute(select(*_COLUMNS).where(_LIVE, clusters.c.name == name)).one_or_none()
    return None if row is None else _record(row)


def _close(connection: Connection, cluster_id: str, at: float) -> None:
    still_open = intervals.c.ended_at.is_(None)
    connection.execute(
        intervals.update().where(intervals.c.cluster_id == cluster_id, still_open).values(ended_at=at)
    )


def _unknown(name: str) -> ClusterNotFoundError:
    return ClusterNotFoundError(
        f"No cluster is called {name!r}.", hint="`jupyter sky status` lists your clusters."
    )

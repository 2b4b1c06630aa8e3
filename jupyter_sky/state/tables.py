"""The tables, as SQLAlchemy Core describes them, and the version that this program reads and writes.

A change here needs a new file in `migrations/versions` and a new `HEAD`; a test compares both ways to the
same schema. A removed cluster keeps its row (`ended_at` is set), so that its cost stays known and its name is
free.
"""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, text

#: The newest migration. Versions are numbers with leading zeros, so that "newer" can be told from "unknown".
HEAD = "0001"

metadata = MetaData()
_JSON = JSON(none_as_null=True)

clusters = Table(
    "clusters",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("infra", String, nullable=False),
    Column("status", String, nullable=False),
    Column("resources", _JSON, nullable=False),
    Column("num_nodes", Integer, nullable=False),
    Column("handle", _JSON, nullable=False),
    Column("price_hourly", Float, nullable=False),
    Column("launched_at", Float),
    Column("autostop", _JSON),
    Column("owner", String, nullable=False),
    Column("last_use", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("note", String),
    Column("ended_at", Float),
    Index("clusters_live_name", "name", unique=True, sqlite_where=text("ended_at IS NULL")),
)

intervals = Table(
    "intervals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("cluster_id", ForeignKey("clusters.id"), nullable=False),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("num_nodes", Integer, nullable=False),
    Column("price_hourly", Float, nullable=False),
    Index("intervals_cluster", "cluster_id"),
    Index("intervals_open", "cluster_id", unique=True, sqlite_where=text("ended_at IS NULL")),
)

operations = Table(
    "operations",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("target", String, nullable=False),
    Column("handler", String, nullable=False),
    Column("status", String, nullable=False),
    Column("phase", String, nullable=False),
    Column("detail", String, nullable=False),
    Column("progress", _JSON),
    Column("pid", Integer),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("heartbeat_at", Float),
    Column("request", _JSON, nullable=False),
    Column("result", _JSON),
    Column("error", _JSON),
    Index("operations_created", "created_at"),
    Index("operations_active", "target", sqlite_where=text("ended_at IS NULL")),
)

version = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))

"""The first schema: clusters with their cost, and operations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables; there is no way back."""
    op.create_table(
        "clusters",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("infra", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("resources", sa.JSON, nullable=False),
        sa.Column("num_nodes", sa.Integer, nullable=False),
        sa.Column("handle", sa.JSON, nullable=False),
        sa.Column("price_hourly", sa.Float, nullable=False),
        sa.Column("launched_at", sa.Float),
        sa.Column("autostop", sa.JSON),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("last_use", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("updated_at", sa.Float, nullable=False),
        sa.Column("note", sa.String),
        sa.Column("ended_at", sa.Float),
    )
    live = sa.text("ended_at IS NULL")
    op.create_index("clusters_live_name", "clusters", ["name"], unique=True, sqlite_where=live)
    op.create_table(
        "intervals",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("cluster_id", sa.String, sa.ForeignKey("clusters.id"), nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
        sa.Column("num_nodes", sa.Integer, nullable=False),
        sa.Column("price_hourly", sa.Float, nullable=False),
    )
    op.create_index("intervals_cluster", "intervals", ["cluster_id"])
    op.create_index("intervals_open", "intervals", ["cluster_id"], unique=True, sqlite_where=live)
    op.create_table(
        "operations",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("handler", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("phase", sa.String, nullable=False),
        sa.Column("detail", sa.String, nullable=False),
        sa.Column("progress", sa.JSON),
        sa.Column("pid", sa.Integer),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("started_at", sa.Float),
        sa.Column("ended_at", sa.Float),
        sa.Column("heartbeat_at", sa.Float),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("result", sa.JSON),
        sa.Column("error", sa.JSON),
    )
    op.create_index("operations_created", "operations", ["created_at"])
    op.create_index("operations_active", "operations", ["target"], sqlite_where=live)

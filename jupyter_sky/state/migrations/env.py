"""What alembic runs before the migrations: they work on the connection that `state.migrate` hands over."""

from __future__ import annotations

from alembic import context

from jupyter_sky.state.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,  # SQLite changes a table by making it anew
)
context.run_migrations()

"""Alembic's entry: migrates over the connection it is given."""

from alembic import context

from newsletter.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()

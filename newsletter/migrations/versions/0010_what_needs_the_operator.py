"""What needs the operator, and which mails could not be printed"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "alarms",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("about", sa.String(), nullable=False),
        sa.Column("found_on", sa.Date(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("said", sa.String(), nullable=False),
        sa.Column("command", sa.String(), nullable=False),
        sa.Column("since_at", _AT, nullable=False),
        sa.Column("over_at", _AT, nullable=True),
        sa.Column("bundle", sa.Integer(), nullable=True),
        sa.Column("told_on", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarms")),
        sa.UniqueConstraint("kind", "about", "found_on", name="uq_alarms_kind_about_found_on"),
        sqlite_autoincrement=True,
    )
    unprintable = sa.text("skip_reason = 'unprintable'")
    op.create_index(
        "ix_deliveries_unprintable",
        "deliveries",
        ["done_at"],
        postgresql_where=unprintable,
        sqlite_where=unprintable,
    )

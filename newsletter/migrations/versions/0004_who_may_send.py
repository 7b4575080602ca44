"""When a mail was handed off, which are in doubt, and which copy of the database may send"""

import secrets

import sqlalchemy as sa
from alembic import op

from newsletter.db import UTCDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("deliveries", sa.Column("handed_at", UTCDateTime(), nullable=True))
    unknown = sa.text("state = 'unknown'")
    op.create_index(
        "ix_deliveries_unknown",
        "deliveries",
        ["subscriber_id"],
        postgresql_where=unknown,
        sqlite_where=unknown,
    )
    custody = op.create_table(
        "custody",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ledger", sa.String(), nullable=False),
        sa.Column("place", sa.String(), nullable=True),
        sa.Column("handed", sa.Integer(), nullable=False),
        sa.Column("held_why", sa.String(), nullable=False),
        sa.Column("held_at", UTCDateTime(), nullable=True),
        sa.Column("released_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_custody")),
    )
    op.bulk_insert(custody, [{"id": 1, "ledger": secrets.token_hex(8), "handed": 0, "held_why": ""}])

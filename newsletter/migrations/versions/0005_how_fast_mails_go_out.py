"""How fast mails may go out: token buckets, circuit breakers and warm-up plans that all processes share"""

import sqlalchemy as sa
from alembic import op

from newsletter.db import UTCDateTime

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "pace_buckets",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("after", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_pace_buckets")),
    )
    op.create_table(
        "pace_breakers",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("since_at", UTCDateTime(), nullable=False),
        sa.Column("until_at", UTCDateTime(), nullable=False),
        sa.Column("probing_until_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_pace_breakers")),
    )
    op.create_table(
        "pace_days",
        sa.Column("relay", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("taken", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("relay", "day", name=op.f("pk_pace_days")),
    )

"""Pictures of papers, and readers who want to be told of their own papers only"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("papers", sa.Column("picture_url", sa.String(), nullable=False, server_default=""))
    op.add_column("subscribers", sa.Column("trending", sa.Boolean(), nullable=False, server_default=sa.true()))

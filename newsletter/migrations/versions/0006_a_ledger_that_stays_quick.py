"""Indexes that hold what a run works on; issues that are over keep their accounting, and no mail"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    every = sa.text("'everything'")
    op.add_column("issues", sa.Column("kept", sa.String(), nullable=False, server_default=every))
    op.add_column("issues", sa.Column("accounting", sa.JSON(none_as_null=True), nullable=True))
    for name in ("ix_deliveries_due", "ix_deliveries_leases", "uq_deliveries_in_flight"):
        op.drop_index(name, "deliveries")
    with op.batch_alter_table("deliveries", table_kwargs={"sqlite_autoincrement": True}) as deliveries:
        deliveries.drop_constraint("uq_deliveries_notice_key", type_="unique")
    _consistent()
    waiting, leased = "done_at IS NULL AND lease_owner IS NULL", "lease_owner IS NOT NULL"
    _partial("ix_deliveries_due", ["issue_id", "not_before", "id"], waiting)
    _partial("ix_deliveries_expiry", ["expires_at"], waiting)
    _partial("ix_deliveries_leases", ["lease_until"], leased)
    _partial("uq_deliveries_in_flight", ["subscriber_id"], f"issue_id IS NOT NULL AND {leased}", unique=True)
    _partial("ix_deliveries_notices", ["queued_at"], "issue_id IS NULL")
    _partial("uq_deliveries_notice_key", ["notice_key"], "notice_key IS NOT NULL", unique=True)
    if op.get_bind().dialect.name == "postgresql":
        # The default waits until a fifth of all mails ever sent has changed: by then a run is over.
        op.execute(
            "ALTER TABLE deliveries SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.01)"
        )


def _consistent() -> None:
    """Let `done_at` and `lease_owner` say of every row what its state says: the indexes go by them."""
    op.execute(
        "UPDATE deliveries SET done_at = queued_at "
        "WHERE state IN ('sent', 'failed', 'skipped', 'unknown') AND done_at IS NULL"
    )
    op.execute(
        "UPDATE deliveries SET done_at = NULL "
        "WHERE state NOT IN ('sent', 'failed', 'skipped', 'unknown') AND done_at IS NOT NULL"
    )
    op.execute(
        "UPDATE deliveries SET lease_owner = NULL, lease_until = NULL "
        "WHERE state NOT IN ('leased', 'handoff') AND lease_owner IS NOT NULL"
    )


def _partial(name: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    op.create_index(
        name, "deliveries", columns, unique=unique, postgresql_where=sa.text(where), sqlite_where=sa.text(where)
    )

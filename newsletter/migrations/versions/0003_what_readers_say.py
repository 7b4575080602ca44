"""What readers ask for, say of papers and agree to; a delivery outlives its reader"""

import sqlalchemy as sa
from alembic import op

from newsletter.db import UTCDateTime
from newsletter.subscribers.addresses import mailbox_hash

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _readers()
    _intake()
    _ratings()
    _changes()
    op.add_column("deliveries", sa.Column("about_id", sa.Integer(), nullable=True))
    with op.batch_alter_table("deliveries", table_kwargs={"sqlite_autoincrement": True}) as deliveries:
        deliveries.drop_constraint("fk_deliveries_subscriber_id_subscribers", type_="foreignkey")
    _pending()


def _pending() -> None:
    """Give who is pending a sign-up to confirm: a mail that is still queued is about it."""
    bind = op.get_bind()
    people = sa.table("subscribers", *(sa.column(name) for name in ("id", "email", "state", "created_at")))
    names = (
        "id",
        "email",
        "email_hash",
        "domain",
        "client",
        "entry",
        "said",
        "outcome",
        "mail",
        "why",
        "subscriber_id",
    )
    made = (*names, "asked_at", "not_before", "mailed_at")
    sign_ups = sa.table("sign_ups", sa.column("liked", sa.JSON()), *(sa.column(name) for name in made))
    deliveries = sa.table("deliveries", *(sa.column(name) for name in ("subscriber_id", "mail", "about_id")))
    for id_, email, _, created_at in bind.execute(sa.select(*people.c).where(people.c.state == "pending")).all():
        row = {"email": email, "email_hash": mailbox_hash(email), "domain": "", "client": "", "entry": "form"}
        row |= {"liked": [], "said": "", "outcome": "mailed", "mail": "confirmation", "why": "", "subscriber_id": id_}
        at = dict.fromkeys(("asked_at", "not_before", "mailed_at"), created_at)
        new = bind.execute(sign_ups.insert().values(row | at).returning(sign_ups.c.id)).scalar_one()
        waiting = deliveries.c.subscriber_id == id_, deliveries.c.mail == "confirmation"
        bind.execute(deliveries.update().where(*waiting).values(about_id=new))


def _readers() -> None:
    yes, empty, en = sa.true(), sa.text("''"), sa.text("'en'")
    op.add_column("subscribers", sa.Column("about", sa.String(), nullable=False, server_default=empty))
    op.add_column("subscribers", sa.Column("weekdays", sa.String(), nullable=False, server_default=empty))
    op.add_column("subscribers", sa.Column("bar", sa.Integer(), nullable=False, server_default=sa.text("60")))
    op.add_column("subscribers", sa.Column("language", sa.String(), nullable=False, server_default=en))
    op.add_column("subscribers", sa.Column("tracking", sa.Boolean(), nullable=False, server_default=yes))
    op.add_column("subscribers", sa.Column("pending_since", UTCDateTime(), nullable=True))
    op.add_column("subscribers", sa.Column("paused_from", sa.Date(), nullable=True))
    op.add_column("subscribers", sa.Column("paused_until", sa.Date(), nullable=True))
    op.add_column("subscribers", sa.Column("links_since", UTCDateTime(), nullable=True))
    op.drop_index("ix_subscribers_due", "subscribers")
    op.create_index("ix_subscribers_due", "subscribers", ["state", "timezone", "hour", "cadence", "weekdays"])


def _intake() -> None:
    op.create_table(
        "sign_ups",
        sa.Column("id", sa.Integer(), nullable=False),
        *(
            sa.Column(name, sa.String(), nullable=False)
            for name in ("email", "email_hash", "domain", "client", "entry")
        ),
        sa.Column("asked_at", UTCDateTime(), nullable=False),
        sa.Column("not_before", UTCDateTime(), nullable=False),
        sa.Column("wishes", sa.JSON(), nullable=True),
        sa.Column("liked", sa.JSON(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("said", "outcome", "mail", "why")),
        sa.Column("subscriber_id", sa.Integer(), nullable=True),
        sa.Column("mailed_at", UTCDateTime(), nullable=True),
        sa.Column("reminded_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_ups")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_sign_ups_outcome", "sign_ups", ["outcome", "not_before"])
    op.create_index("ix_sign_ups_address", "sign_ups", ["email_hash", "mailed_at"])
    op.create_index("ix_sign_ups_client", "sign_ups", ["client", "asked_at"])
    op.create_index("ix_sign_ups_domain", "sign_ups", ["domain", "mailed_at"])
    op.create_index("ix_sign_ups_mailed", "sign_ups", ["mailed_at"])
    op.create_index("ix_sign_ups_asked", "sign_ups", ["asked_at"])
    op.create_index(op.f("ix_sign_ups_subscriber_id"), "sign_ups", ["subscriber_id"])


def _ratings() -> None:
    op.create_table(
        "ratings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subscriber_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("paper_id", sa.Integer(), nullable=True),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("title", "text", "said", "how")),
        sa.Column("said_at", UTCDateTime(), nullable=False),
        sa.Column("looked_up_at", UTCDateTime(), nullable=True),
        sa.Column("taken_back_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscribers.id"], name=op.f("fk_ratings_subscriber_id_subscribers"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["paper_id"], ["papers.id"], name=op.f("fk_ratings_paper_id_papers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ratings")),
        sa.UniqueConstraint("subscriber_id", "key", name="uq_ratings_subscriber_id_key"),
    )
    op.create_index(op.f("ix_ratings_key"), "ratings", ["key"])
    op.create_index(op.f("ix_ratings_paper_id"), "ratings", ["paper_id"])


def _changes() -> None:
    op.create_table(
        "preference_changes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subscriber_id", sa.Integer(), nullable=False),
        sa.Column("changed_at", UTCDateTime(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscribers.id"],
            name=op.f("fk_preference_changes_subscriber_id_subscribers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preference_changes")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_preference_changes_subscriber_id"), "preference_changes", ["subscriber_id"])
    op.create_table(
        "address_changes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subscriber_id", sa.Integer(), nullable=False),
        sa.Column("old_email", sa.String(), nullable=False),
        sa.Column("new_email", sa.String(), nullable=False),
        sa.Column("asked_at", UTCDateTime(), nullable=False),
        sa.Column("done_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscribers.id"],
            name=op.f("fk_address_changes_subscriber_id_subscribers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_address_changes")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_address_changes_subscriber_id"), "address_changes", ["subscriber_id"])
    op.create_table(
        "consents",
        sa.Column("id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("email_hash", "act", "entry", "said", "token")),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consents")),
    )
    op.create_index(op.f("ix_consents_email_hash"), "consents", ["email_hash"])

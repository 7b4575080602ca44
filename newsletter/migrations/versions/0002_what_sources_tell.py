"""What each source tells of a paper, how votes grow, what sources answer, why an issue lacks papers"""

import sqlalchemy as sa
from alembic import op

from newsletter.db import UTCDateTime
from newsletter.papers.identity import aliases, fingerprint, title_key

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _tables()
    _columns()
    op.execute("UPDATE papers SET first_listed_at = listed_at")
    op.execute("UPDATE pulls SET listed = received WHERE error = ''")
    # Papers kept so far are found by the id they have, however it is written now, and by their title.
    columns = sa.table("papers", sa.column("id"), sa.column("key"), sa.column("title"), sa.column("authors", sa.JSON()))
    rows = []
    for paper_id, key, title, authors in op.get_bind().execute(sa.select(*columns.c)):
        keys = {key, fingerprint(title), *aliases(key)}
        if key.startswith("title:"):
            keys.add(title_key(title, *authors[:1]))
        rows += [{"key": each, "paper_id": paper_id} for each in sorted(filter(None, keys))]
    if rows:
        op.bulk_insert(sa.table("paper_keys", sa.column("key"), sa.column("paper_id")), rows)


def _tables() -> None:
    op.create_table(
        "paper_records",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("paper_id", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("seen_at", UTCDateTime(), nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.Column("older", sa.JSON(), nullable=False),
        sa.Column("titles", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["paper_id"], ["papers.id"], name=op.f("fk_paper_records_paper_id_papers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paper_records")),
        sa.UniqueConstraint("source", "key", name="uq_paper_records_source_key"),
    )
    op.create_index(op.f("ix_paper_records_paper_id"), "paper_records", ["paper_id"])
    op.create_table(
        "paper_keys",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("paper_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["paper_id"], ["papers.id"], name=op.f("fk_paper_keys_paper_id_papers")),
        sa.PrimaryKeyConstraint("key", "paper_id", name=op.f("pk_paper_keys")),
    )
    op.create_index(op.f("ix_paper_keys_paper_id"), "paper_keys", ["paper_id"])
    op.create_table(
        "paper_votes",
        sa.Column("paper_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("seen_at", UTCDateTime(), nullable=False),
        sa.Column("upvotes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["paper_id"], ["papers.id"], name=op.f("fk_paper_votes_paper_id_papers")),
        sa.PrimaryKeyConstraint("paper_id", "day", name=op.f("pk_paper_votes")),
    )
    op.create_table(
        "known_answers",
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("etag", sa.String(), nullable=False),
        sa.Column("last_modified", sa.String(), nullable=False),
        sa.Column("seen_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("url", name=op.f("pk_known_answers")),
    )
    op.create_table(
        "turns",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("begun_at", UTCDateTime(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("held_until", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_turns")),
    )


def _columns() -> None:
    yes, no, zero, none = sa.true(), sa.false(), sa.text("0"), sa.text("'[]'")
    op.add_column("papers", sa.Column("version", sa.Integer(), nullable=False, server_default=zero))
    op.add_column("papers", sa.Column("withdrawn", sa.Boolean(), nullable=False, server_default=no))
    op.add_column("papers", sa.Column("listed", sa.Boolean(), nullable=False, server_default=yes))
    op.add_column("papers", sa.Column("same_as", sa.Integer(), nullable=True))
    op.add_column("papers", sa.Column("details_asked_at", UTCDateTime(), nullable=True))
    op.add_column("papers", sa.Column("first_listed_at", UTCDateTime(), nullable=True))
    op.create_index(op.f("ix_papers_listed"), "papers", ["listed"])
    op.add_column("pulls", sa.Column("listed", sa.Integer(), nullable=False, server_default=zero))
    op.add_column("pulls", sa.Column("dated", sa.Boolean(), nullable=False, server_default=no))
    op.add_column("pulls", sa.Column("unmodified", sa.Boolean(), nullable=False, server_default=no))
    op.create_index("ix_pulls_source_day", "pulls", ["source", "day"])
    op.add_column("issues", sa.Column("news", sa.JSON(), nullable=False, server_default=none))
    op.add_column("issue_candidates", sa.Column("stars", sa.Integer(), nullable=True))
    op.add_column("issue_candidates", sa.Column("gained", sa.Float(), nullable=True))
    op.add_column("subscribers", sa.Column("source_news", sa.Boolean(), nullable=False, server_default=no))

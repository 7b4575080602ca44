"""What ranking knows of meanings, and readers who want a paper from outside their topics"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "embedding_spaces",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("made_at", _AT, nullable=False),
        sa.Column("embedder", sa.String(), nullable=False),
        sa.Column("papers", sa.Integer(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_embedding_spaces")),
    )
    paper = "fk_paper_embeddings_paper_id_papers"
    op.create_table(
        "paper_embeddings",
        sa.Column("embedder", sa.String(), nullable=False),
        sa.Column("paper_id", sa.Integer(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.Column("embedded_at", _AT, nullable=False),
        sa.ForeignKeyConstraint(["paper_id"], ["papers.id"], name=op.f(paper), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("embedder", "paper_id", name=op.f("pk_paper_embeddings")),
    )
    op.create_index("ix_paper_embeddings_paper_id", "paper_embeddings", ["paper_id"])
    with op.batch_alter_table("issues") as issues:
        issues.add_column(sa.Column("space_id", sa.Integer(), nullable=True))
        name = op.f("fk_issues_space_id_embedding_spaces")
        issues.create_foreign_key(name, "embedding_spaces", ["space_id"], ["id"], ondelete="SET NULL")
    op.add_column("subscribers", sa.Column("outside", sa.Boolean(), nullable=False, server_default=sa.false()))

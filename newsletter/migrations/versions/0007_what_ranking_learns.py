"""What ranking learns: how common terms are, and what readers like together; an issue keeps what it was ranked by"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "text_statistics",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("made_at", _AT, nullable=False),
        sa.Column("papers", sa.Integer(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_text_statistics")),
    )
    op.create_table(
        "coread_models",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("made_at", _AT, nullable=False),
        sa.Column("readers", sa.Integer(), nullable=False),
        sa.Column("papers", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coread_models")),
    )
    model = "fk_paper_factors_model_id_coread_models"
    paper = "fk_paper_factors_paper_id_papers"
    op.create_table(
        "paper_factors",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("paper_id", sa.Integer(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.Column("liked", sa.Boolean(), nullable=False),
        sa.Column("placed_at", _AT, nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["coread_models.id"], name=op.f(model), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["paper_id"], ["papers.id"], name=op.f(paper), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("model_id", "paper_id", name=op.f("pk_paper_factors")),
    )
    op.create_index("ix_paper_factors_paper_id", "paper_factors", ["paper_id"])
    with op.batch_alter_table("issues") as issues:
        for name, table in (("statistics_id", "text_statistics"), ("model_id", "coread_models")):
            issues.add_column(sa.Column(name, sa.Integer(), nullable=True))
            issues.create_foreign_key(op.f(f"fk_issues_{name}_{table}"), table, [name], ["id"], ondelete="SET NULL")

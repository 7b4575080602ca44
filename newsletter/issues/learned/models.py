"""What was learnt, as rows: each time anew, under a number that an issue keeps."""

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from newsletter.db import UTCDateTime


class Learnt(NamedTuple):
    """Under which numbers it is kept what an issue is ranked by, as far as there was any."""

    statistics_id: int | None = None
    model_id: int | None = None
    space_id: int | None = None


class TextStatistics(SQLModel, table=True):
    """How common terms were in the archive.

    :ivar packed: see `Statistics.to_bytes`.
    """

    __tablename__ = "text_statistics"

    id: int | None = Field(default=None, primary_key=True)
    made_at: datetime = Field(sa_type=UTCDateTime)
    papers: int
    packed: bytes = Field(sa_type=sa.LargeBinary)


class CoreadModel(SQLModel, table=True):
    """A factorisation of what readers liked.

    :ivar readers: how many it was learnt from.
    :ivar papers: that they liked.
    """

    __tablename__ = "coread_models"

    id: int | None = Field(default=None, primary_key=True)
    made_at: datetime = Field(sa_type=UTCDateTime)
    readers: int
    papers: int


class PaperFactors(SQLModel, table=True):
    """Where a model puts a paper: one that was liked, or a new one by what it is like.

    :ivar packed: 16-bit floats, at length 1.
    :ivar placed_at: an issue goes by what was known when it was opened.
    :ivar liked: whether the model was learnt from it.
    """

    __tablename__ = "paper_factors"
    __table_args__ = (sa.PrimaryKeyConstraint("model_id", "paper_id"),)

    model_id: int = Field(foreign_key="coread_models.id", ondelete="CASCADE")
    paper_id: int = Field(foreign_key="papers.id", ondelete="CASCADE", index=True)
    packed: bytes = Field(sa_type=sa.LargeBinary)
    liked: bool
    placed_at: datetime = Field(sa_type=UTCDateTime)


class EmbeddingSpace(SQLModel, table=True):
    """How the archive's embeddings are compared.

    :ivar embedder: whose they are.
    :ivar packed: see `Space.to_bytes`.
    """

    __tablename__ = "embedding_spaces"

    id: int | None = Field(default=None, primary_key=True)
    made_at: datetime = Field(sa_type=UTCDateTime)
    embedder: str
    papers: int
    packed: bytes = Field(sa_type=sa.LargeBinary)


class PaperEmbedding(SQLModel, table=True):
    """What an embedder makes of a paper.

    :ivar packed: 16-bit floats, at length 1; none where it made nothing of it.
    """

    __tablename__ = "paper_embeddings"
    __table_args__ = (sa.PrimaryKeyConstraint("embedder", "paper_id"),)

    embedder: str
    paper_id: int = Field(foreign_key="papers.id", ondelete="CASCADE", index=True)
    packed: bytes = Field(sa_type=sa.LargeBinary)
    embedded_at: datetime = Field(sa_type=UTCDateTime)

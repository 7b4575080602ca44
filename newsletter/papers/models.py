"""A paper as a row, and as the record a source hands over."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from newsletter.db import UTCDateTime

MAX_TITLE = 1_000  # characters kept; the longest recorded title has 230
MAX_ABSTRACT = 20_000
MAX_AUTHORS = 1_000
MAX_COUNT = 2**31 - 1  # what an INTEGER column holds on PostgreSQL


@dataclass(frozen=True, slots=True)
class PaperRecord:
    """One paper as one source tells it; texts are clean and bounded, URLs are http(s).

    :ivar key: canonical id with its scheme, ``arxiv:2608.17253``, ``doi:10.1101/…`` or ``title:<fingerprint>``.
    :ivar summary: the source's own one- or two-sentence summary, or empty.
    :ivar listed_at: when the source listed it: what the window of an issue goes by.
    :ivar upvotes: ``None`` where the source has no votes: neutral in trending, not zero.
    """

    key: str
    title: str
    listed_at: datetime
    source: str
    abstract: str = ""
    summary: str = ""
    authors: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    organization: str = ""
    url: str = ""
    pdf_url: str = ""
    code_url: str = ""
    project_url: str = ""
    published_at: datetime | None = None
    upvotes: int | None = None
    comments: int | None = None
    stars: int | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a source's answer held.

    :ivar dropped: how many records were left out, by reason.
    :ivar notes: one line for each thing a person may want to mend, such as a bad line by its number.
    """

    records: tuple[PaperRecord, ...] = ()
    dropped: Counter[str] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()

    @property
    def received(self) -> int:
        """How many records the answer held, good and bad."""
        return len(self.records) + self.dropped.total()


class Paper(SQLModel, table=True):
    """One work, whatever sources it came from."""

    __tablename__ = "papers"

    id: int | None = Field(default=None, primary_key=True)
    key: str = Field(unique=True)
    title: str
    abstract: str = ""
    summary: str = ""
    authors: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    categories: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    keywords: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    organization: str = ""
    url: str = ""
    pdf_url: str = ""
    code_url: str = ""
    project_url: str = ""
    source: str
    upvotes: int | None = None
    comments: int | None = None
    stars: int | None = None
    published_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    listed_at: datetime = Field(sa_type=UTCDateTime, index=True)
    first_seen_at: datetime = Field(sa_type=UTCDateTime)
    updated_at: datetime = Field(sa_type=UTCDateTime)


class Pull(SQLModel, table=True):
    """One run over one source: the source's health is its latest rows."""

    __tablename__ = "pulls"

    id: int | None = Field(default=None, primary_key=True)
    source: str = Field(index=True)
    day: date | None = None
    started_at: datetime = Field(sa_type=UTCDateTime)
    finished_at: datetime = Field(sa_type=UTCDateTime)
    received: int = 0
    new: int = 0
    updated: int = 0
    dropped: dict[str, int] = Field(default_factory=dict, sa_type=sa.JSON)
    error: str = ""


LINK_KINDS = ("page", "pdf", "code", "project")


def link_targets(paper: Paper | PaperRecord) -> dict[str, str]:
    """Return where a paper's links go, by kind, without the empty ones, in the order a mail shows them."""
    urls = (paper.url, paper.pdf_url, paper.code_url, paper.project_url)
    return {kind: url for kind, url in zip(LINK_KINDS, urls, strict=True) if url}

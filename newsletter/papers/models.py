"""A paper as a row, and as the record a source hands over."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

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

    :ivar key: the id the source knows it by, with its scheme: ``arxiv:2608.17253``, ``doi:10.1101/…``,
        ``feed:<digest of its guid>`` or ``title:<digest>``.
    :ivar listed_at: when the source listed it: what the window of an issue goes by. ``None``: the source only
        tells more about a paper, or has a new version of it; that alone makes nobody a candidate.
    :ivar also: other ids of the same work.
    :ivar related: ids of another publication of it: the journal's DOI of a preprint.
    :ivar version: 1 and up where a source counts versions, else 0.
    :ivar withdrawn: whether its authors took it back.
    :ivar summary: the source's own one- or two-sentence summary, or empty.
    :ivar picture_url: a small picture of it, https.
    :ivar upvotes: ``None`` where the source has no votes: neutral in trending, not zero.
    """

    key: str
    title: str
    listed_at: datetime | None
    source: str
    also: tuple[str, ...] = ()
    related: tuple[str, ...] = ()
    version: int = 0
    withdrawn: bool = False
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
    picture_url: str = ""
    published_at: datetime | None = None
    upvotes: int | None = None
    comments: int | None = None
    stars: int | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """A record, and when its source said so.

    :ivar older: for a field that the source did not repeat: with which version, and when, it told it.
    :ivar titles: the fingerprints of all titles that the source ever gave it: a paper that is renamed stays itself.
    """

    record: PaperRecord
    seen_at: datetime
    older: Mapping[str, "Stamp"] = field(default_factory=dict)
    titles: frozenset[str] = frozenset()

    @property
    def stamp(self) -> "Stamp":
        """What decides which of two sightings is newer."""
        return self.record.version, self.seen_at


Stamp = tuple[int, datetime]
"""A version and an instant."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a source's answer held.

    :ivar dropped: how many records were left out, by reason.
    :ivar notes: one line for each thing a person may want to mend, such as a bad line by its number.
    :ivar day: of which day's list it says that it is; ``None`` where it does not say.
    :ivar whole: whether it ended as it should: what broke off is asked for again, whatever its ETag.
    """

    records: tuple[PaperRecord, ...] = ()
    dropped: Counter[str] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()
    day: date | None = None
    whole: bool = True

    @property
    def received(self) -> int:
        """How many records the answer held, good and bad."""
        return len(self.records) + self.dropped.total()


class Paper(SQLModel, table=True):
    """One work, whatever sources it came from: what `merge` made of all that they told.

    :ivar listed: whether a source has listed it as new; `listed_at` means nothing before.
    :ivar listed_at: when the last of the sources that list it listed it first: whoever picks a paper some days after
        it was announced makes it a candidate again. `first_listed_at` is when the first did.
    :ivar same_as: the paper that is the same work, if that was listed earlier; then this one is no candidate.
    :ivar details_asked_at: when arXiv was last asked about it.
    """

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
    picture_url: str = ""
    source: str
    version: int = 0
    withdrawn: bool = False
    upvotes: int | None = None
    comments: int | None = None
    stars: int | None = None
    published_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    listed: bool = Field(default=True, index=True)
    listed_at: datetime = Field(sa_type=UTCDateTime, index=True)
    first_listed_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    same_as: int | None = None
    details_asked_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    first_seen_at: datetime = Field(sa_type=UTCDateTime)
    updated_at: datetime = Field(sa_type=UTCDateTime)


class StoredRecord(SQLModel, table=True):
    """The newest that one source told of a paper: merging starts from these, so no order of pulls matters."""

    __tablename__ = "paper_records"
    __table_args__ = (sa.UniqueConstraint("source", "key", name="uq_paper_records_source_key"),)

    id: int | None = Field(default=None, primary_key=True)
    paper_id: int = Field(foreign_key="papers.id", index=True)
    source: str
    key: str
    version: int = 0
    seen_at: datetime = Field(sa_type=UTCDateTime)
    record: dict[str, Any] = Field(sa_type=sa.JSON)
    older: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    titles: list[str] = Field(default_factory=list, sa_type=sa.JSON)


class PaperKey(SQLModel, table=True):
    """What a paper may be recognised by: its ids, the ids it is related to, the fingerprints of its titles."""

    __tablename__ = "paper_keys"
    __table_args__ = (sa.PrimaryKeyConstraint("key", "paper_id"),)

    key: str
    paper_id: int = Field(foreign_key="papers.id", index=True)


class VoteCount(SQLModel, table=True):
    """A paper's votes as last seen on a UTC day: how fast they grow."""

    __tablename__ = "paper_votes"
    __table_args__ = (sa.PrimaryKeyConstraint("paper_id", "day"),)

    paper_id: int = Field(foreign_key="papers.id")
    day: date
    seen_at: datetime = Field(sa_type=UTCDateTime)
    upvotes: int


class Turn(SQLModel, table=True):
    """Whose turn it is to ask a host that wants to be asked by one client at a time, and not too often.

    :ivar begun_at: when the last request began, for whoever looks why nobody gets a turn.
    :ivar holder: who is asking now, or empty; a holder that died loses the turn at `held_until`, which
        otherwise is when the last request ended.
    """

    __tablename__ = "turns"

    name: str = Field(primary_key=True)
    begun_at: datetime = Field(sa_type=UTCDateTime)
    holder: str = ""
    held_until: datetime = Field(sa_type=UTCDateTime)


LINK_KINDS = ("page", "pdf", "code", "project")


def link_targets(paper: Paper | PaperRecord) -> dict[str, str]:
    """Return where a paper's links go, by kind, without the empty ones, in the order a mail shows them."""
    urls = (paper.url, paper.pdf_url, paper.code_url, paper.project_url)
    return {kind: url for kind, url in zip(LINK_KINDS, urls, strict=True) if url}

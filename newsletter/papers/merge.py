"""What the sources tell becomes papers: one for each work, whatever the order in which they told it. Pure.

Records belong to the same paper when they share an id (arXiv without a version, DOI). A record without
such an id joins the paper that has its title, if the first author or the year does not speak against it.
Two papers with ids of their own but one title, or of which one names the other's DOI, are two
publications of one work: they stay two, and the one that was listed later is marked as the same.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta

from newsletter.papers.identity import aliases, fingerprint, is_public, name_parts
from newsletter.papers.models import PaperRecord, Sighting, Stamp

# Whose word counts more: who publishes the paper, then what an operator gave us, then those who tell of it.
_PUBLISHERS = ("arxiv-api", "arxiv", "biorxiv", "medrxiv", "file", "huggingface")
_VOTERS = ("huggingface", "file")
COUNTS = frozenset({"upvotes", "comments", "stars"})
_OWN = frozenset({"key", "listed_at", "source", "also", "related", "version", "withdrawn"})
_FIELDS = tuple(each.name for each in fields(PaperRecord) if each.name not in COUNTS | _OWN)
CROWD = 50  # papers of one title: then it is a heading, and no name
_LATE = timedelta(days=30)  # a source that lists a paper later than that tells no news
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Merged:
    """A paper: its best text, and the sightings it is made of.

    :ivar record: `key` is the best id; `listed_at` the latest of the sources' first listings.
    :ivar ids: every id of the paper.
    :ivar titles: the fingerprints of all its titles.
    :ivar first_listed_at: the earliest listing.
    :ivar first_author: the parts of the first author's name; empty where nobody tells.
    :ivar same_as: the key of the paper that is the same work and was listed earlier.
    """

    record: PaperRecord
    sightings: tuple[Sighting, ...]
    ids: frozenset[str]
    titles: frozenset[str]
    first_listed_at: datetime | None
    first_author: frozenset[str]
    same_as: str | None = None

    @property
    def keys(self) -> frozenset[str]:
        """All that the paper may be recognised by."""
        return self.ids | self.titles | frozenset(self.record.related)


def merge(sightings: Iterable[Sighting], crowded: AbstractSet[str] = frozenset()) -> list[Merged]:
    """Return the papers that `sightings` tell of, by key; any order of them gives the same.

    :param crowded: fingerprints of titles that so many papers bear that they tell nothing.
    """
    newest: dict[tuple[str, str], Sighting] = {}
    for each in sightings:
        known = newest.get((each.record.source, each.record.key))
        newest[each.record.source, each.record.key] = _join(known, each) if known else _titled(each)
    papers = [_merged(group) for group in _by_id(list(newest.values()))]
    held = Counter(title for paper in papers for title in paper.titles)
    telling = {title for title, number in held.items() if 1 < number <= CROWD} - crowded
    return _mark_same(_join_by_title(papers, telling), telling)


def record_keys(record: PaperRecord) -> frozenset[str]:
    """Return all that may tell which paper a record is about."""
    title = fingerprint(record.title)
    return _ids(record) | frozenset(record.related) | ({title} if title else frozenset())


def _titled(sighting: Sighting) -> Sighting:
    title = fingerprint(sighting.record.title)
    return replace(sighting, titles=sighting.titles | {title}) if title else sighting


def _join(one: Sighting, two: Sighting) -> Sighting:
    """Return what a source said last; what it did not say again stands, as do its first listing and every id.

    Each field is the newest there is, so that it does not matter which two of many sightings are joined first.
    """
    stamp = max(one.stamp, two.stamp)
    values: dict[str, object] = {}
    older: dict[str, Stamp] = {}
    for name in (*_FIELDS, *COUNTS):
        told = [
            (each.older.get(name, each.stamp), value if name in COUNTS else repr(value), value)
            for each in (one, two)
            if (value := getattr(each.record, name)) or (name in COUNTS and value is not None)
        ]
        if told:
            said_at, _, values[name] = max(told, key=lambda each: each[:2])
            if said_at != stamp:
                older[name] = said_at
    listed = min((each.record.listed_at for each in (one, two) if each.record.listed_at), default=None)
    withdrawn = any(each.record.withdrawn for each in (one, two) if each.stamp == stamp)
    also, related = (
        tuple(sorted({*getattr(one.record, name), *getattr(two.record, name)})) for name in ("also", "related")
    )
    record = replace(
        one.record,
        **values,  # type: ignore[arg-type]
        listed_at=listed,
        version=stamp[0],
        withdrawn=withdrawn,
        also=also,
        related=related,
    )
    return Sighting(record, stamp[1], older, _titled(one).titles | _titled(two).titles)


def _ids(record: PaperRecord) -> frozenset[str]:
    own = (record.key, *record.also)
    return frozenset(own).union(*(aliases(key) for key in own))


def _by_id(sightings: Sequence[Sighting]) -> list[list[Sighting]]:
    """Return the sightings in groups that share ids."""
    leader: dict[str, str] = {}

    def lead(key: str) -> str:
        while leader.setdefault(key, key) != key:
            leader[key] = leader[leader[key]]  # halve the path
            key = leader[key]
        return key

    for each in sightings:
        for key in _ids(each.record):
            leader[lead(key)] = lead(each.record.key)
    groups: dict[str, list[Sighting]] = defaultdict(list)
    for each in sightings:
        groups[lead(each.record.key)].append(each)
    return list(groups.values())


def _merged(sightings: Iterable[Sighting]) -> Merged:
    """Return one paper: each field from whoever's word counts most and who has it."""
    ranked = sorted(sightings, key=_rank)
    records = [each.record for each in ranked]
    voters = sorted(ranked, key=lambda each: (_place(_VOTERS, each.record.source), _rank(each)))
    ids = frozenset[str]().union(*(_ids(record) for record in records))
    related = {key for record in records for key in record.related} - ids
    first = min(records, key=lambda record: record.listed_at or _NEVER)  # the first of equals: whose word counts most
    latest = max(
        (at for record in records if first.listed_at and (at := record.listed_at) and at - first.listed_at <= _LATE),
        default=None,
    )
    values = {name: next(filter(None, (getattr(record, name) for record in records)), None) for name in _FIELDS}
    values |= {
        name: next((n for each in voters if (n := getattr(each.record, name)) is not None), None) for name in COUNTS
    }
    record = replace(
        records[0],
        **{name: value for name, value in values.items() if value is not None},
        key=min((key for key in ids if not key.startswith("preprint:")), key=_key_rank),
        listed_at=latest,
        source=first.source,
        also=(),
        related=tuple(sorted(related)),
        version=max(record.version for record in records),
    )
    titles = frozenset[str]().union(*(each.titles for each in ranked))
    author = name_parts(record.authors[0]) if record.authors else frozenset[str]()
    return Merged(record, tuple(ranked), ids, titles, first.listed_at, author)


def _rank(sighting: Sighting) -> tuple[object, ...]:
    """Return a key that puts whose word counts most first: by source and newest version, then newest sighting."""
    record = sighting.record
    family = _place(_PUBLISHERS, record.source)
    # what arXiv announces of version 2 is worth more than what it told in full of version 1
    newest = (max(family, 1), -record.version, family)
    return *newest, record.source, -sighting.seen_at.timestamp(), record.key


def _place(sources: Sequence[str], source: str) -> int:
    return sources.index(source) if source in sources else len(sources)


def _key_rank(key: str) -> tuple[bool, bool, str]:
    return not key.startswith("arxiv:"), not key.startswith("doi:"), key


def _join_by_title(papers: Iterable[Merged], telling: AbstractSet[str]) -> list[Merged]:
    """Let each paper without a public id join the first one that has its title and may be it."""
    ordered = sorted(papers, key=lambda paper: _key_rank(paper.record.key))
    joined: list[list[Merged]] = []
    places: dict[str, list[int]] = defaultdict(list)
    for paper in ordered:
        where = sorted({place for title in paper.titles & telling for place in places[title]})
        place = next((n for n in where if all(_may_be_one(each, paper) for each in joined[n])), None)
        if place is None or is_public(paper.record.key):
            place = len(joined)
            joined.append([])
        joined[place].append(paper)
        for title in paper.titles & telling:
            places[title].append(place)
    return [
        group[0] if len(group) == 1 else _merged(each for paper in group for each in paper.sightings)
        for group in joined
    ]


def _may_be_one(one: Merged, two: Merged) -> bool:
    """Return whether papers of one title may be one work: the first author says so, else the year does."""
    if one.first_author and two.first_author:
        return bool(one.first_author & two.first_author)
    years = [_year(each) for each in (one, two)]
    return None in years or abs(years[0] - years[1]) <= 1  # type: ignore[operator]


def _year(paper: Merged) -> int | None:
    at = paper.record.published_at or paper.first_listed_at
    return at.year if at else None


def _mark_same(papers: list[Merged], telling: AbstractSet[str]) -> list[Merged]:
    """Mark every paper that is the same work as one that was listed earlier."""
    by_age = sorted(papers, key=lambda paper: (paper.first_listed_at or _NEVER, _key_rank(paper.record.key)))
    holders: dict[str, list[Merged]] = defaultdict(list)
    for paper in by_age:
        for key in paper.keys - (paper.titles - telling):
            holders[key].append(paper)
    original: dict[str, str] = {}
    for paper in by_age:
        if paper.record.key in original:
            continue
        original[paper.record.key] = paper.record.key
        waiting = [paper]
        while waiting:  # a preprint, its journal's version, and the journal's erratum are one work
            one = waiting.pop()
            for key in one.keys & holders.keys():
                holders[key] = [each for each in holders[key] if each.record.key not in original]
                for other in holders[key]:
                    if _same_work(one, other, telling):
                        original[other.record.key] = paper.record.key
                        waiting.append(other)
    return [
        paper if original[paper.record.key] == paper.record.key else replace(paper, same_as=original[paper.record.key])
        for paper in papers
    ]


def _same_work(one: Merged, two: Merged, telling: AbstractSet[str]) -> bool:
    named = (one.ids & set(two.record.related)) or (two.ids & set(one.record.related))
    return bool(named) or (bool(one.titles & two.titles & telling) and _may_be_one(one, two))

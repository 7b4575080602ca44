"""Records of the same paper become one. Pure."""

from collections.abc import Iterable
from dataclasses import fields, replace

from newsletter.papers.models import PaperRecord

_COUNTS = ("upvotes", "comments", "stars")


def merge(records: Iterable[PaperRecord]) -> list[PaperRecord]:
    """Return one record for each key, in the order of first appearance.

    What one record lacks comes from the others; counts are the highest; the listing is the earliest,
    so that a paper listed again does not become new again.
    """
    merged: dict[str, PaperRecord] = {}
    for record in records:
        known = merged.get(record.key)
        merged[record.key] = _join(known, record) if known else record
    return list(merged.values())


def _join(one: PaperRecord, two: PaperRecord) -> PaperRecord:
    changes: dict[str, object] = {"listed_at": min(one.listed_at, two.listed_at)}
    for field in fields(PaperRecord):
        mine, theirs = getattr(one, field.name), getattr(two, field.name)
        if field.name in _COUNTS:
            changes[field.name] = max((n for n in (mine, theirs) if n is not None), default=None)
        elif not mine and theirs:
            changes[field.name] = theirs
    return replace(one, **changes)  # type: ignore[arg-type]

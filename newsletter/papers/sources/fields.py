"""Reading single values out of a stranger's JSON: the right type, clean and bounded, or nothing. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from newsletter.errors import SourceError
from newsletter.papers.identity import canonical_key
from newsletter.papers.models import MAX_AUTHORS, MAX_COUNT, PaperRecord, Parsed
from newsletter.papers.tex import readable
from newsletter.papers.textclean import clean, web_address

_MAX_ID = 2_000
_MAX_NAME = 200
_MAX_NOTES = 20
_ASIDE = re.compile(r"\([^()]*\)")
_BETWEEN = re.compile(r"[,;]| and ")
_SUFFIX = re.compile(r"(?:jr|sr)\.?|i{2,3}|iv", re.IGNORECASE)
_YEARS = range(1600, 2200)  # beyond year 1 or 9999 by a zone's shift, PostgreSQL's driver reads no row


def bounded(body: bytes, most: int) -> bytes:
    """Return an answer that is no longer than such an answer can be: what is made of it takes many times its size.

    :param most: MiB.
    :raises SourceError: it is longer.
    """
    if len(body) > most * 2**20:
        raise SourceError(f"answered more than {most} MiB, which no such list has")
    return body


def collect(found: Iterable[tuple[str, PaperRecord | str]], notes: Sequence[str] = ()) -> Parsed:
    """Return an answer's records; what is none is counted by its reason, and the first ones are named.

    :param found: where something stood, and the record or the reason why it is none.
    :param notes: what there is to say besides.
    """
    records: list[PaperRecord] = []
    dropped: Counter[str] = Counter()
    said = list(notes)
    for where, each in found:
        if isinstance(each, PaperRecord):
            records.append(each)
        else:
            dropped[each] += 1
            said.append(f"{where}: {each.replace('_', ' ')}")
    return Parsed(tuple(records), dropped, tuple(said[:_MAX_NOTES]))


def text(value: Any, limit: int) -> str:  # noqa: ANN401  decoded JSON
    """Return a string cleaned and cut at `limit`, or an empty one for anything else."""
    return clean(value, limit) if isinstance(value, str) else ""


def prose(value: Any, limit: int) -> str:  # noqa: ANN401
    """Return a title or an abstract as a person reads it: TeX as Unicode, then cleaned and cut at `limit`."""
    # What is far too long is cut before it costs time; TeX takes more characters than what it says.
    return clean(readable(value[: 4 * limit]), limit) if isinstance(value, str) else ""


def key(value: Any) -> str | None:  # noqa: ANN401
    """Return the canonical key of an id or an address on one line, or ``None``."""
    # To find where an address ends takes the square of time if lines end inside it.
    if not isinstance(value, str) or len(value) > _MAX_ID or "\n" in value.strip():
        return None
    return canonical_key(value)


def names(values: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return a list of short texts in order, without empty ones; two people may have one name."""
    if not isinstance(values, list):
        return ()
    return tuple(filter(None, (text(value, _MAX_NAME) for value in values[:MAX_AUTHORS])))


def people(text: str) -> list[str]:
    """Return the names in a text such as ``Ada Example, Bo Sample (Some Lab, Some Town), Cy Jr.``."""
    bare = " ".join(_ASIDE.sub("", text).split())
    found: list[str] = []
    for part in _BETWEEN.split(bare):
        if found and _SUFFIX.fullmatch(part.strip()):
            found[-1] += f" {part.strip()}"
        elif part.strip():
            found.append(part.strip())
    return found


def surname_first(text: str) -> list[str]:
    """Return the names in a text such as ``Example, A.; Sample, B.`` with the given names in front."""
    found = []
    for person in text.split(";"):
        surname, _, given = person.partition(",")
        found.append(f"{given.strip()} {surname.strip()}".strip())
    return [name for name in found if name]


def terms(values: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return a list of short texts in order, each once, without empty ones."""
    return tuple(dict.fromkeys(names(values)))


def count(value: Any) -> int | None:  # noqa: ANN401
    """Return a count from 0 up, or ``None`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MAX_COUNT else None


def instant(value: Any) -> datetime | None:  # noqa: ANN401
    """Return an ISO 8601 date or instant as aware UTC (no zone means UTC), or ``None``."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value.strip())
        parsed = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return parsed if parsed.year in _YEARS else None


def mapping(value: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a JSON object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def others(value: dict[str, Any], wanted: Iterable[str]) -> list[str]:
    """Return the keys of `value` that are not `wanted`."""
    known = set(wanted)
    return [key for key in value if key not in known]


def picture(value: Any) -> str:  # noqa: ANN401
    """Return the address of a picture that mails may show, or nothing: clients load https only."""
    address = web_address(value)
    return address if address.startswith("https://") else ""

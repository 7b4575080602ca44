"""The papers of specimens: real ones with our own summaries, very long ones, hostile ones, Chinese and Arabic ones."""

import json
from datetime import datetime
from importlib.resources import files
from itertools import cycle, islice
from typing import Any

from newsletter import demo
from newsletter.papers.models import MAX_TITLE, Paper, PaperRecord
from newsletter.papers.sources.jsonl import parse_lines

_FIRST = 90_001  # of the numbers that are no paper's
_LONG = 6_000  # characters of an abstract; most have 1,500
_SIDE_BY_SIDE = 3  # other hostile texts beside a title


def hostile() -> list[str]:
    """Return texts that want to be more than text."""
    return [str(each) for each in json.loads(_file("hostile.json"))]


def sample(name: str, now: datetime) -> dict[int, Paper]:
    """Return the papers of a sample by number, as they are once a source has told them and they have been cleaned.

    :param name: ``demo``, ``long``, ``hostile``, ``chinese`` or ``arabic``.
    """
    if name == "demo":
        lines = demo.papers()
    elif name == "long":
        lines = [_long(number, subject) for number, subject in enumerate(_file("subjects.txt").splitlines())]
    elif name == "hostile":
        lines = [_hostile(number) for number in range(len(hostile()))]
    else:
        lines = _file(f"{name}.jsonl").encode().splitlines()
    records = [each for parsed in parse_lines(lines, now, now) for each in parsed.records]
    return {number: _paper(number, each, now) for number, each in enumerate(records, start=1)}


def _long(number: int, subject: str) -> bytes:
    """Return a paper with a title and an abstract that are far too long for a card, and as many authors."""
    words = subject.split()
    said = f"We study {subject}, and find that {' '.join(reversed(words))} is not the same. "
    return _line(
        id=f"arxiv:2608.{_FIRST + number}",
        title=" ".join(islice(cycle([subject.capitalize() + ":", "more on", *words]), MAX_TITLE // 6)),
        abstract=said * (_LONG // len(said)),
        authors=[f"Author {each} {' '.join(words)}" for each in range(1, 31)],
        organization=" ".join(["The Institute for", *words] * 3),
        keywords=words,
        upvotes=500 - number,
        **{each: f"https://example.org/{each}/" + "a-long-path/" * 40 for each in ("code_url", "project_url")},
    )


def _hostile(number: int) -> bytes:
    """Return a paper whose every field is hostile; no two fields say the same."""
    texts = hostile()
    title, organization, abstract, *names = islice(cycle(texts), number, number + 3 + _SIDE_BY_SIDE)
    return _line(
        id=f"arxiv:2608.{_FIRST + number}",
        title=title,
        abstract=f"{abstract} stands in abstract {number}. {title}",
        summary=abstract if number % 2 else "",
        authors=names,
        organization=organization,
        categories=names,
        keywords=names,
        upvotes=number,
        url=f"https://example.org/{number}?a=1&b=%22onclick=alert(1)&c=%3Cscript%3E" if number % 3 == 0 else abstract,
        code_url=f"https://example.org/code/{number}?javascript:alert(1)",
        project_url=title,
    )


def _line(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def _paper(number: int, record: PaperRecord, now: datetime) -> Paper:
    told: dict[str, Any] = {name: getattr(record, name) for name in Paper.model_fields if hasattr(record, name)}
    lists = {name: list(value) for name, value in told.items() if isinstance(value, tuple)}
    return Paper(id=number, first_seen_at=now, updated_at=now, **(told | lists))


def _file(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8")

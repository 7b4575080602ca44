"""``newsletter evaluate``: how good the ranking is."""

import csv
import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from newsletter.cli.frame import LOOK, open_app, parse_day, print_json, progress, settings_embedder
from newsletter.errors import EmbedderError, InputError

if TYPE_CHECKING:
    from newsletter.ranking.benchmark import Library
    from newsletter.ranking.types import Rows
    from newsletter.replaying import Replayed

_MOST = 200  # papers of a reader's full ranking
cli = typer.Typer(help="How good the ranking is.", no_args_is_help=True)


@cli.command()
def rank(
    archive: Path = typer.Option(..., exists=True, dir_okay=False, help="JSON lines: id, title, abstract."),
    new: Path = typer.Option(..., exists=True, dir_okay=False, help="The same, of the papers to be ranked."),
    subscribers: Path = typer.Option(..., exists=True, dir_okay=False, help="JSON lines: id, likes, keywords."),
    others: Path | None = typer.Option(None, exists=True, dir_okay=False, help="Other readers' likes."),
    days: Path | None = typer.Option(None, exists=True, dir_okay=False, help="JSON: for each day its papers."),
    out: Path = typer.Option(..., dir_okay=False, help="CSV: subscriber, day, paper, rank, score."),
) -> None:
    """Rank a benchmark's files by the code that ranks a real issue."""
    from newsletter.ranking.benchmark import Bench

    papers, fresh = _papers(archive), _papers(new)
    readers = list(_libraries(subscribers, papers))
    calendar = _days(days, fresh) if days else {}
    bench = Bench(papers, fresh, readers, list(_libraries(others, papers)) if others else [], _embedded(papers, fresh))
    rows = chain(bench.everything(_MOST), *(bench.digests(day, ids) for day, ids in calendar.items()))
    partial = out.with_name(f".{out.name}.part")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("subscriber", "day", "paper", "rank", "score"))
        writer.writerows(rows)
    partial.replace(out)  # half a ranking must not be scored
    typer.echo(f"{len(readers)} readers, {len(fresh)} new papers, {len(calendar)} days: {out}")


@cli.command()
def days(
    since: str = typer.Option(..., metavar="DAY", help="The first day, such as 2026-08-05."),
    until: str | None = typer.Option(None, metavar="DAY", help="The last day; today unless given."),
    way: list[str] = typer.Option(
        [], "--way", help="A way of ranking, once for each; the others are compared with the first. All unless given."
    ),
    svg: Path | None = typer.Option(None, dir_okay=False, help="Write a plot of it."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Replay past days of this database: what each way of ranking would have brought of what readers then liked."""
    from newsletter.cli.plot import bars
    from newsletter.replaying import WAYS, replay

    if strange := [each for each in way if each not in WAYS]:
        raise typer.BadParameter(f"there is no way {strange[0]!r}; there are {', '.join(WAYS)}", param_hint="--way")
    first = parse_day(since)
    with open_app() as app:
        last = parse_day(until) if until else max(first, app.now().date())
        if last < first:
            raise typer.BadParameter(f"{last} is before {first}", param_hint="--until")
        counted, found = replay(app, first, last, list(dict.fromkeys(way)) or list(WAYS))
    if svg and counted:
        by_way = {"way of ranking": {name: each.figures["hit rate"] for name, each in found.items()}}
        by_likes = {f"likes so far, {name}": each.by_likes for name, each in found.items()}
        svg.write_text(bars("Hit rate, with 95 % intervals", by_way | by_likes), encoding="utf-8")
    if as_json:
        print_json({"readers_days": counted, "ways": {name: asdict(each) for name, each in found.items()}})
    else:
        for line in _table(counted, found):
            typer.echo(line)
    if not counted:
        raise typer.Exit(LOOK)


def _embedded(*worlds: dict[str, tuple[str, str]]) -> "tuple[Rows, Rows] | None":
    """Return what the embedder that the settings name makes of two worlds' papers, if they name one."""
    from newsletter.embedding import MOST_AT_ONCE
    from newsletter.ranking.meaning import MOST_DIMENSIONS
    from newsletter.ranking.types import alike_stacked

    embedder = settings_embedder()
    if embedder is None:
        return None
    texts = ["\n".join(text) for world in worlds for text in world.values()]
    found = []
    with progress("asking the embedder", len(texts)) as advance:
        for first in range(0, len(texts), MOST_AT_ONCE):
            some = texts[first : first + MOST_AT_ONCE]
            try:
                found += [row[:MOST_DIMENSIONS] for row in embedder.embed(some)]
            except EmbedderError as exc:
                raise EmbedderError(f"the embedder {exc}") from exc
            advance(len(some))
    rows = alike_stacked(found)
    return rows[: len(worlds[0])], rows[len(worlds[0]) :]


def _table(counted: int, found: "dict[str, Replayed]") -> list[str]:
    if not counted:
        return ["on none of these days did a reader say something good of a paper: there is nothing to compare by"]
    lines = [f"{counted} readers' days with something that they liked, each figure with its 95 % interval"]
    for name, each in found.items():
        lines.append(f"{name}: covers {each.coverage:.0%} of the papers")
        for what, value in each.figures.items():
            better = each.better[what]
            more = f"  {better.value:+.3f} ({better.low:+.3f} to {better.high:+.3f})" if better.value else ""
            lines.append(f"  {what:<10} {value.value:.3f} ({value.low:.3f} to {value.high:.3f}){more}")
        for who, value in each.by_likes.items():
            lines.append(f"  hit rate, {who:<17} {value.value:.3f} ({value.low:.3f} to {value.high:.3f})")
    return lines


def _papers(path: Path) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for where, row in _lines(path):
        id_ = _text(where, row, "id")
        if not id_ or id_ in found:
            raise InputError(f"{where}: {'no id' if not id_ else f'a second paper {id_}'}")
        found[id_] = _text(where, row, "title"), _text(where, row, "abstract")
    return found


def _libraries(path: Path, known: dict[str, tuple[str, str]]) -> "Iterator[Library]":
    from newsletter.ranking.benchmark import Library

    for where, row in _lines(path):
        likes, keywords = row.get("likes") or [], row.get("keywords") or []
        if not isinstance(likes, list) or not isinstance(keywords, list):
            raise InputError(f"{where}: likes and keywords are lists")
        # what is not in the archive says nothing: its text is not known
        liked = dict.fromkeys(str(each) for each in likes if str(each) in known)
        yield Library(_text(where, row, "id"), tuple(liked), tuple(map(str, keywords)))


def _days(path: Path, known: dict[str, tuple[str, str]]) -> dict[str, list[str]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        days = {str(day): [str(each) for each in ids] for day, ids in found.items()}
    except (ValueError, AttributeError, TypeError, RecursionError) as exc:
        raise InputError(f"{path}: no JSON object of days with their papers") from exc
    for day, ids in days.items():
        if strange := [each for each in ids if each not in known]:
            raise InputError(f"{path}: day {day} has a paper {strange[0]} that is not among the new ones")
    return days


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise InputError(f"{path}, line {number}: no JSON object")
                    yield f"{path}, line {number}", row
        except (ValueError, RecursionError) as exc:
            raise InputError(f"{path}: no JSON lines: {exc}") from exc


def _text(where: str, row: dict[str, Any], name: str) -> str:
    value = row.get(name) or ""
    if not isinstance(value, str | int):
        raise InputError(f"{where}: {name} is no text")
    try:
        str(value).encode()
    except UnicodeEncodeError as exc:
        raise InputError(f"{where}: {name} holds half a character") from exc
    return str(value)

"""Subscribers as CSV, both ways: streamed, one clear line for each bad one. Pure."""

import csv
from collections.abc import Iterable, Iterator
from typing import Any

from newsletter.errors import InputError
from newsletter.subscribers.addresses import parse_address, shown
from newsletter.subscribers.models import Entry, State, Subscriber
from newsletter.subscribers.preferences import LISTS, Preferences, parse_preferences, split_list

COLUMNS = ("email", "state", *Preferences.model_fields)
_MAX_LINE = 100_000  # characters
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def read_entries(lines: Iterable[str], *, confirmed: bool) -> Iterator[Entry | str]:
    """Yield an entry for each good line and, for each bad one, what is wrong with it and where.

    :param confirmed: what a line without a ``state`` means: active, or pending.
    :raises InputError: the header has no ``email`` column, or one that means nothing.
    """
    reader = csv.reader(_guarded(lines), strict=True)
    header = [name.strip().lower().removeprefix("\ufeff") for name in _first(reader)]
    if "email" not in header:
        raise InputError("the first line must name the columns, email among them: " + ", ".join(COLUMNS))
    if unknown := sorted(set(header) - set(COLUMNS)):
        raise InputError(f"column {shown(unknown[0])} means nothing; there is: {', '.join(COLUMNS)}")
    if len(set(header)) != len(header):
        raise InputError("the first line names a column twice")
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            yield f"line {reader.line_num}: {exc}"
            continue
        if any(cell.strip() for cell in row):
            yield _entry(header, row, reader.line_num, confirmed=confirmed)


def row(subscriber: Subscriber) -> list[str]:
    """Return a subscriber as cells in the order of `COLUMNS`, harmless in a spreadsheet."""
    values = subscriber.preferences.model_dump(mode="json") | {
        "email": subscriber.email,
        "state": subscriber.state,
    }
    return [_cell("; ".join(values[name]) if name in LISTS else str(values[name])) for name in COLUMNS]


def _first(reader: Any) -> list[str]:  # noqa: ANN401  csv's reader has no public type
    try:
        return next(reader, [])
    except csv.Error as exc:
        raise InputError(f"line 1: {exc}") from None


def _entry(header: list[str], cells: list[str], number: int, *, confirmed: bool) -> Entry | str:
    if len(cells) > len(header):
        return f"line {number}: {len(cells)} cells for {len(header)} columns"
    values: dict[str, Any] = {
        name: _plain(cell.strip()) for name, cell in zip(header, cells, strict=False) if cell.strip()
    }
    try:
        email = parse_address(values.pop("email", ""))
        state = _state(values.pop("state", ""), confirmed=confirmed)
        lists = {name: split_list(values[name]) for name in LISTS if name in values}
        return Entry(email, parse_preferences(values | lists), state)
    except InputError as exc:
        return f"line {number}: {exc}"


def _state(text: str, *, confirmed: bool) -> State:
    if not text:
        return State.ACTIVE if confirmed else State.PENDING
    try:
        return State(text.lower())
    except ValueError:
        raise InputError(f"state: {shown(text)} is not one of {', '.join(State)}") from None


def _guarded(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        # csv would keep reading one endless field until memory ends
        yield line if len(line) <= _MAX_LINE else line[:_MAX_LINE] + "\n"


def _cell(text: str) -> str:
    """Put a quote before what a spreadsheet would take for a formula; `_plain` takes it away again."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _plain(text: str) -> str:
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text

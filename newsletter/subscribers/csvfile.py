"""Subscribers as CSV, both ways: streamed in flat memory, one clear line for each bad one."""

import csv
from collections.abc import Iterable, Iterator
from typing import Any

from newsletter.errors import InputError
from newsletter.subscribers.addresses import address_key, parse_address, shown
from newsletter.subscribers.models import Entry, State, Subscriber
from newsletter.subscribers.preferences import LISTS, Preferences, parse_preferences, split_list
from newsletter.subscribers.seen import Seen

COLUMNS = ("email", "state", *Preferences.model_fields)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def read_entries(lines: Iterable[str], *, confirmed: bool) -> Iterator[Entry | str]:
    """Yield an entry for each good line and, for each bad one, what is wrong with it and where.

    An address that comes twice is bad the second time: the last one would win, and the next import would
    change both again.

    :param confirmed: what a line without a ``state`` means: active, or pending.
    :raises InputError: the header has no ``email`` column, or one that means nothing.
    """
    reader = csv.reader(lines, strict=True)  # no field is longer than csv's own limit of 128 KiB
    header = [name.strip().lower().removeprefix("\ufeff") for name in _first(reader)]
    if "email" not in header:
        raise InputError("the first line must name the columns, email among them: " + ", ".join(COLUMNS))
    if unknown := sorted(set(header) - set(COLUMNS)):
        raise InputError(f"column {shown(unknown[0])} means nothing; there is: {', '.join(COLUMNS)}")
    if len(set(header)) != len(header):
        raise InputError("the first line names a column twice")
    seen = Seen()
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
            if any(cell.strip() for cell in cells):
                entry = _entry(header, cells, confirmed=confirmed)
                _refuse_second(seen, entry.email)
                yield entry
        except StopIteration:
            return
        except (csv.Error, InputError) as exc:
            # A quote that is not closed takes the lines behind it along: they are named, too.
            where = f"line {first}" if reader.line_num <= first else f"lines {first} to {reader.line_num}"
            yield f"{where}: {exc}"


def row(subscriber: Subscriber) -> list[str]:
    """Return a subscriber as cells in the order of `COLUMNS`, harmless in a spreadsheet."""
    values = subscriber.preferences.model_dump(mode="json") | {
        "email": subscriber.email,
        "state": subscriber.state,
    }
    return [_cell("; ".join(value) if isinstance(value := values[name], list) else str(value)) for name in COLUMNS]


def _first(reader: Any) -> list[str]:  # noqa: ANN401  csv's reader has no public type
    try:
        return next(reader, [])
    except csv.Error as exc:
        raise InputError(f"line 1: {exc}") from None


def _entry(header: list[str], cells: list[str], *, confirmed: bool) -> Entry:
    if len(cells) > len(header):
        raise InputError(f"{len(cells)} cells for {len(header)} columns")
    for cell in cells:
        if "\ufffd" in cell:  # what decoding puts in the place of a byte it cannot read
            raise InputError(f"{shown(cell)} is not in UTF-8")
    values: dict[str, Any] = {
        name: _plain(cell.strip()) for name, cell in zip(header, cells, strict=False) if cell.strip()
    }
    email = parse_address(values.pop("email", ""))
    state = _state(values.pop("state", ""), confirmed=confirmed)
    lists = {name: split_list(values[name]) for name in LISTS if name in values}
    return Entry(email, parse_preferences(values | lists), state)


def _refuse_second(seen: Seen, email: str) -> None:
    if not seen.add(address_key(email)):
        raise InputError(f"{email} is on an earlier line already")


def _state(text: str, *, confirmed: bool) -> State:
    if not text:
        return State.ACTIVE if confirmed else State.PENDING
    try:
        return State(text.lower())
    except ValueError:
        raise InputError(f"state: {shown(text)} is not one of {', '.join(State)}") from None


def _cell(text: str) -> str:
    """Put a quote before what a spreadsheet would take for a formula; `_plain` takes it away again."""
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def _plain(text: str) -> str:
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA) else text

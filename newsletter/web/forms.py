"""What is typed into a form, and what it means."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import HTTPException, Request
from starlette.datastructures import FormData

from newsletter.errors import InputError, Trouble
from newsletter.papers.pasted import MAX_PASTED_CHARS
from newsletter.subscribers.addresses import parse_address, shown
from newsletter.subscribers.preferences import (
    LANGUAGES,
    LISTS,
    Cadence,
    Preferences,
    Weekday,
    field_errors,
    parse_preferences,
)
from newsletter.subscribers.topics import TOPICS
from newsletter.web.deps import Show
from newsletter.web.views import Choices

_MAX_FIELDS = 400
_MAX_CHARS = 4_000
_DIGITS = 10  # of ids: PostgreSQL's integers have no more
_NAMES = {"en": "English", "de": "Deutsch"}
_ENTRY = re.compile(r'"([^"\n]*)"|([^,;\n]+)')
_MANY = {"topics", "weekdays"}
_TYPED = [name for name in LISTS if name not in _MANY]  # lists as one text with commas
_FIELDS: dict[str, Any] = {
    **{name: {"type": "string"} for name in ("email", "papers", *Preferences.model_fields)},
    **{name: {"type": "array", "items": {"type": "string"}} for name in sorted(_MANY)},
}


def described(*names: str) -> dict[str, Any]:
    """Return how the API's description puts a form: these fields, or all that a sign-up has."""
    fields = {name: _FIELDS.get(name, {"type": "string"}) for name in names or _FIELDS}
    content = {"application/x-www-form-urlencoded": {"schema": {"type": "object", "properties": fields}}}
    return {"requestBody": {"content": content}}


EMPTY_TEXT = {"papers": "", "email": ""}


async def read(request: Request) -> FormData:
    """Return the fields of a form.

    :raises HTTPException: 400 for what is no form, or too much of one.
    """
    try:
        return await request.form(max_fields=_MAX_FIELDS, max_files=0)
    except (UnicodeError, LookupError) as exc:  # a charset that cannot be decoded, named by the sender
        raise HTTPException(400) from exc


def text(form: FormData, name: str) -> str:
    """Return the last value of a field, without halves of characters, which some charsets can spell."""
    value = form.get(name, "")
    return _storable(value).strip() if isinstance(value, str) else ""


def number(form: FormData, name: str) -> int:
    """Return a field as a number that a database takes, 0 for anything else."""
    return as_number(text(form, name))


def as_number(value: str) -> int:
    """Return a text as a number that a database takes, 0 for anything else."""
    return int(value) if value.isdecimal() and value.isascii() and len(value) < _DIGITS else 0


def typed(form: FormData) -> dict[str, Any]:
    """Return what was typed, by field; fields we do not know are ignored."""
    names = ("email", "papers", *Preferences.model_fields)
    values: dict[str, Any] = {name: text(form, name) for name in names if name not in _MANY}
    for name in _MANY:
        values[name] = [_storable(value) for value in form.getlist(name) if isinstance(value, str)]
    for name in ("tracking", "source_news", "outside", "trending"):
        default = bool(Preferences.model_fields[name].default)
        values[name] = default if values[name] == "" else values[name] in {"yes", "true", "on", "1"}
    return values


def as_typed(wishes: Preferences) -> dict[str, Any]:
    """Return preferences as a form shows them."""
    values = wishes.model_dump(mode="json")
    return EMPTY_TEXT | values | {name: _joined(values[name]) for name in _TYPED}


def _joined(texts: Sequence[str]) -> str:
    """Return a list as one text, in quotes what holds a comma."""
    return ", ".join(f'"{each}"' if "," in each and '"' not in each else each for each in texts)


def _entries(text_: str) -> tuple[str, ...]:
    """Return the entries of a text with commas, semicolons or lines between; quotes hold one together."""
    found = (quoted or plain for quoted, plain in _ENTRY.findall(text_))
    return tuple(each.strip() for each in found if each.strip())


def wishes(typed_: Mapping[str, Any], show: Show) -> tuple[Preferences | None, dict[str, str]]:
    """Return the preferences that were typed, or what is wrong, by field, in the language of whoever asks."""
    limits = {name: MAX_PASTED_CHARS if name == "papers" else _MAX_CHARS for name in typed_}
    long = {name: Trouble("too long") for name, value in typed_.items() if len(str(value)) > limits[name]}
    named = {name: value for name, value in typed_.items() if name in Preferences.model_fields}
    values = {name: value for name, value in named.items() if value not in ("", [])}
    values |= {name: _entries(named[name]) for name in _TYPED if name in named}
    troubles = field_errors(values) | long
    if troubles:
        return None, {name: show.trouble(trouble) for name, trouble in troubles.items()}
    return parse_preferences(values), {}


def address(value: str, show: Show) -> tuple[str, dict[str, str]]:
    """Return a mail address as it is mailed, or what is wrong with it."""
    try:
        return parse_address(value), {}
    except InputError as exc:
        why = str(exc).partition(": ")[2]
        trouble = Trouble("%(given)s is not a mail address: %(why)s", {"given": shown(value), "why": why})
        return "", {"email": show.trouble(trouble) if value else show.say("Please give your mail address.")}


def choices(topics: Sequence[str] = ()) -> Choices:
    """Return what a form offers, with the topics that somebody chose already."""
    return Choices(
        topics=list(dict.fromkeys((*TOPICS, *topics))),
        cadences=list(Cadence),
        weekdays=list(Weekday),
        languages=[(code, _NAMES[code]) for code in LANGUAGES],
    )


def _storable(value: str) -> str:
    return value.encode(errors="replace").decode()

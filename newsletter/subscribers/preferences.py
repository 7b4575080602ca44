"""What a subscriber asked for, checked. Pure."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cache
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from newsletter.errors import InputError
from newsletter.subscribers.addresses import shown

MAX_INTERESTS = 100  # in one list
MAX_INTEREST = 100  # characters
MAX_PAPERS = 50


class Cadence(StrEnum):
    """On which local days a subscriber gets a mail; ``weekly`` means Mondays."""

    DAILY = "daily"
    WEEKDAYS = "weekdays"
    WEEKLY = "weekly"


def _tidy(values: Any) -> Any:  # noqa: ANN401  pydantic passes whatever was given
    """Collapse spaces, drop empty ones and second spellings of the same; a semicolon separates, as in a CSV cell."""
    if not isinstance(values, (list, tuple)) or not all(isinstance(value, str) for value in values):
        return values
    shown_only = ("".join(char for char in value if char.isprintable() or char.isspace()) for value in values)
    texts = (" ".join(part.split()) for value in shown_only for part in value.split(";"))
    return _each_once(filter(None, texts))


def _zone(name: str) -> str:
    if name not in _zones():
        raise ValueError(f"{shown(name)} is not a time zone such as Europe/Berlin")
    return name


@cache  # walking through the zone files takes milliseconds; every row that is read asks
def _zones() -> frozenset[str]:
    return frozenset(available_timezones() - {"Factory", "localtime"})


_Texts = Annotated[
    tuple[Annotated[str, Field(max_length=MAX_INTEREST)], ...],
    BeforeValidator(_tidy),
    Field(max_length=MAX_INTERESTS),
]


class Preferences(BaseModel):
    """A subscriber's wishes; every list keeps their own spelling and order.

    :ivar hour: local hour from which the mail may be sent, 0 to 23.
    :ivar max_papers: 1 to 50.
    :ivar source_news: whether to be told, in a line of mail, when a source had nothing or did not answer; on a
        day without any paper that line is the mail.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    topics: _Texts = ()
    keywords: _Texts = ()
    authors: _Texts = ()
    categories: _Texts = ()
    mutes: _Texts = ()
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    hour: Annotated[int, Field(ge=0, le=23)] = 8
    cadence: Cadence = Cadence.DAILY
    max_papers: Annotated[int, Field(ge=1, le=MAX_PAPERS)] = 10
    source_news: bool = False


LISTS = ("topics", "keywords", "authors", "categories", "mutes")


def parse_preferences(values: Mapping[str, Any]) -> Preferences:
    """Return preferences made of `values`; what is missing gets its default.

    :raises InputError: naming each field that is wrong.
    """
    troubles = field_errors(values)
    if troubles:
        raise InputError("; ".join(f"{name}: {trouble}" for name, trouble in troubles.items()))
    return Preferences.model_validate(dict(values))


def field_errors(values: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with `values`, by field; empty when they are good."""
    try:
        Preferences.model_validate(dict(values))
    except ValidationError as exc:
        return {str(error["loc"][0]): _say(error) for error in exc.errors()}
    return {}


def split_list(text: str, separators: str = ";") -> tuple[str, ...]:
    """Return the parts of a text such as ``diffusion; protein design``."""
    for separator in separators[1:]:
        text = text.replace(separator, separators[0])
    return tuple(part.strip() for part in text.split(separators[0]) if part.strip())


def _say(error: Any) -> str:  # noqa: ANN401, PLR0911  pydantic's ErrorDetails; one line for each kind
    given = shown(str(error["input"]))
    match error["type"]:
        case "int_parsing" | "int_type" | "int_from_float":
            return f"{given} is not a whole number"
        case "greater_than_equal" | "less_than_equal":
            low, high = (0, 23) if error["loc"][0] == "hour" else (1, MAX_PAPERS)
            return f"{given} is not between {low} and {high}"
        case "enum":
            return f"{given} is not one of {', '.join(Cadence)}"
        case "bool_parsing" | "bool_type":
            return f"{given} is not yes or no"
        case "too_long":
            return f"more than {MAX_INTERESTS} entries"
        case "string_too_long":
            return f"{given} is longer than {MAX_INTEREST} characters"
        case "extra_forbidden":
            return "is not a preference"
    return str(error["msg"]).removeprefix("Value error, ")


def interest_names(preferences: Preferences) -> tuple[str, ...]:
    """Return what the reader is interested in, in their own words, topics first."""
    return _each_once((*preferences.topics, *preferences.keywords, *preferences.authors, *preferences.categories))


def _each_once(values: Iterable[str]) -> tuple[str, ...]:
    first: dict[str, str] = {}
    for value in values:
        first.setdefault(value.casefold(), value)
    return tuple(first.values())

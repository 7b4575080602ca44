"""What a subscriber asked for, checked. Pure."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cache, lru_cache
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from newsletter.errors import InputError, Trouble
from newsletter.subscribers.addresses import shown

MAX_INTERESTS = 100  # in one list
MAX_INTEREST = 100  # characters
MAX_PAPERS = 50
MAX_ABOUT = 1_000  # characters
MAX_BAR = 100
LANGUAGES = ("en", "de")


class Cadence(StrEnum):
    """On which local days a subscriber gets a mail.

    ``days`` are the weekdays they chose; ``weekly`` is Monday, with the best of the week; ``above_bar`` is any day
    on which a paper scores above their bar, and only with such papers.
    """

    DAILY = "daily"
    WEEKDAYS = "weekdays"
    DAYS = "days"
    WEEKLY = "weekly"
    ABOVE_BAR = "above_bar"


class Weekday(StrEnum):
    """A local day of the week, Monday first."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


def _tidy(values: Any) -> Any:  # noqa: ANN401  pydantic passes whatever was given
    """Collapse spaces, drop empty ones and second spellings of the same; a semicolon separates, as in a CSV cell."""
    if not isinstance(values, (list, tuple)) or not all(isinstance(value, str) for value in values):
        return values
    return _each_once(part for value in values for part in _parts(value))


@lru_cache(maxsize=20_000)  # readers share most of their words, and each row that is read is checked
def _parts(value: str) -> tuple[str, ...]:
    if not value.isprintable():
        value = "".join(char for char in value if char.isprintable() or char.isspace())
    return tuple(filter(None, (" ".join(part.split()) for part in value.split(";"))))


def _days(value: Any) -> Any:  # noqa: ANN401  pydantic passes whatever was given
    """Take days as a list or as a text such as ``mon; wed``; each counts once, in the order of the week."""
    if value == "":
        return ()
    parts = value.replace(",", ";").split(";") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        return value
    named = {part.strip().lower()[:3] if part.strip().lower() in _DAY_NAMES else part.strip() for part in parts}
    return [each for each in Weekday if each in named] + sorted(named - set(Weekday) - {""})


def _line(value: Any) -> Any:  # noqa: ANN401  pydantic passes whatever was given
    if not isinstance(value, str) or not value:
        return value
    return " ".join("".join(char for char in value if char.isprintable() or char.isspace()).split())


def _zone(name: str) -> str:
    if name not in _zones():
        raise ValueError(shown(name))
    return name


_DAY_NAMES = frozenset(
    name
    for day in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    for name in (day, day[:3])
)


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

    :ivar about: what they work on, in their own words, at most 1,000 characters.
    :ivar weekdays: their days, where the cadence is ``days``.
    :ivar bar: the score, 0 to 100, that a paper must reach where the cadence is ``above_bar``.
    :ivar hour: local hour from which the mail may be sent, 0 to 23.
    :ivar max_papers: 1 to 50.
    :ivar language: of pages.
    :ivar tracking: whether opens and clicks of their mails may be counted, as far as the installation counts any.
    :ivar source_news: whether to be told, in a line of mail, when a source had nothing or did not answer; on a
        day without any paper that line is the mail.
    :ivar outside: whether one of the papers may be from outside their topics, and say so.
    :ivar trending: whether to name what everybody talks about, beside their papers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    topics: _Texts = ()
    about: Annotated[str, Field(max_length=MAX_ABOUT), BeforeValidator(_line)] = ""
    keywords: _Texts = ()
    authors: _Texts = ()
    categories: _Texts = ()
    mutes: _Texts = ()
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    hour: Annotated[int, Field(ge=0, le=23)] = 8
    cadence: Cadence = Cadence.DAILY
    weekdays: Annotated[tuple[Weekday, ...], BeforeValidator(_days)] = ()
    bar: Annotated[int, Field(ge=0, le=MAX_BAR)] = 60
    max_papers: Annotated[int, Field(ge=1, le=MAX_PAPERS)] = 10
    language: Literal["en", "de"] = "en"
    tracking: bool = True
    source_news: bool = False
    outside: bool = False
    trending: bool = True

    @model_validator(mode="after")
    def _has_days(self) -> "Preferences":
        if self.cadence is Cadence.DAYS and not self.weekdays:
            raise ValueError("weekdays")
        return self


LISTS = ("topics", "keywords", "authors", "categories", "mutes")


def parse_preferences(values: Mapping[str, Any]) -> Preferences:
    """Return preferences made of `values`; what is missing gets its default.

    :raises InputError: naming each field that is wrong.
    """
    try:
        return Preferences.model_validate(dict(values))
    except ValidationError as exc:
        said = troubles(exc.errors())
        raise InputError("; ".join(f"{name}: {trouble}" for name, trouble in said.items())) from None


def field_errors(values: Mapping[str, Any]) -> dict[str, Trouble]:
    """Return what is wrong with `values`, by field; empty when they are good."""
    try:
        Preferences.model_validate(dict(values))
    except ValidationError as exc:
        return troubles(exc.errors())
    return {}


def troubles(errors: Iterable[Any]) -> dict[str, Trouble]:
    """Return what pydantic found wrong, by field; what is wrong with no field alone is about the weekdays."""
    return {str(error["loc"][0] if error["loc"] else "weekdays"): _trouble(error) for error in errors}


def split_list(text: str, separators: str = ";") -> tuple[str, ...]:
    """Return the parts of a text such as ``diffusion; protein design``."""
    for separator in separators[1:]:
        text = text.replace(separator, separators[0])
    return tuple(part.strip() for part in text.split(separators[0]) if part.strip())


_TROUBLES = {
    "int_parsing": "%(given)s is not a whole number",
    "int_type": "%(given)s is not a whole number",
    "int_from_float": "%(given)s is not a whole number",
    "greater_than_equal": "%(given)s is not between %(low)s and %(high)s",
    "less_than_equal": "%(given)s is not between %(low)s and %(high)s",
    "enum": "%(given)s is not one of %(known)s",
    "literal_error": "%(given)s is not one of %(known)s",
    "bool_parsing": "%(given)s is not yes or no",
    "bool_type": "%(given)s is not yes or no",
    "too_long": "more than %(most)s entries",
    "string_too_long": "%(given)s is longer than %(most)s characters",
    "extra_forbidden": "is not a preference",
}
_BY_FIELD = {
    "timezone": "%(given)s is not a time zone such as Europe/Berlin",
    "weekdays": "choose at least one day",
}
_RANGES = {"hour": (0, 23), "max_papers": (1, MAX_PAPERS), "bar": (0, MAX_BAR)}
_KNOWN: Mapping[str, Iterable[str]] = {"cadence": Cadence, "weekdays": Weekday, "language": LANGUAGES}


def _trouble(error: Any) -> Trouble:  # noqa: ANN401  pydantic's ErrorDetails
    field_ = str(error["loc"][0]) if error["loc"] else "weekdays"
    low, high = _RANGES.get(field_, (0, 0))
    said = _TROUBLES.get(error["type"]) or str(error["msg"]).replace("%", "%%")
    if error["type"] == "value_error":
        said = _BY_FIELD.get(field_, said)
    context = error.get("ctx", {})
    return Trouble(
        said,
        {
            "given": shown(str(error["input"])),
            "low": low,
            "high": high,
            "known": ", ".join(_KNOWN.get(field_, ())),
            "most": context.get("max_length", MAX_INTERESTS),
        },
    )


def interest_names(preferences: Preferences) -> tuple[str, ...]:
    """Return what the reader is interested in, in their own words, topics first."""
    return _each_once((*preferences.topics, *preferences.keywords, *preferences.authors, *preferences.categories))


def _each_once(values: Iterable[str]) -> tuple[str, ...]:
    spelt = tuple(values)
    keys = tuple(map(str.casefold, spelt))
    first = dict(zip(reversed(keys), reversed(spelt), strict=True))
    return tuple(map(first.__getitem__, dict.fromkeys(keys)))

"""In which language a page speaks, and what it says there.

English texts are the keys; the others are in ``locale/<code>.po``, which ship as they are.
"""

import io
from datetime import date
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import Final

import polib

from newsletter.subscribers.preferences import LANGUAGES

DEFAULT: Final = "en"
FOLDER: Final = Path(__file__).parent / "locale"
_MOST = 2_000  # characters of a header that are read
_MONTHS: Final = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
}


def choose(accept_language: str, wanted: str = "") -> str:
    """Return the language we speak that suits best: `wanted` if we speak it, else by weight (RFC 9110, 12.5.4).

    Of equal weights the first counts; ``*`` stands for every language not named; nonsense is passed over.
    """
    code = _primary(wanted)
    if code in LANGUAGES:
        return code
    weights: dict[str, float] = {}
    for part in accept_language[:_MOST].split(","):
        name, weight = _weighted(part)
        if name:
            weights[name] = max(weight, weights.get(name, 0.0))
    liked = [name for name, weight in weights.items() if weight > 0]
    for name in sorted(liked, key=lambda name: -weights[name]):
        if name in LANGUAGES:
            return name
        if name == "*":
            return next((each for each in LANGUAGES if each not in weights), DEFAULT)
    return DEFAULT


def translate(language: str, text: str) -> str:
    """Return `text` in `language`; in English where we do not speak it or do not know the text."""
    return translations(language).gettext(text) if text else ""


@cache
def _read(language: str) -> NullTranslations:
    return GNUTranslations(io.BytesIO(polib.pofile(str(FOLDER / f"{language}.po")).to_binary()))


def translations(language: str) -> NullTranslations:
    """Return the catalogue of `language`: an empty one for English and for what we do not speak."""
    return _read(language) if language in LANGUAGES and language != DEFAULT else NullTranslations()


def written_day(language: str, day: date) -> str:
    """Return a day as people write it: ``8 August 2026``, ``8. August 2026``."""
    month = _MONTHS.get(language, _MONTHS[DEFAULT]).split()[day.month - 1]
    return f"{day.day}{'.' if language == 'de' else ''} {month} {day.year}"


def _primary(tag: str) -> str:
    """Return the language of a tag such as ``de-AT``, in small letters."""
    return tag.strip().lower().partition("-")[0]


def _weighted(part: str) -> tuple[str, float]:
    """Return language and weight of ``de-AT;q=0.8``; no language where the weight is none."""
    tag, _, parameter = part.partition(";")
    key, _, value = parameter.partition("=")
    if not parameter.strip():
        return _primary(tag), 1.0
    text = value.strip()
    good = key.strip().lower() == "q" and text.isascii() and text.replace(".", "", 1).isdecimal()
    weight = float(text) if good else -1.0
    return (_primary(tag), weight) if 0 <= weight <= 1 else ("", 0.0)

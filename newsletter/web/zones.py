"""The time zones people live in."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from zoneinfo import available_timezones

_CONTINENTS = ("Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")


@lru_cache(maxsize=1)
def by_continent() -> Mapping[str, Sequence[tuple[str, str]]]:
    """Return zones by continent, each as its name and its place."""
    names = sorted(available_timezones())
    return {
        continent: [
            (name, name.partition("/")[2].replace("_", " ")) for name in names if name.startswith(f"{continent}/")
        ]
        for continent in _CONTINENTS
    }

"""What every mail says about its sender. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Letterhead:
    """The same on each mail of an installation."""

    name: str
    base_url: str
    postal_address: str

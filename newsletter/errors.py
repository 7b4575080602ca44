"""What can go wrong, sorted by what to do about it.

Every message is one line for the person who can act on it, and names the thing that is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


class NewsletterError(Exception):
    """The root: anything we raise on purpose."""


class InputError(NewsletterError):
    """Something a person gave us is wrong; saying it again the same way will not help."""


class SettingsError(NewsletterError):
    """The installation is misconfigured; the operator must change a setting."""


class TokenError(NewsletterError):
    """A link token is forged, expired, or was made for another purpose."""


class SourceError(NewsletterError):
    """A source of papers is down or answered nonsense; a later pull may succeed."""


class EmbedderError(NewsletterError):
    """The embedder is down or answers nonsense; ranking goes on without what it would have said."""


class RelayAwayError(NewsletterError):
    """The relay does not serve us now: nothing was tried, and no mail is to blame."""


class SourceDownError(SourceError):
    """A source gives no answer at all: asking it again at once is of no use."""


class SourceRefusedError(SourceError):
    """A source says that what we asked is wrong: asking it for something else may help."""


class BusyError(NewsletterError):
    """We have too much to do just now; the same in a moment will work."""


class LeaseLostError(NewsletterError):
    """This worker may no longer touch the delivery: another took over, or its reader has left."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with something that was given: an English format, which pages translate, and what goes into it."""

    said: str
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return it in English."""
        return self.said % self.values

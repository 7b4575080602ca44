"""Text from outside made safe to keep: normalised, on one line, bounded. Pure."""

import re
import unicodedata
from urllib.parse import urlsplit

_SPACES = re.compile(r"\s+")
# Overrides and isolates that can turn the rest of a line around, zero-width joins that hide
# characters, and tag characters. Ordinary right-to-left letters need none of them.
_INVISIBLE = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")
# The last three end sentences in Chinese and Japanese, without a space after them.
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"“(])|(?<=[\u3002\uff01\uff1f])")
_MAX_URL = 2_000


def clean(text: str, limit: int) -> str:
    """Return `text` in NFC on one line, without control or direction-changing characters, cut at `limit`.

    Tags, entities and braces stay as they are: whoever prints the text escapes it.
    """
    text = _INVISIBLE.sub("", _SPACES.sub(" ", text))
    text = "".join(char for char in text if unicodedata.category(char) not in {"Cc", "Cs"})
    text = _SPACES.sub(" ", text).strip()
    # Last, because what was left out may have kept a letter and its accent apart; and only of as much as can
    # be kept (NFC makes one character of four at most): sorting a megabyte of accents takes hours.
    return shorten(unicodedata.normalize("NFC", text[: 4 * limit + 4]), limit)


def shorten(text: str, limit: int) -> str:
    """Return `text` of at most `limit` characters, cut at a word, with an ellipsis where something was cut."""
    if len(text) <= limit:
        return text
    # A base letter keeps its accents: never cut in front of a combining mark.
    end = limit - 1
    while end > 0 and unicodedata.combining(text[end]):
        end -= 1
    head = text[:end]
    cut = head.rfind(" ")
    return (head[:cut] if cut > limit // 2 else head).rstrip(" ,;:\u2013-") + "…"


def teaser(summary: str, abstract: str, limit: int) -> str:
    """Return what a card says about a paper: the source's own summary, else the abstract's first sentences.

    Whole sentences as long as they fit into `limit` characters; a first sentence that is longer is cut at a word.
    """
    text = summary or abstract
    said = ""
    for sentence in _SENTENCE_END.split(text):
        longer = f"{said} {sentence}".strip()
        if len(longer) > limit:
            break
        said = longer
    return said or shorten(text, limit)


def web_address(text: object) -> str:
    """Return `text` if it is a plain http or https address, else an empty string."""
    if not isinstance(text, str) or len(text) > _MAX_URL or re.search(r"[\s<>\"'\\\x00-\x20\x7f]", text):
        return ""
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and "." in (parts.hostname or "") and "@" not in parts.netloc
        _ = parts.port
    except ValueError:
        return ""
    return text if good and text.isascii() else ""

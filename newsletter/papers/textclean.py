"""Text from outside made safe to keep: normalised, on one line, bounded. Pure."""

import re
import unicodedata
from dataclasses import dataclass
from itertools import dropwhile
from urllib.parse import urlsplit

from newsletter.papers.sentences import damaged, sentences

# Overrides and isolates that can turn the rest of a line around, zero-width joins that hide
# characters, and tag characters. Ordinary right-to-left letters need none of them.
_FLAG_LETTERS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
_SKINS = "".join(map(chr, range(0x1F3FB, 0x1F400)))
_INVISIBLE = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Accents are among these; no language piles as many on one letter.
_MARKS = re.compile("[^\\w\\s\x00-\u02ff]{31,}")
_MAX_URL = 2_000
_MAX_QUOTED = 20_000  # characters read for a teaser
# As it stands in running text; TeX's escapes are part of it.
URL = r"https?://(?:(?![<>\"{}\\^`|$\[\]])[!-~]|\\[_%&#~$-])+"
_LINK = re.compile(rf"(?:\[(?P<label>[^\[\]]+)\]\()?(?P<target>{URL})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """A run of readable text, and the address it leads to if it is a link."""

    text: str
    url: str = ""


def clean(text: str, limit: int) -> str:
    """Return `text` in NFC on one line, without control or direction-changing characters, cut at `limit`.

    Tags, entities and braces stay as they are: whoever prints the text escapes it.
    """
    text = _INVISIBLE.sub("", " ".join(text.split()))
    text = " ".join(_CONTROL.sub("", text).split())
    # Last, because what was left out may have kept a letter and its accent apart; and only of as much as can
    # be kept: NFC makes one character of four at most.
    text = text[: 4 * limit + 4]
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", _MARKS.sub(_few_marks, text))  # sorting marks takes the square of time
    return shorten(text, limit)


def _few_marks(match: re.Match[str]) -> str:
    """Return at most 30 accents in a row, as in Unicode's stream-safe format (UAX #15, section 13)."""
    return "".join(char for n, char in enumerate(match.group()) if n < 30 or not unicodedata.combining(char))


def shorten(text: str, limit: int) -> str:
    """Return `text` of at most `limit` characters, cut at a word, with an ellipsis where something was cut."""
    if len(text) <= limit:
        return text
    end = limit - 1
    while end > 0 and _belongs_together(text, end):
        end -= 1
    head = text[:end]
    cut = head.rfind(" ")
    return (head[:cut] if cut > limit // 2 else head).rstrip(" ,;:\u2013-") + "…"


def _belongs_together(text: str, at: int) -> bool:
    """Return whether what is before and behind a place is one character to a reader (Unicode Annex 29, in short)."""
    before, behind = text[at - 1], text[at]
    if unicodedata.category(behind) in {"Mn", "Mc", "Me"} or "\u200d" in {before, behind} or behind in _SKINS:
        return True
    flags = len(text[:at]) - len(text[:at].rstrip(_FLAG_LETTERS))  # a flag is two of these
    return behind in _FLAG_LETTERS and flags % 2 == 1


def teaser(summary: str, abstract: str, limit: int) -> str:
    """Return what a card says about a paper: the source's own summary, else the abstract's first sentences.

    Whole sentences in their order from the first one that is not damaged, as long as they fit into `limit`
    characters of what is shown; nothing is left out between two. If the first is longer, it is cut at a word.
    Where the first sentence and more are damaged, nothing is quoted: what is left would not say what it is about.
    """
    return _quotable(summary, limit) or _quotable(abstract, limit)


def _quotable(text: str, limit: int) -> str:
    parts = list(sentences(text[:_MAX_QUOTED]))
    if len(parts) > 1 and damaged(parts[0]) and any(map(damaged, parts[1:])):
        return ""
    said = ""
    for sentence in dropwhile(damaged, parts):
        longer = f"{said} {sentence}".strip()
        # Addresses are not shown, but they are mailed.
        if damaged(sentence) or len(bare(longer)) > limit or len(longer) > 4 * limit:
            return said or _cut(sentence, limit)
        said = longer
    return said


def _cut(sentence: str, limit: int) -> str:
    """Return the start of a sentence without its links; an address that would be cut is left out."""
    short = shorten(bare(sentence), limit)
    whole = re.sub(rf"\s*{URL}…$", "…", short, flags=re.IGNORECASE)
    return whole if whole != "…" else ""


def spans(text: str) -> tuple[Span, ...]:
    """Return readable text as runs: ``[label](address)`` and bare addresses are links, all else is not."""
    runs: list[Span] = []
    start = 0
    for match in _LINK.finditer(text):
        address = trimmed(match["target"])
        end = match.start("target") + len(address)
        if web_address(address):
            labelled = match["label"] and text[end : end + 1] == ")"
            first = match.start() if labelled else match.start("target")
            runs += [Span(text[start:first]), Span(match["label"] if labelled else address, address)]
            start = end + 1 if labelled else end
    runs.append(Span(text[start:]))
    return tuple(run for run in runs if run.text)


def bare(text: str) -> str:
    """Return readable text without the addresses behind its labels."""
    return "".join(span.text for span in spans(text))


def plain(text: str) -> str:
    """Return readable text for a mail without markup: ``label (address)``."""
    return "".join(
        f"{span.text} ({span.url})" if span.url not in {"", span.text} else span.text for span in spans(text)
    )


def trimmed(address: str) -> str:
    """Return an address without the punctuation and the closing bracket of the sentence around it."""
    depth = 0
    for end, char in enumerate(address):
        depth += (char == "(") - (char == ")")
        if depth < 0:
            address = address[:end]
            break
    return address.rstrip(".,;:!?'*~")


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

"""Words of a text, as ranking compares them. Pure."""

import re
import unicodedata
from functools import lru_cache

import snowballstemmer

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
# Scripts written without spaces are compared character by character; pairs then act as words.
_WORD = re.compile(f"[{_CJK}]|[^\\W_{_CJK}]+")
_ASCII = bytes(ord(chr(byte).lower()) if chr(byte).isalnum() and byte < 128 else 32 for byte in range(256))
_ABBREVIATIONS = re.compile(r"[b-df-hj-np-tv-xz]+(?:[b-df-hj-np-rtv-xz]|(?<=[b-df-hj-np-tv-xz]{2})u)s")
_LONGEST = 40  # letters: what is longer is no word, and would fill the cache
_STEMMER = snowballstemmer.stemmer("english")
_STOP_WORDS = """
a about above after again all also although an and any are as at be because been before being between both but
by can could did do does during each either et few for from further had has have having here how however i if in
into is it its itself just may might more most much must no nor not of off on once only onto or other our out
over own per same several shall should since so some such than that the their them then there these they this
those through thus to too toward towards under until up upon us use used using very via was we well were what
when where whether which while who whom whose why will with within without would yet you your
"""
STOP = frozenset(_STOP_WORDS.split())


class _Bare(dict[int, int | None]):
    """What each character is without the marks above and below it: itself, or nothing for such a mark."""

    def __missing__(self, code: int) -> int | None:
        self[code] = found = None if unicodedata.combining(chr(code)) else code
        return found


_BARE = _Bare()


def words(text: str) -> list[str]:
    """Return the stems of `text` in order, without stop words; accents and case do not count."""
    return [stem(word) for word in split(text) if word not in STOP]


def every_word(text: str) -> list[str]:
    """Return the stems of `text` in order, stop words too: without them off-policy would be a policy."""
    return [stem(word) for word in split(text)]


def split(text: str) -> list[str]:
    """Return the words of `text` in order, folded but with their endings."""
    if text.isascii():
        return text.encode().translate(_ASCII).decode().split()
    folded = unicodedata.normalize("NFKD", text)
    folded = folded.translate(_BARE).casefold()
    # NFKD takes Hangul syllables apart; putting them together again keeps one character a syllable
    return _WORD.findall(unicodedata.normalize("NFC", folded))


def name_key(name: str) -> str:
    """Return the spelling under which an author or a category is compared."""
    folded = unicodedata.normalize("NFKD", name)
    folded = folded.translate(_BARE).casefold()
    return " ".join(re.sub(r"[^\w.]+|(?<=\b\w)\.", " ", folded).split())


def stem(word: str) -> str:
    """Return the stem of an English word (Snowball); others mostly stay as they are."""
    return _stem(word) if len(word) <= _LONGEST and word.isascii() else word


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    # Snowball takes no plural from what has no vowel before its end: LLMs, CNNs, GPUs.
    return word[:-1] if _ABBREVIATIONS.fullmatch(word) else str(_STEMMER.stemWord(word))

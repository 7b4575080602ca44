"""What somebody writes about their work, as phrases that papers may hold. Pure."""

import re
from collections.abc import Iterator, Sequence
from unicodedata import category, normalize

from newsletter.ranking.text import STOP, stem

_LONGEST = 4  # words
_LONGEST_UNSPACED = 12  # characters of a script without spaces
_MAX_CHARACTERS = 80  # of a phrase; what is longer is none
_HIRAGANA = "\u3041-\u309f"  # mostly what stands between the words of Japanese
_UNSPACED = "\u30a0-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_LETTERS = f"[^\\W_{_HIRAGANA}{_UNSPACED}]+"
_JOINT = r"(?:[-\u2010\u2011'\u2019&]|\.(?=\d))"  # as in GPT-4.5
_TOKEN = re.compile(
    f"(?P<unspaced>[{_UNSPACED}]{{1,{_LONGEST_UNSPACED}}})|{_LETTERS}(?:{_JOINT}{_LETTERS})*(?:\\+\\+|\\#)?"
)
_BLANK = re.compile(r"[^\S\n]*")
_SAID_OF_ANY_WORK = """
i me my mine myself don doesn isn aren didn am please thanks hello hi etc eg ie versus vs plus
anything everything something nothing someone people others lot lots kind kinds sort sorts thing things way ways
work works working worked interest interests interested interesting research researches researching researcher
researchers study studies studying studied student students phd postdoc professor scientist scientists lab team
university paper papers article articles publication publications preprint preprints literature method methods
approach approaches technique techniques topic topics thesis focus focuses focused focusing mostly mainly
especially particularly primarily specifically generally usually currently recently sometimes often lately
include includes including like likes love enjoy prefer want wants need needs read follow see find know learn
understand explore exploring investigate investigating develop developing build building make making designing
try trying apply applying applied help care related relevant concerned concerning regarding involving involve
new novel recent latest good various different several many particular specific possible main
get getting keep keeping looking thinking come go going dealing around across among really little bit
ich wir mich mir mein meine meinem meinen meiner und oder aber auch der die das den dem des ein eine einen einem
einer eines an am im auf aus bei mit nach von vom zu zum zur für über um als wie vor allem insbesondere besonders
hauptsächlich vorwiegend sowie bin ist sind arbeite arbeiten arbeit forsche forschung forschen interessiere
interessieren interesse interessiert beschäftige thema themen gebiet bereich artikel methoden verfahren
研究 论文 論文 方法 興味 兴趣
"""
_LITTLE_ALONE = """
model models modeling modelling learning training data dataset datasets system systems network networks neural
deep machine algorithm algorithms analysis theory theories experiment experiments experimental computer computers
computing computational science sciences engineering technology technologies application applications task tasks
performance result results evaluation framework frameworks tool tools software information knowledge large small
scale high low fast efficient simple complex general better best state art state-of-the-art world time real human
humans language process processes processing structure structures function functions feature features design
designs development generation generative prediction predictions simulation simulations statistics statistical
mathematics mathematical math physics biology chemistry medicine ai ml area areas field fields subject subjects
domain domains aspect aspects question questions problem problems project projects type types group reading
understanding following
"""
_BREAKS = STOP | frozenset(_SAID_OF_ANY_WORK.split())
_COMMON = frozenset(map(stem, _LITTLE_ALONE.split()))


def key_phrases(text: str, most: int = 12) -> tuple[str, ...]:
    """Return the first phrases of `text`, in its own spelling and order, each once.

    They are the words between stop words and signs (RAKE; Rose, Engel, Cramer, Cowley: Automatic keyword extraction
    from individual documents, 2010), without what is said of any work. A common word alone is no phrase.
    """
    found: dict[str, str] = {}
    for run in _runs(text):
        for places in _cut(run):
            if len(found) >= most:
                return tuple(found.values())
            said = " ".join(text[places[0].start : places[-1].stop].split())
            words = [_folded(text[place]) for place in places]
            if 1 < len(said) <= _MAX_CHARACTERS and _says_something(words):
                found.setdefault(" ".join(map(stem, words)), said)
    return tuple(found.values())


def _runs(text: str) -> Iterator[list[slice]]:
    """Yield the places of words that stand together, with nothing between them but blanks."""
    run: list[slice] = []
    loud = text.isupper()
    for token in _TOKEN.finditer(_without_marks(text)):
        place = slice(token.start(), token.end())
        cut = token["unspaced"] and run and run[-1].stop - run[-1].start >= _LONGEST_UNSPACED
        if run and (cut or not _BLANK.fullmatch(text, run[-1].stop, place.start)):
            yield run
            run = []
        if _breaks(text[place], loud=loud):
            yield run
            run = []
        else:
            run.append(place)
    yield run


def _without_marks(text: str) -> str:
    """Return `text` with a letter for each mark: it belongs to the letter before it, which expressions do not know."""
    return text if text.isascii() else "".join("x" if category(char)[0] == "M" else char for char in text)


def _breaks(word: str, *, loud: bool) -> bool:
    if word.isupper() and len(word) > 1 and not loud:
        return False  # ALS is no German "als"
    return _folded(word).partition("'")[0] in _BREAKS


def _cut(run: Sequence[slice]) -> Iterator[Sequence[slice]]:
    """Yield a run in parts of at most four words, as even as can be, the longer ones last."""
    parts = -(-len(run) // _LONGEST)
    for part in range(parts):
        yield run[part * len(run) // parts : (part + 1) * len(run) // parts]


def _says_something(words: Sequence[str]) -> bool:
    if not any(char.isalpha() for word in words for char in word):
        return False
    return len(words) > 1 or stem(words[0]) not in _COMMON


def _folded(word: str) -> str:
    return normalize("NFKC", word).casefold().replace("\u2019", "'")

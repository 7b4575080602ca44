"""Papers as BibTeX and as RIS, for reference managers. Pure.

BibTeX is written by bibtexparser, which escapes nothing; letters become TeX by pylatexenc, whose own rules would leave
braces that BibTeX counts. RIS is one tag a line: a text that stays on its line can be nothing but a text.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from bibtexparser.entrypoint import write_string
from bibtexparser.library import Library
from bibtexparser.model import Block, Entry, Field
from pylatexenc.latexencode import RULE_DICT, RULE_REGEX, UnicodeToLatexConversionRule, UnicodeToLatexEncoder

from newsletter.papers.models import Paper, link_targets
from newsletter.papers.textclean import bare, clean, web_address

_TITLE, _NAME, _ABSTRACT = 1_000, 200, 20_000
_NOT_IN_A_KEY = re.compile(r"[^A-Za-z0-9:./_+-]+")
_SPECIAL = {
    "{": r"\textbraceleft",  # \{ would count as a brace
    "}": r"\textbraceright",
    '"': r"\textquotedbl",
    "`": r"\textasciigrave",
    "^": r"\textasciicircum",
}
# Scripts that TeX has no commands for in every font; today's engines read them as they are.
_AS_IT_IS = re.compile("[\u0400-\u052f\u0590-\u06ff\u0900-\u1cff\u2e80-\uffff\U00010000-\U0010ffff]+")
_LIGATURES = [(re.compile(r"-(?=-)"), "-{}"), (re.compile(r"'(?=')"), "'{}")]


def bibtex(papers: Sequence[Paper]) -> str:
    """Return an entry for each paper; no two have the same key."""
    taken: set[str] = set()
    entries: list[Block] = []
    for paper in papers:
        key = _key(paper, taken)
        taken.add(key.casefold())
        entries.append(Entry("misc", key, [Field(name, value) for name, value in _fields(paper) if value]))
    return str(write_string(Library(entries)))


def ris(papers: Iterable[Paper]) -> str:
    """Return a record for each paper, with CRLF."""
    return "".join(f"{tag}  - {value}\r\n" for paper in papers for tag, value in _tags(paper))


def _fields(paper: Paper) -> Iterator[tuple[str, str]]:
    scheme, _, id_ = paper.key.partition(":")
    yield "title", f"{{{_tex(_title(paper))}}}"  # in braces of its own: capitals stay
    yield "author", " and ".join(map(_bibtex_name, _names(paper)))
    yield "year", str((paper.published_at or paper.listed_at).year)
    yield "eprint", _address(id_) if scheme == "arxiv" else ""
    yield "archiveprefix", "arXiv" if scheme == "arxiv" else ""
    yield "doi", _address(id_) if scheme == "doi" else ""
    yield "url", _address(_url(paper))


def _tags(paper: Paper) -> Iterator[tuple[str, str]]:
    scheme, _, id_ = paper.key.partition(":")
    at = paper.published_at or paper.listed_at
    single = (
        ("TI", _title(paper)),
        *(("AU", name) for name in _names(paper)),
        ("PY", str(at.year)),
        ("DA", f"{at:%Y/%m/%d}"),
        ("AB", clean(bare(paper.abstract or paper.summary), _ABSTRACT)),
        *(("KW", clean(word, _NAME)) for word in paper.keywords),
        ("DO", _line(id_) if scheme == "doi" else ""),
        ("UR", _url(paper)),
        ("L1", web_address(paper.pdf_url)),
        ("AN", _line(paper.key) if scheme == "arxiv" else ""),
    )
    yield "TY", "UNPB"  # a preprint, as far as we know
    yield from ((tag, value) for tag, value in single if value)
    yield "ER", ""


def _title(paper: Paper) -> str:
    return clean(bare(paper.title), _TITLE)


def _names(paper: Paper) -> list[str]:
    return [name for each in paper.authors if (name := clean(each, _NAME))]


def _bibtex_name(name: str) -> str:
    """Return a name; what BibTeX would take apart wrongly, such as an institution, in braces."""
    apart = "," in name or re.search(r"\band\b", name, re.IGNORECASE)
    return f"{{{_tex(name)}}}" if apart else _tex(name)


def _url(paper: Paper) -> str:
    return next((url for url in map(web_address, link_targets(paper).values()) if url), "")


def _address(text: str) -> str:
    """Return an address or an id as BibTeX keeps it: letter for letter, but for what would end the field."""
    return _line(text).replace("{", "%7B").replace("}", "%7D")


def _line(text: str) -> str:
    return clean(text, _TITLE).replace("\\", "")


def _key(paper: Paper, taken: set[str]) -> str:
    key = _NOT_IN_A_KEY.sub("", paper.key)[:80] or "paper"
    return key if key.casefold() not in taken else f"{key}-{paper.id}"


def _tex(text: str) -> str:
    return str(_encoder().unicode_to_latex(text))


@cache
def _encoder() -> UnicodeToLatexEncoder:
    rules = [
        UnicodeToLatexConversionRule(
            RULE_REGEX, [*_LIGATURES, (_AS_IT_IS, r"\g<0>")], replacement_latex_protection="none"
        ),
        UnicodeToLatexConversionRule(RULE_DICT, {ord(char): macro for char, macro in _SPECIAL.items()}),
        "defaults",
    ]
    return UnicodeToLatexEncoder(
        conversion_rules=rules,
        replacement_latex_protection="braces-all",
        unknown_char_policy="keep",
        unknown_char_warning=False,
    )

"""Papers as BibTeX and RIS are read back as what they were, whatever is written in them."""

import re
from datetime import UTC, datetime

import pytest
from bibtexparser import parse_string
from bibtexparser.middlewares import NormalizeFieldKeys
from hypothesis import given
from hypothesis import strategies as st
from pylatexenc.latex2text import LatexNodes2Text, MacroTextSpec, get_default_latex_context_db
from samples import HOSTILE, record

from newsletter.papers.bibliography import Work, pieces
from newsletter.papers.citing import bibtex, ris
from newsletter.papers.models import Paper
from newsletter.papers.textclean import bare, clean

AT = datetime(2026, 8, 5, tzinfo=UTC)
TEXTS = st.text(max_size=80) | st.sampled_from(HOSTILE) | st.text(alphabet="{}\\\"'`$%#&_^~-@, =\n", max_size=40)
BRACES = {"textbraceleft": "{", "textbraceright": "}", "textquotedbl": '"', "textasciigrave": "`"}
SIGNS = BRACES | {"textasciicircum": "^", "textbackslash": "\\", "textasciitilde": "~"}


def paper(number: int = 1, title: str = "A title", **fields: object) -> Paper:
    made = record(number, title, **fields)
    kept = ("key", "title", "abstract", "url", "pdf_url", "listed_at", "source", "published_at")
    values = {name: getattr(made, name) for name in kept}
    return Paper(id=number, authors=list(made.authors), first_seen_at=AT, updated_at=AT, **values)


def read(text: str) -> list[dict[str, str]]:
    """Return the entries of a BibTeX file, with TeX as text."""
    library = parse_string(text, append_middleware=[NormalizeFieldKeys()])
    assert not library.failed_blocks
    assert len(library.blocks) == len(library.entries), "nothing stands beside the entries"
    return [{field.key: plain(str(field.value)) for field in entry.fields} for entry in library.entries]


def plain(tex: str) -> str:
    known = get_default_latex_context_db()
    known.add_context_category("ours", [MacroTextSpec(*each) for each in SIGNS.items()], prepend=True)
    return str(LatexNodes2Text(known, strict_latex_spaces=True, keep_comments=True).latex_to_text(tex))


def folded(text: str) -> str:
    """Return a text without what decoding TeX writes otherwise: quotes and dashes as signs, spaces behind a macro."""
    return re.sub(r"[\s'’‘\"“”–—-]", "", text)


def test_an_arxiv_paper_has_what_a_reference_needs() -> None:
    made = paper(1, "Größere Modelle: α ≤ β & {more}", authors=["Ada Example", "José Núñez", "Smith and Sons, Ltd."])
    text = bibtex([made])
    assert text.startswith("@misc{arxiv:2608.00001,\n")
    [entry] = read(text)
    assert entry == {
        "title": "Größere Modelle: α ≤ β & {more}",
        "author": "Ada Example and José Núñez and Smith and Sons, Ltd.",
        "year": "2026",
        "eprint": "2608.00001",
        "archiveprefix": "arXiv",
        "url": "https://arxiv.org/abs/2608.00001",
    }
    assert r"Jos{\'e} N{\'u}{\~n}ez and {Smith and Sons, Ltd.}" in text, "an institution is one name"


def test_a_doi_and_an_address_stay_letter_for_letter_and_end_no_field() -> None:
    made = paper(1, key="doi:10.1101/2026.08.01.1_x", url="https://example.org/a_b?c=%20&d={e}#f")
    [entry] = parse_string(bibtex([made])).entries
    assert entry["doi"] == "10.1101/2026.08.01.1_x"
    assert entry["url"] == "https://example.org/a_b?c=%20&d=%7Be%7D#f"


def test_an_address_that_is_none_of_the_web_is_left_out() -> None:
    made = paper(1, url="javascript:alert(1)", pdf_url="")
    assert "javascript" not in bibtex([made]) + ris([made])


def test_no_two_entries_have_the_same_key() -> None:
    same = [paper(number, key=key) for number, key in enumerate(("feed:é", "feed:", "FEED:{}", "}"), start=1)]
    keys = [entry.key for entry in parse_string(bibtex(same)).entries]
    assert len({key.casefold() for key in keys}) == 4


@given(title=TEXTS, author=TEXTS, key=TEXTS)
def test_whatever_is_written_in_a_paper_is_text_in_bibtex(title: str, author: str, key: str) -> None:
    made = paper(1, title or "x", authors=[author], key=key)
    entries = read(bibtex([made, paper(2, "Another")]))
    assert len(entries) == 2
    assert set(entries[0]) <= {"title", "author", "year", "eprint", "archiveprefix", "doi", "url"}
    assert entries[1]["title"] == "Another"


@pytest.mark.parametrize("text", [*HOSTILE, r"\input{/etc/passwd} }{ $x$ -- ''", "O'Neil", "x@y{z, t = {u}}"])
def test_a_hostile_title_is_read_back_as_it_was(text: str) -> None:
    [entry] = read(bibtex([paper(1, text)]))
    assert folded(entry["title"]) == folded(clean(bare(text), 1_000))


def test_ris_has_a_tag_a_line_and_is_read_back() -> None:
    made = paper(1, "A title", authors=["Ada Example", "Bela Muster"], abstract="One.\nTwo.")
    lines = ris([made]).split("\r\n")
    assert lines == [
        "TY  - UNPB",
        "TI  - A title",
        "AU  - Ada Example",
        "AU  - Bela Muster",
        "PY  - 2026",
        "DA  - 2026/08/05",
        "AB  - One. Two.",
        "UR  - https://arxiv.org/abs/2608.00001",
        "L1  - https://arxiv.org/pdf/2608.00001",
        "AN  - arxiv:2608.00001",
        "ER  - ",
        "",
    ]


@given(title=TEXTS, author=TEXTS, abstract=TEXTS)
def test_whatever_is_written_in_a_paper_is_text_in_ris(title: str, author: str, abstract: str) -> None:
    text = ris([paper(1, title, authors=[author], abstract=abstract), paper(2, "Another")])
    lines = text.split("\r\n")
    assert all(re.fullmatch(r"[A-Z][A-Z0-9]  - [^\r\n\x00-\x1f]*", line) for line in lines[:-1])
    assert [line for line in lines if line.startswith(("TY", "ER"))] == ["TY  - UNPB", "ER  - "] * 2
    works = [each for each in pieces(text.replace("\r\n", "\n")) if isinstance(each, Work)]
    assert len(works) == 2
    assert works[1].title == "Another"

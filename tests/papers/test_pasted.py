"""What a reader pastes: ids, addresses and titles in any mixture, exports, and whatever else comes."""

import json
from time import process_time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from samples import HOSTILE

from newsletter.papers.identity import canonical_key, title_key
from newsletter.papers.pasted import MAX_PASTED, MAX_PASTED_CHARS, Paste, PastedPaper, read_pasted

ANY_TEXT = st.text(st.characters())  # with lone surrogates
PIECES = (
    "@article{", "@misc{key,", "@string{a=", "@comment{", "@(", "title=", "doi={10.1234/a}", "{", "}", '"', ",", "=",
    "\\", "#", "$", "\n", "\r", " ", "TY  - JOUR\n", "TI  - A title\n", "ER  - \n", "AB  - ", '[{"', '{"title":', "}]",
    '"A b c"', ":", "[", "]", "title,doi\n", ";", "\t", "10.1234/", "10.", "2608.17253", "v2", "hep-th/9901001",
    "arXiv:", "https://", "arxiv.org/abs/", "%2F", "&#", "&amp;", "<i>", "A title of five words", "9" * 30, "\x00",
    "\ud800", "\u202e", "\u200f", "\ufeff", "é", "拡散",
)  # fmt: skip


def notes(pasted: Paste) -> tuple[str, ...]:
    return tuple(map(str, pasted.notes))


def keys(text: str) -> list[str]:
    return [paper.key for paper in read_pasted(text).papers]


def one(text: str) -> PastedPaper:
    pasted = read_pasted(text)
    assert (len(pasted.papers), pasted.notes) == (1, ())
    return pasted.papers[0]


def check(pasted: Paste) -> None:
    """Every promise of the docstrings that holds whatever comes in."""
    assert len({paper.key for paper in pasted.papers}) == len(pasted.papers) <= MAX_PASTED
    for paper in pasted.papers:
        assert canonical_key(paper.key) == paper.key or (paper.key[:6], len(paper.key)) == ("title:", 38)
        assert paper.title or not paper.key.startswith("title:")
        assert len(paper.title) <= 1_000
        assert len(paper.text) <= 2_000
    assert len(pasted.notes) <= 5
    assert all(len(note) < 150 for note in notes(pasted))
    for said in (*notes(pasted), *(text for paper in pasted.papers for text in (paper.title, paper.text))):
        said.encode()
        assert not set(said) & set("\x00\x1b\n\r\t\u202e\u200f")


@pytest.mark.parametrize(
    "text",
    [
        "2608.17253",
        "2608.17253v2.pdf",
        "see 2608.17253, which",
        "(2608.17253)",
        "[2608.17253] Some words",
        "arXiv:2608.17253v2",
        "arXiv: 2608.17253.",
        "ARXIV.2608.17253",
        "arXiv:2608.17253 [cs.LG]",
        "oai:arXiv.org:2608.17253v1",
        "A. Example. A Title. arXiv preprint arXiv:2608.17253, 2026.",
        "https://arxiv.org/abs/2608.17253v3",
        "http://www.arxiv.org/pdf/2608.17253v3.pdf",
        "https://export.arxiv.org/abs/2608.17253",
        "https://arxiv.org/html/2608.17253v1#S2.p3",
        "https://arxiv.org/abs/2608.17253?context=cs",
        "arxiv.org/abs/2608.17253",
        "https://www.alphaxiv.org/abs/2608.17253v1",
        "https://www.alphaxiv.org/ja/overview/2608.17253",
        "https://ar5iv.labs.arxiv.org/html/2608.17253",
        "https://huggingface.co/papers/2608.17253",
        "huggingface.co/papers/2608.17253",
        "https://web.archive.org/web/2026/https://arxiv.org/abs/2608.17253",
        "10.48550/arXiv.2608.17253",
        "https://doi.org/10.48550/ARXIV.2608.17253v2.",
        "- [A label](https://arxiv.org/abs/2608.17253) and so on",
        "<https://arxiv.org/abs/2608.17253>,",
        "请看arXiv：2608.17253，以及",
        "论文https://arxiv.org/abs/2608.17253。",
        "\u202eהמאמר arXiv:\u200f2608.17253\u200e\u202c",
        "\ufeff2608.17253\r\n",
    ],
)
def test_an_arxiv_id_is_found_however_it_is_written(text: str) -> None:
    assert one(text) == PastedPaper("arxiv:2608.17253")


def test_old_ids_are_found_in_running_text() -> None:
    text = "hep-th/9901001v2, arXiv:math.GT/0309136 and https://arxiv.org/abs/cond-mat/0207270 (or cs/0703041)."
    assert keys(text) == ["arxiv:hep-th/9901001", "arxiv:math/0309136", "arxiv:cond-mat/0207270", "arxiv:cs/0703041"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("10.1234/Ab.C1", "10.1234/ab.c1"),
        ("see doi:10.1234/abc.", "10.1234/abc"),
        ("(DOI: 10.1234/abc).", "10.1234/abc"),
        ("“10.1234/abc”", "10.1234/abc"),
        ("https://doi.org/10.1234/abc,", "10.1234/abc"),
        ("http://dx.doi.org/10.1234/ABC;", "10.1234/abc"),
        ("doi.org/10.1234/abc/", "10.1234/abc"),
        ("10.1016/S0140-6736(20)30183-5", "10.1016/s0140-6736(20)30183-5"),
        ("[10.1234/abc](https://doi.org/10.1234/abc)", "10.1234/abc"),
        ("https://www.biorxiv.org/content/10.1101/2026.01.02.123456v1.full.pdf+html", "10.1101/2026.01.02.123456"),
        ("https://dl.acm.org/doi/pdf/10.1145/1.2?download=true", "10.1145/1.2"),
        ("https://www.frontiersin.org/articles/10.3389/a.2020.1/full", "10.3389/a.2020.1"),
        ("https://example.org/to?doi=10.1002%2Fxyz&utm_source=a", "10.1002/xyz"),
        ("https://link.example.org/content/pdf/10.1007/s1-021-1.pdf", "10.1007/s1-021-1"),
    ],
)
def test_a_doi_is_found_without_what_stands_around_it(text: str, key: str) -> None:
    assert one(text) == PastedPaper(f"doi:{key}")


def test_many_in_one_line_are_each_one_and_in_order() -> None:
    text = "10.1234/b,10.1234/a;doi:10.1234/c 2608.00002,2608.00001\n2608.00003 10.1234/B arXiv:2608.00001v4"
    assert keys(text) == [
        "doi:10.1234/b", "doi:10.1234/a", "doi:10.1234/c", "arxiv:2608.00002", "arxiv:2608.00001", "arxiv:2608.00003",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "1999.1234",
        "2613.00001",
        "12608.17253",
        "2608.172531",
        "2608.17253.5",
        "10.12/2010",
        "110.1234/5",
        "and/1234567",
    ],
)
def test_a_number_that_only_looks_like_an_id_is_none(text: str) -> None:
    assert keys(text) == []


def test_a_line_that_reads_like_a_title_is_one() -> None:
    text = """
        1. “Attention Is All You Need”
        - Deep Residual Learning for Image Recognition
        [3] Spectral *gaps* in $\\alpha$-stable {M}arkov chains
        Große Sprachmodelle und wie sie lernen
    """
    titles = (
        "Attention Is All You Need",
        "Deep Residual Learning for Image Recognition",
        "Spectral gaps in α-stable Markov chains",
        "Große Sprachmodelle und wie sie lernen",
    )
    assert read_pasted(text) == Paste(tuple(PastedPaper(title_key(title), title) for title in titles))


@pytest.mark.parametrize(
    "line",
    [
        "Two words", "a b c", "My favourite papers of the year:", "write to ada@example.org about it", "long " * 61,
        "x = 3 and so on, is it", "12345 67890 12345 67890", "https://openreview.net/forum?id=abc",
        "https://example.org/abs/2608.17253",
    ],
)  # fmt: skip
def test_what_is_nothing_of_all_is_noted(line: str) -> None:
    pasted = read_pasted(f"2608.17253\n{line}")
    assert keys(line) == []
    assert len(pasted.notes) == 1
    assert line.strip()[:30] in notes(pasted)[0]


@pytest.mark.parametrize("text", ["", " ", "\n" * 100_000, "\ufeff", "---\n***\n…", "\x00"])
def test_nothing_is_no_papers_and_no_trouble(text: str) -> None:
    assert read_pasted(text) == Paste()


def test_of_many_notes_the_last_says_how_many_more() -> None:
    found = notes(read_pasted("\n".join(f"bad {n}" for n in range(12))))
    assert found[:2] == ('"bad 0": no id, no address and no title.', '"bad 1": no id, no address and no title.')
    assert (len(found), found[-1]) == (5, "8 more could not be read.")
    assert len(read_pasted("\n".join(f"bad {n}" for n in range(5))).notes) == 5


def test_more_papers_than_are_kept_are_said() -> None:
    pasted = read_pasted("\n".join(f"10.1234/{n}" for n in range(MAX_PASTED + 1)))
    assert (len(pasted.papers), notes(pasted)) == (MAX_PASTED, ("Only the first 200 papers were kept.",))
    assert read_pasted("\n".join(f"10.1234/{n % MAX_PASTED}" for n in range(MAX_PASTED * 2))).notes == ()


def test_a_text_that_is_too_long_is_cut_between_two_ids() -> None:
    pasted = read_pasted("10.1234/abcdefghi " * (MAX_PASTED_CHARS // 18 + 1))
    assert [paper.key for paper in pasted.papers] == ["doi:10.1234/abcdefghi"]
    assert notes(pasted) == ("Only the first 399995 characters were read.",)
    assert read_pasted("2608.17253" + " " * MAX_PASTED_CHARS).notes == ()


def test_bibtex_is_read_entry_by_entry_with_the_text_around_it() -> None:
    text = r"""My library (A to C), exported today as a file:
@article{vaswani2017, title={Attention {Is} All {Y}ou Need}, journal={arXiv preprint arXiv:1706.03762}}
https://arxiv.org/abs/2608.17000
@inproceedings(he2016, Title = "Deep Residual Learning", DOI = {10.1109/CVPR.2016.90},
  abstract = {We say that $\alpha$ is
    5\% bigger.}, month = jun)
@string{jmlr = {A Journal of some Kind}} @comment{What a program wrote down here} @preamble{"x"}
@misc{bert, title={{BERT}: {P}re-training}, eprint={1810.04805}, archivePrefix={arXiv}, doi={10.1234/published}}
@article{bert, title={M{\"o}bius $L_2$ \& more}, doi={10.1007/978-3-030\_12}, doi={10.1234/twice}}
@online{url, title={By its address}, url={http://arxiv.org/abs/2608.00001v2}}
@article{ext, title={An extended version}, note={Extends arXiv:2608.99999}, doi={https://doi.org/10.1234/ext}}
@article{, title={Only a title}}
"""
    assert [(paper.key, paper.title, paper.text) for paper in read_pasted(text).papers] == [
        ("arxiv:1706.03762", "Attention Is All You Need", ""),
        ("arxiv:2608.17000", "", ""),
        ("doi:10.1109/cvpr.2016.90", "Deep Residual Learning", "We say that α is 5% bigger."),
        ("arxiv:1810.04805", "BERT: Pre-training", ""),
        ("doi:10.1007/978-3-030_12", "Möbius L₂ & more", ""),
        ("arxiv:2608.00001", "By its address", ""),
        ("doi:10.1234/ext", "An extended version", ""),
        (title_key("Only a title"), "Only a title", ""),
    ]


def test_dblp_and_the_old_resolver_and_a_sici_are_understood() -> None:
    assert one("@article{a, title={T}, journal={CoRR}, volume={abs/2608.00001}}").key == "arxiv:2608.00001"
    assert one("@misc{a, title={T}, note={arXiv:2608.00001 [cs]}}").key == "arxiv:2608.00001"
    assert one("@misc{a, title={T}, howpublished={\\url{http://dx.doi.org/10.1234/a}}}").key == "doi:10.1234/a"
    sici = "10.1002/(SICI)1097-0258(19980815)17:15<1661::AID-SIM968>3.0.CO;2-2"
    assert one(f"@article{{a, title={{T}}, doi={{{sici}}}}}").key == f"doi:{sici.lower()}"


def test_half_an_entry_costs_at_most_itself() -> None:
    text = """@article{brace, title={No brace at its end}, doi={10.1234/half},
@article{value, title={No end of an abstract}, abstract={Never closed
@article{title={No key there}, eprint={2608.00001},
  note={Some long note that is here}
}

A Title Behind the Broken Entry
@article{swallowed, title={Never closed,
  year={2020}
@article{nothing, year={2020}}
@article{good, title={A good one}, eprint={2608.00002}}
@article{last, title={A last one that was cut}, doi={10.1234/la"""
    pasted = read_pasted(text)
    assert [(paper.key, paper.title) for paper in pasted.papers] == [
        ("doi:10.1234/half", "No brace at its end"),
        (title_key("No end of an abstract"), "No end of an abstract"),
        ("arxiv:2608.00001", ""),
        (title_key("A Title Behind the Broken Entry"), "A Title Behind the Broken Entry"),
        ("arxiv:2608.00002", "A good one"),
        (title_key("A last one that was cut"), "A last one that was cut"),
    ]
    assert notes(pasted) == (
        '"BibTeX @article{swallowed, title={Never closed, year={2020}": broken or cut off.',
        '"BibTeX entry nothing": neither an id nor a title.',
    )


def test_a_broken_entry_does_not_keep_an_id_behind_it() -> None:
    assert keys("@article{x, title={Never closed}\n\narXiv:2608.17253") == ["arxiv:2608.17253"]
    assert keys("@article{x, doi={10.1234/la") == []


RIS = """TY  - JOUR
TI  - A study of things
AU  - Example, Ada
AB  - The first line
and the second.
DO  - 10.1234/Ris
UR  - https://example.org/x
ER  -

10.1234/between
TY  - GEN
a line without a tag
T1  - Another study of things
AN  - arXiv:2608.00003
UK  - x
ZZ  - y
ER  -
TY  - JOUR
T2  - Only a journal
TY  - GEN
TI  - One without an end
"""


@pytest.mark.parametrize(
    "text",
    [
        RIS,
        RIS.replace("\n", "\r\n"),
        RIS.replace("\n", "\n  "),
        RIS.replace("  -", " -"),
        RIS.replace("ER  -", "ER  - "),
    ],
)
def test_ris_is_read_even_if_half_of_it_is_missing(text: str) -> None:
    pasted = read_pasted(text)
    assert (pasted.papers, notes(pasted)) == (
        (
            PastedPaper("doi:10.1234/ris", "A study of things", "The first line and the second."),
            PastedPaper("doi:10.1234/between"),
            PastedPaper("arxiv:2608.00003", "Another study of things"),
            PastedPaper(title_key("One without an end"), "One without an end"),
        ),
        ('"RIS entry 3": neither an id nor a title.',),
    )


CSL: list[dict[str, Any]] = [
    {"id": "x", "title": "A <i>nice</i> &amp; long title", "DOI": "10.1234/J1", "abstract": "<jats:p>Said.</jats:p>"},
    {"title": "Two", "number": "arXiv:2608.00004", "volume": 9, "author": [{"family": "Example"}]},
    {"title": ["Three", 3], "URL": "http://arxiv.org/abs/2608.00005", "issued": None},
]
FROM_CSL = (
    PastedPaper("doi:10.1234/j1", "A nice & long title", "Said."),
    PastedPaper("arxiv:2608.00004", "Two"),
    PastedPaper("arxiv:2608.00005", "Three"),
)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(CSL),
        json.dumps(CSL, indent=2),
        json.dumps({"items": CSL}),
        "\n".join(map(json.dumps, CSL)),
        "".join(json.dumps([each]) for each in CSL),
        json.dumps(CSL).replace('"volume": 9', f'"volume": {"9" * 10_000}, "x": NaN'),
        json.dumps(CSL)[:-1] + ",]",
    ],
    ids=range(7),
)
def test_csl_json_is_read_in_every_wrapping(text: str) -> None:
    assert read_pasted(text) == Paste(FROM_CSL)


def test_what_is_whole_in_half_a_json_is_read() -> None:
    text = json.dumps(CSL)
    assert read_pasted(text + "\n2608.00009").papers == (*FROM_CSL, PastedPaper("arxiv:2608.00009"))
    cut = read_pasted(text[: text.index('"number"')])
    assert (cut.papers, notes(cut)) == (FROM_CSL[:1], ('"the JSON after entry 1": broken or cut off.',))
    assert read_pasted(text[: text.index('"issued"')]).papers == (*FROM_CSL[:2], PastedPaper("arxiv:2608.00005"))
    assert notes(read_pasted('[{"title": "x", ' + '"y": [' * 50_000)) == ('"the JSON": broken or cut off.',)
    assert read_pasted('[{"a": 1}, 5]').papers == ()
    assert notes(read_pasted('{"items": [1, null]}'))[0] == '"JSON entry 1": neither an id nor a title.'


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_is_read_by_the_names_of_its_columns(delimiter: str) -> None:
    rows = (
        ("Key", "Item Type", "Author", "Title", "DOI", "Url", "Abstract Note", "Extra"),
        (
            "A",
            "preprint",
            "Ex, A",
            "A title, with a comma",
            "",
            "http://arxiv.org/abs/2608.00006",
            "Said\nmore; yes",
            "",
        ),
        ("B", "article", "", "Second", "10.1234/c2", "", "", "arXiv:2608.00007 [cs]"),
        ("C", "note", "", "", "", "", "", ""),
        ("D",),
    )
    text = "\ufeff" + "\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    pasted = read_pasted(text)
    assert (pasted.papers, notes(pasted)) == (
        (
            PastedPaper("arxiv:2608.00006", "A title, with a comma", "Said more; yes"),
            PastedPaper("arxiv:2608.00007", "Second"),
        ),
        ('"CSV line 5": neither an id nor a title.', '"CSV line 6": neither an id nor a title.'),
    )


def test_a_table_with_a_quote_that_never_ends_still_gives_its_ids() -> None:
    pasted = read_pasted('Title,DOI\nGood,10.1234/a\n"Bad,10.1234/b\n' + "Other words,10.1234/c\n" * 9_000)
    assert [paper.key for paper in pasted.papers] == ["doi:10.1234/a", "doi:10.1234/b", "doi:10.1234/c"]


def test_the_fullest_of_the_same_paper_is_kept_in_the_first_place() -> None:
    text = "2608.00001\n2608.00002\n@misc{a, title={T}, abstract={Said.}, eprint={2608.00001}}\n2608.00001"
    assert read_pasted(text).papers == (
        PastedPaper("arxiv:2608.00001", "T", "Said."),
        PastedPaper("arxiv:2608.00002"),
    )


def test_an_abstract_is_cut_at_its_length() -> None:
    assert len(one("@misc{a, eprint={2608.00001}, abstract={" + "word " * 5_000 + "}}").text) <= 2_000


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_texts_become_plain_lines(hostile: str) -> None:
    for text in (hostile, f"@misc{{a, title={{{hostile}}}, eprint={{2608.00001}}}}", json.dumps([{"title": hostile}])):
        check(read_pasted(text))


@pytest.mark.parametrize(
    "unit",
    [
        "{", "}", "@", "@article{", "\n@article{", "@article{a,title={", "\n@a(", "@a{}", "@string{a=b}\n", '@a{a,t="',
        "10.", "10.1234/", "10.1234/a,", "10.1234/(", "10.1234/a&a=", "7", "2608.17253", "2608.17253 ", "a-", "arxiv",
        "arxiv.org/", "https://", "https://a.b/10.1234/", "%25", "&", "[", '[{"', '{"a":', '{"a":1}', '"', " ", "\n",
        '{"title":"a b"},', "\r", "\n\t", "\x00", "\ud800", "\u202e", "\u200f", "\u0301", "{\\'e}", "\\", "${",
        "a \\'e $x$ title of three\n", "TY  - J\n", "TY  - J\na\n", "TY  - J\nTI  - a\nER  - \n", "title,doi\n",
        'title,doi\n"', "&#9", "<i ", "- ", "=", "a@b.c ",
    ],
)  # fmt: skip
def test_400_kilobytes_of_anything_take_about_a_second(unit: str) -> None:
    begun = process_time()
    check(read_pasted((unit * MAX_PASTED_CHARS)[:MAX_PASTED_CHARS]))
    assert process_time() - begun < 6


@pytest.mark.parametrize(
    "text",
    [
        "@a{a,title={" + "{" * 190_000 + "}" * 190_000 + "}}",
        "@a{a,title={" + "word " * 79_000 + "}}",
        "@string{a={" + "x" * 200_000 + "}}\n" + "".join(f"@a{{{n},title=a}}\n" for n in range(9_000)),
        "".join(f"@a{{k{n},title={{T{n}}},abstract={{{'é' * 300}{{\\'e}}}}}}\n" for n in range(1_000)),
        "TY  - JOUR\nAB  - a\n" + "a\n" * 19_000,
        "TY  - JOUR\n" + "TI  - a\n" * 19_000,
        "title,doi" + ",a" * 4_000 + "\n" + ("a," * 4_000 + "\n") * 45,
        '[{"title":"A b c","volume":' + "9" * 390_000 + "}]",
        '[{"title":"&#' + "9" * 390_000 + '"}]',
        '{"items":[' + '{"x":1},' * 45_000 + "{}]}",
    ],
    ids=range(10),
)
def test_what_would_take_the_square_of_time_does_not(text: str) -> None:
    begun = process_time()
    check(read_pasted(text))
    assert process_time() - begun < 6


@given(ANY_TEXT | st.lists(st.sampled_from(PIECES) | ANY_TEXT, max_size=25).map("".join))
@example("@article{a,title={\ud800}}")
def test_any_text_is_read_without_an_error(text: str) -> None:
    check(read_pasted(text))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("title", "DOI", "items")), inner),
        max_leaves=8,
    )
)
def test_any_json_is_read_without_an_error(value: object) -> None:
    check(read_pasted(json.dumps([{"title": value, "items": value}])))
    check(read_pasted(json.dumps({"title": value})))

"""Where sentences end, and which of them may be quoted."""

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.papers.sentences import damaged, sentences
from newsletter.papers.tex import readable


@pytest.mark.parametrize(
    "parts",
    [
        ["We do this.", "It works well!", "Does it scale?", "Yes."],
        ["Some methods, e.g. Adam, i.e. SGD, work.", "See Fig. 3 and Eq. 2 for more."],
        ["Smith et al. Show this vs. Others by J. R. Doe.", "Then it ends."],
        ["It gains 3.5 points at v1.2.", "512 GPUs were used."],
        ["Code is at https://example.org/a.b.", "More follows."],
        ["See [our page. It is new.](https://example.org/a) today.", "More."],
        ["He said “no.”", "She left (really.)", "End."],
        ["拡散モデルを使う。", "速い！", "終わり"],
        ["A model.", "vLLM is fast.", "\\method is too."],
        ["Это первое.", "Это второе."],
        ["It ends with etc.", "Next one."],
    ],
)
def test_sentences_end_where_a_reader_says(parts: list[str]) -> None:
    said = "".join(part if part.endswith(("。", "！")) else f"{part} " for part in parts).strip()
    assert list(sentences(said)) == parts


@given(st.text())
def test_no_word_is_lost(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@pytest.mark.parametrize("text", ["." * 40_000 + "a", '?"' * 20_000, "[a](b). " * 10_000], ids=lambda text: text[:8])
def test_a_text_without_end_is_read_in_one_go(text: str) -> None:
    begun = process_time()
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())
    assert process_time() - begun < 2


@pytest.mark.parametrize(
    "raw",
    [
        "We introduce \\method, a novel system.",
        "Our {\\name} is fast.",
        "At a rate of 1{\\delta} we stop.",
        "A matrix in R^{mtimes n} is given.",
        "A bound of Oleft( d{varepsilon} right) holds.",
        "With widetilde{P} and lceil n rceil we go on.",
        "We propose , a simple approach.",
        "Large models () are slow.",
        "A new \\color{ddtD}ecoupled model.",
        "An A}gentic model.",
        "World Modeling$ (WM) is new.",
        "A vector xin R^n exists.",
    ],
)
def test_what_cannot_be_mended_is_damaged(raw: str) -> None:
    assert damaged(readable(raw))


@pytest.mark.parametrize(
    "raw",
    [
        "It costs only $20 a year, or $1 Million in all.",
        "The $O(n^2)$ bound and $\\{0, 1\\}$ are fine.",
        "A set {-1, 0, 1} of values in file_name and L_2.",
        "Tool calls spawn() and join(), sim2real, timesteps.",
        "We present, for the first time, the release.",
        "A 2.3\\times gain, 360^{\\circ} views, R^{2}{=}0.8.",
        "An anecdotal fraction of the langue.",
        "A* finds https://example.org/a_b{the page}.",
    ],
)
def test_ordinary_sentences_are_whole(raw: str) -> None:
    assert not damaged(readable(raw))

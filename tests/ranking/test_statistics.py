"""Terms as numbers, and how common they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import HOSTILE

from newsletter.ranking.statistics import Statistics, statistics
from newsletter.ranking.terms import Lexicon, count, term

TEXTS = [
    ("Diffusion for proteins", "Diffusion models denoise proteins."),
    ("Agents", "Agents use tools and models."),
    ("拡散モデル", "画像"),
    ("", ""),
]


def test_a_text_is_its_stems_and_the_pairs_of_them_that_stand_side_by_side() -> None:
    counts = count([("Graph networks", "Networks of graphs"), ("", "the of and")])
    graph, network = term("graph"), term("network")
    times = dict(zip(counts.terms.tolist(), counts.times.tolist(), strict=True))
    assert (times[graph], times[network]) == (3.0, 3.0)
    assert len(times) == 4, "and graph network, network graph: a stop word keeps nobody apart, two parts do"
    assert counts.starts.tolist() == [0, 4, 4]
    assert counts.part(1, 9).starts.tolist() == [0, 0]


def test_vectors_have_length_1_and_rare_terms_the_larger_part() -> None:
    archive = statistics(count(TEXTS))
    vectors = archive.vectors(count(TEXTS))
    columns = Lexicon(np.unique(vectors.counts.terms))
    lengths = np.sqrt(vectors.over(columns).power(2).sum(axis=1))
    assert lengths == pytest.approx([1.0, 1.0, 1.0, 0.0])
    both = archive.vectors(count([("", "models"), ("", "models tools"), ("", "unheard")]))
    over = both.over(Lexicon(np.array(sorted({term("model"), term("tool")}), dtype=np.uint32))).toarray()
    assert over[1, sorted([term("model"), term("tool")]).index(term("tool"))] > over[1].min()
    assert over[2].tolist() == [0.0, 0.0]


def test_what_is_packed_comes_back_and_what_is_cut_short_does_not() -> None:
    archive = statistics(count(TEXTS * 30))
    packed = archive.to_bytes()
    back = Statistics.from_bytes(packed)
    assert (back.papers, back.terms.tolist(), back.found_in.tolist(), back.average.tolist()) == (
        archive.papers,
        archive.terms.tolist(),
        archive.found_in.tolist(),
        archive.average.tolist(),
    )
    for broken in (b"", packed[:-9], b"no statistics"):
        with pytest.raises(ValueError, match="no text statistics"):
            Statistics.from_bytes(broken)


@pytest.mark.parametrize("text", [*HOSTILE, "\ud800", "a" * 100_000, "word " * 50_000])
def test_any_text_is_counted_the_same_alone_and_among_others(text: str) -> None:
    alone, among = count([(text, text)]), count([*TEXTS, (text, text)]).part(len(TEXTS), len(TEXTS) + 1)
    assert alone.terms.tolist() == among.terms.tolist()
    assert alone.times.tolist() == among.times.tolist()


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=60)), max_size=6))
def test_no_archive_gives_a_vector_that_is_no_number(texts: list[tuple[str, str]]) -> None:
    archive = statistics(count(texts))
    vectors = archive.vectors(count([*texts, *TEXTS]))
    assert np.isfinite(vectors.values).all()
    assert np.isfinite(archive.average_over(Lexicon(np.unique(vectors.counts.terms)))).all()


@given(st.lists(st.integers(0, 2**32 - 1), max_size=60), st.lists(st.integers(0, 2**32 - 1), max_size=20))
def test_a_term_is_found_where_it_stands(terms: list[int], others: list[int]) -> None:
    _same_places(terms, [*terms, *others, 0, 2**32 - 1])


@pytest.mark.parametrize("crowd", [range(7, 9_000, 3), [5, *range(2**32 - 40, 2**32)], [0], [2**32 - 1], []])
def test_a_term_is_found_among_many_that_are_next_to_each_other(crowd: list[int]) -> None:
    _same_places(list(crowd), [0, 5, 8, 9, 8_999, 2**31, 2**32 - 41, 2**32 - 2, 2**32 - 1])


def _same_places(terms: list[int], wanted: list[int]) -> None:
    sorted_, asked = np.unique(np.array(terms, dtype=np.uint32)), np.array(wanted, dtype=np.uint32)
    place, known = Lexicon(sorted_).places(asked)
    assert place.tolist() == np.searchsorted(sorted_, asked).tolist()
    assert known.tolist() == np.isin(asked, sorted_).tolist()

"""What papers mean: directions of an embedder, compared without what all papers share."""

import numpy as np
import pytest
from numpy.typing import NDArray

from newsletter.ranking.meaning import FEWEST_PAPERS, Space, space
from newsletter.ranking.pool import Pool
from newsletter.ranking.select import select
from newsletter.ranking.types import Document, Interest, Interests, Rated, Wish

DIMENSIONS = 8
chance = np.random.default_rng(1)


def archive(papers: int = 400) -> NDArray[np.float32]:
    """Embeddings that all lean one way, as those of every embedder do."""
    rows = chance.normal(size=(papers, DIMENSIONS))
    rows[:, 0] += 5
    return rows.astype(np.float32)


def towards(*axes: int) -> NDArray[np.float32]:
    row = np.zeros(DIMENSIONS, dtype=np.float32)
    row[0] = 5
    row[list(axes)] += 3
    return row


def test_what_all_papers_share_makes_no_two_alike() -> None:
    among = space(archive())
    assert among is not None
    one, other = among.centred(np.array([towards(1), towards(2)]))
    assert abs(float(one @ other)) < 0.2
    plain = np.array([towards(1), towards(2)])
    assert float(plain[0] @ plain[1] / np.linalg.norm(plain, axis=1).prod()) > 0.7, "as they come they are alike"


def test_a_space_is_kept_as_it_was_made_and_half_of_it_is_refused() -> None:
    among = space(archive())
    assert among is not None
    again = Space.from_bytes(among.to_bytes())
    rows = archive(9)
    assert (again.whitened(rows) == among.whitened(rows)).all()
    with pytest.raises(ValueError, match="space"):
        Space.from_bytes(among.to_bytes()[:-4])


def test_products_are_what_ridge_regression_makes_of_a_paper() -> None:
    rows = archive()
    among = space(rows)
    assert among is not None
    centred = among.centred(rows).astype(np.float64)
    ridge = np.linalg.inv(centred.T @ centred + 3.5 * len(rows) / DIMENSIONS * np.eye(DIMENSIONS))
    expected, found = centred[:5] @ ridge @ centred.T, among.whitened(rows[:5]) @ among.whitened(rows).T
    assert found / expected == pytest.approx(found[0, 0] / expected[0, 0], rel=1e-3)
    assert np.linalg.norm(among.whitened(rows), axis=1).mean() == pytest.approx(1.0, abs=1e-3)


def test_too_few_papers_and_numbers_that_are_none_make_no_space() -> None:
    assert space(archive(FEWEST_PAPERS - 1)) is None
    broken = archive()
    broken[100:] = np.nan
    assert space(broken) is None
    broken[:300] = archive(300)
    assert space(broken) is not None
    assert space(np.zeros((1_000, 0), dtype=np.float32)) is None


def test_what_means_the_same_comes_first_without_a_word_in_common() -> None:
    among = space(archive())
    papers = [
        Document(1, "Chaperones", "assist", trend=0.1, meaning=towards(1)),
        Document(2, "Browsers", "load pages", trend=0.9, meaning=towards(2)),
        Document(3, "Knots", "in space", trend=0.5),
    ]
    liked = Rated("Protein folding", "Protein folding\n", 1.0, "#9", meaning=towards(1))
    wish = Wish(Interests(rated=(liked,)), 3)
    plain, knowing = (select(Pool(papers, None, each), [wish])[0] for each in (None, among))
    assert [pick.paper_id for pick in plain] == [2, 3, 1]
    assert [pick.paper_id for pick in knowing] == [1, 2, 3]
    assert knowing[0].parts.semantic > 0.3 > knowing[1].parts.semantic
    assert all(pick.parts.semantic == 0 for pick in plain)


@pytest.mark.parametrize(
    "meaning", [towards(1) * np.nan, towards(1) * 0, np.ones(3), np.zeros(0), np.full(DIMENSIONS, 3e38)]
)
def test_embeddings_that_make_no_sense_cost_nobody_a_mail(meaning: NDArray[np.float32]) -> None:
    strange = meaning.astype(np.float32)
    papers = [Document(1, "Enzymes", "fold", meaning=strange), Document(2, "Agents", "use tools", meaning=towards(2))]
    rated = Rated("Odd", "Odd\nenzymes fold", 1.0, "#1", meaning=strange)
    [picks] = select(Pool(papers, None, space(archive())), [Wish(Interests(rated=(rated,)), 5)])
    assert [pick.paper_id for pick in picks] == [1, 2]
    assert all(np.isfinite(pick.score) and np.isfinite(pick.parts).all() for pick in picks)


def test_who_is_in_the_batch_changes_nobodys_picks() -> None:
    among, papers = space(archive()), [Document(n, f"Paper {n}", meaning=row) for n, row in enumerate(archive(60), 1)]
    rows = enumerate(archive(90))
    rated = [Rated(f"Old {n}", f"Old {n}\n", 1.0, f"#{n}", meaning=row, shared=True) for n, row in rows]
    readers = [Wish(Interests(rated=tuple(rated[first : first + 7])), 9) for first in range(80)]
    together = select(Pool(papers, None, among), readers)
    assert together == [select(Pool(papers, None, among), [each])[0] for each in readers]
    assert together[:40] == select(Pool(papers, None, among, room=0), readers[:40])


def test_own_words_still_count() -> None:
    papers = [Document(1, "Agents", meaning=towards(2)), Document(2, "Enzymes", meaning=towards(1))]
    rated = Rated("Protein folding", "Protein folding\n", 1.0, "#9", meaning=towards(1))
    wish = Wish(Interests((Interest("agents", ("agents",)),), rated=(rated,)), 2)
    assert [pick.paper_id for pick in select(Pool(papers, None, space(archive())), [wish])[0]] == [1, 2]

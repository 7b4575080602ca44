"""How much a pool's papers are like the papers that readers rated. Pure.

What a reader's likes say of a paper is a sum over the liked papers, so each liked paper is looked at once for the whole
pool, whoever likes it, and a batch of readers is one matrix product. Nothing is kept of a reader: who likes one paper
more, or takes a like back, is ranked by it at once, and in whatever order they said it.
"""

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from newsletter.ranking.meaning import Space
from newsletter.ranking.terms import Text
from newsletter.ranking.types import Look, Rated, Rows, finite, stacked

TWIN = 0.95  # cosine from which on two papers are one
_STEPS = 2**12
_AT_ONCE = 512  # rated papers


class Likeness:
    """Rows of likeness by rated paper; kept while there is room, never dropped, so that several may use it at once.

    :param text: returns (texts, papers), their cosines.
    :param factors: (papers, dimensions) of the pool.
    :param meanings: the pool's embeddings, and how rated papers' are compared with them, where there are any.
    :param room: bytes for what is kept.
    """

    def __init__(
        self, text: Callable[[Sequence[Text]], Rows], factors: Rows, meanings: tuple[Space, Rows] | None, room: int
    ) -> None:
        self._text = text
        self._factors = factors.astype(np.float64)
        self._space = meanings[0] if meanings else None
        self._meanings = meanings[0].whitened(meanings[1]) if meanings else self._factors[:, :0]
        self.row_bytes = (3 if meanings else 2) * np.dtype(np.float32).itemsize * max(1, len(factors))
        self._room = room // self.row_bytes
        self._place: dict[str, int] = {}
        self._kept = self._blank(0, [])
        self._lock = Lock()

    def _blank(self, rated: int, keys: list[str]) -> Look:
        return Look.blank(rated, len(self._factors), meanings=self._space is not None, keys=keys)

    def lacks(self, keys: Iterable[str]) -> set[str]:
        """Return those of the papers whose texts must be given to look at them."""
        return {key for key in keys if key not in self._place}

    def look(self, rated: Sequence[Rated]) -> tuple[list[int], Look]:
        """Return at which row each rated paper is, and the rows.

        :raises LookupError: the text of one is neither given nor known.
        """
        place = self._place
        try:  # places first: the rows of what has one are there
            return list(map(place.__getitem__, map(attrgetter("key"), rated))), self._kept
        except KeyError:
            new = {each.key: each for each in rated if each.key not in place}
        found = self._found(list(new.values()))
        self._keep(found, [row for row, each in enumerate(new.values()) if each.shared])
        if not self.lacks(new):
            return [place[each.key] for each in rated], self._kept
        known = list(dict.fromkeys(each.key for each in rated if each.key not in new))
        rows, kept = [place[key] for key in known], self._kept
        both = self._blank(len(known) + len(new), [*known, *found.keys])
        both.put(slice(len(known)), kept, rows)
        both.put(slice(len(known), None), found, slice(None))
        at = {key: row for row, key in enumerate(both.keys)}
        return [at[each.key] for each in rated], both

    def _found(self, rated: Sequence[Rated]) -> Look:
        for each in rated:
            if each.text is None:
                raise LookupError(each.key)
        found = self._blank(len(rated), [each.key for each in rated])
        for first in range(0, len(rated), _AT_ONCE):
            some, rows = rated[first : first + _AT_ONCE], slice(first, first + _AT_ONCE)
            text = self._text([_split(each.text or "") for each in some])
            found.text[rows] = _coarse(text)
            own = stacked([each.factors for each in some], self._factors.shape[1]).astype(np.float64)
            found.coread[rows] = _coarse(_near(own, self._factors, text))
            if self._space is not None:
                meant = self._space.whitened(stacked([each.meaning for each in some], self._space.dimensions))
                found.semantic[rows] = _coarse(_near(meant, self._meanings, text))
        return found

    def _keep(self, found: Look, shared: Sequence[int]) -> None:
        """Keep some of the rows that were found, as many as there is room for."""
        with self._lock:
            kept, first = self._kept, len(self._place)
            rows = [row for row in shared if found.keys[row] not in self._place][: self._room - first]
            last = first + len(rows)
            if last > len(kept.text):  # whoever still uses the old rows keeps them
                kept = self._blank(min(self._room, max(2 * last, 256)), list(kept.keys))
                kept.put(slice(first), self._kept, slice(first))
            kept.put(slice(first, last), found, rows)
            kept.keys.extend(found.keys[row] for row in rows)
            self._kept = kept
            self._place.update({found.keys[row]: first + number for number, row in enumerate(rows)})


def _near(own: NDArray[np.float64], pool: NDArray[np.float64], text: Rows) -> Rows:
    """Return (rated, papers), products of directions: in 64 bits, or they would depend on how many come at once.

    The same work under two names must not be two things to those who like it.
    """
    products = np.clip(finite(own @ pool.T), -1.0, 1.0)
    twins = (text >= TWIN) & (products != 0)
    found: Rows = np.where(twins, np.maximum(products, text), products)
    return found


def _coarse(cosines: Rows) -> Rows:
    """Return cosines in steps so large that 32 bits hold the exact sum of a thousand, in whatever order they come."""
    steps: Rows = np.round(cosines * _STEPS) / np.float32(_STEPS)
    return steps


def _split(text: str) -> Text:
    title, _, body = text.partition("\n")
    return title, body

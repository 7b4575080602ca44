"""How much a pool's papers are like the papers that readers rated. Pure.

What a reader's likes say of a paper is a sum over the liked papers, so each liked paper is looked at once for the whole
pool, whoever likes it, and a batch of readers is one matrix product. Nothing is kept of a reader: who likes one paper
more, or takes a like back, is ranked by it at once, and in whatever order they said it.
"""

from collections.abc import Callable, Iterable, Sequence
from threading import Lock

import numpy as np

from newsletter.ranking.terms import Text
from newsletter.ranking.types import Look, Rated, Rows, finite

_STEPS = 2**12
_KEPT_BYTES = 48 * 2**20


class Likeness:
    """Rows of likeness by rated paper; kept while there is room, never dropped, so that several may use it at once.

    :param text: returns (texts, papers), their cosines.
    :param factors: (papers, dimensions) of the pool.
    """

    def __init__(self, text: Callable[[Sequence[Text]], Rows], factors: Rows) -> None:
        self._text = text
        self._factors = factors
        papers = len(factors)
        self._room = max(1, _KEPT_BYTES // (2 * 4 * max(1, papers)))
        self._place: dict[str, int] = {}
        self._kept = Look(*(np.zeros((0, papers), dtype=np.float32) for _ in range(2)))
        self._lock = Lock()

    def lacks(self, keys: Iterable[str]) -> set[str]:
        """Return those of the papers whose texts must be given to look at them."""
        return set(keys) - self._place.keys()

    def look(self, rated: Sequence[Rated]) -> tuple[Look, list[int]]:
        """Return rows for rated papers, and at which each of them is.

        :raises LookupError: the text of one is neither given nor known.
        """
        new = {each.key: each for each in rated if each.key not in self._place}
        if not new:
            return self._kept, [self._place[each.key] for each in rated]
        found = self._found(list(new.values()))
        with self._lock:
            if len(self._place) + len(new) <= self._room:
                self._keep(new, found)
                return self._kept, [self._place[each.key] for each in rated]
            kept, place = self._kept, dict(self._place)
        at = {key: len(kept.text) + number for number, key in enumerate(new)}
        both = Look(np.concatenate([kept.text, found.text]), np.concatenate([kept.coread, found.coread]))
        return both, [at[each.key] if each.key in at else place[each.key] for each in rated]

    def _found(self, rated: Sequence[Rated]) -> Look:
        for each in rated:
            if each.text is None:
                raise LookupError(each.key)
        text = self._text([_split(each.text or "") for each in rated])
        own = np.zeros((len(rated), self._factors.shape[1]), dtype=np.float32)
        for number, each in enumerate(rated):
            if each.factors is not None and len(each.factors) == own.shape[1]:
                own[number] = finite(each.factors)
        return Look(_coarse(text), _coarse(own @ self._factors.T))

    def _keep(self, new: Iterable[str], found: Look) -> None:
        fresh = [(number, key) for number, key in enumerate(new) if key not in self._place]
        rows = [number for number, _ in fresh]
        first = len(self._place)
        last = first + len(rows)
        if last > len(self._kept.text):  # whoever still uses the old rows keeps them
            size = min(self._room, max(2 * last, 256)), self._factors.shape[0]
            grown = Look(np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.float32))
            grown.text[:first], grown.coread[:first] = self._kept.text[:first], self._kept.coread[:first]
            self._kept = grown
        self._kept.text[first:last], self._kept.coread[first:last] = found.text[rows], found.coread[rows]
        self._place |= {key: first + number for number, (_, key) in enumerate(fresh)}


def _coarse(cosines: Rows) -> Rows:
    """Return cosines in steps so large that 32 bits hold the exact sum of a thousand, in whatever order they come."""
    steps: Rows = np.round(cosines * _STEPS) / np.float32(_STEPS)
    return steps


def _split(text: str) -> Text:
    title, _, body = text.partition("\n")
    return title, body

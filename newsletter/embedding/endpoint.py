"""An embedder behind HTTP: ``POST …/embeddings`` as OpenAI's API has it; Ollama, vLLM, TEI and llama.cpp speak it."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from newsletter.embedding import MOST_CHARACTERS
from newsletter.errors import EmbedderError

_MOST_NUMBERS = 16_384  # of an embedding
_TOO_MUCH = frozenset({400, 413, 422})  # what one text among many may cause
_HARMLESS = "A test."
Post = Callable[[str, bytes, Mapping[str, str]], tuple[int, bytes]]
"""Asks a URL with a body and headers, and returns status and body; raises `EmbedderError` where there is no answer."""
_Row = NDArray[np.float32] | None


class Endpoint:
    """Asks an endpoint.

    :param url: up to and without ``/embeddings``.
    """

    def __init__(self, url: str, model: str, key: str, post: Post) -> None:
        self._url = f"{url.removesuffix('/embeddings')}/embeddings"
        self._model = model
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._post = post

    @property
    def name(self) -> str:
        """The model: the same one elsewhere says the same."""
        return f"model:{self._model}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Embedder`; a text that is refused by itself is one that nothing is made of."""
        found = self._halved([text[:MOST_CHARACTERS] or " " for text in texts])
        # nothing of anything: is it the texts, or whom we ask?
        if texts and all(each is None for each in found) and self._halved([_HARMLESS])[0] is None:
            raise EmbedderError("makes nothing of anything")
        return _stacked(found)

    def _halved(self, texts: list[str]) -> list[_Row]:
        """Return what it makes of each text; where it refuses some together, of half as many at a time."""
        try:
            return self._asked(texts)
        except _RefusedError:
            if len(texts) < 2:
                return [None]
            half = len(texts) // 2
            return self._halved(texts[:half]) + self._halved(texts[half:])

    def _asked(self, texts: list[str]) -> list[_Row]:
        body = json.dumps({"model": self._model, "input": texts, "encoding_format": "float"}).encode()
        status, answer = self._post(self._url, body, self._headers)
        if status in _TOO_MUCH:
            raise _RefusedError(f"answers {status}")
        if status != 200:
            raise EmbedderError(f"answers {status}")
        try:
            said = json.loads(answer)
        except (ValueError, RecursionError) as exc:
            raise EmbedderError("answers something else than JSON") from exc
        return _rows(said, len(texts))


class _RefusedError(EmbedderError):
    """It says that something is wrong with what it was asked."""


def _rows(said: Any, asked: int) -> list[_Row]:  # noqa: ANN401  JSON
    """Return an embedding for each text, nothing for one that is none.

    :raises EmbedderError: the answer is no list of them.
    """
    data = said.get("data") if isinstance(said, Mapping) else None
    if not isinstance(data, list) or len(data) != asked:
        raise EmbedderError(f"answers no list of {asked} embeddings")
    found: dict[int, _Row] = {}
    for place, each in enumerate(data):
        index = each.get("index", place) if isinstance(each, Mapping) else -1
        if type(index) is not int or not 0 <= index < asked or index in found:
            raise EmbedderError("answers embeddings for texts that it was not asked, or twice")
        found[index] = _row(each.get("embedding"))
    return [found[place] for place in range(asked)]


def _row(numbers: Any) -> _Row:  # noqa: ANN401  JSON
    if not isinstance(numbers, list) or not 0 < len(numbers) <= _MOST_NUMBERS:
        return None
    if not all(type(each) in {int, float} for each in numbers):
        return None
    try:
        row = np.array(numbers, dtype=np.float64)
    except OverflowError:
        return None
    with np.errstate(over="ignore"):
        small = row.astype(np.float32)
    return small if np.isfinite(small).all() and small.any() else None


def _stacked(rows: Sequence[_Row]) -> NDArray[np.float32]:
    """Return rows one below the other, those of another length than most as 0."""
    lengths = [len(each) for each in rows if each is not None]
    size, _ = max(Counter(lengths).items(), key=lambda each: (each[1], each[0]), default=(1, 0))
    found = np.zeros((len(rows), size), dtype=np.float32)
    for place, row in zip(found, rows, strict=True):
        if row is not None and len(row) == size:
            place[:] = row
    return found

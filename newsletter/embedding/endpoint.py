"""An embedder behind HTTP: ``POST …/embeddings`` as OpenAI's API has it; Ollama, vLLM, TEI and llama.cpp speak it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import requests
from numpy.typing import NDArray

from newsletter import __version__, clock
from newsletter.embedding import MOST_CHARACTERS
from newsletter.errors import EmbedderError

_CONNECT_SECONDS, _READ_SECONDS, _WHOLE_SECONDS = 5.0, 60.0, 120.0
_MOST_BYTES = 32 * 2**20  # 64 embeddings of 4,096 numbers are 6 MB of JSON
_MOST_NUMBERS = 16_384  # of an embedding
_TOO_MUCH = frozenset({400, 413, 422})  # what one text among many may cause


class Endpoint:
    """Asks an endpoint.

    :param url: up to and without ``/embeddings``.
    """

    def __init__(self, url: str, model: str, key: str = "") -> None:
        self._url = f"{url}/embeddings"
        self._model = model
        self._headers = {"User-Agent": f"newsletter/{__version__}", "Accept": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"

    @property
    def name(self) -> str:
        """The model: the same one elsewhere says the same."""
        return f"model:{self._model}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Embedder`; a text that is refused by itself is one that nothing is made of."""
        try:
            found = self._asked([text[:MOST_CHARACTERS] or " " for text in texts])
        except _RefusedError as exc:
            if len(texts) == 1:
                return np.zeros((1, 1), dtype=np.float32)
            half = len(texts) // 2
            first, second = self.embed(texts[:half]), self.embed(texts[half:])
            if not first.any() and not second.any():  # whatever we ask is refused
                raise EmbedderError(str(exc)) from None
            return _stacked([*first, *second])
        return _stacked(found)

    def _asked(self, texts: list[str]) -> list[NDArray[np.float32] | None]:
        body = {"model": self._model, "input": texts, "encoding_format": "float"}
        try:
            answer = requests.post(
                self._url,
                json=body,
                headers=self._headers,
                timeout=(_CONNECT_SECONDS, _READ_SECONDS),
                allow_redirects=False,  # a key is for the host that the operator named
                stream=True,
            )
            with answer:
                if answer.status_code in _TOO_MUCH:
                    raise _RefusedError(f"answers {answer.status_code}")
                if answer.status_code != 200:
                    raise EmbedderError(f"answers {answer.status_code}")
                said = json.loads(_read(answer))
        except requests.RequestException as exc:
            raise EmbedderError(f"does not answer: {type(exc).__name__}") from exc
        except (ValueError, RecursionError) as exc:
            raise EmbedderError("answers something else than JSON") from exc
        return _rows(said, len(texts))


class _RefusedError(EmbedderError):
    """It says that something is wrong with what it was asked."""


def _read(answer: requests.Response) -> bytes:
    """Return the body.

    :raises EmbedderError: it is too large, or comes too slowly.
    """
    begun, body = clock.monotonic(), bytearray()
    for chunk in answer.iter_content(2**16):
        body += chunk
        if len(body) > _MOST_BYTES:
            raise EmbedderError("answers more than 32 MB")
        if clock.monotonic() - begun > _WHOLE_SECONDS:
            raise EmbedderError("takes more than two minutes")
    return bytes(body)


def _rows(said: Any, asked: int) -> list[NDArray[np.float32] | None]:  # noqa: ANN401  JSON
    """Return an embedding for each text, nothing for one that is none.

    :raises EmbedderError: the answer is no list of them.
    """
    data = said.get("data") if isinstance(said, Mapping) else None
    if not isinstance(data, list) or len(data) != asked:
        raise EmbedderError(f"answers no list of {asked} embeddings")
    found: list[NDArray[np.float32] | None] = [None] * asked
    for place, each in enumerate(data):
        index = each.get("index", place) if isinstance(each, Mapping) else -1
        if type(index) is not int or not 0 <= index < asked:
            raise EmbedderError("answers embeddings for texts that it was not asked")
        found[index] = _row(each.get("embedding"))
    return found


def _row(numbers: Any) -> NDArray[np.float32] | None:  # noqa: ANN401  JSON
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
    return small if np.isfinite(small).all() else None


def _stacked(rows: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32]:
    """Return rows one below the other, those of another length than most as 0."""
    lengths = [len(each) for each in rows if each is not None and each.any()]
    size = max(set(lengths), key=lambda each: (lengths.count(each), each)) if lengths else 1
    found = np.zeros((len(rows), size), dtype=np.float32)
    for place, row in zip(found, rows, strict=True):
        if row is not None and len(row) == size:
            place[:] = row
    return found

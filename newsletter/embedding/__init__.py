"""Embedders: what turns texts into directions, of which like ones mean the like. Without one ranking goes by words."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MOST_AT_ONCE = 32  # texts
MOST_CHARACTERS = 8_000  # of a text: title and abstract, and no book


class Embedder(Protocol):
    """Turns texts into directions.

    :ivar name: tells apart what cannot be compared: at most 200 characters.
    """

    @property
    def name(self) -> str: ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (texts, dimensions), 32 texts at most; 0 for a text that it makes nothing of.

        :raises EmbedderError: it does not answer, or with nothing that can be used.
        """
        ...

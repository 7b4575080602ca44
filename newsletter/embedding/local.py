"""An embedder on this machine: a model in ONNX with its tokenizer, in a folder that the operator has put there."""

from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from newsletter.embedding import MOST_CHARACTERS
from newsletter.errors import EmbedderError, SettingsError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

_MODELS = "model.onnx", "onnx/model.onnx"
_MOST_TOKENS = 256
_THREADS = 1  # the others are for the mails


class LocalEmbedder:
    """Runs a sentence-transformers model; nothing is ever downloaded.

    :raises SettingsError: the folder holds no model, or the packages that run it are not installed.
    """

    def __init__(self, folder: Path) -> None:
        model = next((folder / each for each in _MODELS if (folder / each).is_file()), None)
        self._words = folder / "tokenizer.json"
        if model is None or not self._words.is_file():
            raise SettingsError(f"NEWSLETTER_EMBEDDER: {folder} holds no model.onnx with its tokenizer.json")
        self._model = model
        try:
            import onnxruntime  # noqa: F401, PLC0415  an extra
            import tokenizers  # noqa: F401, PLC0415
        except ImportError:
            raise SettingsError("NEWSLETTER_EMBEDDER: a folder needs: pip install 'newsletter[semantic]'") from None

    @cached_property
    def name(self) -> str:
        """What is in the file: another model under the same name says something else.

        :raises EmbedderError: the file is gone.
        """
        digest = blake2b(digest_size=16)
        try:
            with self._model.open("rb") as file:
                while block := file.read(2**20):
                    digest.update(block)
        except OSError as exc:
            raise EmbedderError(f"cannot be read: {exc}") from exc
        return f"onnx:{digest.hexdigest()}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Embedder`: the mean of the last layer over a text's first 256 tokens."""
        if not texts:
            return np.zeros((0, 1), dtype=np.float32)
        session, tokenizer = self._loaded
        try:
            encoded = tokenizer.encode_batch([text[:MOST_CHARACTERS] for text in texts])
            columns = {
                "input_ids": np.array([each.ids for each in encoded], dtype=np.int64),
                "attention_mask": np.array([each.attention_mask for each in encoded], dtype=np.int64),
                "token_type_ids": np.array([each.type_ids for each in encoded], dtype=np.int64),
            }
            wanted = {each.name for each in session.get_inputs()}
            last = np.asarray(session.run(None, {name: columns[name] for name in wanted})[0], dtype=np.float32)
        except Exception as exc:  # its own kinds of errors, and whatever a model file makes of our words
            raise EmbedderError(f"fails: {type(exc).__name__}") from exc
        return _mean(last, columns["attention_mask"])

    @cached_property
    def _loaded(self) -> "tuple[InferenceSession, Tokenizer]":
        import onnxruntime  # noqa: PLC0415  heavy, and only for who has a model
        from tokenizers import Tokenizer  # noqa: PLC0415

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _THREADS
        try:
            session = onnxruntime.InferenceSession(str(self._model), options, providers=["CPUExecutionProvider"])
            tokenizer: Any = Tokenizer.from_file(str(self._words))
        except Exception as exc:  # both have errors of their own for files that are something else
            raise EmbedderError(f"cannot be loaded: {type(exc).__name__}") from exc
        tokenizer.enable_truncation(_MOST_TOKENS)
        tokenizer.enable_padding()
        return session, tokenizer


def _mean(last: NDArray[np.float32], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return (texts, dimensions): a text's own vector, or else the mean of its tokens'."""
    if last.ndim == 2 and len(last) == len(mask):
        found = last
    elif last.ndim == 3 and last.shape[:2] == mask.shape:
        weights = mask[:, :, None].astype(np.float32)
        found = (last * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1.0)
    else:
        raise EmbedderError(f"answers an array of {last.shape}")
    found = np.where(np.isfinite(found).all(axis=1, keepdims=True), found, np.float32(0.0))
    return found.astype(np.float32)

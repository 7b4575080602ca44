"""A model in a folder of this machine: one of a few words, made here."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from newsletter.embedding.local import LocalEmbedder
from newsletter.errors import EmbedderError, SettingsError

WORDS = {"[PAD]": 0, "[UNK]": 1, "enzymes": 2, "fold": 3, "agents": 4}
VECTORS = np.array([[9, 9], [0, 0], [1, 0], [1, 0.5], [0, 1]], dtype=np.float32)


def put_model(folder: Path, vectors: np.ndarray = VECTORS, name: str = "model.onnx") -> Path:
    """Write a model that looks words up in a table, and its tokenizer."""
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()  # type: ignore[assignment]
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokens = [helper.make_tensor_value_info(each, TensorProto.INT64, ["texts", "tokens"])
              for each in ("input_ids", "attention_mask")]  # fmt: skip
    last = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["texts", "tokens", 2])
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        "words",
        tokens,
        [last],
        [numpy_helper.from_array(vectors.astype(np.float32), "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / name))
    return folder


@pytest.mark.parametrize("name", ["model.onnx", "onnx/model.onnx"])
def test_a_text_is_the_mean_of_its_words_whatever_else_is_in_the_batch(tmp_path: Path, name: str) -> None:
    embedder = LocalEmbedder(put_model(tmp_path, name=name))
    found = embedder.embed(["enzymes fold", "agents", "", "unknown words"])
    assert found.tolist() == [[1.0, 0.25], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    assert embedder.embed(["agents"]).tolist() == [[0.0, 1.0]]
    assert len(embedder.embed([])) == 0


def test_a_long_text_is_cut(tmp_path: Path) -> None:
    found = LocalEmbedder(put_model(tmp_path)).embed(["enzymes " * 300 + "agents " * 5_000])
    assert found.tolist() == [[1.0, 0.0]]


def test_an_answer_for_another_number_of_texts_is_an_error(tmp_path: Path) -> None:
    put_model(tmp_path)
    whole = onnx.load(str(tmp_path / "model.onnx"))
    axes = numpy_helper.from_array(np.array([0], dtype=np.int64), "axes")
    whole.graph.initializer.append(axes)
    whole.graph.node.append(helper.make_node("ReduceMean", ["last_hidden_state", "axes"], ["mean"], keepdims=0))
    del whole.graph.output[:]
    whole.graph.output.append(helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["tokens", 2]))
    whole.opset_import[0].version = 18
    onnx.save(whole, str(tmp_path / "model.onnx"))
    with pytest.raises(EmbedderError, match="answers an array of"):
        LocalEmbedder(tmp_path).embed(["enzymes fold", "agents", "fold", "agents"])


def test_what_is_no_number_is_nothing(tmp_path: Path) -> None:
    broken = VECTORS.copy()
    broken[4] = np.nan
    assert LocalEmbedder(put_model(tmp_path, broken)).embed(["agents", "enzymes"]).tolist() == [[0, 0], [1, 0]]


def test_another_model_under_the_same_name_is_another_one(tmp_path: Path) -> None:
    first = LocalEmbedder(put_model(tmp_path)).name
    assert LocalEmbedder(put_model(tmp_path)).name == first
    assert LocalEmbedder(put_model(tmp_path, VECTORS * 2)).name != first


def test_a_folder_without_a_model_is_said_at_once_and_a_broken_one_when_it_is_asked(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"holds no model\.onnx"):
        LocalEmbedder(tmp_path)
    put_model(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"half a model")
    with pytest.raises(EmbedderError, match="cannot be loaded"):
        LocalEmbedder(tmp_path).embed(["enzymes"])
    (put_model(tmp_path) / "tokenizer.json").write_text("{")
    with pytest.raises(EmbedderError, match="cannot be loaded"):
        LocalEmbedder(tmp_path).embed(["enzymes"])

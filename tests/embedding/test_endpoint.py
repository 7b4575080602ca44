"""An embedder behind HTTP: what it says is taken, what it should not say is not."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from embedders import DIMENSIONS, EmbeddingServer, direction

from newsletter.app import embedder_of
from newsletter.embedding import Embedder, endpoint
from newsletter.errors import EmbedderError
from newsletter.settings import Settings

TEXTS = ["Protein folding\nEnzymes.", "Agents\nuse tools", ""]


def Endpoint(url: str, model: str, key: str = "") -> Embedder:
    settings = Settings(
        _env_file=None, embedder=url, embedder_model=model, embedder_key=key or None, http_timeout_seconds=0.5
    )
    found = embedder_of(settings)
    assert isinstance(found, endpoint.Endpoint)
    return found


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer().serving() as serving:
        yield serving


def test_each_text_gets_its_own_direction_in_whatever_order_they_come(server: EmbeddingServer) -> None:
    found = Endpoint(server.url, "a-model", "a-key").embed(TEXTS)
    assert found.shape == (3, DIMENSIONS)
    assert found[0] == pytest.approx(direction(TEXTS[0]), abs=1e-5)
    assert found[1] == pytest.approx(direction(TEXTS[1]), abs=1e-5)
    [asked] = server.asked
    assert (asked["path"], asked["model"]) == ("/v1/embeddings", "a-model")
    assert asked["input"] == [*TEXTS[:2], " "], "an empty text is refused by some"
    assert server.keys == ["Bearer a-key"]


def test_a_long_text_is_cut_and_without_a_key_none_is_sent(server: EmbeddingServer) -> None:
    Endpoint(server.url, "m").embed(["x" * 100_000])
    assert len(server.asked[0]["input"][0]) == 8_000
    assert server.keys == [None]


def entry(index: object, embedding: object) -> dict[str, object]:
    return {"index": index, "embedding": embedding}


@pytest.mark.parametrize(
    "broken",
    [[float("nan"), 1.0], [1e39, 1.0], [10**400, 1.0], ["1", "2"], [True, False], "text", None, [], [[1.0], [2.0]], {}],
)
def test_an_embedding_that_is_none_is_left_out_and_the_others_are_kept(server: EmbeddingServer, broken: object) -> None:
    server.troubles.append({"data": [entry(0, [1.0, 2.0]), entry(1, broken), entry(2, [3.0, 4.0])]})
    found = Endpoint(server.url, "m").embed(TEXTS)
    assert found.tolist() == [[1.0, 2.0], [0.0, 0.0], [3.0, 4.0]]


def test_of_two_lengths_the_one_of_most_texts_counts(server: EmbeddingServer) -> None:
    server.troubles.append({"data": [entry(0, [1.0]), entry(1, [1.0, 2.0]), entry(2, [3.0, 4.0])]})
    assert Endpoint(server.url, "m").embed(TEXTS).tolist() == [[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (401, "answers 401"),
        (429, "answers 429"),
        (500, "answers 500"),
        (302, "answers 302"),
        (b"<html>", "else than JSON"),
        (b"[" * 100_000, "else than JSON"),
        (b"\xff\xfe", "else than JSON"),
        ([], "no list of 3"),
        ({"data": []}, "no list of 3"),
        ({"data": "abc"}, "no list of 3"),
        ({"data": [1, 2, 3]}, "not asked"),
        ({"data": [entry(0, [1.0]), entry(1, [1.0]), entry(3, [1.0])]}, "not asked"),
        ({"data": [entry(0, [1.0]), entry(True, [1.0]), entry(2, [1.0])]}, "not asked"),
        (b" " * (33 * 2**20), "more than 32 MiB"),
        ({"data": [entry(0, [1.0]), entry(0, [1.0]), entry(2, [1.0])]}, "or twice"),
    ],
)
def test_an_answer_that_cannot_be_used_is_an_error_that_says_why(
    server: EmbeddingServer, answer: object, says: str
) -> None:
    server.troubles.append(answer)
    with pytest.raises(EmbedderError, match=says):
        Endpoint(server.url, "m", "a-secret").embed(TEXTS)
    assert len(server.asked) == 1, "a key is for the host that the operator named"


def test_a_text_that_is_refused_costs_no_other_its_direction(server: EmbeddingServer) -> None:
    server.refused = "Agents"
    found = Endpoint(server.url, "m").embed([f"Text {n}" for n in range(20)] + ["Agents"] + ["More"] * 11)
    assert [bool(row.any()) for row in found] == [True] * 20 + [False] + [True] * 11


def test_texts_that_are_all_refused_are_nothing_where_another_text_is_not(server: EmbeddingServer) -> None:
    server.refused = "Bad"
    assert not Endpoint(server.url, "m").embed(["Bad"]).any()
    assert not Endpoint(server.url, "m").embed(["Bad 1", "Bad 2"]).any()
    found = Endpoint(server.url, "m").embed(["Good", "Bad 1", "Bad 2", "Good", "Bad 3"])
    assert [bool(row.any()) for row in found] == [True, False, False, True, False]


@pytest.mark.parametrize("texts", [1, 2, 20])
def test_where_everything_is_refused_it_is_the_embedder_that_fails(server: EmbeddingServer, texts: int) -> None:
    server.refused = "e"  # which is in every text there is
    with pytest.raises(EmbedderError, match="nothing of anything"):
        Endpoint(server.url, "m").embed([f"Text {n}" for n in range(texts)])


def test_where_every_embedding_is_none_it_is_the_embedder_that_fails(server: EmbeddingServer) -> None:
    server.troubles += [{"data": [entry(n, "AACAPw==") for n in range(3)]}, {"data": [entry(0, None)]}]
    with pytest.raises(EmbedderError, match="nothing of anything"):
        Endpoint(server.url, "m").embed(TEXTS)


@pytest.mark.parametrize("where", ["head", "body"])
def test_an_answer_that_trickles_is_not_waited_for(server: EmbeddingServer, where: str) -> None:
    server.trickles = where
    with pytest.raises(EmbedderError, match="did not finish its answer in time"):
        Endpoint(server.url, "m").embed(TEXTS)


def test_the_words_of_this_machine_s_netrc_are_no_key(
    server: EmbeddingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    Endpoint(server.url, "m", "a-key").embed(TEXTS)
    assert server.keys == ["Bearer a-key"]


def test_the_whole_address_does_as_well(server: EmbeddingServer) -> None:
    Endpoint(f"{server.url}/embeddings", "m").embed(TEXTS)
    assert server.asked[0]["path"] == "/v1/embeddings"


def test_nobody_there_is_an_error_that_says_so() -> None:
    with EmbeddingServer().serving() as gone:
        url = gone.url
    with pytest.raises(EmbedderError, match="cannot be reached"):
        Endpoint(url, "m", "a-secret").embed(TEXTS)


def test_the_same_model_elsewhere_says_the_same(server: EmbeddingServer) -> None:
    assert Endpoint(server.url, "m").name == Endpoint("https://elsewhere.example/v1", "m", "k").name
    assert Endpoint(server.url, "m").name != Endpoint(server.url, "n").name
    assert np.isfinite(Endpoint(server.url, "m").embed(TEXTS)).all()

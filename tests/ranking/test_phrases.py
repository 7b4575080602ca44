"""What readers write about their work, as phrases."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from samples import HOSTILE

from newsletter.ranking.phrases import key_phrases


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        (
            "I work on protein design with diffusion models, mostly for enzymes",
            ("protein design", "diffusion models", "enzymes"),
        ),
        (
            "RAG, C++ and 3D Gaussian splatting; GPT-4.5 for R&D",
            ("RAG", "C++", "3D Gaussian splatting", "GPT-4.5", "R&D"),
        ),
        ("I'm interested in few-shot learning, don't care about vision.", ("few-shot learning", "vision")),
        ("My PhD thesis: fairness\nhate-speech detection", ("fairness", "hate-speech detection")),
        ("I study ALS", ("ALS",)),
        ("I WORK ON PROTEIN DESIGN", ("PROTEIN DESIGN",)),
        ("Alzheimer’s disease", ("Alzheimer’s disease",)),
        ("LLM/VLM agents (tool calls)", ("LLM", "VLM agents", "tool calls")),
        ("neural   radiance fields", ("neural radiance fields",)),
        ("Ich arbeite an Proteindesign, vor allem für Enzyme", ("Proteindesign", "Enzyme")),
    ],
)
def test_phrases_are_what_stands_between_stop_words_and_signs(text: str, phrases: tuple[str, ...]) -> None:
    assert key_phrases(text) == phrases


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "I work on new methods, mostly.",
        "models, data and learning; AI",
        "2024, 100%, 3, R",
        "!?",
        "x" * 10_000,
    ],
    ids=lambda value: value[:30],
)
def test_what_any_reader_could_say_is_no_phrase(text: str) -> None:
    assert key_phrases(text) == ()


def test_phrase_comes_once_in_its_first_spelling() -> None:
    assert key_phrases("Protein design, protein designs and PROTEIN DESIGN") == ("Protein design",)


def test_long_run_is_cut_into_parts_of_at_most_four_words_and_leaves_none_alone() -> None:
    assert key_phrases("deep generative protein structure prediction") == (
        "deep generative",
        "protein structure prediction",
    )
    assert [len(phrase.split()) for phrase in key_phrases(" ".join(f"word{n}" for n in range(13)))] == [3, 3, 3, 4]


def test_scripts_without_spaces_are_cut_at_their_small_words_or_taken_whole() -> None:
    assert key_phrases("私はタンパク質設計と拡散モデルを研究しています。画像生成") == (
        "タンパク質設計",
        "拡散モデル",
        "画像生成",
    )
    assert key_phrases("蛋白质设计，扩散模型") == ("蛋白质设计", "扩散模型")
    assert [len(phrase) for phrase in key_phrases("蛋" * 30)] == [12, 6]
    assert key_phrases("CNNモデル") == ("CNNモデル",)


def test_marks_belong_to_their_letters() -> None:
    assert key_phrases("प्रोटीन डिज़ाइन") == ("प्रोटीन डिज़ाइन",)
    assert key_phrases("a\u0301tomos") == ("a\u0301tomos",)


def test_no_more_than_asked_for_the_first_first() -> None:
    text = ", ".join(f"enzyme{n}" for n in range(50))
    assert key_phrases(text) == tuple(f"enzyme{n}" for n in range(12))
    assert key_phrases(text, 2) == ("enzyme0", "enzyme1")
    assert key_phrases(text, 0) == ()


@given(st.one_of(st.text(max_size=200), st.sampled_from(HOSTILE)), st.integers(0, 12))
@example("ß", 1)  # two letters when folded
def test_every_phrase_of_any_text_stands_in_it_and_is_short(text: str, most: int) -> None:
    found = key_phrases(text, most)
    flat = " ".join(text.split())
    assert len(found) == len(set(found)) <= most
    assert all(phrase in flat and 2 <= len(phrase) <= 80 and phrase == phrase.strip() for phrase in found)

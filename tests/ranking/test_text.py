"""Words as ranking compares them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import HOSTILE

from newsletter.ranking.text import every_word, name_key, stem, words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Diffusion MODELS", "diffusion model"),
        ("learning", "learned"),
        ("naïve Bayes", "naive bayes"),
        ("straße", "STRASSE"),
        ("ＬＬＭ", "llm"),
        ("LLM", "LLMs"),
        ("GPU", "GPUs"),
        ("CNN", "CNNs"),
        ("vision-language", "vision language"),
        ("ﬁne-tuning", "fine-tuning"),
        ("e\u0301tude", "étude"),
        ("학습", "\u1112\u1161\u11a8\u1109\u1173\u11b8"),
    ],
)
def test_two_spellings_are_the_same_words(one: str, other: str) -> None:
    assert words(one) == words(other)


@pytest.mark.parametrize("word", ["gas", "bus", "bias", "class", "css", "s", "ms", "loss", "analysis"])
def test_word_that_only_ends_like_a_plural_keeps_its_s(word: str) -> None:
    assert stem(word).startswith(word[:4])
    assert stem(word) not in {"ga", "bu", "bia", "clas", "cs", "", "m", "los"}


def test_stop_words_are_left_out_of_words_and_kept_in_every_word() -> None:
    assert words("the state of the art") == ["state", "art"]
    assert every_word("the state of the art") == ["the", "state", "of", "the", "art"]


def test_script_without_spaces_is_taken_character_by_character() -> None:
    assert words("画像生成モ") == list("画像生成モ")
    assert words("확산모델x") == ["확", "산", "모", "델", "x"]


def test_nothing_but_signs_has_no_words() -> None:
    for text in ("", "   ", "!!! --- \u202e", "___", "\x00"):
        assert words(text) == every_word(text) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Yann LeCun", "yann  lecun"),
        ("J. Smith", "J Smith"),
        ("Jean-Pierre Müller", "jean pierre muller"),
        ("cs.CL", "CS.cl"),
        ("O'Neil", "o neil"),
    ],
)
def test_two_spellings_of_a_name_are_the_same(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


def test_two_categories_that_differ_in_a_point_are_two() -> None:
    assert name_key("cs.CL") != name_key("csCL")
    assert name_key("Jane Smith") != name_key("J. Smith")


@given(st.one_of(st.text(), st.sampled_from(HOSTILE)))
def test_words_of_any_text_hold_neither_space_nor_sign(text: str) -> None:
    found = every_word(text)
    assert all(word and " " not in word and "|" not in word for word in found)
    rest = iter(found)
    assert all(word in rest for word in words(text))

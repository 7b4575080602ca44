"""What a subscriber may ask for, and how a wrong wish is named."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import HOSTILE

from newsletter.errors import InputError
from newsletter.subscribers.preferences import (
    LISTS,
    MAX_INTEREST,
    MAX_INTERESTS,
    Preferences,
    field_errors,
    interest_names,
    parse_preferences,
    split_list,
)

WRONG: list[tuple[str, Any, str]] = [
    ("timezone", "Mars/Olympus", "'Mars/Olympus' is not a time zone"),
    ("timezone", "europe/berlin", "is not a time zone"),
    ("timezone", "", "is not a time zone"),
    ("timezone", "../../etc/passwd", "is not a time zone"),
    ("timezone", "Europe/Berlin\n", "is not a time zone"),
    ("timezone", "x" * 10_000, "is not a time zone"),
    ("timezone", 5, "string"),
    ("timezone", None, "string"),
    ("hour", 24, "'24' is not between 0 and 23"),
    ("hour", -1, "'-1' is not between 0 and 23"),
    ("hour", "noon", "'noon' is not a whole number"),
    ("hour", 7.5, "'7.5' is not a whole number"),
    ("hour", None, "'None' is not a whole number"),
    ("hour", float("nan"), "number"),
    ("hour", 10**400, "is not between 0 and 23"),
    ("hour", "1" * 5_000, "integer"),
    ("cadence", "monthly", "'monthly' is not one of daily, weekdays, days, weekly, above_bar"),
    ("cadence", None, "is not one of"),
    ("weekdays", ["mon", "someday"], "'someday' is not one of mon, tue, wed, thu, fri, sat, sun"),
    ("weekdays", "someday", "'someday' is not one of mon, tue, wed, thu, fri, sat, sun"),
    ("weekdays", [1], "is not one of mon"),
    ("weekdays", None, "tuple"),
    ("bar", 101, "'101' is not between 0 and 100"),
    ("bar", -1, "'-1' is not between 0 and 100"),
    ("bar", "high", "'high' is not a whole number"),
    ("language", "fr", "'fr' is not one of en, de"),
    ("tracking", "perhaps", "'perhaps' is not yes or no"),
    ("source_news", None, "'None' is not yes or no"),
    ("about", "\u00e9" * 1_001, "is longer than 1000 characters"),
    ("about", ["x"], "string"),
    ("max_papers", 0, "'0' is not between 1 and 50"),
    ("max_papers", 51, "'51' is not between 1 and 50"),
    ("max_papers", "many", "'many' is not a whole number"),
    ("topics", [f"topic {number}" for number in range(MAX_INTERESTS + 1)], "more than 100 entries"),
    ("keywords", ["x" * (MAX_INTEREST + 1)], "is longer than 100 characters"),
    ("keywords", ["fine", "\u00e9" * 5_000], "is longer than 100 characters"),
    ("topics", "graphs", "tuple"),
    ("topics", None, "tuple"),
    ("mutes", [1, 2], "string"),
    ("authors", {"a": 1}, "tuple"),
    ("password", "secret", "is not a preference"),
]


@pytest.mark.parametrize(("field", "value", "said"), WRONG)
def test_wrong_wish_is_refused_in_one_line_that_names_the_field(field: str, value: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_preferences({field: value})
    line = str(caught.value)
    assert line.startswith(f"{field}: ")
    assert said in line
    assert line.isprintable()
    assert len(line) < 200
    assert list(field_errors({field: value})) == [field]


def test_who_wants_mail_on_days_of_their_own_names_at_least_one() -> None:
    with pytest.raises(InputError, match="weekdays: choose at least one day"):
        parse_preferences({"cadence": "days"})
    assert [str(each) for each in field_errors({"cadence": "days", "weekdays": []}).values()] == [
        "choose at least one day"
    ]
    assert field_errors({"cadence": "days", "weekdays": ["sun"]}) == {}
    assert field_errors({"cadence": "weekly"}) == {}


def test_weekdays_are_taken_in_any_spelling_and_kept_in_the_order_of_the_week() -> None:
    wanted = ("mon", "wed", "sun")
    for given_ in (["sun", "mon", "wed", "mon"], "Sunday; MON,wed", " wednesday ;Mon;sun;; "):
        assert parse_preferences({"cadence": "days", "weekdays": given_}).weekdays == wanted


def test_what_they_work_on_is_one_line_of_text() -> None:
    assert parse_preferences({"about": " proteins\r\n with\x00 \u202ediffusion\t"}).about == "proteins with diffusion"


def test_every_wrong_field_is_named_at_once() -> None:
    wrong = {"hour": 99, "timezone": "Mars", "max_papers": 0, "topics": ["x" * 101]}
    assert set(field_errors(wrong)) == set(wrong)
    assert field_errors({"hour": 7}) == {}


def test_edges_of_every_range_are_good() -> None:
    low = parse_preferences({"hour": 0, "max_papers": 1, "topics": [], "bar": 0, "about": ""})
    high = parse_preferences(
        {"hour": "23", "max_papers": 50, "keywords": ["x" * 100], "topics": [f"topic {n}" for n in range(100)]}
        | {"bar": "100", "about": "x" * 1_000}
    )
    assert (low.hour, low.max_papers, low.topics) == (0, 1, ())
    assert (low.bar, low.about, high.bar, len(high.about)) == (0, "", 100, 1_000)
    assert (high.hour, high.max_papers, len(high.topics), len(high.keywords[0])) == (23, 50, 100, 100)


def test_nothing_given_means_the_defaults() -> None:
    assert parse_preferences({}) == Preferences()


def test_second_spelling_of_a_wish_is_dropped_and_the_first_kept() -> None:
    given_ = ["Graph  Networks", "graph networks", " GRAPH\tNETWORKS ", "", "  ", "protein"]
    assert parse_preferences({"topics": given_}).topics == ("Graph Networks", "protein")


def test_a_hundred_wishes_may_be_given_in_two_spellings_each() -> None:
    given_ = [text for n in range(100) for text in (f"topic {n}", f"TOPIC {n}")]
    assert len(parse_preferences({"topics": given_}).topics) == 100


def test_control_and_direction_characters_are_taken_out_of_a_wish() -> None:
    given_ = ["a\x00b", "c\r\nd", "\u202ee", "\x00", "\x00 f", "g \u200b h", "\ud800"]
    assert parse_preferences({"keywords": given_}).keywords == ("ab", "c d", "e", "f", "g h")


def test_semicolon_separates_wishes_as_in_a_file() -> None:
    assert parse_preferences({"keywords": ["diffusion; proteins;", ";"]}).keywords == ("diffusion", "proteins")


def test_list_in_one_text_is_split_at_each_separator() -> None:
    assert split_list(" a; b ;;c ") == ("a", "b", "c")
    assert split_list("a, b\nc;d", ",;\n") == ("a", "b", "c", "d")
    assert split_list("") == ()


def test_interests_are_named_once_each_in_the_order_they_were_given() -> None:
    wishes = Preferences(topics=("A", "b"), keywords=("a", "c"), authors=("B", "D"), categories=("cs.CL",))
    assert interest_names(wishes) == ("A", "b", "c", "D", "cs.CL")


_texts = st.lists(st.one_of(st.text(max_size=40), st.sampled_from(HOSTILE).map(lambda text: text[:90])), max_size=12)


@given(st.fixed_dictionaries(dict.fromkeys(LISTS, _texts)))
def test_wishes_read_back_from_where_they_are_kept_are_the_same(values: dict[str, list[str]]) -> None:
    wishes = parse_preferences(values)
    kept = wishes.model_dump(mode="json")
    assert parse_preferences(kept) == wishes
    for name in LISTS:
        for text in kept[name]:
            assert text == text.strip()
            assert text.isprintable()
            assert ";" not in text
            assert text

"""Subscribers as CSV: each bad line by its number, and back and forth without a change."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import HOSTILE

from newsletter.errors import InputError
from newsletter.subscribers import csvfile
from newsletter.subscribers.models import Entry, State, Subscriber, preference_columns
from newsletter.subscribers.preferences import LISTS, Preferences, parse_preferences


def read(text: str, *, confirmed: bool = False) -> list[Entry | str]:
    return list(csvfile.read_entries(io.StringIO(text, newline=""), confirmed=confirmed))


def emails(text: str) -> list[str]:
    return [each.email for each in read(text) if isinstance(each, Entry)]


def troubles(text: str) -> list[str]:
    return [each for each in read(text) if isinstance(each, str)]


def written(people: list[Subscriber]) -> str:
    target = io.StringIO(newline="")
    writer = csv.writer(target)
    writer.writerow(csvfile.COLUMNS)
    writer.writerows(csvfile.row(each) for each in people)
    return target.getvalue()


def person(email: str, wishes: Preferences, state: State = State.ACTIVE) -> Subscriber:
    made = datetime(2026, 8, 5, tzinfo=UTC)
    values = {"email": email, "email_key": email.casefold(), "state": state, "created_at": made}
    return Subscriber.model_validate(values | preference_columns(wishes))


def test_a_full_line_becomes_what_it_says() -> None:
    text = "Email, hour ,topics,timezone,state\nAda@Example.org, 7 ,diffusion; Graphs;,Europe/Berlin,Active\n"
    wishes = Preferences(hour=7, topics=("diffusion", "Graphs"), timezone="Europe/Berlin")
    assert read(text) == [Entry("Ada@example.org", wishes, State.ACTIVE)]


def test_empty_cells_mean_the_defaults_and_a_missing_state_what_the_operator_said() -> None:
    text = "email,hour,state\na@example.org,,\nb@example.org\n"
    assert [each.state for each in read(text) if isinstance(each, Entry)] == [State.PENDING] * 2
    assert read(text, confirmed=True) == [
        Entry(f"{name}@example.org", Preferences(), State.ACTIVE) for name in ("a", "b")
    ]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("", "email among them"),
        ("\n", "email among them"),
        ("name,topics\n", "email among them"),
        ("email;topics\n", "email among them"),
        ("em\x00ail\n", "email among them"),
        ("email,shoe size\n", "'shoe size'"),
        ("email,\ufffd\n", "'\ufffd'"),
        ("email,hour,EMAIL\n", "twice"),
        ('"email\na@example.org\n', "line 1"),
    ],
    ids=ascii,
)
def test_bad_header_is_refused_as_a_whole(header: str, said: str) -> None:
    with pytest.raises(InputError, match=r"line|column") as caught:
        read(header + "a@example.org,x\n")
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nobody,8", "line 3: 'nobody' is not a mail address"),
        (",8", "line 3: '' is not a mail address"),
        ("b\x00c@example.org,8", "line 3: 'b?c@example.org' is not a mail address"),
        ("b@example.org,25", "line 3: hour: '25' is not between 0 and 23"),
        ("b@example.org,8,more", "line 3: 3 cells for 2 columns"),
        ('b@example.org,"8"x', "line 3: "),
        ("b@example.org,\ufffd8", "line 3: '\ufffd8' is not in UTF-8"),
        ("b\ufffd@example.org,8", "line 3: 'b\ufffd@example.org' is not in UTF-8"),
        ("A@EXAMPLE.ORG,9", "line 3: A@example.org is on an earlier line already"),
        ("b@example.org," + "9" * 200_000, "line 3: field larger than field limit"),
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_bad_line_is_named_by_its_number_and_the_lines_around_it_count(line: str, said: str) -> None:
    text = f"email,hour\na@example.org,8\n{line}\nz@example.org,8\n"
    assert emails(text) == ["a@example.org", "z@example.org"]
    (trouble,) = troubles(text)
    assert trouble.startswith(said)
    assert trouble.isprintable()
    assert len(trouble) < 300


def test_blank_lines_are_counted_and_nothing_else() -> None:
    text = "email,hour\n\n , \na@example.org,8\n\r\nnobody,8\n"
    assert emails(text) == ["a@example.org"]
    assert troubles(text)[0].startswith("line 6: ")


def test_quote_that_is_never_closed_names_all_the_lines_it_swallowed() -> None:
    text = 'email,topics\na@example.org,x\nb@example.org,"graphs\nc@example.org,x\nd@example.org,x\n'
    assert emails(text) == ["a@example.org"]
    assert [each.partition(":")[0] for each in troubles(text)] == ["lines 3 to 5"]


def test_quote_that_swallows_a_long_file_is_given_up_and_the_rest_is_read() -> None:
    rest = "".join(f"reader{number}@example.org,graphs\n" for number in range(5_000))
    text = f'email,topics\na@example.org,"graphs\n{rest}'
    assert "reader4999@example.org" in emails(text)
    assert troubles(text)[0].startswith("lines 2 to ")


def test_line_break_inside_quotes_belongs_to_its_cell() -> None:
    assert read('email,topics\na@example.org,"one\r\ntwo"\nnobody,x\n')[0] == Entry(
        "a@example.org", Preferences(topics=("one two",)), State.PENDING
    )
    assert troubles('email,topics\na@example.org,"one\ntwo"\nnobody,x\n')[0].startswith("line 4: ")


def test_lines_may_end_as_on_any_system() -> None:
    for end in ("\n", "\r\n", "\r"):
        assert emails(f"\ufeffemail{end}a@example.org{end}b@example.org") == ["a@example.org", "b@example.org"]


def test_file_is_read_no_further_than_it_is_asked_for() -> None:
    taken: list[int] = []

    def endless() -> Iterator[str]:
        yield "email\n"
        for number in range(10**9):
            taken.append(number)
            yield f"reader{number}@example.org\n"

    entries = csvfile.read_entries(endless(), confirmed=True)
    assert [next(entries) for _ in range(3)]
    assert len(taken) <= 4


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "'=1", "''=1", "'plain'", "'"])
def test_formula_is_harmless_in_a_spreadsheet_and_itself_again_when_read(text: str) -> None:
    row = csvfile.row(person("a@example.org", Preferences(topics=(text,), mutes=("x", text))))
    assert not row[2].startswith(("=", "+", "-", "@"))
    (entry,) = read(written([person("=a@example.org", Preferences(topics=(text,)))]))
    assert isinstance(entry, Entry)
    assert (entry.email, entry.preferences.topics) == ("=a@example.org", (text,))


_texts = st.lists(
    st.one_of(
        st.text(max_size=30), st.sampled_from(HOSTILE).map(lambda text: text[:90]), st.text("'=+-@;, \t", max_size=6)
    ),
    max_size=5,
)


@given(st.fixed_dictionaries(dict.fromkeys(LISTS, _texts)), st.sampled_from(State))
def test_what_is_written_is_read_as_it_was(values: dict[str, list[str]], state: State) -> None:
    # U+FFFD is what reading a file puts in place of a byte it cannot read
    wishes = parse_preferences({name: [text.replace("\ufffd", "") for text in values[name]] for name in values})
    text = written([person("'+a@example.org", wishes, state)])
    assert read(text) == [Entry("'+a@example.org", wishes, state)]

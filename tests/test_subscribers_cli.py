"""``newsletter subscribers …`` as an operator runs it."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from samples import joined

from newsletter import membership
from newsletter.app import App
from newsletter.signing import Purpose
from newsletter.subscribers import csvfile, store
from newsletter.subscribers.models import Entry, State
from newsletter.subscribers.preferences import Preferences

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def subscribers(command_here: Run, sqlite_url: str) -> Run:
    """Run ``newsletter subscribers …``: never a traceback, and one line alone when it fails."""

    def run(*args: str, database_url: str = sqlite_url) -> CompletedProcess[str]:
        done = command_here("subscribers", *args, database_url=database_url, secret_key="a key for tests")
        assert "Traceback" not in done.stderr
        if done.returncode == 1:
            assert done.stdout == ""
            assert done.stderr.startswith("newsletter: ")
            assert done.stderr.count("\n") == 1
        return done

    return run


def test_subscriber_is_added_once_and_shown_as_they_are(subscribers: Run) -> None:
    wishes = ("--topic", "graphs", "--topic", "Graphs", "--mute", "crypto", "--timezone", "Europe/Berlin")
    added = subscribers("add", "Ada@MÜNCHEN.de", *wishes, "--hour", "7", "--cadence", "weekdays", "--confirmed")
    assert (added.returncode, added.stdout) == (0, "Ada@xn--mnchen-3ya.de is active\n")
    again = subscribers("add", "ada@münchen.de")
    assert again.returncode == 1
    assert again.stderr == "newsletter: ada@xn--mnchen-3ya.de is a subscriber already\n"
    shown = json.loads(subscribers("show", "ADA@münchen.DE", "--json").stdout)
    assert {name: shown[name] for name in ("email", "state", "topics", "mutes", "hour", "cadence")} == {
        "email": "Ada@xn--mnchen-3ya.de",
        "state": "active",
        "topics": ["graphs"],
        "mutes": ["crypto"],
        "hour": 7,
        "cadence": "weekdays",
    }


def test_import_reports_bad_lines_by_number_and_changes_nothing_the_second_time(
    subscribers: Run, make_app: Callable[..., App], postgresql_url: str, tmp_path: Path
) -> None:
    lines = [b'\xef\xbb\xbf"email",hour,authors\r\n', *(b"reader%d@example.org,7,\r\n" % n for n in range(1_100))]
    bad = [b"b\xe4d@example.org,7,\r\n", b"x@example.org,99,\r\n", b"y@example.org,7,J\xf6rg\r\n"]
    bad += [b"reader5@example.org,8,\r\n", b"z@example.org,7,a,b\r\n", b'q@example.org,7,"never closed\r\n']
    (tmp_path / "people.csv").write_bytes(b"".join(lines + bad))
    app = make_app(postgresql_url)
    membership.import_subscribers(app, [Entry("READER7@example.org", Preferences(hour=9), State.UNSUBSCRIBED)])
    first = subscribers("import", "people.csv", "--confirmed", "--json", database_url=postgresql_url)
    assert first.returncode == 3
    assert json.loads(first.stdout) == {"added": 1_099, "changed": 1, "bad": 6}
    said = first.stderr.splitlines()
    assert [line.split(":")[1] for line in said] == [f" line {n}" for n in range(1_102, 1_108)]
    assert all(line.startswith("newsletter: line ") and line.endswith(" (skipped)") for line in said)
    assert joined(app, "reader7@example.org") is State.UNSUBSCRIBED
    second = subscribers("import", "people.csv", "--confirmed", database_url=postgresql_url)
    assert (second.returncode, second.stdout) == (3, "0 added, 0 changed, 6 bad lines\n")


def test_export_is_read_as_it_was_and_holds_no_formula(subscribers: Run, app: App) -> None:
    wishes = Preferences(topics=("=1+1", "'=2", "拡散モデル"), mutes=('say "hi", now',), timezone="Asia/Tokyo", hour=0)
    entries = [Entry(f"{state}@example.org", wishes, state) for state in State]
    membership.import_subscribers(app, entries)
    done = subscribers("export")
    assert done.returncode == 0
    rows = list(csv.reader(io.StringIO(done.stdout, newline="")))
    assert rows[0] == list(csvfile.COLUMNS)
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]
    assert list(csvfile.read_entries(io.StringIO(done.stdout, newline=""), confirmed=False)) == entries


def test_reader_unsubscribed_by_the_code_of_a_mail_is_listed_as_such(subscribers: Run, app: App) -> None:
    membership.import_subscribers(app, [Entry(f"{n}@example.org", Preferences(), State.ACTIVE) for n in "ab"])
    with app.db.snapshot() as session:
        person = store.find(session, "b@example.org")
    assert person is not None
    code = app.signer.sign(Purpose.UNSUBSCRIBE, person.id or 0, now=app.now())
    done = subscribers("unsubscribe", f"unsubscribe {code}")
    assert (done.returncode, done.stdout) == (0, "unsubscribed\n")
    listed = json.loads(subscribers("list", "--json").stdout)["subscribers"]
    assert [(each["email"], each["state"]) for each in listed] == [
        ("a@example.org", "active"),
        ("b@example.org", "unsubscribed"),
    ]


def test_an_operator_pauses_resumes_hands_out_data_and_erases(subscribers: Run) -> None:
    wishes = ("--about", "peptide folding", "--cadence", "days", "--weekday", "mon", "--weekday", "thursday")
    assert subscribers("add", "ada@example.org", *wishes, "--confirmed").returncode == 0
    shown = json.loads(subscribers("show", "ada@example.org", "--json").stdout)
    assert (shown["about"], shown["cadence"], shown["weekdays"]) == ("peptide folding", "days", ["mon", "thu"])
    tomorrow = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
    assert subscribers("pause", "ada@example.org", "--until", tomorrow).stdout == f"paused until {tomorrow}\n"
    assert subscribers("pause", "ada@example.org", "--until", "2020-01-01").returncode == 1
    assert subscribers("pause", "ada@example.org").returncode == 2
    assert subscribers("pause", "ada@example.org", "--resume").returncode == 0
    known = json.loads(subscribers("export-data", "ada@example.org").stdout)
    assert known["subscriber"]["email"] == "ada@example.org"
    assert [each["act"] for each in known["consents"]] == ["confirmed"]
    assert subscribers("erase", "ada@example.org").returncode == 2
    assert subscribers("erase", "ada@example.org", "--yes").stdout == "erased\n"
    gone = subscribers("show", "ada@example.org")
    assert (gone.returncode, gone.stdout) == (1, "")


def test_a_cadence_of_chosen_days_needs_days(subscribers: Run) -> None:
    failed = subscribers("add", "ada@example.org", "--cadence", "days")
    assert failed.returncode == 1
    assert failed.stderr == "newsletter: weekdays: choose at least one day\n"

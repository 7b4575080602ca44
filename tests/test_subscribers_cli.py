"""``newsletter subscribers …`` as an operator runs it."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from samples import joined

from newsletter import membership
from newsletter.app import App
from newsletter.signing import Purpose
from newsletter.subscribers import store
from newsletter.subscribers.models import Entry, State
from newsletter.subscribers.preferences import Preferences

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def subscribers(command: Run, database_url: str) -> Run:
    """Run ``newsletter subscribers …`` on both databases; never a traceback, and at most one line when it fails."""

    def run(*args: str, stdin: str | None = None) -> CompletedProcess[str]:
        done = command("subscribers", *args, stdin=stdin, database_url=database_url, secret_key="a key for tests")
        assert "Traceback" not in done.stderr
        if done.returncode == 1:
            assert done.stdout == ""
            assert done.stderr.startswith("newsletter: ")
            assert done.stderr.count("\n") == 1
        return done

    return run


@pytest.fixture
def on_sqlite(command: Run, sqlite_url: str) -> Run:
    return lambda *args, **more: command("subscribers", *args, database_url=sqlite_url, secret_key="k", **more)


def test_subscriber_is_added_once_and_shown_as_they_are(on_sqlite: Run) -> None:
    wishes = ("--topic", "graphs", "--topic", "Graphs", "--mute", "crypto", "--timezone", "Europe/Berlin")
    added = on_sqlite("add", "Ada@MÜNCHEN.de", *wishes, "--hour", "7", "--cadence", "weekdays", "--confirmed")
    assert (added.returncode, added.stdout) == (0, "Ada@xn--mnchen-3ya.de is active\n")
    again = on_sqlite("add", "ada@münchen.de")
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "newsletter: ada@xn--mnchen-3ya.de is a subscriber already\n"
    shown = json.loads(on_sqlite("show", "ADA@münchen.DE", "--json").stdout)
    assert {name: shown[name] for name in ("email", "state", "topics", "mutes", "hour", "cadence")} == {
        "email": "Ada@xn--mnchen-3ya.de",
        "state": "active",
        "topics": ["graphs"],
        "mutes": ["crypto"],
        "hour": 7,
        "cadence": "weekdays",
    }


def test_wrong_wishes_are_one_line_that_names_each_of_them(on_sqlite: Run) -> None:
    done = on_sqlite("add", "a@example.org", "--hour", "24", "--timezone", "Mars", "--cadence", "hourly")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert all(name in done.stderr for name in ("hour: '24'", "timezone: 'Mars'", "cadence: 'hourly'"))
    assert on_sqlite("list", "--state", "asleep").returncode == 2


def test_import_reports_bad_lines_by_number_and_changes_nothing_the_second_time(
    subscribers: Run, tmp_path: Path
) -> None:
    lines = [b'\xef\xbb\xbf"email",hour,authors\r\n', *(b"reader%d@example.org,7,\r\n" % n for n in range(1_100))]
    bad = [b"b\xe4d@example.org,7,\r\n", b"x@example.org,99,\r\n", b"y@example.org,7,J\xf6rg\r\n"]
    bad += [b"reader5@example.org,8,\r\n", b"z@example.org,7,a,b\r\n", b'q@example.org,7,"never closed\r\n']
    (tmp_path / "people.csv").write_bytes(b"".join(lines + bad))
    first = subscribers("import", "people.csv", "--confirmed", "--json")
    assert first.returncode == 3
    assert json.loads(first.stdout) == {"added": 1_100, "changed": 0, "bad": 6}
    said = first.stderr.splitlines()
    assert [line.split(":")[1] for line in said] == [f" line {n}" for n in range(1_102, 1_108)]
    assert all(line.startswith("newsletter: line ") and line.endswith(" (skipped)") for line in said)
    second = subscribers("import", "people.csv", "--confirmed")
    assert (second.returncode, second.stdout) == (3, "0 added, 0 changed, 6 bad lines\n")
    third = subscribers("import", "-", "--confirmed", stdin="email,hour\nreader1@example.org,9\n")
    assert (third.returncode, third.stdout) == (0, "0 added, 1 changed, 0 bad lines\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "people.csv cannot be read"),
        ("name\nAda\n".encode(), "email among them"),
        ("email\nada@example.org\n".encode("utf-16"), "email among them"),
    ],
)
def test_file_that_is_no_list_of_subscribers_is_refused_whole(
    on_sqlite: Run, tmp_path: Path, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "people.csv").write_bytes(content)
    done = on_sqlite("import", "people.csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_export_can_be_imported_and_exported_again_without_a_change(
    command: Run, app: App, sqlite_url: str, postgresql_url: str, tmp_path: Path
) -> None:
    wishes = Preferences(topics=("=1+1", "'=2", "拡散モデル"), mutes=('say "hi", now',), timezone="Asia/Tokyo", hour=0)
    membership.import_subscribers(app, [Entry(f"{state}@example.org", wishes, state) for state in State])
    one, other = ({"database_url": url, "secret_key": "k"} for url in (sqlite_url, postgresql_url))
    assert command("subscribers", "export", "all.csv", **one).returncode == 0
    text = (tmp_path / "all.csv").read_text()
    assert not [line for line in text.splitlines() if line.startswith(("=", "+", "-", "@"))]
    assert command("subscribers", "import", "all.csv", **one).stdout == "0 added, 0 changed, 0 bad lines\n"
    assert command("subscribers", "import", "all.csv", **other).stdout == "3 added, 0 changed, 0 bad lines\n"
    assert command("subscribers", "export", **other).stdout == text


def test_list_of_everybody_or_of_one_state(on_sqlite: Run, app: App) -> None:
    membership.import_subscribers(app, [Entry(f"{state}@example.org", Preferences(), state) for state in State])
    everybody = on_sqlite("list")
    assert everybody.returncode == 0
    assert [line.split()[:2] for line in everybody.stdout.splitlines()] == [[f"{s}@example.org", s] for s in State]
    left = json.loads(on_sqlite("list", "--state", "unsubscribed", "--json").stdout)
    assert [each["email"] for each in left["subscribers"]] == ["unsubscribed@example.org"]


def test_operator_unsubscribes_by_address_or_by_the_code_of_a_mail(on_sqlite: Run, app: App, command: Run) -> None:
    membership.import_subscribers(app, [Entry(f"{n}@example.org", Preferences(), State.ACTIVE) for n in "ab"])
    with app.db.snapshot() as session:
        person = store.find(session, "b@example.org")
    assert person is not None
    code = app.signer.sign(Purpose.UNSUBSCRIBE, person.id or 0, now=app.now())
    assert on_sqlite("unsubscribe", "A@example.org").stdout == "unsubscribed\n"
    same_key = {"database_url": app.settings.database_url, "secret_key": "a key for tests"}
    by_code = command("subscribers", "unsubscribe", f"unsubscribe {code}", **same_key)
    assert (by_code.returncode, by_code.stdout) == (0, "unsubscribed\n"), by_code.stderr
    assert joined(app, "a@example.org") is joined(app, "b@example.org") is State.UNSUBSCRIBED
    for who, said in (("nobody@example.org", "is not a subscriber"), ("x" * 38, "neither an address nor a code")):
        refused = on_sqlite("unsubscribe", who)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert said in refused.stderr

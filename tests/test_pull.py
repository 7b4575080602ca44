"""Pulling, end to end: what comes in is stored or accounted for, whatever the sources do."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from fakes import Clock, HuggingFaceServer, free_port, listed
from samples import pull_days
from sqlmodel import select

from newsletter import pulling
from newsletter.app import App
from newsletter.cli import main
from newsletter.db import Database
from newsletter.papers.models import Paper
from newsletter.papers.pulls import store as pulls
from newsletter.papers.pulls.models import Pull
from newsletter.papers.sources.http import Web
from newsletter.papers.sources.huggingface import HuggingFace
from newsletter.pulling import Pulled

DAYS = [date(2026, 8, day) for day in (3, 4, 5)]
MIDDLE = DAYS[1].isoformat()
Run = Callable[..., "Done"]


@pytest.fixture
def days(huggingface: HuggingFaceServer) -> HuggingFaceServer:
    for offset, day in enumerate(DAYS):
        huggingface.days[day.isoformat()] = [
            listed(100 * offset + n, f"Paper {n} of {day}", day, upvotes=n) for n in range(1, 5)
        ]
    huggingface.today = DAYS[-1]
    return huggingface


@pytest.fixture
def puller(app_on_both: App, days: HuggingFaceServer) -> App:
    """An app on both databases that asks the local server, without pauses between attempts."""
    source = HuggingFace(Web(timeout_seconds=5, backoff_seconds=0, named=[days.url]), days.url)
    return replace(app_on_both, sources={source.name: source})


def stored(app: App) -> dict[str, Paper]:
    with app.db.snapshot() as session:
        return {paper.title: paper for paper in session.exec(select(Paper))}


def counts(reports: list[Pulled]) -> tuple[int, int, int]:
    return (
        sum(each.stored.new for each in reports),
        sum(each.stored.updated for each in reports),
        sum(each.stored.unchanged for each in reports),
    )


def test_pulling_again_changes_nothing(puller: App, clock: Clock) -> None:
    assert counts(pull_days(puller, DAYS)) == (12, 0, 0)
    before = {title: paper.model_dump() for title, paper in stored(puller).items()}
    clock.forward(hours=2)
    assert counts(pull_days(puller, DAYS)) == (0, 0, 12)
    assert {title: paper.model_dump() for title, paper in stored(puller).items()} == before


def test_later_pulls_bring_later_votes_and_late_papers(puller: App, days: HuggingFaceServer, clock: Clock) -> None:
    pull_days(puller, DAYS)
    clock.forward(hours=1)
    days.days[MIDDLE][0]["paper"]["upvotes"] = 77
    days.days[MIDDLE].append(listed(150, "A late paper", DAYS[1], upvotes=0))
    assert counts(pull_days(puller, DAYS)) == (1, 1, 11)
    assert stored(puller)[f"Paper 1 of {MIDDLE}"].upvotes == 77
    assert stored(puller)["A late paper"].upvotes == 0


def test_a_paper_that_is_listed_on_two_days_is_one_paper_of_its_first_day(puller: App, days: HuggingFaceServer) -> None:
    days.days["2026-08-05"].append(days.days["2026-08-03"][0])
    days.days["2026-08-05"].append(days.days["2026-08-05"][0])
    for order in (DAYS, DAYS[::-1]):
        pull_days(puller, order)
        assert len(stored(puller)) == 12
        assert stored(puller)["Paper 1 of 2026-08-03"].listed_at == datetime(2026, 8, 3, tzinfo=UTC)


def test_a_day_that_fails_never_stops_the_other_days(
    make_app: Callable[..., App], sqlite_url: str, days: HuggingFaceServer
) -> None:
    source = HuggingFace(Web(timeout_seconds=5, backoff_seconds=0, named=[days.url]), days.url)
    app = replace(make_app(sqlite_url), sources={source.name: source})
    bodies = (b"", b"<html>", b'[{"paper": {"id": "2608.00101", "ti', b'{"error": ""}', b"[" * 100_000, b"\xff\xfe\x00")
    troubles: list[list[int | bytes | str]] = [[400], [404], [429] * 9, [500] * 9, [503] * 9, *([b] for b in bodies)]
    bad = [date(2026, 7, 1) + timedelta(days=n) for n in range(len(troubles))]
    days.troubles = {day.isoformat(): trouble for day, trouble in zip(bad, troubles, strict=True)}
    reports = pull_days(app, [DAYS[0], *bad[:5], DAYS[1], *bad[5:], DAYS[2]])
    assert [report.day for report in reports if not report.error] == DAYS
    assert counts(reports) == (12, 0, 0)
    assert all(report.error.startswith("huggingface answered ") for report in reports if report.day not in DAYS)
    with app.db.snapshot() as session:
        rows = {row.day: row.error for row in session.exec(select(Pull))}
        (health,) = pulls.health(session)
    assert rows == {report.day: report.error for report in reports}
    assert (health.last_success_at, health.failures) == (app.now(), 0)
    days.troubles.clear()
    days.days[bad[0].isoformat()] = [listed(900, "Late but not lost", bad[0])]
    assert counts(pull_days(app, bad)) == (1, 0, 0)


def test_trouble_that_passes_costs_nothing(puller: App, days: HuggingFaceServer) -> None:
    days.troubles = {MIDDLE: [429, 500, 503], "2026-08-05": [502]}
    assert counts(pull_days(puller, DAYS)) == (12, 0, 0)


def test_a_source_that_hangs_costs_only_its_own_day(app: App, days: HuggingFaceServer) -> None:
    source = HuggingFace(Web(timeout_seconds=0.2, backoff_seconds=0, named=[days.url]), days.url)
    days.troubles[MIDDLE] = ["hang", "hang"]
    reports = pull_days(replace(app, sources={source.name: source}), DAYS)
    assert [report.error for report in reports] == ["", "huggingface does not answer in time", ""]
    assert counts(reports) == (8, 0, 0)


def test_a_source_that_is_not_there_is_an_error_for_each_day_and_no_crash(app: App) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    source = HuggingFace(Web(timeout_seconds=1, backoff_seconds=0, named=[url]), url)
    reports = pull_days(replace(app, sources={source.name: source}), DAYS)
    assert [report.error for report in reports[:2]] == ["huggingface cannot be reached"] * 2


def test_weekends_are_empty_and_days_to_come_are_refused(puller: App) -> None:
    saturday, tomorrow = pull_days(puller, [date(2026, 8, 1), date(2026, 8, 6)])
    assert (saturday.error, saturday.received) == ("", 0)
    assert tomorrow.error == "huggingface answered 400 for 2026-08-06"


def test_one_bad_record_never_loses_the_others_and_is_counted(puller: App, days: HuggingFaceServer) -> None:
    bad: list[Any] = [None, "x", {"paper": {"id": "2503.0213", "title": "Lost zero"}}, {"paper": {"id": "2608.00009"}}]
    hostile = listed(50, "\x00Hostile \ud800\u202e<b>title", DAYS[1], upvotes=3, projectPage="javascript:alert(1)")
    days.days[MIDDLE] = [*bad, hostile, *days.days[MIDDLE], listed(51, "x" * 5_000, DAYS[1])]
    (report,) = pull_days(puller, [DAYS[1]])
    assert report.dropped == {"no_paper": 2, "bad_id": 1, "no_title": 1}
    assert counts([report]) == (6, 0, 0)
    assert stored(puller)["Hostile <b>title"].project_url == ""
    with puller.db.snapshot() as session:
        (row,) = session.exec(select(Pull))
    assert (row.received, row.new, row.dropped) == (10, 6, {"no_paper": 2, "bad_id": 1, "no_title": 1})


@pytest.mark.parametrize(
    ("today", "expected"),
    [
        ("2026-08-05", ["2026-08-05", "2026-08-04"]),
        ("2026-08-03", ["2026-08-03", "2026-07-31"]),  # Monday looks back to Friday
        ("2026-08-02", ["2026-08-02", "2026-07-31"]),
        ("2026-08-01", ["2026-08-01", "2026-07-31"]),
    ],
)
def test_the_schedule_pulls_the_days_that_may_still_change(
    puller: App, clock: Clock, today: str, expected: list[str]
) -> None:
    clock.at = datetime.fromisoformat(today).replace(hour=23, tzinfo=UTC)
    assert [day.isoformat() for day in pulling.plan(puller)["huggingface"]] == expected


def test_lines_are_stored_in_chunks_and_again_without_a_change(app_on_both: App) -> None:
    lines = [json.dumps({"title": f"Paper {n}", "id": f"2608.{n:05d}"}).encode() for n in range(1_200)]
    lines[700:700] = [b"bad\n", b'{"title": "Paper 5 again", "id": "arXiv:2608.00005"}']
    told: list[int] = []
    reports = pulling.pull_lines(app_on_both, lines, None, told.append)
    assert told == [1_000, 202]
    assert counts(reports)[0] == 1_200
    assert [note for each in reports for note in each.notes] == ["line 701: not JSON (skipped)"]
    again = pulling.pull_lines(app_on_both, lines, None)
    assert counts(again)[:2] == (0, 0)
    assert len(stored(app_on_both)) == 1_200


def test_a_file_adds_to_what_a_source_said_and_keeps_its_votes(puller: App) -> None:
    pull_days(puller, DAYS)
    line = {"id": "2608.00101", "title": f"Paper 1 of {MIDDLE}", "categories": ["cs.LG"], "published_at": "2026-08-04"}
    assert counts(pulling.pull_lines(puller, [json.dumps(line).encode()], None)) == (0, 1, 0)
    paper = stored(puller)[f"Paper 1 of {MIDDLE}"]
    assert (paper.categories, paper.upvotes, paper.authors) == (["cs.LG"], 1, ["Ada Example"])


@dataclass
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sqlite_url: str) -> Iterator[Run]:
    """Run ``newsletter pull …`` in this process: a new one takes seconds to import everything."""
    handlers = logging.root.handlers[:]

    def newsletter_pull(*args: str, url: str = "http://127.0.0.1:9") -> Done:
        monkeypatch.setenv("NEWSLETTER_DATABASE_URL", sqlite_url)
        monkeypatch.setenv("NEWSLETTER_HUGGINGFACE_URL", url)
        monkeypatch.setattr(sys, "argv", ["newsletter", "pull", *args])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    yield newsletter_pull
    logging.root.handlers = handlers
    structlog.reset_defaults()


def test_the_command_says_what_was_left_out_and_why(run: Run, days: HuggingFaceServer) -> None:
    days.days[MIDDLE] += [None, {"paper": {"id": "2503.0213", "title": "Lost zero"}}]  # type: ignore[list-item]
    days.troubles["2026-08-05"] = [b"<html>"]
    options = ("--since", "2026-08-03", "--day", "2026-08-05")
    said = run(*options, url=days.url)
    assert said.code == 3
    assert said.out == "10 papers received: 8 new, 0 updated, 0 unchanged; left out: 1 no paper, 1 bad id\n"
    assert "newsletter: huggingface answered something that is not JSON (2026-08-05)\n" in said.err
    assert "newsletter: 2026-08-04 item 6: bad id\n" in said.err
    again = run(*options, "--json", url=days.url)
    assert again.code == 3
    assert json.loads(again.out) == {
        "received": 14, "new": 4, "updated": 0, "unchanged": 8, "unlisted": 0, "repeated": 0, "withdrawn": 0,
        "dropped": {"no_paper": 1, "bad_id": 1}, "errors": [],
    }  # fmt: skip


def test_the_command_fails_when_all_failed(run: Run, days: HuggingFaceServer) -> None:
    days.troubles = {day.isoformat(): [404] for day in DAYS}
    done = run("--since", "2026-08-03", "--day", "2026-08-05", url=days.url)
    assert done.code == 1
    assert done.err.count("newsletter: huggingface answered 404") == 3


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--day", "2150-01-01"), "2150-01-01 is in the future"),
        (("--source", "nature"), "'nature' is not a source; there is: huggingface"),
        (("--file", "missing.jsonl"), "missing.jsonl cannot be read: No such file or directory"),
        (("--file", "."), ". cannot be read: Is a directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_wishes_are_refused_in_one_clear_line(run: Run, args: tuple[str, ...], words: str) -> None:
    assert run(*args) == Done(1, "", f"newsletter: {words}\n")


@pytest.mark.parametrize("day", ["2026-13-40", "tomorrow", ""])
def test_a_day_that_is_none_is_wrong_usage(run: Run, day: str) -> None:
    done = run("--day", day)
    assert (done.code, done.out) == (2, "")
    assert f"{day!r} is not a day such as 2026-08-05" in done.err


def test_the_command_reads_files_and_names_bad_lines(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "papers.jsonl"
    file.write_bytes(
        b'\xef\xbb\xbf{"title": "One"}\r\n\r\nnot json\r\n{"title": "Two", "colour": "red"}\r\n'
        b'{"title": "\xff"}\r\n{"abstract": "' + b"x" * 2**20 + b'"}\r\n{"title": "Three"}'
    )
    done = run("--file", str(file))
    assert done.code == 3
    assert done.out == "6 papers received: 3 new, 0 updated, 0 unchanged; left out: 3 bad line\n"
    said = [line for line in done.err.splitlines() if line.startswith("newsletter: line")]
    assert said == [
        "newsletter: line 3: not JSON (skipped)",
        "newsletter: line 4: unknown key 'colour' kept out",
        "newsletter: line 5: not UTF-8 (skipped)",
        "newsletter: line 6: longer than 1 MiB (skipped)",
    ]


def test_a_file_of_bad_lines_names_the_first_and_counts_the_rest(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_bytes(b"bad\n" * 2_500)
    done = run("--file", str(file))
    assert done.code == 3
    assert done.out == "2500 papers received: 0 new, 0 updated, 0 unchanged; left out: 2500 bad line\n"
    assert [line for line in done.err.splitlines() if line.startswith("newsletter: ")][19:] == [
        "newsletter: line 20: not JSON (skipped)",
        "newsletter: 2480 more lines like these",
    ]


def test_an_empty_file_is_fine(run: Run) -> None:
    assert run("--file", "/dev/null") == Done(0, "0 papers received: 0 new, 0 updated, 0 unchanged\n", "")


def test_the_command_reads_standard_input(command: Callable[..., Any], sqlite_url: str) -> None:
    done = command("pull", "--file", "-", "--json", stdin='{"title": "One"}', database_url=sqlite_url)
    assert (done.returncode, json.loads(done.stdout)["new"]) == (0, 1)
    assert "Traceback" not in done.stderr


def test_a_source_that_is_down_is_not_asked_for_every_day(make_app: Callable[..., App], sqlite_url: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    source = HuggingFace(Web(timeout_seconds=1, backoff_seconds=0, named=[url]), url)
    app = replace(make_app(sqlite_url), sources={source.name: source})
    reports = pull_days(app, [date(2026, 7, 1) + timedelta(days=n) for n in range(30)])
    assert [each.error for each in reports[2:]] == ["huggingface is down, not asked again"] * 28
    with app.db.snapshot() as session:
        assert len(session.exec(select(Pull)).all()) == 2


def test_a_pull_that_is_stopped_by_hand_keeps_what_it_has_at_once(
    sqlite_url: str, tmp_path: Path, days: HuggingFaceServer
) -> None:
    days.troubles["2026-08-05"] = ["hang"] * 9
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("NEWSLETTER_")},
        "NEWSLETTER_DATABASE_URL": sqlite_url,
        "NEWSLETTER_HUGGINGFACE_URL": days.url,
    }
    program = [str(Path(sys.executable).parent / "newsletter"), "pull", "--since", "2026-08-03", "--day", "2026-08-05"]
    process = subprocess.Popen(program, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    pause = threading.Event()
    while "2026-08-05" not in days.asked:
        assert process.poll() is None
        pause.wait(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)  # the request that hangs would take a minute
    assert (process.returncode, said) == (
        130,
        "newsletter: stopped; what was pulled is kept, and pulling again goes on\n",
    )
    db = Database(sqlite_url)
    with db.snapshot() as session:
        assert len(session.exec(select(Paper)).all()) == 8
    db.dispose()


def test_a_sources_family_names_it(make_app: Callable[..., App], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEWSLETTER_SOURCES", "huggingface,arxiv:cs.CL+cs.LG")
    for url in ("ARXIV_RSS_URL", "ARXIV_API_URL"):
        monkeypatch.setenv(f"NEWSLETTER_{url}", "http://127.0.0.1:9")
    monkeypatch.setenv("NEWSLETTER_ARXIV_INTERVAL_SECONDS", "0")
    done = run("--source", "arxiv", "--day", "2026-08-01")
    assert done == Done(0, "0 papers received: 0 new, 0 updated, 0 unchanged\n", "")  # a Saturday is not asked for
    assert "'medrxiv' is not a source; there is: huggingface, arxiv:cs.CL+cs.LG" in run("--source", "medrxiv").err


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (
            "nature",
            "nature is not a source; there is: huggingface, arxiv:cs.CL+cs.LG, biorxiv, medrxiv, feed:https://…",
        ),
        ("huggingface:x", "huggingface:x is not a source"),
        ("feed:", "feed: is not a source"),
        ("arxiv:../x", "arxiv:../x: categories look like arxiv:cs.CL+cs.LG"),
        ("arxiv:cs.CL&x=1", "categories look like arxiv:cs.CL+cs.LG"),
        ("feed:file:///etc/passwd", "NEWSLETTER_SOURCES: feed:file:///etc/passwd is an address that"),
        ("feed:http://2130706433/", "2130706433"),
        ("feed:http://ada@127.0.0.1/", "127.0.0.1"),
        ("feed:http://169.254.169.254/latest", "169.254.169.254"),
    ],
)
def test_sources_that_cannot_be_are_refused_in_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, sources: str, words: str
) -> None:
    monkeypatch.setenv("NEWSLETTER_SOURCES", sources)
    done = run()
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert words in done.err

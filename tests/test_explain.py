"""``newsletter explain``: why a reader got these papers, and not the others."""

import json
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from samples import add_papers, add_readers, mails_of, open_and_queue, paper_ids_in, record
from sqlmodel import select

from newsletter import membership
from newsletter.app import App
from newsletter.delivery.models import Delivery
from newsletter.subscribers.ratings import store as ratings
from newsletter.subscribers.ratings.models import How, Said

Here = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sent(app: App) -> App:
    """An issue that a reader got who asks for one thing, likes another, and mutes a third."""
    add_papers(app, [record(99, "Enzymes of old", abstract="they fold in water", listed_at=app.now().replace(month=7))])
    add_papers(
        app,
        [
            record(1, "Graphs and tools", upvotes=9),
            record(2, "Enzymes", abstract="how they fold in water"),
            record(3, "A benchmark of graphs", upvotes=90),
            record(4, "Knots", upvotes=50),
            record(5, "Graphs and tools", abstract="This is what paper 1 says. It says it twice."),
        ],
    )
    [reader] = add_readers(app, 1, keywords=("graphs",), mutes=("benchmark",), max_papers=2)
    with app.db.session() as session:
        ratings.rate(
            session, reader, "arxiv:2608.00099", Said.LIKED, How.MAIL, app.now(), paper_id=1, title="Enzymes of old"
        )
    open_and_queue(app)
    return app


@pytest.fixture
def here(sent: App, command_here: Here) -> Here:
    """Run a command on that database."""
    return partial(command_here, database_url=sent.settings.database_url, secret_key="a key for tests")


def explained(here: Here, *more: str) -> dict[str, Any]:
    done = here("explain", "--subscriber", "reader0@example.org", "--issue", "2026-08-05", "--json", *more)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_what_was_sent_is_what_it_explains(sent: App, here: Here) -> None:
    before = explained(here)
    assert (before["state"], before["sent"]) == ("queued", [])
    [mail] = mails_of(sent)
    after = explained(here)
    assert after["state"] == "sent"
    assert {each["paper_id"] for each in after["sent"]} == set(paper_ids_in(mail))
    now = {each["paper_id"]: each["parts"] for each in after["candidates"]}
    assert [each["parts"] for each in after["sent"]] == [now[each["paper_id"]] for each in after["sent"]]
    assert after["candidates"] == before["candidates"]
    picked = [each for each in after["candidates"] if each["place"]]
    assert [(each["paper_id"], each["reason"]) for each in picked] == [
        (each["paper_id"], each["reason"]) for each in after["sent"]
    ]


def test_each_candidate_says_which_rule_decided_and_what_its_score_is_made_of(sent: App, here: Here) -> None:
    mails_of(sent)
    found = {each["title"]: each for each in explained(here)["candidates"]}
    assert found["Graphs and tools"]["rule"] in {"picked", "says the same as a pick"}
    assert found["Graphs and tools"]["parts"]["named"] > 0
    assert found["Enzymes"]["rule"] == "picked"
    assert found["Enzymes"]["parts"]["liked"] > found["Knots"]["parts"]["liked"]
    assert (found["A benchmark of graphs"]["rule"], found["A benchmark of graphs"]["by"]) == ("muted", ["benchmark"])
    assert found["Knots"]["rule"] == "others were better, or told something else"
    rules = [each["rule"] for each in explained(here)["candidates"]]
    assert rules.count("says the same as a pick") == 1
    assert rules[:2] == ["picked", "picked"]


def test_a_past_issue_is_explained_by_what_was_kept_with_it(sent: App, here: Here) -> None:
    mails_of(sent)
    before = explained(here)["sent"]
    with sent.db.session() as session:
        ratings.rate(session, 1, "another", Said.LIKED, How.MAIL, sent.now(), paper_id=4, title="Knots")
        ratings.rate(session, 1, "arxiv:2608.00099", Said.DISLIKED, How.MAIL, sent.now(), paper_id=1, title="Old")
    after = explained(here)
    assert after["sent"] == before
    assert any(each["parts"]["liked"] > 0 for each in before)
    now = {each["paper_id"]: each["parts"] for each in after["candidates"]}
    assert [now[each["paper_id"]] for each in before] != [each["parts"] for each in before]


def test_what_was_sent_before_parts_were_kept_is_shown_without_them(sent: App, here: Here) -> None:
    mails_of(sent)
    with sent.db.session() as session:
        [delivery] = session.exec(select(Delivery)).all()
        kept = delivery.selection or {}
        delivery.selection = kept | {"picks": [each[:3] for each in kept["picks"]]}
        session.add(delivery)
    assert [each["parts"] for each in explained(here)["sent"]] == [None, None]
    done = here("explain", "--subscriber", "reader0@example.org", "--issue", "2026-08-05")
    assert done.returncode == 0
    assert done.stdout.splitlines()[2].split()[2:9] == ["-"] * 7


def test_what_cannot_be_read_is_said_so(sent: App, here: Here) -> None:
    mails_of(sent)
    with sent.db.session() as session:
        session.execute(sa.update(Delivery).values(selection={"considered": 1, "picks": [[1, 0.5]]}))
    done = here("explain", "--subscriber", "reader0@example.org", "--issue", "2026-08-05")
    assert done.returncode == 1
    assert "what was sent cannot be read" in done.stderr


def test_it_reads_as_text_too(sent: App, here: Here) -> None:
    mails_of(sent)
    done = here("explain", "--subscriber", "reader0@example.org", "--issue", "2026-08-05")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "issue 2026-08-05, reader0@example.org: sent"
    assert "by what they ask for and like now: 2 of 5 candidates" in lines
    assert any(line.startswith("left out: ") and "1 muted" in line for line in lines)
    assert any("A benchmark of graphs (muted: benchmark)" in line for line in lines)


def test_who_gets_none_hears_why(sent: App, here: Here) -> None:
    membership.unsubscribe(sent, [1])
    done = here("explain", "--subscriber", "reader0@example.org", "--issue", "2026-08-05")
    assert done.returncode == 3
    assert done.stdout == "issue 2026-08-05, reader0@example.org: queued, not_active\n"


@pytest.mark.parametrize(
    ("subscriber", "issue", "says"),
    [("nobody@example.org", "2026-08-05", "there is no subscriber"), ("reader0@example.org", "2026-01-01", "no issue")],
)
def test_nobody_and_no_issue_are_said_so(sent: App, here: Here, subscriber: str, issue: str, says: str) -> None:
    del sent
    done = here("explain", "--subscriber", subscriber, "--issue", issue)
    assert done.returncode == 1
    assert says in done.stderr

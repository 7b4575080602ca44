"""Past days once more: what a way of ranking would have brought of what readers then liked."""

import json
import re
import subprocess
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import sqlalchemy as sa
from fakes import Clock
from samples import add_papers, add_readers, open_and_queue, record

from newsletter import learning, pipeline
from newsletter.app import App
from newsletter.delivery.models import Delivery
from newsletter.issues.learned.store import texts
from newsletter.replaying import WAYS, replay
from newsletter.subscribers.ratings import store as ratings
from newsletter.subscribers.ratings.models import How, Said
from newsletter.tables import TABLES

FIELDS = ("enzymes fold in water", "tools help on the web", "knots in space and time")
DAYS = 4
Here = Callable[..., subprocess.CompletedProcess[str]]


def like(app: App, readers: Iterable[int], paper_ids: Callable[[int], Iterable[int]], said: Said = Said.LIKED) -> None:
    with app.db.session() as session:
        for reader in readers:
            for paper_id in paper_ids(reader):
                key, title = f"k:{paper_id}", f"P{paper_id}"
                ratings.rate(session, reader, key, said, How.MAIL, app.now(), paper_id=paper_id, title=title)


def live(app: App, clock: Clock) -> list[int]:
    """Send issues of some days to readers of one field each, who like all papers of it each day; return their ids."""
    readers = add_readers(app, 6, max_papers=3)
    for day in range(DAYS):
        at, first = clock.at.replace(hour=0), 30 * day + 1
        add_papers(
            app,
            [
                record(n, f"Paper {n}", abstract=f"{FIELDS[n % 3]} {n}", upvotes=50 if n % 3 == 2 else 0, listed_at=at)
                for n in range(first, first + 30)
            ],
        )
        pipeline.deliver(app, open_and_queue(app).id)
        clock.forward(minutes=5)
        like(app, readers, lambda reader, first=first: range(first + (reader - first) % 3, first + 30, 3))  # type: ignore[misc]
        clock.at = (clock.at + timedelta(days=1)).replace(hour=9, minute=0)
    return readers


@pytest.fixture
def lived(app_on_both: App, clock: Clock) -> App:
    """Some days that are over."""
    live(app_on_both, clock)
    return app_on_both


def everything(app: App) -> dict[str, int]:
    with app.db.snapshot() as session:
        counts = {each: session.scalar(sa.select(sa.func.count()).select_from(each)) for each in TABLES}
    return {str(each.__tablename__): number or 0 for each, number in counts.items()}


def test_what_readers_like_brings_them_more_of_what_they_will_like(lived: App, clock: Clock) -> None:
    before = everything(lived)
    counted, found = replay(lived, date(2026, 8, 6), clock.at.date(), list(WAYS))
    assert counted == 6 * (DAYS - 1)
    assert found["current"].figures["hit rate"].value > found["trending"].figures["hit rate"].value
    assert found["current"].figures["hit rate"] == found["likes only"].figures["hit rate"]
    assert found["words only"].figures == found["trending"].figures
    assert found["trending"].better["hit rate"].value < 0
    assert found["current"].better["nDCG"].value == 0
    assert list(found["current"].by_likes) == list(found["trending"].by_likes) == ["10 likes or more"]
    assert found["current"].by_likes["10 likes or more"] == found["current"].figures["hit rate"]
    assert 0 < found["trending"].coverage < found["current"].coverage <= 1
    assert found["current"].figures["repeats"].value == 0
    assert everything(lived) == before


def test_nothing_that_was_said_later_is_known_earlier(lived: App) -> None:
    counted, found = replay(lived, date(2026, 8, 5), date(2026, 8, 5), ["current", "trending"])
    assert counted == 6, "on the first day nobody had said anything"
    assert found["current"].figures == found["trending"].figures
    assert list(found["current"].by_likes) == ["no likes"]


def test_a_day_without_a_kind_word_counts_for_nobody(app: App, clock: Clock) -> None:
    add_papers(app, [record(1), record(2)])
    [reader] = add_readers(app, 1)
    pipeline.deliver(app, open_and_queue(app).id)
    like(app, [reader], lambda _: [1], Said.DISLIKED)
    clock.forward(days=1)
    for first, last in ((date(2026, 8, 1), clock.at.date()), (date(2027, 1, 1), date(2026, 1, 1))):
        counted, found = replay(app, first, last, ["current"])
        assert (counted, found["current"].coverage) == (0, 0.0)


@pytest.fixture
def here(app: App, command_here: Here, clock: Clock, capsys: pytest.CaptureFixture[str]) -> Here:
    """Run a command on a database with days that are over."""
    live(app, clock)
    capsys.readouterr()
    return partial(command_here, database_url=app.settings.database_url, secret_key="a key for tests")


def test_the_command_prints_figures_with_their_intervals_and_plots_them(here: Here, tmp_path: Path) -> None:
    plot = tmp_path / "plot.svg"
    done = here("evaluate", "days", "--since", "2026-08-05", "--until", "2026-08-09", "--svg", str(plot))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("24 readers' days")
    assert [line.partition(":")[0] for line in done.stdout.splitlines() if line[0] not in " 2"] == list(WAYS)
    assert len(re.findall(r"  hit rate +[0-9.]+ \([0-9.]+ to [0-9.]+\)", done.stdout)) == len(WAYS)
    root = ET.fromstring(plot.read_text(encoding="utf-8"))
    names = [each.text for each in root]
    assert "no likes" in names
    assert len([each for each in root if each.get("class") == "bar"]) == len(WAYS) + names.count(
        "no likes"
    ) + names.count("10 likes or more")
    ways = [word for name in ("trending", "current", "trending") for word in ("--way", name)]
    some = here("evaluate", "days", "--since", "2026-08-05", *ways, "--json")
    found: dict[str, Any] = json.loads(some.stdout)
    assert list(found["ways"]) == ["trending", "current"]
    assert found["readers_days"] == 24
    assert found["ways"]["current"]["better"]["hit rate"]["value"] > 0


def test_no_days_and_no_such_way_are_said_so(here: Here) -> None:
    none = here("evaluate", "days", "--since", "2027-08-05", "--svg", "nothing.svg")
    assert none.returncode == 3
    assert none.stdout.startswith("on none of these days")
    assert len(none.stdout.splitlines()) == 1
    turned = here("evaluate", "days", "--since", "2026-08-05", "--until", "2026-08-01")
    assert turned.returncode == 2
    assert "2026-08-01 is before 2026-08-05" in turned.stderr
    wrong = here("evaluate", "days", "--since", "2026-08-05", "--way", "magic")
    assert wrong.returncode == 2
    assert "without co-reading" in wrong.stderr


def test_thirty_days_in_which_nobody_says_anything_cost_no_quality(app: App, clock: Clock) -> None:
    [quiet] = add_readers(app, 1, max_papers=3)
    add_papers(app, [record(1, "Old", abstract=FIELDS[0], listed_at=clock.at - timedelta(days=40))])
    like(app, [quiet], lambda _: [1])
    given: list[list[int]] = []
    for day in range(30):
        first, midnight = 99 * day + 3, clock.at.replace(hour=0)
        add_papers(
            app,
            [
                record(n, f"P{n}", abstract=f"{FIELDS[n % 3]} {n}", upvotes=n % 3 * 30, listed_at=midnight)
                for n in range(first, first + 12)
            ],
        )
        learning.learn(app)
        pipeline.deliver(app, open_and_queue(app).id)
        with app.db.snapshot() as session:
            kept = session.scalars(sa.select(Delivery.selection).order_by(Delivery.id.desc()).limit(1)).one()  # type: ignore[union-attr]
            titles = [each for each, _ in texts(session, [pick[0] for pick in kept["picks"]])]
        given.append([int(title[1:]) % 3 for title in titles])
        clock.forward(days=1)
    assert given == [[0, 0, 0]] * 30, "what they once liked is all there is to go by, and it stays so"

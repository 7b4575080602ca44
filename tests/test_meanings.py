"""With an embedder what papers mean reaches who likes papers; without it, or while it is away, mails go out too."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from embedders import EmbeddingServer
from fakes import Clock
from samples import add_papers, add_readers, mails_of, open_and_queue, paper_ids_in, record
from structlog.testing import capture_logs

from newsletter import learning
from newsletter.app import App
from newsletter.delivery.desk import Desk
from newsletter.errors import SettingsError
from newsletter.issues import store as issues
from newsletter.issues.learned import store as learned
from newsletter.issues.learned.models import EmbeddingSpace, Learnt, PaperEmbedding
from newsletter.settings import load
from newsletter.subscribers.ratings import store as ratings
from newsletter.subscribers.ratings.models import How, Said

FIELDS = (("proteins", "enzymes fold in water"), ("agents", "tools on the web help"), ("knots", "tied in space"))
OLD, NEW = 240, 1_000


@pytest.fixture
def embedder() -> Iterator[EmbeddingServer]:
    with EmbeddingServer().serving() as server:
        yield server


@pytest.fixture
def app(make_app: Callable[..., App], database_url: str, embedder: EmbeddingServer, clock: Clock) -> App:
    """An installation with an embedder, an archive of three fields, and three new papers that share no word with it."""
    app = make_app(database_url, embedder=embedder.url, embedder_model="m", embedder_key="k")
    old = clock.at - timedelta(days=60)
    rows = [(n, *FIELDS[n % 3]) for n in range(OLD)]
    add_papers(app, [record(n + 1, f"On {field} {n}", abstract=text, listed_at=old) for n, field, text in rows])
    return app


def publish(app: App) -> None:
    add_papers(
        app,
        [
            record(NEW + 1, "Chaperones", abstract="assist peptides", upvotes=1),
            record(NEW + 2, "Browsers", abstract="load pages", upvotes=99),
            record(NEW + 3, "Soup", abstract="cooked slowly", upvotes=50),
        ],
    )


def one_who_likes_proteins(app: App) -> int:
    [reader] = add_readers(app, 1, prefix="quiet")
    with app.db.session() as session:
        ratings.rate(session, reader, "key", Said.LIKED, How.MAIL, app.now(), paper_id=1, title="On proteins 0")
    return reader


def titles(app: App) -> list[str]:
    [mail] = mails_of(app, "quiet0@example.org")
    with app.db.snapshot() as session:
        return [title for title, _ in learned.texts(session, paper_ids_in(mail))]


def kept(app: App, table: Any) -> list[Any]:
    with app.db.snapshot() as session:
        return list(session.scalars(sa.select(table)))


def test_what_papers_mean_reaches_a_reader_whose_words_say_nothing(app: App, embedder: EmbeddingServer) -> None:
    learning.learn(app)
    assert len(kept(app, PaperEmbedding)) == OLD
    assert max(len(each["input"]) for each in embedder.asked) <= 32
    publish(app)
    learning.place_new(app)
    assert len(kept(app, PaperEmbedding)) == OLD + 3
    one_who_likes_proteins(app)
    issue = open_and_queue(app)
    assert issue.learnt == Learnt(1, None, 1)
    assert titles(app)[0] == "Chaperones"
    with app.db.snapshot() as session:
        desk = Desk(
            session, issues.draft(session, issue.day, app.now(), app.settings.window), app.identity, app.templates
        )
        found = desk.explain(session, 1)
    assert not isinstance(found, str)
    assert found[1].candidates[0].parts.semantic > 0.3


def test_no_paper_is_asked_about_twice(app: App, embedder: EmbeddingServer, clock: Clock) -> None:
    learning.learn(app)
    first = len(embedder.asked)
    clock.forward(days=2)
    learning.learn(app)
    learning.place_new(app)
    assert len(embedder.asked) == first
    assert [each.papers for each in kept(app, EmbeddingSpace)] == [OLD, OLD]


@pytest.mark.parametrize("trouble", [500, b"nonsense", {"data": []}])
def test_an_embedder_that_fails_costs_nobody_a_mail_and_is_asked_again(
    app: App, embedder: EmbeddingServer, trouble: object
) -> None:
    learning.learn(app)
    publish(app)
    embedder.troubles.append(trouble)
    with capture_logs() as logs:
        learning.place_new(app)
    assert [each["event"] for each in logs] == ["embedder failed"]
    one_who_likes_proteins(app)
    open_and_queue(app)
    assert titles(app) == ["Browsers", "Soup", "Chaperones"]
    learning.place_new(app)
    assert len(kept(app, PaperEmbedding)) == OLD + 3


def test_papers_of_which_it_makes_nothing_are_counted_and_not_asked_about_again(
    app: App, embedder: EmbeddingServer
) -> None:
    learning.learn(app)
    publish(app)
    embedder.troubles.append({"data": [{"index": n, "embedding": [float("nan")] * 16} for n in range(3)]})
    # asked about something harmless, it answers
    with capture_logs() as logs:
        learning.place_new(app)
    assert [(each["event"], each["nothing"]) for each in logs] == [("embedder made nothing of some papers", 3)]
    asked = len(embedder.asked)
    learning.place_new(app)
    assert len(embedder.asked) == asked
    one_who_likes_proteins(app)
    open_and_queue(app)
    assert sorted(titles(app)) == ["Browsers", "Chaperones", "Soup"]


def test_what_is_said_after_an_issue_was_opened_changes_nothing_of_it(
    app: App, embedder: EmbeddingServer, clock: Clock
) -> None:
    learning.learn(app)
    publish(app)
    one_who_likes_proteins(app)
    open_and_queue(app)
    clock.forward(minutes=1)
    learning.place_new(app)
    assert titles(app) == ["Browsers", "Soup", "Chaperones"]


@pytest.mark.parametrize("table", [EmbeddingSpace, PaperEmbedding])
def test_a_row_that_was_damaged_costs_nobody_a_mail(app: App, table: Any) -> None:
    learning.learn(app)
    publish(app)
    learning.place_new(app)
    with app.db.session() as session:
        session.execute(sa.update(table).values(packed=b"12345"))
    one_who_likes_proteins(app)
    open_and_queue(app)
    assert sorted(titles(app)) == ["Browsers", "Chaperones", "Soup"]


def test_a_few_papers_of_another_length_do_not_count(app: App, embedder: EmbeddingServer) -> None:
    rows = [{"index": n, "embedding": [1.0] * 17} for n in range(32)]
    embedder.troubles.append({"data": rows})
    learning.learn(app)
    [space] = kept(app, EmbeddingSpace)
    assert space.papers == OLD - 32


def test_papers_that_are_refused_stop_no_others(app: App, embedder: EmbeddingServer) -> None:
    embedder.refused = "proteins"
    learning.learn(app)
    found = kept(app, PaperEmbedding)
    assert len(found) == OLD
    assert sum(not each.packed for each in found) == OLD / 3


def test_a_model_file_that_is_gone_costs_the_night_only_what_it_would_have_said(
    make_app: Callable[..., App], app: App, tmp_path: Path
) -> None:
    for name in ("model.onnx", "tokenizer.json"):
        (tmp_path / name).write_text("")
    local = make_app(app.settings.database_url, embedder=str(tmp_path))
    (tmp_path / "model.onnx").unlink()
    with capture_logs() as logs:
        learning.learn(local)
        learning.place_new(local)
    assert [each["event"] for each in logs if each["log_level"] == "warning"].count("embedder failed") >= 2
    with app.db.snapshot() as session:
        assert learned.newest(session) == Learnt(1, None, None)


def test_what_another_embedder_said_is_not_compared_with_this_ones(
    app: App, make_app: Callable[..., App], embedder: EmbeddingServer, clock: Clock
) -> None:
    learning.learn(app)
    issue = open_and_queue(app)
    other = make_app(app.settings.database_url, embedder=embedder.url, embedder_model="another", now=clock)
    for _ in range(3):
        clock.forward(days=6)
        learning.learn(other)
    assert {each.embedder for each in kept(app, PaperEmbedding)} == {"model:another"}
    assert {each.embedder for each in kept(app, EmbeddingSpace)} == {"model:another"}
    with app.db.snapshot() as session:
        again = issues.get(session, issue.id or 0)
        assert again is not None
        assert again.space_id is None


def test_without_an_embedder_what_was_said_is_kept_and_not_used(
    app: App, make_app: Callable[..., App], clock: Clock
) -> None:
    learning.learn(app)
    without = make_app(app.settings.database_url, now=clock)
    clock.forward(days=2)
    learning.learn(without)
    learning.place_new(without)
    with app.db.snapshot() as session:
        assert learned.newest(session) == Learnt(2, None, None)
    assert len(kept(app, PaperEmbedding)) == OLD


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"embedder": "https://api.example.org/v1"}, "EMBEDDER_MODEL"),
        ({"embedder": "https://me:s3cret@e.example/v1", "embedder_model": "m"}, "without a password"),
        ({"embedder": "ftp://example.org", "embedder_model": "m"}, "EMBEDDER: must be an address"),
        ({"embedder": "https://e.example/v1", "embedder_model": "a b"}, "EMBEDDER_MODEL: must be"),
        (
            {"embedder": "https://e.example/v1", "embedder_model": "m", "embedder_key": "s3cret\n"},
            "EMBEDDER_KEY: must be",
        ),
    ],
)
def test_settings_that_make_no_sense_are_said_so(given: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says) as told:
        load(**given)
    assert "s3cret" not in str(told.value)


def test_a_folder_without_a_model_is_said_so(make_app: Callable[..., App], sqlite_url: str) -> None:
    with pytest.raises(SettingsError, match=r"NEWSLETTER_EMBEDDER: .* holds no model\.onnx"):
        make_app(sqlite_url, embedder="models/none")

"""Issues that are paused, stopped and cancelled, and databases that are copies."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import sqlalchemy as sa
from fakes import Clock, Session, SmtpServer
from fastapi.testclient import TestClient
from samples import add_papers, add_readers, open_and_queue, record
from sqlmodel import select
from structlog.testing import capture_logs

from newsletter import clock as real_clock
from newsletter import logs, operating, pipeline
from newsletter.app import App
from newsletter.delivery import ledger
from newsletter.delivery import store as deliveries
from newsletter.delivery.custody import store as custody
from newsletter.delivery.ledger import Handoff
from newsletter.delivery.models import Delivery
from newsletter.delivery.store import Accounting
from newsletter.errors import InputError
from newsletter.issues import store as issues
from newsletter.issues.models import Issue
from newsletter.rehearsal import rehearse
from newsletter.web import create_web

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def issue(app_on_both: App) -> Issue:
    return queued(app_on_both)


def queued(app: App, readers: int = 4) -> Issue:
    add_papers(app, [record(1)])
    add_readers(app, readers)
    return open_and_queue(app)


def accounting(app: App, issue: Issue) -> Accounting:
    with app.db.snapshot() as session:
        return deliveries.accounting(session, issue.id or 0, issue.slot)


def test_a_paused_issue_sends_nothing_until_it_is_resumed_and_send_does_not_resume_it(
    app_on_both: App, issue: Issue
) -> None:
    app = app_on_both
    assert operating.change_issue(app, issue.slot, "pause")[1]
    assert not operating.change_issue(app, issue.slot, "pause")[1]
    with app.db.session() as session:
        issues.resume(session, issue.id or 0)  # as send does
        assert not issues.stop(session, issue.id or 0, "a relay's refusal changes no pause")
    pipeline.deliver(app, issue.id)
    assert accounting(app, issue).queued == 4
    assert operating.change_issue(app, issue.slot, "resume")[1]
    pipeline.deliver(app, issue.id)
    assert accounting(app, issue).sent == 4


@pytest.mark.parametrize(("how", "left"), [("pause", {"deferred": 3}), ("cancel", {"skipped": {"cancelled": 3}})])
def test_a_mail_that_is_leased_is_not_handed_over_when_its_issue_is_held_up(
    app_on_both: App, issue: Issue, how: str, left: dict[str, object]
) -> None:
    app = app_on_both
    with app.db.session() as session:
        leased = ledger.lease(session, issue.id, owner="me", now=app.now(), limit=4)
    handoffs = [Handoff(each, f"reader{n}@example.org", "<m@x>", None) for n, each in enumerate(leased)]
    with app.db.session() as session:
        assert len(ledger.mark_handoffs(session, handoffs[:1], owner="me", now=app.now())) == 1
    operating.change_issue(app, issue.slot, "pause" if how == "pause" else "cancel")
    with app.db.session() as session:
        assert ledger.mark_handoffs(session, handoffs[1:], owner="me", now=app.now()) == set()
        ledger.turn_back(session, leased[1:], owner="me", now=app.now())
    found = accounting(app, issue)
    assert found.handoff == 1
    assert {name: getattr(found, name) for name in left} == left
    with app.db.snapshot() as session:
        attempts = session.exec(select(Delivery.attempts).order_by(Delivery.id)).all()  # type: ignore[arg-type]
    if how == "pause":
        assert list(attempts) == [1, 0, 0, 0]


def test_a_pause_from_elsewhere_takes_effect_in_the_middle_of_a_run(
    make_app: Callable[..., App], database_url: str, smtp: SmtpServer
) -> None:
    app = make_app(database_url, smtp_url=f"{smtp.url}&connections=1")
    issue = queued(app, 12)
    another = make_app(database_url)

    def pause(step: str, _session: Session) -> str | None:
        if step == "dot" and len(smtp.accepted) == 3:
            operating.change_issue(another, issue.slot, "pause")
        return None

    smtp.script = pause
    pipeline.deliver(app, issue.id)
    found = accounting(app, issue)
    assert found.sent == len(smtp.accepted) <= 5, "what was marked already goes out, and no more"
    assert found.sent + found.queued + found.deferred == 12
    smtp.script = lambda _step, _session: None
    operating.change_issue(another, issue.slot, "resume")
    for clock in (app.now,):
        clock.forward(minutes=2)  # type: ignore[attr-defined]
    pipeline.deliver(app, issue.id)
    assert accounting(app, issue).sent == 12
    assert max(Counter(smtp.recipients()).values()) == 1


def test_a_cancelled_issue_stays_cancelled_and_adds_up(app_on_both: App, issue: Issue, clock: Clock) -> None:
    app = app_on_both
    pipeline.deliver(app, issue.id, limit=1)
    for _ in range(2):
        operating.change_issue(app, issue.slot, "cancel")
        found = accounting(app, issue)
        assert (found.eligible, found.sent, found.skipped) == (4, 1, {"cancelled": 3})
    with pytest.raises(InputError, match="for good"):
        operating.change_issue(app, issue.slot, "resume")
    with pytest.raises(InputError, match="for good"):
        pipeline.open_issue(app, issue.day)
    add_readers(app, 1, prefix="new", hour=8)
    pipeline.tick(app)
    pipeline.sweep(app)
    pipeline.deliver(app, issue.id)
    assert accounting(app, issue).eligible == 4
    clock.forward(days=1)
    add_papers(app, [record(2)])
    pipeline.tick(app)
    with app.db.snapshot() as session:
        assert [each.state for each in issues.latest(session, 9)] == ["open", "cancelled"], (
            "tomorrow comes all the same"
        )


def test_a_stop_is_an_alarm_that_everybody_sees(app: App, capfd: pytest.CaptureFixture[str]) -> None:
    issue = queued(app)
    logs.configure("ERROR")
    with app.db.session() as session:
        assert issues.stop(session, issue.id or 0, "5.7.1 not you")
        assert not issues.stop(session, issue.id or 0, "5.7.1 not you"), "one alarm, however many mails are refused"
    assert capfd.readouterr().err.count("issue stopped") == 1
    assert "newsletter_issues_stopped 1.0" in TestClient(create_web(app)).get("/metrics").text


def test_issues_are_paused_resumed_and_cancelled_on_the_command_line(
    make_app: Callable[..., App], sqlite_url: str, command_here: Command
) -> None:
    logs.configure("ERROR")
    app = make_app(sqlite_url, now=real_clock.now)
    add_papers(app, [record(1, listed_at=app.now())])
    add_readers(app, 4)
    issue = open_and_queue(app)
    settings = {"database_url": sqlite_url, "secret_key": "a key for tests"}
    assert command_here("issues", "pause", issue.slot, **settings).stdout.startswith("paused  ")
    assert "paused already" in command_here("issues", "pause", issue.slot, **settings).stdout
    assert "  paused" in command_here("status", **settings).stdout
    send = command_here("send", "--day", issue.slot, "--json", **settings)
    assert (send.returncode, "newsletter issues resume" in send.stderr) == (3, True)
    assert command_here("issues", "resume", issue.slot, **settings).returncode == 0
    gone = json.loads(command_here("issues", "cancel", issue.slot, "--json", **settings).stdout)
    assert (gone["state"], gone["skipped"]) == ("cancelled", {"cancelled": 4})
    for args in (("issues", "resume", issue.slot), ("send", "--day", issue.slot), ("issues", "pause", "1999-01-01")):
        refused = command_here(*args, **settings)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    listed = json.loads(command_here("issues", "list", "--json", **settings).stdout)
    assert [each["state"] for each in listed["issues"]] == ["cancelled"]


def copy_of(database: str, to: Path) -> None:
    """Copy a SQLite database as an operator's backup does."""
    source = sa.create_engine(database)
    with source.connect() as connection:
        to.unlink(missing_ok=True)
        connection.exec_driver_sql(f"VACUUM INTO '{to}'")
    source.dispose()


def held(app: App) -> str:
    pipeline.sweep(app)
    with app.db.snapshot() as session:
        return custody.held_why(session)


@pytest.mark.parametrize("way", ["in its place", "elsewhere", "with its witness"])
def test_a_backup_from_the_middle_of_an_issue_starts_held(
    make_app: Callable[..., App], sqlite_url: str, tmp_path: Path, smtp: SmtpServer, clock: Clock, way: str
) -> None:
    app = make_app(sqlite_url, smtp_url=smtp.url)
    issue = queued(app)
    pipeline.deliver(app, issue.id, limit=2)
    database, backup = tmp_path / "newsletter.db", tmp_path / "backup.db"
    copy_of(sqlite_url, backup)
    if way == "with its witness":
        shutil.copy(tmp_path / "newsletter.db-witness", tmp_path / "backup.db-witness")
    pipeline.deliver(app, issue.id, limit=1)
    assert not held(app), "the original goes on"
    app.close()
    if way == "in its place":
        for ending in ("-wal", "-shm"):
            Path(f"{database}{ending}").unlink(missing_ok=True)
        database.write_bytes(backup.read_bytes())  # the same file, by its number
        backup = database
    restored = make_app(f"sqlite:///{backup}", smtp_url=smtp.url)
    assert "newsletter deliveries release" in held(restored)
    pipeline.deliver(restored, issue.id)
    assert accounting(restored, issue).queued == 2, "nothing is leased"
    assert len(smtp.accepted) == 3
    first = {each.recipient: each.data for each in smtp.accepted}
    assert operating.release(restored)
    assert not operating.release(restored)
    pipeline.deliver(restored, issue.id)
    assert not held(restored)
    counts = Counter(smtp.recipients())
    assert sorted(counts.values()) == [1, 1, 1, 2], "only the one of whom the backup knew nothing"
    [twice] = [address for address, number in counts.items() if number == 2]
    again = smtp.accepted[-1] if smtp.accepted[-1].recipient == twice else smtp.accepted[-2]
    assert message_id(again.data) == message_id(first[twice])


def message_id(data: bytes) -> bytes:
    return next(line for line in data.splitlines() if line.startswith(b"Message-ID:"))


def test_a_dump_that_is_restored_into_another_database_starts_held(
    make_app: Callable[..., App], postgresql_url: str, clock: Clock
) -> None:
    app = make_app(postgresql_url)
    issue = queued(app)
    pipeline.deliver(app, issue.id, limit=1)
    assert not held(app)
    app.close()
    restored = f"{sa.make_url(postgresql_url).database}_restored"
    admin = sa.create_engine(sa.make_url(postgresql_url).set(database="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {restored} TEMPLATE {sa.make_url(postgresql_url).database}")
    url = sa.make_url(postgresql_url).set(database=restored).render_as_string(hide_password=False)
    another = make_app(url)
    assert "restored from a backup" in held(another)
    pipeline.deliver(another, issue.id)
    assert accounting(another, issue).queued == 3
    assert operating.release(another)
    pipeline.deliver(another, issue.id)
    assert accounting(another, issue).sent == 4
    another.close()
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {restored} WITH (FORCE)")
    admin.dispose()


def copied(make_app: Callable[..., App], sqlite_url: str, folder: Path) -> tuple[Issue, str]:
    """Send one mail of an issue, and copy the database; return the issue, and the copy's address."""
    app = make_app(sqlite_url)
    issue = queued(app)
    pipeline.deliver(app, issue.id, limit=1)
    copy_of(sqlite_url, folder / "copy.db")
    return issue, f"sqlite:///{folder / 'copy.db'}"


def test_a_held_database_says_so_everywhere(
    make_app: Callable[..., App], sqlite_url: str, tmp_path: Path, command_here: Command
) -> None:
    issue, url = copied(make_app, sqlite_url, tmp_path)
    settings = {"database_url": url, "secret_key": "a key for tests"}
    status = command_here("status", **settings)  # before it has tried to send anything
    assert (status.returncode, "newsletter deliveries release" in status.stdout) == (3, True)
    sent = command_here("send", "--day", issue.slot, **settings)
    assert sent.returncode == 3
    assert "newsletter: sending is held: this database is a copy" in sent.stderr
    planned = command_here("send", "--dry-run", "--day", issue.slot, "--json", **settings)
    assert planned.returncode == 3
    assert "newsletter: sending is held: this database is a copy" in planned.stderr
    assert (json.loads(planned.stdout)["sent"], json.loads(planned.stdout)["deliveries"]) == (1, [])
    status = command_here("status", **settings)
    assert (status.returncode, "newsletter deliveries release" in status.stdout) == (3, True)
    web = TestClient(create_web(make_app(settings["database_url"])))
    assert web.get("/readyz").text == "ready, but sending is held: see newsletter status\n"
    assert "newsletter_sending_held 1.0" in web.get("/metrics").text
    assert command_here("deliveries", "release", **settings).stdout == "released: mails go out again\n"
    assert web.get("/readyz").text == "ready\n"


def test_a_copy_can_be_released_before_it_has_tried_to_send(
    make_app: Callable[..., App], sqlite_url: str, tmp_path: Path
) -> None:
    issue, url = copied(make_app, sqlite_url, tmp_path)
    copy = make_app(url)
    assert operating.release(copy)
    pipeline.deliver(copy, issue.id)
    assert accounting(copy, issue).sent == 4


def test_a_worker_says_once_that_sending_is_held(make_app: Callable[..., App], sqlite_url: str, tmp_path: Path) -> None:
    issue, url = copied(make_app, sqlite_url, tmp_path)
    copy = make_app(url)
    with capture_logs() as said:
        for _ in range(3):
            pipeline.sweep(copy)
            pipeline.deliver(copy, issue.id)
    assert [each["event"] for each in said].count("sending is held") == 1


def test_a_dry_run_of_a_paused_issue_sends_nothing_and_says_why(app: App) -> None:
    issue = queued(app)
    operating.change_issue(app, issue.slot, "pause")
    planned = rehearse(app, issue.day, pipeline.resolve_due(issue.day, app.now(), any_hour=True))
    assert (planned.accounting.sent, planned.accounting.queued, planned.mails) == (0, 4, ())
    assert "newsletter issues resume" in planned.held_up[0]
    operating.change_issue(app, issue.slot, "resume")
    planned = rehearse(app, issue.day, pipeline.resolve_due(issue.day, app.now(), any_hour=True))
    assert (planned.accounting.sent, planned.held_up) == (4, ())


def test_what_was_refused_its_handoff_while_an_issue_was_paused_goes_out_as_soon_as_it_goes_on(
    app_on_both: App, clock: Clock
) -> None:
    app = app_on_both
    issue = queued(app)
    with app.db.session() as session:
        leased = ledger.lease(session, issue.id, owner="me", now=app.now(), limit=2)
    operating.change_issue(app, issue.slot, "pause")
    with app.db.session() as session:
        ledger.turn_back(session, leased, owner="me", now=app.now())
    assert pipeline.deliver(app, issue.id) == 0
    operating.change_issue(app, issue.slot, "resume")
    assert pipeline.deliver(app, issue.id) == 4


def test_a_name_that_is_empty_does_not_mean_everybody(app: App, sqlite_url: str, command_here: Command) -> None:
    queued(app)
    settings = {"database_url": sqlite_url, "secret_key": "a key for tests"}
    for words in (
        ("send", "--subscriber", ""),
        ("status", "--issue", ""),
        ("deliveries", "list", "--issue", ""),
        ("deliveries", "resolve", "--state", "unknown", "--as", "sent", "--subscriber", ""),
        ("deliveries", "retry", "--state", "failed", "--subscriber", ""),
    ):
        refused = command_here(*words, **settings)
        assert refused.returncode == 1, words
        assert refused.stderr.startswith("newsletter: "), words
        assert "Traceback" not in refused.stderr


def test_send_says_why_mails_could_not_be_sent(
    make_app: Callable[..., App], sqlite_url: str, command_here: Command
) -> None:
    app = make_app(sqlite_url, now=real_clock.now)
    add_papers(app, [record(1, listed_at=app.now())])
    add_readers(app, 4)
    away = {"smtp_url": "smtp://127.0.0.1:1?timeout=2", "database_url": sqlite_url, "secret_key": "a key for tests"}
    sent = command_here("send", "--all-due", **away)
    assert sent.returncode == 3
    assert "newsletter: 4 could not be sent: " in sent.stderr
    assert "127.0.0.1" in sent.stderr


def test_a_fresh_database_is_not_held_though_an_older_one_left_its_witness(
    make_app: Callable[..., App], sqlite_url: str, tmp_path: Path
) -> None:
    (tmp_path / "newsletter.db-witness").write_text("0123456789abcdef 00000000000000000099\n")
    app = make_app(sqlite_url)
    pipeline.deliver(app, queued(app).id)
    assert not held(app)
    (tmp_path / "newsletter.db-witness").write_text("nonsense")
    assert not held(app)


def test_the_witness_sees_no_handoff_that_was_taken_back(
    make_app: Callable[..., App], sqlite_url: str, tmp_path: Path
) -> None:
    app = make_app(sqlite_url)
    issue, witness = queued(app), tmp_path / "newsletter.db-witness"

    def mark(*, fails: bool) -> None:
        with app.db.session() as session:
            leased = ledger.lease(session, issue.id, owner="me", now=app.now(), limit=1)
            handoffs = [Handoff(each, f"reader{each.subscriber_id - 1}@example.org", "<m@x>", None) for each in leased]
            assert ledger.mark_handoffs(session, handoffs, owner="me", now=app.now())
            assert not witness.exists(), "not before it is committed"
            if fails:
                raise KeyError

    with pytest.raises(KeyError):
        mark(fails=True)
    assert not witness.exists()
    mark(fails=False)
    assert witness.read_text().endswith(" 00000000000000000001\n")


def test_a_dry_run_of_a_cancelled_issue_promises_nobody_anything(app_on_both: App, issue: Issue) -> None:
    operating.change_issue(app_on_both, issue.slot, "cancel")
    find = pipeline.resolve_due(issue.day, app_on_both.now(), any_hour=True)
    with pytest.raises(InputError, match="cancelled, for good"):
        rehearse(app_on_both, issue.day, find)


@pytest.mark.parametrize("words", [("status", "--issue"), ("issues", "pause")])
def test_a_name_that_is_no_text_is_one_line_of_error(command: Command, app: App, words: tuple[str, ...]) -> None:
    done = command(*words, "\udcff", database_url=app.settings.database_url)
    assert done.returncode == 1
    assert done.stderr == "newsletter: what was given is no text in UTF-8\n"

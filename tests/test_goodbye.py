"""The last mail to who was taken off by the operator: whom it goes to, whom never, and the way back that it holds."""

import re
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from subprocess import CompletedProcess
from threading import Barrier, Thread

import pytest
import sqlalchemy as sa
from fakes import Clock, Session, SmtpServer
from fastapi.testclient import TestClient
from samples import add_papers, add_readers, joined, mails_of, open_and_queue, paths_in, record, sign_up, text_of
from sqlmodel import select

from newsletter import clock as real_clock
from newsletter import membership, operating, pipeline, privacy
from newsletter.app import App
from newsletter.delivery.decisions.store import Which
from newsletter.delivery.lint import faults
from newsletter.delivery.models import Delivery, DeliveryState, Mail
from newsletter.signing import Purpose
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.intake.models import EntryPoint
from newsletter.subscribers.models import Entry, State
from newsletter.subscribers.preferences import Preferences
from newsletter.web import create_web

ADA = "reader0@example.org"
Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def reader(app_on_both: App) -> int:
    return add_readers(app_on_both, 1, topics=("robotics",))[0]


def take_off(app: App, *ids: int, goodbye: bool = True) -> None:
    membership.unsubscribe(app, ids, EntryPoint.OPERATOR, goodbye=goodbye)


def goodbyes(app: App) -> list[tuple[str, str | None]]:
    with app.db.snapshot() as session:
        rows = session.exec(select(Delivery).where(Delivery.mail == Mail.GOODBYE).order_by(sa.text("id"))).all()
    return [(row.state, row.skip_reason) for row in rows]


def came_back(app: App, id_: int) -> None:
    with app.db.snapshot() as session:
        person = subscribers.get(session, id_)
    assert person
    assert person.unsubscribed_at
    assert membership.come_back(app, id_, person.unsubscribed_at, "undo")


def links_of(mail: EmailMessage) -> set[str]:
    return set(re.findall(r"https://\S+", text_of(mail)))


def test_who_is_taken_off_by_the_operator_is_told_once(app_on_both: App, reader: int) -> None:
    for _ in range(2):
        take_off(app_on_both, reader)
    [mail] = mails_of(app_on_both)
    assert (mail["to"], mail["subject"]) == (ADA, "You are unsubscribed from Daily Papers")
    assert len(mails_of(app_on_both)) == 1
    assert goodbyes(app_on_both) == [("sent", None)]
    assert "this is the last mail" in " ".join(text_of(mail).split())


def test_it_passes_all_rules_and_is_no_mail_of_a_list_any_more(app: App) -> None:
    take_off(app, *add_readers(app, 1))
    [mail] = mails_of(app)
    assert faults(next(app.settings.outbox_dir.rglob("*.eml")).read_bytes(), app.about()) == []
    assert not [name for name in mail if name.startswith("List-")]
    assert {url.split("/")[3] for url in links_of(mail)} == {"", "rejoin"}, "nothing to unsubscribe from"


@pytest.mark.parametrize("one_click", [True, False])
def test_who_leaves_by_the_page_or_by_one_click_is_mailed_nothing(
    app_on_both: App, reader: int, one_click: bool
) -> None:
    client = TestClient(create_web(app_on_both))
    token = app_on_both.signer.sign(Purpose.UNSUBSCRIBE, reader, now=app_on_both.now())
    client.post(f"/u/{token}", data={"List-Unsubscribe": "One-Click"} if one_click else {})
    take_off(app_on_both, reader)  # their mail program wrote to us as well
    assert mails_of(app_on_both) == []
    assert joined(app_on_both, ADA) == State.UNSUBSCRIBED


def test_who_never_agreed_to_any_mail_gets_none_about_that(app_on_both: App, clock: Clock) -> None:
    sign_up(app_on_both, "ada@example.org")
    [known] = add_readers(app_on_both, 1)
    membership.unsubscribe(app_on_both, [known])
    clock.forward(days=3)
    sign_up(app_on_both, ADA, client="a stranger")
    before = len(mails_of(app_on_both))
    with app_on_both.db.snapshot() as session:
        people = [each.id or 0 for each in subscribers.every(session)]
    take_off(app_on_both, *people)
    assert len(mails_of(app_on_both)) == before
    assert goodbyes(app_on_both) == []


@pytest.mark.parametrize("reason", ["bounced", "complained", "erased"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_suppressed_address_gets_no_last_mail_either(app_on_both: App, reader: int, reason: str, when: str) -> None:
    if (reason, when) == ("erased", "after"):
        take_off(app_on_both, reader)
        assert privacy.erase(app_on_both, reader)
        assert goodbyes(app_on_both) == [], "nothing of them is kept"
    else:
        steps = [lambda: take_off(app_on_both, reader), lambda: suppress(app_on_both, reason)]
        for step in steps if when == "after" else reversed(steps):
            step()
    assert mails_of(app_on_both) == []


def suppress(app: App, reason: str) -> None:
    with app.db.session() as session:
        subscribers.suppress(session, ADA, reason, app.now())


def test_who_has_come_back_meanwhile_gets_none(app_on_both: App, reader: int) -> None:
    take_off(app_on_both, reader)
    came_back(app_on_both, reader)
    assert mails_of(app_on_both) == []
    assert goodbyes(app_on_both) == [("skipped", "not_active")]


def test_who_came_back_and_left_by_the_page_meanwhile_gets_none(app_on_both: App, reader: int, clock: Clock) -> None:
    take_off(app_on_both, reader)
    came_back(app_on_both, reader)
    clock.forward(minutes=1)
    membership.unsubscribe(app_on_both, [reader])
    assert mails_of(app_on_both) == []
    assert goodbyes(app_on_both) == [("skipped", "not_active")]


def test_who_is_taken_off_again_is_told_again_and_only_of_that(app_on_both: App, reader: int, clock: Clock) -> None:
    take_off(app_on_both, reader)
    came_back(app_on_both, reader)
    clock.forward(minutes=1)
    take_off(app_on_both, reader)
    assert len(mails_of(app_on_both)) == 1
    assert goodbyes(app_on_both) == [("skipped", "not_active"), ("sent", None)]


@pytest.mark.parametrize("one_click", [True, False])
def test_who_leaves_by_themselves_while_it_waits_gets_none(
    make_app: Callable[..., App], database_url: str, smtp: SmtpServer, clock: Clock, one_click: bool
) -> None:
    app = make_app(database_url, smtp_url=smtp.url)
    [theirs, _] = add_readers(app, 2)
    take_off(app, theirs, 2)
    smtp.script = lambda step, _: "drop" if step == "connect" else None
    pipeline.deliver(app, None)
    assert goodbyes(app) == [("deferred", None)] * 2
    token = app.signer.sign(Purpose.UNSUBSCRIBE, theirs, now=app.now())
    said = {"List-Unsubscribe": "One-Click"} if one_click else {}
    assert TestClient(create_web(app)).post(f"/u/{token}", data=said).status_code == 200
    smtp.script = lambda _step, _session: None
    clock.forward(hours=1)
    pipeline.deliver(app, None)
    assert smtp.recipients() == ["reader1@example.org"], "another's is none of their business"
    assert goodbyes(app) == [("skipped", "not_active"), ("sent", None)]


@pytest.mark.parametrize("how", ["back", "back and gone", "erased", "gone by themselves"])
def test_it_is_asked_once_more_right_before_the_last_dot(
    make_app: Callable[..., App], database_url: str, smtp: SmtpServer, clock: Clock, how: str
) -> None:
    app = make_app(database_url, smtp_url=f"{smtp.url}&connections=1")
    [reader] = add_readers(app, 1)
    take_off(app, reader)
    seen: list[str] = []

    def script(step: str, _session: Session) -> None:
        if step == "data" and not seen:
            seen.append(step)
            if how == "erased":
                privacy.erase(app, reader)
                return
            if how == "gone by themselves":
                membership.unsubscribe(app, [reader])
                return
            came_back(app, reader)
            if how == "back and gone":
                clock.forward(seconds=1)
                membership.unsubscribe(app, [reader])

    smtp.script = script
    for _ in range(3):
        pipeline.deliver(app, None)
        clock.forward(minutes=2)
    assert (seen, smtp.accepted) == (["data"], [])
    assert goodbyes(app) == ([] if how == "erased" else [("skipped", "not_active")])


def test_two_workers_send_it_once(make_app: Callable[..., App], database_url: str, smtp: SmtpServer) -> None:
    apps = [make_app(database_url, smtp_url=smtp.url) for _ in range(2)]
    readers = add_readers(apps[0], 20)
    start = Barrier(2)

    def work(app: App) -> None:
        start.wait()
        take_off(app, *readers)
        pipeline.deliver(app, None)

    workers = [Thread(target=work, args=[app]) for app in apps]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    pipeline.deliver(apps[0], None)
    assert sorted(smtp.recipients()) == sorted(f"reader{number}@example.org" for number in range(20))


def test_one_that_cannot_be_sent_for_two_days_is_given_up(
    make_app: Callable[..., App], database_url: str, smtp: SmtpServer, clock: Clock
) -> None:
    app = make_app(database_url, smtp_url=smtp.url)
    take_off(app, *add_readers(app, 1))
    smtp.script = lambda step, _: "drop" if step == "connect" else None
    pipeline.deliver(app, None)
    clock.forward(days=2)
    smtp.script = lambda _step, _session: None
    pipeline.deliver(app, None)
    assert smtp.accepted == []
    assert goodbyes(app) == [("failed", None)]


def test_one_of_which_nobody_knows_is_sent_again_only_while_they_are_gone(
    make_app: Callable[..., App], database_url: str, smtp: SmtpServer, clock: Clock
) -> None:
    app = make_app(database_url, smtp_url=smtp.url)
    readers = add_readers(app, 2)
    take_off(app, *readers)
    smtp.script = lambda step, _: "drop" if step == "dot" else None
    pipeline.deliver(app, None)
    assert goodbyes(app) == [("unknown", None)] * 2
    smtp.script = lambda _step, _session: None
    came_back(app, readers[0])
    decided = operating.resolve(app, Which(DeliveryState.UNKNOWN), "resend")
    assert (decided.number, dict(decided.refused)) == (1, {"not_active": 1})
    clock.forward(minutes=20)
    pipeline.deliver(app, None)
    assert smtp.recipients() == ["reader1@example.org"]


@pytest.fixture
def mailed(app_on_both: App, reader: int) -> str:
    """The path of the way back that was mailed to who left."""
    take_off(app_on_both, reader)
    [mail] = mails_of(app_on_both)
    [path] = paths_in(mail, "rejoin")
    assert f"For {membership.REJOIN_WITHIN.days} days" in " ".join(text_of(mail).split())
    return path


def test_looking_at_the_way_back_changes_nothing_and_each_way_works_once(
    app_on_both: App, mailed: str, clock: Clock
) -> None:
    client = TestClient(create_web(app_on_both), follow_redirects=False)
    clock.forward(days=29, hours=23)
    for method in ("HEAD", "GET", "GET"):
        answer = client.request(method, mailed)
        assert (answer.status_code, ADA in answer.text) == (200, False)
    assert joined(app_on_both, ADA) == State.UNSUBSCRIBED
    assert re.findall(r'name="how" value="(\w+)"', answer.text) == ["weekly", "pause", "undo"]
    assert set(re.findall(r'action="([^"]+)"', answer.text)) == {mailed}
    assert client.post(mailed, headers={"origin": "https://elsewhere.example"}).status_code == 403
    assert client.post(mailed, data={"how": "weekly"}).status_code == 200
    assert joined(app_on_both, ADA) == State.ACTIVE
    assert client.get(mailed).headers["location"] == "/link"
    assert client.post(mailed).status_code == 404, "once"
    membership.unsubscribe(app_on_both, [1])
    assert client.post(mailed).status_code == 404, "it undoes no later leaving"
    assert client.get(mailed).status_code == 303
    assert joined(app_on_both, ADA) == State.UNSUBSCRIBED


def test_the_way_back_ends_after_a_month_and_the_pages_own_still_after_a_day(
    app_on_both: App, mailed: str, clock: Clock
) -> None:
    client = TestClient(create_web(app_on_both), follow_redirects=False)
    page = f"/back/{app_on_both.signer.sign(Purpose.RETURN, 1, now=app_on_both.now())}"
    clock.forward(days=1, seconds=1)
    assert [client.get(path).status_code for path in (page, mailed)] == [404, 200]
    clock.forward(days=29)
    assert [client.request(method, mailed).status_code for method in ("GET", "POST")] == [404, 404]
    assert joined(app_on_both, ADA) == State.UNSUBSCRIBED


def test_who_came_back_by_the_mail_gets_the_next_issue(app_on_both: App, mailed: str, clock: Clock) -> None:
    assert TestClient(create_web(app_on_both)).post(mailed).status_code == 200
    clock.forward(days=1)
    add_papers(app_on_both, [record(1)])
    open_and_queue(app_on_both)
    assert [mail["to"] for mail in mails_of(app_on_both)] == [ADA, ADA]


@pytest.mark.parametrize("silent", [True, False])
def test_the_command_sends_it_at_once_unless_it_is_told_not_to(
    make_app: Callable[..., App], sqlite_url: str, command_here: Command, tmp_path: Path, silent: bool
) -> None:
    app = make_app(sqlite_url, now=real_clock.now)
    add_readers(app, 1)
    where = {"database_url": sqlite_url, "outbox_dir": str(tmp_path / "outbox"), "secret_key": "a key for tests"}
    words = ("subscribers", "unsubscribe", ADA, *(["--no-mail"] if silent else []))
    for _ in range(2):
        done = command_here(*words, **where)
        assert (done.returncode, done.stdout) == (0, "unsubscribed\n")
    assert len(list((tmp_path / "outbox").rglob("*.eml"))) == (0 if silent else 1)
    assert goodbyes(app) == ([] if silent else [("sent", None)])


@pytest.mark.parametrize("waits", [False, True])
def test_a_code_from_their_own_mail_program_sets_off_no_mail(
    make_app: Callable[..., App], sqlite_url: str, command_here: Command, tmp_path: Path, waits: bool
) -> None:
    app = make_app(sqlite_url, now=real_clock.now)
    [reader] = add_readers(app, 1)
    if waits:
        take_off(app, reader)
    where = {"database_url": sqlite_url, "outbox_dir": str(tmp_path / "outbox"), "secret_key": "a key for tests"}
    code = app.signer.sign(Purpose.UNSUBSCRIBE, reader, now=app.now())
    done = command_here("subscribers", "unsubscribe", code, **where)
    assert (done.returncode, done.stdout) == (0, "unsubscribed\n")
    assert joined(app, ADA) == State.UNSUBSCRIBED
    assert goodbyes(app) == ([("skipped", "not_active")] if waits else [])
    assert not list((tmp_path / "outbox").rglob("*.eml"))


def test_a_relay_that_is_away_keeps_nobody_from_being_unsubscribed(
    make_app: Callable[..., App], sqlite_url: str, command_here: Command
) -> None:
    app = make_app(sqlite_url, now=real_clock.now)
    add_readers(app, 1)
    away = {"smtp_url": "smtp://127.0.0.1:1?timeout=2", "database_url": sqlite_url, "secret_key": "a key for tests"}
    done = command_here("subscribers", "unsubscribe", ADA, **away)
    assert (done.returncode, done.stdout) == (0, "unsubscribed\n")
    assert goodbyes(app) == [("deferred", None)], "it follows"


def test_what_is_known_of_them_holds_the_mail_and_an_import_brings_nobody_back(app_on_both: App, reader: int) -> None:
    take_off(app_on_both, reader)
    mails_of(app_on_both)
    membership.import_subscribers(app_on_both, [Entry(ADA, Preferences(), State.ACTIVE)])
    assert joined(app_on_both, ADA) == State.UNSUBSCRIBED
    with app_on_both.db.snapshot() as session:
        person = subscribers.get(session, reader)
        assert person
        assert [each["mail"] for each in privacy.everything(session, person)["mails"]] == ["goodbye"]

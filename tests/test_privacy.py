"""What we know of a reader: all of it in one file, and nothing of it anywhere once they are erased."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fakes import Clock, SmtpServer
from fastapi.testclient import TestClient
from samples import HOSTILE, add_papers, add_readers, joined, mails_of, open_and_queue, paths_in, record
from sqlmodel import select

from newsletter import membership, pipeline, privacy, steering
from newsletter.app import App
from newsletter.delivery import store as deliveries
from newsletter.delivery.models import Attempt, Delivery
from newsletter.issues.models import Issue
from newsletter.membership import Asking
from newsletter.papers.pasted import PastedPaper, read_pasted
from newsletter.signing import Purpose
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.addresses import address_hash
from newsletter.subscribers.changes.models import AddressChange, Consent
from newsletter.subscribers.models import Entry, State, Suppression
from newsletter.subscribers.preferences import Preferences
from newsletter.subscribers.ratings.models import Rating
from newsletter.tables import TABLES
from newsletter.web import create_web

ADA, NEW = "ada-of-the-tests@example.org", "ada-elsewhere@example.org"
SECRETS = ("zebrafish", "peculiar interest", "Strange Author", "unspeakable", "10.1000/hidden", "Secret abstract")
WISHES = Preferences(
    topics=("peculiar interest",), keywords=("zebrafish",), authors=("Strange Author",), mutes=("unspeakable",)
)
PASTED = "@article{a, title={A paper of hers alone}, doi={10.1000/hidden}, abstract={Secret abstract of it.}}"


@pytest.fixture
def both(app_on_both: App) -> TestClient:
    return TestClient(create_web(app_on_both), follow_redirects=False)


def preferences(app: App, id_: int) -> str:
    return f"/preferences/{app.signer.sign(Purpose.PREFERENCES, id_, now=app.now())}"


def lived(app: App, client: TestClient) -> int:
    """Let somebody sign up, confirm, be mailed, speak, change wishes, pause and lose a link; return their id."""
    add_papers(app, [record(number, keywords=["nodes"]) for number in range(1, 9)])
    open_and_queue(app)
    membership.ask(app, Asking(ADA, WISHES, read_pasted(PASTED).papers, "a client", said="The words of the form."))
    [mail] = mails_of(app, ADA)
    assert client.post(paths_in(mail, "confirm")[0]).status_code == 200
    digest = mails_of(app, ADA)[-1]
    with app.db.snapshot() as session:
        found = subscribers.find(session, ADA)
    assert found
    id_ = found.id or 0
    for path in paths_in(digest, "f"):
        if path.endswith(("/like", "/mute")):
            client.post(path, data={"mutes": "nodes"})
    assert client.get(paths_in(digest, "c")[0]).status_code == 302
    steering.save(app, id_, WISHES.model_copy(update={"hour": 9, "about": "zebrafish fins"}))
    steering.pause(app, id_, date(2026, 8, 20))
    steering.ask_address(app, id_, NEW)
    mails_of(app)
    return id_


def rows(app: App) -> str:
    """Return all rows of all tables as text."""
    with app.db.snapshot() as session:
        return repr([each.model_dump() for table in TABLES for each in session.exec(select(table))])  # type: ignore[attr-defined]


def accounting(app: App, issue_id: int = 1) -> deliveries.Accounting:
    with app.db.snapshot() as session:
        issue = session.get(Issue, issue_id)
        assert issue
        return deliveries.accounting(session, issue_id, issue.slot)


def test_the_file_holds_everything(make_app: Callable[..., App], database_url: str) -> None:
    app = make_app(database_url, tracking="personal")
    client = TestClient(create_web(app), follow_redirects=False)
    id_ = lived(app, client)
    [bob] = add_readers(app, 1, prefix="bob", keywords=("of bob alone",))
    steering.save(app, bob, Preferences(about="of bob alone"))
    answer = client.get(f"{preferences(app, id_)}/export")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "of bob alone" not in answer.text
    known = answer.json()
    assert known["subscriber"]["email"] == ADA
    assert {name: known["subscriber"][name] for name in ("keywords", "about", "hour", "paused_until")} == {
        "keywords": ["zebrafish"], "about": "zebrafish fins", "hour": 9, "paused_until": "2026-08-20",
    }  # fmt: skip
    said = {each["title"]: each for each in known["said_of_papers"]}
    assert said["A paper of hers alone"]["text"] == "Secret abstract of it."
    assert len(said) == 9
    by_mail = {each["mail"]: each for each in known["mails"]}
    assert set(by_mail) == {"confirmation", "digest"}, "a mail to somebody else would tell who they are"
    assert by_mail["digest"]["issue"] == "2026-08-05"
    assert len(by_mail["digest"]["papers"]) == 8
    assert all(each["title"] and each["reason"] for each in by_mail["digest"]["papers"])
    assert {"named", "liked", "trend"} <= set(by_mail["digest"]["papers"][0]["parts"])
    assert {each["kind"] for each in known["events"]} == {"clicked", "liked", "muted"}
    assert [each["said"] for each in known["sign_ups"]] == ["The words of the form."]
    assert [each["new_email"] for each in known["address_changes"]] == [NEW]
    assert len(known["preference_changes"]) == 3
    assert [each["act"] for each in known["consents"]] == ["asked", "confirmed"]


def test_the_file_still_holds_what_was_agreed_to_from_an_earlier_address(app_on_both: App, both: TestClient) -> None:
    id_ = lived(app_on_both, both)
    assert steering.move(app_on_both, 1)
    known = both.get(f"/preferences/{next_link(app_on_both, id_)}/export").json()
    assert [each["act"] for each in known["consents"]][:2] == ["asked", "confirmed"]


@pytest.mark.parametrize("older", [[1, 0.5, "new"], [1, 0.5, "new", None]])
def test_the_file_holds_picks_from_before_their_parts_were_kept(app: App, older: list[object]) -> None:
    add_papers(app, [record(1)])
    [id_] = add_readers(app, 1)
    pipeline.deliver(app, open_and_queue(app).id)
    with app.db.session() as session:
        session.execute(sa.update(Delivery).values(selection={"considered": 1, "picks": [older]}))
    with app.db.snapshot() as session:
        person = subscribers.get(session, id_)
        assert person
        [mail] = privacy.everything(session, person)["mails"]
    [paper] = mail["papers"]
    assert (paper["reason"], paper["parts"]) == ("new", {})


def next_link(app: App, id_: int) -> str:
    """Return a token of the second after earlier links ended."""
    with app.db.snapshot() as session:
        found = subscribers.get(session, id_)
    assert found
    return app.signer.sign(Purpose.PREFERENCES, id_, now=found.links_since or app.now())


def test_hostile_data_is_still_good_json(app_on_both: App, both: TestClient) -> None:
    [id_] = add_readers(app_on_both, 1)
    path = preferences(app_on_both, id_)
    for hostile in HOSTILE:
        both.post(path, data={"about": hostile, "keywords": hostile, "authors": hostile})
        both.post(f"{path}/papers", data={"papers": hostile})
        both.post(f"{path}/papers", data={"papers": f"@article{{x, title={{{hostile}}}, abstract={{{hostile}}}}}"})
    texts = [text.replace("\x00", "") for text in HOSTILE]
    add_papers(app_on_both, [record(n, text, authors=[text]) for n, text in enumerate(texts, 1)])
    open_and_queue(app_on_both)
    mails_of(app_on_both)
    answer = both.get(f"{path}/export")
    assert answer.status_code == 200
    assert json.loads(answer.content)["subscriber"]["email"] == "reader0@example.org"
    assert len(json.loads(answer.content)["mails"]) == 1


def test_nothing_of_who_is_erased_is_in_any_row_and_the_accounting_still_adds_up(
    app_on_both: App, both: TestClient
) -> None:
    id_ = lived(app_on_both, both)
    add_readers(app_on_both, 1, prefix="bob")
    before = accounting(app_on_both)
    paths = [preferences(app_on_both, id_), *paths_in(mails_of(app_on_both, ADA)[-1], "f")]
    page = both.post(f"{paths[0]}/erase", data={"sure": "yes"})
    assert page.status_code == 200
    assert ADA not in page.text
    left = rows(app_on_both)
    for secret in (ADA, NEW, *SECRETS):
        assert secret not in left
    assert accounting(app_on_both) == before
    assert "bob0@example.org" in left
    with app_on_both.db.snapshot() as session:
        assert session.exec(select(Rating)).all() == []
        assert [each.email_hash for each in session.exec(select(Suppression))] == [address_hash(ADA)]
        assert [each.act for each in session.exec(select(Consent))][-1] == "erased"
        kept = [each for each in session.exec(select(Delivery)) if each.subscriber_id == id_]
    assert [(each.mail, each.selection, each.message_id, each.reply) for each in kept] == [("digest", None, None, None)]
    paths += [f"/{room}/{app_on_both.signer.sign(purpose, id_, now=app_on_both.now())}" for room, purpose in (
        ("u", Purpose.UNSUBSCRIBE), ("back", Purpose.RETURN), ("confirm", Purpose.CONFIRM),
        ("address", Purpose.NEW_ADDRESS), ("preferences", Purpose.PREFERENCES))]  # fmt: skip
    for path in paths:
        assert both.post(path).status_code == 404
        assert both.get(path).status_code in {303, 404, 405}
    assert privacy.erase(app_on_both, id_) is False


def files(app: App) -> bytes:
    """Return the bytes of the SQLite file and its logs."""
    path = app.db.engine.url.database or ""
    return b"".join(each.read_bytes() for each in Path(path).parent.glob(f"{Path(path).name}*"))


def test_nothing_of_who_is_erased_is_in_the_bytes_of_the_database_file(app: App) -> None:
    id_ = lived(app, TestClient(create_web(app), follow_redirects=False))
    add_readers(app, 50, prefix="bob")
    for secret in (ADA, NEW, *SECRETS):
        assert secret.encode() in files(app)
    privacy.erase(app, id_)
    for secret in (ADA, NEW, *SECRETS):
        assert secret.encode() not in files(app)


def test_nothing_is_left_in_the_file_even_if_somebody_was_reading_meanwhile(app: App, clock: Clock) -> None:
    app.db.dispose()

    @sa.event.listens_for(app.db.engine, "connect")
    def _impatient(connection: Any, _record: object) -> None:  # erasing would wait thirty seconds for whoever reads
        connection.execute("PRAGMA busy_timeout=100")

    id_ = lived(app, TestClient(create_web(app), follow_redirects=False))
    with app.db.snapshot() as session:
        session.exec(select(Delivery)).first()
        privacy.erase(app, id_)
    clock.forward(hours=1)
    pipeline.tidy(app)
    assert ADA.encode() not in files(app)


def test_nothing_of_a_sign_up_that_was_never_confirmed_is_left_in_the_file(app: App, clock: Clock) -> None:
    membership.ask(app, Asking(ADA, WISHES))
    mails_of(app)
    clock.forward(days=8)
    pipeline.tidy(app)
    assert ADA not in rows(app)
    assert ADA.encode() not in files(app)


def test_nobody_elses_wish_to_move_there_keeps_the_address(app_on_both: App) -> None:
    ada, _ = add_readers(app_on_both, 2)
    steering.ask_address(app_on_both, ada, "reader1@example.org")
    privacy.erase(app_on_both, ada + 1)
    assert "reader1@example.org" not in rows(app_on_both)


def test_who_moved_is_erased_with_both_addresses(app_on_both: App, both: TestClient) -> None:
    id_ = lived(app_on_both, both)
    assert steering.move(app_on_both, 1)
    mails_of(app_on_both)
    assert privacy.erase(app_on_both, id_)
    left = rows(app_on_both)
    assert (ADA in left, NEW in left) == (False, False)


@pytest.mark.parametrize("sure", [{}, {"sure": ""}, {"sure": "no"}, {"sure": "YES"}, {"sure": ["yes", "no"]}])
def test_nobody_is_erased_without_the_tick(app_on_both: App, both: TestClient, sure: dict[str, Any]) -> None:
    [id_] = add_readers(app_on_both, 1)
    answer = both.post(f"{preferences(app_on_both, id_)}/erase", data=sure)
    assert (answer.status_code, 'id="sure-wrong"' in answer.text) == (400, True)
    answer = both.post(f"{preferences(app_on_both, id_)}/erase?sure=yes", headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    assert joined(app_on_both, "reader0@example.org") == State.ACTIVE


@pytest.mark.parametrize("imported", [False, True])
def test_an_operator_cannot_bring_the_erased_back_but_they_themselves_can(
    app_on_both: App, both: TestClient, clock: Clock, imported: bool
) -> None:
    add_papers(app_on_both, [record(number) for number in range(1, 9)])
    [id_] = add_readers(app_on_both, 1)
    privacy.erase(app_on_both, id_)
    email = "reader0@example.org"
    if imported:
        membership.import_subscribers(app_on_both, [Entry(email, Preferences(), State.PENDING)])
        open_and_queue(app_on_both)
        assert mails_of(app_on_both) == []
        clock.forward(days=8)
        pipeline.tidy(app_on_both)
    membership.ask(app_on_both, Asking(email.upper(), Preferences()))
    [mail] = mails_of(app_on_both)
    assert both.post(paths_in(mail, "confirm")[0]).status_code == 200
    add_papers(app_on_both, [record(9, listed_at=clock.at.replace(hour=0))])
    open_and_queue(app_on_both)
    assert len(mails_of(app_on_both)) == 3, "the welcome, and the day's papers"
    with app_on_both.db.snapshot() as session:
        assert subscribers.suppressed(session, [email]) == set()


def test_who_was_imported_as_active_after_being_erased_gets_no_mail(app_on_both: App) -> None:
    add_papers(app_on_both, [record(1)])
    [id_] = add_readers(app_on_both, 1)
    privacy.erase(app_on_both, id_)
    membership.import_subscribers(app_on_both, [Entry("reader0@example.org", Preferences(), State.ACTIVE)])
    issue = open_and_queue(app_on_both)
    assert mails_of(app_on_both) == []
    assert accounting(app_on_both, issue.id or 0).skipped == {"suppressed": 1}


def test_who_was_imported_as_active_after_being_erased_can_still_come_back_themselves(app_on_both: App) -> None:
    add_papers(app_on_both, [record(1)])
    [id_] = add_readers(app_on_both, 1)
    privacy.erase(app_on_both, id_)
    membership.import_subscribers(app_on_both, [Entry("reader0@example.org", Preferences(), State.ACTIVE)])
    membership.ask(app_on_both, Asking("reader0@example.org", Preferences()))
    [mail] = mails_of(app_on_both)
    for path in paths_in(mail, "confirm"):
        TestClient(create_web(app_on_both)).post(path)
    open_and_queue(app_on_both)
    assert len(mails_of(app_on_both)) == 3, "the question, the welcome, and the day's papers"


def test_an_address_that_bounced_stays_barred_after_it_was_erased(app_on_both: App) -> None:
    [id_] = add_readers(app_on_both, 1)
    with app_on_both.db.session() as session:
        subscribers.suppress(session, "reader0@example.org", "bounced", app_on_both.now())
    privacy.erase(app_on_both, id_)
    membership.ask(app_on_both, Asking("reader0@example.org", Preferences()))
    assert mails_of(app_on_both) == []


def test_who_is_erased_in_the_middle_of_an_issue_is_not_mailed_and_still_counted(
    make_app: Callable[..., App], database_url: str, smtp: SmtpServer
) -> None:
    app = make_app(database_url, smtp_url=f"{smtp.url}&connections=1")
    add_papers(app, [record(number) for number in range(1, 9)])
    ids = add_readers(app, 4)
    issue = open_and_queue(app)
    steps = {"rcpt": ids[0], "dot": ids[1]}

    def script(step: str, session: Any) -> None:
        number = int(session.recipient[6]) if session.recipient else -1
        if step in steps and number == steps[step] - ids[0]:
            privacy.erase(app, steps.pop(step))

    smtp.script = script
    pipeline.deliver(app, issue.id)
    assert smtp.recipients() == [f"reader{number}@example.org" for number in (1, 2, 3)], "one was on its way already"
    found = accounting(app, issue.id or 0)
    assert (found.eligible, found.sent, found.skipped) == (4, 3, {"not_active": 1})
    assert "reader0@" not in rows(app)
    assert "reader1@" not in rows(app)


def test_replies_of_relays_that_name_the_address_are_forgotten(
    make_app: Callable[..., App], database_url: str, smtp: SmtpServer
) -> None:
    app = make_app(database_url, smtp_url=smtp.url)
    add_papers(app, [record(1)])
    [id_] = add_readers(app, 1)
    smtp.script = lambda step, session: f"451 4.3.0 <{session.recipient}> later" if step == "dot" else None
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id)
    assert "reader0@example.org> later" in rows(app)
    privacy.erase(app, id_)
    assert "reader0@" not in rows(app)
    with app.db.snapshot() as session:
        assert session.exec(select(sa.func.count(Attempt.id))).one() == 1  # type: ignore[arg-type]
    assert accounting(app, issue.id or 0).deferred == 1


def test_a_sign_up_that_waits_is_forgotten_with_its_address(app_on_both: App) -> None:
    [id_] = add_readers(app_on_both, 1)
    membership.ask(app_on_both, Asking("Reader0@example.org", WISHES, (PastedPaper("doi:10.1000/hidden"),), "c"))
    privacy.erase(app_on_both, id_)
    assert mails_of(app_on_both) == []
    left = rows(app_on_both).lower()
    for secret in ("reader0@", *SECRETS):
        assert secret.lower() not in left


def test_strangers_cannot_be_mailed_more_often_about_moving_than_about_signing_up(app: App, clock: Clock) -> None:
    for id_ in add_readers(app, 6):
        for _ in range(3):
            clock.forward(minutes=1)
            steering.ask_address(app, id_, "stranger@example.org")
    assert len(mails_of(app, "stranger@example.org")) == 1


def test_erasing_leaves_other_peoples_sign_ups_alone(app_on_both: App, both: TestClient) -> None:
    [id_] = add_readers(app_on_both, 1)
    steering.ask_address(app_on_both, id_, "new@example.org")
    with app_on_both.db.snapshot() as session:
        [asked] = session.exec(select(AddressChange.id))
    steering.move(app_on_both, asked or 0)
    membership.ask(app_on_both, Asking("reader0@example.org", Preferences(), client="the address's next owner"))
    [path] = paths_in(mails_of(app_on_both, "reader0@example.org")[-1], "confirm")
    privacy.erase(app_on_both, id_)
    assert both.post(path).status_code == 200

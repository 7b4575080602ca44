"""Leaving by one press from anywhere, and the three ways back: each works once, for a day, and gives nobody more."""

import re
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from fakes import Clock, SmtpServer
from fastapi.testclient import TestClient
from samples import add_papers, add_readers, joined, mails_of, open_and_queue, paths_in, record
from sqlmodel import select

from newsletter import membership, pipeline, steering
from newsletter.app import App
from newsletter.delivery import ledger
from newsletter.delivery import store as deliveries
from newsletter.delivery.models import Delivery
from newsletter.membership import Asking
from newsletter.signing import Purpose
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.changes.models import Consent
from newsletter.subscribers.models import State, Subscriber
from newsletter.subscribers.preferences import Preferences
from newsletter.web import create_web

ADA = "reader0@example.org"
WAYS = ("undo", "weekly", "pause")


@pytest.fixture
def both(app_on_both: App) -> TestClient:
    return TestClient(create_web(app_on_both), follow_redirects=False)


def leave(app: App, id_: int) -> str:
    return f"/u/{app.signer.sign(Purpose.UNSUBSCRIBE, id_, now=app.now())}"


def back(page: str) -> str:
    """Return where the three offers of the page after leaving go."""
    found = set(re.findall(r'action="(/back/[\w-]+)"', page))
    assert len(found) == 1
    return found.pop()


def person(app: App, email: str) -> Subscriber:
    with app.db.snapshot() as session:
        found = subscribers.find(session, email)
    assert found
    return found


def acts(app: App) -> list[str]:
    with app.db.snapshot() as session:
        return list(session.exec(select(Consent.act).order_by(Consent.id)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "sent",
    [
        {"data": {"List-Unsubscribe": "One-Click"}},
        {"files": {"List-Unsubscribe": (None, "One-Click")}},
        {"content": b"List-Unsubscribe=One-Click"},
        {},
        {"json": {"a": [1]}},
        {"content": b"\x00\xff" * 5_000, "headers": {"content-type": "multipart/form-data"}},
        {"content": b"", "headers": {"content-type": "application/x-www-form-urlencoded; charset=nonsense"}},
        {"data": {f"field{n}": "x" for n in range(2_000)}},
    ],
    ids=["urlencoded", "multipart", "untyped", "empty", "json", "binary", "charset", "many fields"],
)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "https://mail.example.com", "sec-fetch-site": "cross-site", "referer": "https://mail.example.com/"},
        {"cookie": "a=b; session=x", "accept": "application/json", "accept-language": "xx;q=9", "user-agent": ""},
    ],
    ids=["bare", "cross-site", "odd"],
)
def test_one_press_from_anywhere_is_enough_and_twice_is_once(
    app: App, sent: dict[str, Any], headers: dict[str, str]
) -> None:
    client = TestClient(create_web(app), follow_redirects=False)
    [id_] = add_readers(app, 1)
    for _ in range(2):
        answer = client.post(leave(app, id_), **{**sent, "headers": headers | sent.get("headers", {})})
        assert answer.status_code == 200
        assert not {"location", "set-cookie", "refresh"} & set(answer.headers)
        assert joined(app, ADA) == State.UNSUBSCRIBED
    assert acts(app)[-1:] == ["left"]
    assert acts(app).count("left") == 1


def test_looking_at_the_page_is_not_leaving(app_on_both: App, both: TestClient) -> None:
    [id_] = add_readers(app_on_both, 1)
    for method in ("GET", "HEAD"):
        answer = both.request(method, leave(app_on_both, id_))
        assert answer.status_code == 200
    page = both.get(leave(app_on_both, id_)).text
    assert (page.count("<button"), page.count('method="post"'), ADA in page) == (1, 1, False)
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
        token = app_on_both.signer.sign(Purpose.RETURN, id_, now=app_on_both.now())
        assert both.request(method, f"/back/{token}").status_code == (303 if method in {"GET", "HEAD"} else 405)
    assert joined(app_on_both, ADA) == State.ACTIVE


@pytest.mark.parametrize("how", WAYS)
def test_each_way_back_works_once_within_a_day(app_on_both: App, both: TestClient, clock: Clock, how: str) -> None:
    [id_] = add_readers(app_on_both, 1, topics=("robotics",), cadence="days", weekdays=("mon", "tue"))
    path = back(both.post(leave(app_on_both, id_)).text)
    clock.forward(hours=23, minutes=59)
    page = both.post(path, data={"how": how})
    assert page.status_code == 200
    found = person(app_on_both, ADA)
    assert (found.state, found.unsubscribed_at, found.topics) == (State.ACTIVE, None, ["robotics"])
    assert found.cadence == ("weekly" if how == "weekly" else "days")
    paused = (date(2026, 8, 6), date(2026, 9, 3)) if how == "pause" else (None, None)
    assert (found.paused_from, found.paused_until) == paused
    assert acts(app_on_both)[-2:] == ["left", "came back"]
    for way in WAYS:
        assert both.post(path, data={"how": way}).status_code == 404, "once"
    assert person(app_on_both, ADA).model_dump() == found.model_dump()
    if how != "undo":
        with app_on_both.db.snapshot() as session:
            change = steering.changes.latest(session, id_)
        assert change
        assert steering.undo(app_on_both, id_, change.id or 0)
        assert (person(app_on_both, ADA).cadence, person(app_on_both, ADA).paused_until) == ("days", None)


SURE = {"sure": "yes"}


def erase_path(page: str) -> str:
    """Return where the button to be erased goes, or an empty text if it is not offered."""
    found = re.search(r'action="(/erase/[\w-]+)"', page)
    return found[1] if found else ""


def test_who_has_just_left_can_have_everything_erased_if_they_are_sure(app_on_both: App, both: TestClient) -> None:
    [id_] = add_readers(app_on_both, 1)
    path = erase_path(both.post(leave(app_on_both, id_)).text)
    unsure = both.post(path)
    assert (unsure.status_code, "Please tick the box" in unsure.text) == (400, True)
    assert erase_path(unsure.text) == path
    assert both.get(path).status_code == 303
    assert both.post(path, data=SURE, headers={"origin": "https://elsewhere.example"}).status_code == 403
    assert person(app_on_both, ADA).state == State.UNSUBSCRIBED
    for _ in range(2):
        assert both.post(path, data=SURE).status_code == 200
    with app_on_both.db.snapshot() as session:
        assert subscribers.find(session, ADA) is None


def test_who_came_back_or_left_once_more_is_not_erased_by_the_page_from_before(app: App, clock: Clock) -> None:
    client = TestClient(create_web(app))
    [id_] = add_readers(app, 1)
    page = client.post(leave(app, id_)).text
    client.post(back(page))
    assert client.post(erase_path(page), data=SURE).status_code == 404
    assert client.post(erase_path(page)).status_code == 404, "nor told that they are unsubscribed"
    clock.forward(hours=3)
    again = client.post(leave(app, id_)).text
    assert client.post(erase_path(page), data=SURE).status_code == 404
    clock.forward(hours=25)
    assert client.post(erase_path(again), data=SURE).status_code == 404, "a day later"
    assert person(app, ADA).state == State.UNSUBSCRIBED


def test_a_link_to_leave_that_opens_no_preferences_any_more_offers_no_erasing(app: App, clock: Clock) -> None:
    client = TestClient(create_web(app))
    ended, old = add_readers(app, 2)
    paths = [leave(app, id_) for id_ in (ended, old)]
    clock.forward(days=1)
    steering.end_links(app, ended)
    clock.forward(days=90)
    for path in paths:
        page = client.post(path).text
        assert back(page), "but the way back is there"
        assert erase_path(page) == ""


def test_no_way_leads_back_after_a_day(app_on_both: App, both: TestClient, clock: Clock) -> None:
    [id_] = add_readers(app_on_both, 1)
    path = back(both.post(leave(app_on_both, id_)).text)
    clock.forward(hours=24, seconds=1)
    for how in WAYS:
        assert both.post(path, data={"how": how}).status_code == 404
    page = both.post(leave(app_on_both, id_)).text
    assert "/back/" not in page
    assert 'href="/subscribe"' in page
    assert joined(app_on_both, ADA) == State.UNSUBSCRIBED


@pytest.mark.parametrize("how", ["leave", "UNDO", "undo ", "weekly\x00", "x" * 10_000])
def test_a_way_that_is_none_is_refused(app: App, how: str) -> None:
    client = TestClient(create_web(app), follow_redirects=False)
    [id_] = add_readers(app, 1)
    path = back(client.post(leave(app, id_)).text)
    assert client.post(path, data={"how": how}).status_code == (200 if how.strip() == "undo" else 400)
    assert client.post(path, headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_a_way_back_needs_its_own_token_and_leads_to_nobody_elses_subscription(
    app_on_both: App, both: TestClient
) -> None:
    ids = add_readers(app_on_both, 2)
    membership.unsubscribe(app_on_both, ids)
    now = app_on_both.now()
    for purpose in Purpose:
        if purpose is not Purpose.RETURN:
            assert both.post(f"/back/{app_on_both.signer.sign(purpose, ids[0], now=now)}").status_code == 404
    assert both.post(f"/back/{app_on_both.signer.sign(Purpose.RETURN, 999, now=now)}").status_code == 404
    page = both.post(f"/back/{app_on_both.signer.sign(Purpose.RETURN, ids[0], now=now)}")
    assert page.status_code == 200
    assert (ADA in page.text, "/preferences/" in page.text) == (False, False), "a link to leave never expires"
    assert joined(app_on_both, "reader1@example.org") == State.UNSUBSCRIBED


def sign_up(app: App, email: str, **wishes: Any) -> tuple[str, str]:
    """Sign up; return the paths to leave and to confirm of the mail that came."""
    membership.ask(app, Asking(email, Preferences(**wishes), client="somebody"))
    mail = mails_of(app, email)[-1]
    return paths_in(mail, "u")[0], paths_in(mail, "confirm")[0]


@pytest.mark.parametrize("how", WAYS)
def test_who_had_not_confirmed_is_pending_again_and_still_has_to(app_on_both: App, both: TestClient, how: str) -> None:
    leaving, confirming = sign_up(app_on_both, ADA)
    path = back(both.post(leaving).text)
    assert both.post(confirming).status_code == 404
    assert both.post(path, data={"how": how}).status_code == 200
    assert joined(app_on_both, ADA) == State.PENDING
    add_papers(app_on_both, [record(1)])
    open_and_queue(app_on_both)
    assert len(mails_of(app_on_both, ADA)) == 1, "nothing but the mail to confirm"
    assert both.post(confirming).status_code == 200
    assert joined(app_on_both, ADA) == State.ACTIVE


def test_who_left_long_ago_and_withdrew_a_strangers_sign_up_is_not_active_by_undoing_that(
    app_on_both: App, both: TestClient, clock: Clock
) -> None:
    [id_] = add_readers(app_on_both, 1)
    both.post(leave(app_on_both, id_))
    clock.forward(days=100)
    leaving, _ = sign_up(app_on_both, ADA)
    path = back(both.post(leaving).text)
    assert both.post(path, data={"how": "undo"}).status_code == 200
    assert joined(app_on_both, ADA) == State.PENDING, "they have not agreed to what is asked of them now"


def test_a_withdrawn_sign_up_ends_all_links_that_were_mailed_before(
    app_on_both: App, both: TestClient, clock: Clock
) -> None:
    leaving, first = sign_up(app_on_both, ADA)
    clock.forward(hours=25)
    _, second = sign_up(app_on_both, ADA)
    clock.forward(minutes=5)
    both.post(leaving)
    assert [both.post(each).status_code for each in (first, second)] == [404, 404]
    clock.forward(hours=25)
    _, third = sign_up(app_on_both, ADA)
    assert [both.get(each).status_code for each in (first, second, third)] == [404, 404, 200]
    assert both.post(third).status_code == 200
    assert joined(app_on_both, ADA) == State.ACTIVE


def test_who_leaves_between_lease_and_handoff_is_not_mailed(app_on_both: App, both: TestClient) -> None:
    add_papers(app_on_both, [record(1)])
    ids = add_readers(app_on_both, 2)
    issue = open_and_queue(app_on_both)
    with app_on_both.db.session() as session:
        leased = ledger.lease(session, issue.id, owner="me", now=app_on_both.now(), limit=9)
    both.post(leave(app_on_both, ids[0]))
    with app_on_both.db.session() as session:
        kept = {"considered": 1, "picks": []}
        handoffs = [ledger.Handoff(each, f"reader{each.id - 1}@example.org", "<m@x>", kept) for each in leased]
        marked = ledger.mark_handoffs(session, handoffs, owner="me", now=app_on_both.now())
    assert [each.subscriber_id for each in leased if each.id in marked] == [ids[1]]


@pytest.mark.parametrize("step", ["connect", "mail", "rcpt", "data"])
def test_no_mail_is_taken_by_the_relay_after_its_reader_left_at_any_step(
    make_app: Callable[..., App], database_url: str, smtp: SmtpServer, step: str
) -> None:
    app = make_app(database_url, smtp_url=f"{smtp.url}&connections=1")
    add_papers(app, [record(number) for number in range(1, 9)])
    ids = add_readers(app, 4)
    issue = open_and_queue(app)
    gone: list[int] = []

    def script(at: str, _session: object) -> None:
        if at == step and not gone:
            gone.extend(membership.unsubscribe(app, ids[:2]))

    smtp.script = script
    for _ in range(2):
        pipeline.deliver(app, issue.id)
    assert sorted(smtp.recipients()) == ["reader2@example.org", "reader3@example.org"]
    with app.db.snapshot() as session:
        found = deliveries.accounting(session, issue.id or 0, issue.slot)
    assert (found.sent, found.skipped) == (2, {"not_active": 2})


def test_a_notice_to_somebody_who_left_is_not_sent(app_on_both: App) -> None:
    ids = add_readers(app_on_both, 2)
    steering.ask_address(app_on_both, ids[0], "new@example.org")
    steering.end_links(app_on_both, ids[1])
    membership.ask(app_on_both, Asking("pending@example.org", Preferences()))
    membership.admit(app_on_both)
    membership.unsubscribe(app_on_both, [*ids, person(app_on_both, "pending@example.org").id or 0])
    assert mails_of(app_on_both) == []
    with app_on_both.db.snapshot() as session:
        assert set(session.exec(select(Delivery.skip_reason))) == {"not_active"}


def test_who_comes_back_the_same_day_gets_the_next_issue_and_no_second_one_of_today(
    app_on_both: App, both: TestClient, clock: Clock
) -> None:
    add_papers(app_on_both, [record(number) for number in range(1, 30)])
    [id_] = add_readers(app_on_both, 1, max_papers=3)
    open_and_queue(app_on_both)
    assert len(mails_of(app_on_both)) == 1
    path = back(both.post(leave(app_on_both, id_)).text)
    both.post(path, data={"how": "undo"})
    open_and_queue(app_on_both)
    assert len(mails_of(app_on_both)) == 1
    clock.forward(days=1)
    open_and_queue(app_on_both)
    assert len(mails_of(app_on_both)) == 2


def test_the_pages_speak_the_readers_language(app: App) -> None:
    client = TestClient(create_web(app), follow_redirects=False)
    [id_] = add_readers(app, 1, language="de")
    for accepted in ("en", "de"):
        header = {"accept-language": accepted}
        pages = [client.get(leave(app, id_), headers=header), client.post(leave(app, id_), headers=header)]
        pages.append(client.post(back(pages[1].text), headers=header))
        assert [each.status_code for each in pages] == [200] * 3
        assert all('<html lang="de"' in each.text for each in pages)
    assert '<html lang="de"' in client.get("/u/x", headers={"accept-language": "de"}).text


def test_a_link_to_the_preferences_ends_after_ninety_days_or_when_its_reader_has_left(app: App, clock: Clock) -> None:
    client = TestClient(create_web(app), follow_redirects=False)
    [id_] = add_readers(app, 1)

    def link() -> str:
        return f"/preferences/{app.signer.sign(Purpose.PREFERENCES, id_, now=app.now())}"

    path = link()
    clock.forward(days=90)
    assert client.get(path).status_code == 200
    clock.forward(seconds=1)
    assert client.get(path).status_code == 404
    fresh = link()
    client.post(leave(app, id_))
    assert client.get(fresh).status_code == 404
    for room in ("", "/undo", "/papers", "/pause", "/address", "/links", "/erase"):
        assert client.post(fresh + room, data={"topics": ["x"], "sure": "yes"}).status_code == 404
    assert client.get(f"{fresh}/export").status_code == 404
    assert joined(app, ADA) == State.UNSUBSCRIBED

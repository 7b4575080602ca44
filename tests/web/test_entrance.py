"""Who may press which button: no other site, no link of another kind, and nothing by looking alone."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest
from fakes import Clock
from fastapi.testclient import TestClient
from httpx2 import Response
from samples import HOSTILE, add_papers, joined, mails_of, open_and_queue, paths_in, record
from visitors import ADA, AWAY, SITE, ask, confirm_path, dump, person, subscribed, visitor

from newsletter import membership, pipeline, steering
from newsletter.app import App
from newsletter.signing import Purpose, Signer
from newsletter.subscribers.changes.models import AddressChange
from newsletter.subscribers.models import State
from newsletter.tracking.models import Event

FOREIGN = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "same-site", "origin": SITE},
    {"sec-fetch-site": "anything else"},
    {"sec-fetch-site": ""},
    {"origin": "https://evil.example"},
    {"origin": "https://news.example.org.evil.example"},
    {"origin": "https://evil.example#news.example.org"},
    {"origin": "https://evil@news.example.org"},
    {"origin": "https://news.example.org:8443"},
    {"origin": "http://["},
    {"origin": "https://[::1"},
    {"origin": "file://"},
    {"origin": "no origin"},
]
OWN: list[dict[str, str]] = [
    {},
    {"sec-fetch-site": "same-origin", "origin": SITE},
    {"sec-fetch-site": "same-origin", "origin": "null"},
    {"sec-fetch-site": "none"},
    {"origin": SITE},
    {"origin": "https://NEWS.example.org"},
    {"origin": "null"},
]


@dataclass
class Reader:
    """Somebody with a link of each kind."""

    app: App
    client: TestClient
    tokens: dict[Purpose, str]
    paper: int

    def rooms(self) -> dict[str, tuple[Purpose, str]]:
        """Return whatever a link opens: its path, to be filled in, and the kind of link."""
        preferences = ("", "/undo", "/papers", "/pause", "/address", "/links", "/erase", "/export")
        said = ("like", "dislike", "more", "less", "mute", "undo")
        return {
            "/confirm/{}": (Purpose.CONFIRM, ""),
            "/address/{}": (Purpose.NEW_ADDRESS, ""),
            "/u/{}": (Purpose.UNSUBSCRIBE, ""),
            "/back/{}": (Purpose.RETURN, ""),
            "/erase/{}": (Purpose.ERASE, ""),
            "/rejoin/{}": (Purpose.REJOIN, ""),
            f"/c/{{}}/{self.paper}/page": (Purpose.READ, ""),
            **{f"/preferences/{{}}{room}": (Purpose.PREFERENCES, room) for room in preferences},
            **{f"/f/{{}}/{self.paper}/{kind}": (Purpose.FEEDBACK, kind) for kind in said},
        }

    def press(self, room: str, headers: dict[str, str] | None = None, token: str = "") -> Response:
        """Press what a room has to press."""
        purpose, _ = self.rooms()[room]
        return self.client.post(room.format(token or self.tokens[purpose]), data=FIELDS.get(room), headers=headers)


FIELDS = {
    "/preferences/{}": {"topics": ["spam"]},
    "/preferences/{}/undo": {"change": "1"},
    "/preferences/{}/papers": {"papers": "arXiv:2608.00001"},
    "/preferences/{}/pause": {"until": "2026-08-20"},
    "/preferences/{}/address": {"email": "thief@example.org"},
    "/preferences/{}/erase": {"sure": "yes"},
    "/erase/{}": {"sure": "yes"},
    "/f/{}/1/mute": {"mutes": "knots"},
}
GUARDED = ["/confirm/{}", "/address/{}", "/back/{}", "/erase/{}", "/rejoin/{}", *(f"/preferences/{{}}{room}" for room in
           ("", "/undo", "/papers", "/pause", "/address", "/links", "/erase")),
           *(f"/f/{{}}/1/{kind}" for kind in ("like", "dislike", "more", "less", "mute", "undo"))]  # fmt: skip


LEFT = ("/back/{}", "/erase/{}", "/rejoin/{}")  # for who has just left


@pytest.fixture
def reader(app: App) -> Reader:
    """Ada, who has had a mail of each kind."""
    client = visitor(app)
    add_papers(app, [record(1, keywords=("knots",))])
    id_ = subscribed(app, client, topics=["graphs"])
    pipeline.deliver(app, open_and_queue(app).id)
    steering.ask_address(app, id_, "moved@example.org")
    steering.save(app, id_, person(app).preferences.model_copy(update={"hour": 3}))
    ask(client, "pending@example.org")
    mails_of(app)
    made = {purpose: app.signer.sign(purpose, 1, now=app.now()) for purpose in Purpose}
    digest = next(mail for mail in mails_of(app, ADA) if paths_in(mail, "f"))
    for purpose, room in ((Purpose.FEEDBACK, "f"), (Purpose.READ, "c")):
        made[purpose] = paths_in(digest, room)[0].split("/")[2]
    made[Purpose.CONFIRM] = confirm_path(app, "pending@example.org").rpartition("/")[2]
    return Reader(app, client, made, int(paths_in(digest, "f")[0].split("/")[3]))


def test_no_other_site_can_press_a_button_of_ours(reader: Reader) -> None:
    for room in sorted(GUARDED, key=lambda room: room in LEFT):
        if room in LEFT:
            reader.press("/u/{}")
        before = dump(reader.app)
        for headers in FOREIGN:
            answer = reader.press(room, headers)
            assert answer.status_code == 403, (room, headers)
            assert "came from another site" in answer.text
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert "location" not in answer.headers
        assert dump(reader.app) == before, room


@pytest.mark.parametrize("room", GUARDED)
def test_our_own_pages_can(reader: Reader, room: str) -> None:
    if room in LEFT:
        reader.press("/u/{}")
    before = dump(reader.app)
    for headers in OWN:
        answer = reader.press(room, headers)
        assert answer.status_code != 403, headers
        if headers == {}:
            assert answer.status_code in {200, 303}
            changed = dump(reader.app)
    assert room.endswith("/undo") or changed != before


def test_what_other_sites_may_use_stays_open_to_them(reader: Reader) -> None:
    for headers in FOREIGN:
        other_site_uses(reader, headers)
        assert joined(reader.app, ADA) is State.UNSUBSCRIBED, headers
        assert reader.press("/back/{}").status_code == 200


def other_site_uses(reader: Reader, headers: dict[str, str]) -> None:
    post = reader.client.post
    assert post("/subscribe", data={"email": "new@example.org"}, headers=headers).status_code == 200
    assert post("/link", data={"email": ADA}, headers=headers).status_code == 200
    assert post("/subscribe/sample", data={"topics": "graphs"}, headers=headers).status_code == 200
    assert post("/api/v1/signups", json={"email": "new@example.org"}, headers=headers).status_code == 202
    assert post("/api/v1/sample", json={}, headers=headers).status_code == 200
    one_click = post(
        f"/u/{reader.tokens[Purpose.UNSUBSCRIBE]}", data={"List-Unsubscribe": "One-Click"}, headers=headers
    )
    assert one_click.status_code == 200


def test_a_link_in_a_mail_opens_its_page_wherever_the_mail_is_read(reader: Reader) -> None:
    before = dump(reader.app, but=Event)
    for room, (purpose, _) in reader.rooms().items():
        path = room.format(reader.tokens[purpose])
        plain, foreign = reader.client.get(path), reader.client.get(path, headers=FOREIGN[0])
        assert (plain.status_code, plain.content) == (foreign.status_code, foreign.content)
        assert reader.client.head(path).status_code == plain.status_code
    assert dump(reader.app, but=Event) == before, "looking changes nothing"


def test_every_kind_of_link_opens_its_own_rooms_alone(reader: Reader, clock: Clock) -> None:
    """Every purpose on every route, by GET and by POST; and those of another key, of nobody, and cut off."""
    app, before, answers = reader.app, dump(reader.app), []
    foreign = Signer(["somebody else's key"])
    for room, (own, _) in reader.rooms().items():
        good = reader.tokens[own]
        wrong = [token for purpose, token in reader.tokens.items() if purpose is not own]
        wrong += [foreign.sign(own, 1, now=clock()), good[:-1], good.swapcase(), good + "=", "x" * 38]
        methods = [method for method in ("GET", "POST") if _has(reader, method, room)]
        answers += [(reader.client.request(each, room.format(token)), room) for token in wrong for each in methods]
        nobody = [app.signer.sign(own, id_, now=clock()) for id_ in (999_999, 2**63 - 1)]
        # Loaded anew these lead to /link, whosever they are; and who is erased is told so once more.
        known = {Purpose.RETURN: {"GET"}, Purpose.ERASE: {"GET", "POST"}}.get(own, set())
        looked = set(methods) - known - ({"GET"} if own is Purpose.READ else set())  # a lost mail still leads to papers
        answers += [(reader.client.request(each, room.format(token)), room) for token in nobody for each in looked]
    assert {room for answer, room in answers if answer.status_code != 404} == set()
    assert len({answer.content for answer, _ in answers}) == 1
    assert len({tuple(sorted(answer.headers.items())) for answer, _ in answers}) == 1
    assert dump(app) == before


def _has(reader: Reader, method: str, room: str) -> bool:
    return reader.client.request(method, room.format("x")).status_code != 405


def test_a_page_for_a_bad_link_offers_a_fresh_one(reader: Reader) -> None:
    page = reader.client.get("/preferences/x").text
    assert '<form method="post" action="/link"' in page
    assert reader.client.get("/link").status_code == 200


def test_links_of_the_key_before_work_and_those_of_an_unknown_key_do_not(
    make_app: Callable[..., App], sqlite_url: str
) -> None:
    path = (ask(visitor(old := make_app(sqlite_url, secret_key="old")), ADA), confirm_path(old))[1]
    assert visitor(make_app(sqlite_url, secret_key="new")).post(path).status_code == 404
    renewed = make_app(sqlite_url, secret_key="new,old")
    assert visitor(renewed).get(path).status_code == 200
    assert visitor(renewed).post(path).status_code == 200
    url = renewed.identity.preferences_url(person(renewed), renewed.now())
    assert visitor(old).get(url).status_code == 404, "the first key signs"


def test_only_the_sign_up_of_the_link_is_confirmed_and_shown(app: App, clock: Clock) -> None:
    client, stranger = visitor(app), visitor(app, AWAY)
    ask(client, ADA, topics=["graphs"])
    path = confirm_path(app)
    ask(stranger, ADA, topics=["gambling"], about="BUY NOW")
    ask(stranger, ADA, "json", topics=["gambling"])
    mails_of(app)
    page = client.get(path).text
    assert "graphs" in page
    assert "gambling" not in page
    assert "BUY NOW" not in page
    ask(client, ADA, topics=["graphs", "knots"])
    mails_of(app)
    assert "knots" in client.get(path).text
    assert client.post(path).status_code == 200
    assert person(app).topics == ["graphs", "knots"]
    clock.forward(days=2)
    ask(stranger, ADA, topics=["gambling"])
    mails_of(app)
    assert client.post(path).status_code == 200
    assert person(app).topics == ["graphs", "knots"]


def test_after_leaving_an_old_link_is_dead_even_if_a_stranger_signs_the_address_up(app: App, clock: Clock) -> None:
    client = visitor(app)
    subscribed(app, client)
    path = confirm_path(app)
    clock.forward(hours=1)
    membership.unsubscribe(app, [person(app).id or 0])
    assert client.get(path).status_code == client.post(path).status_code == 404
    clock.forward(days=2)
    ask(visitor(app, AWAY), ADA, topics=["gambling"])
    assert (fresh := confirm_path(app)) != path
    assert client.get(path).status_code == client.post(path).status_code == 404
    assert joined(app, ADA) is State.PENDING
    assert client.get(fresh).status_code == 200


def targets(answers: Iterable[Response]) -> set[str]:
    return {answer.headers["location"] for answer in answers if "location" in answer.headers}


def test_nothing_leads_anywhere_but_to_a_paper_or_to_itself(reader: Reader) -> None:
    token, client = reader.tokens[Purpose.READ], reader.client
    elsewhere = (
        "//evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "\\\\evil.example",
        "/\r\nx: y",
        *HOSTILE,
    )
    quoted = ["".join(f"%{byte:02x}" for byte in text.encode()) for text in elsewhere]
    answers = [client.get(f"/c/{token}/{reader.paper}/{kind}") for kind in quoted]
    answers += [client.get(f"/c/{token}/{paper}/page") for paper in (*quoted, 0, -1, 2, 2**31, 2**63, 10**30)]
    answers += [client.get(f"/c/{kind}/{reader.paper}/page") for kind in quoted]
    assert {answer.status_code for answer in answers} == {404}
    assert targets(answers) == set()
    bait = "?url=//evil.example&next=https://evil.example&redirect=/%0d%0ax:y"
    good = [client.get(f"/c/{token}/{reader.paper}/page{bait}", headers={"host": "evil.example"})]
    assert targets(good) == {"https://arxiv.org/abs/2608.00001"}


def test_saving_preferences_leads_back_to_them_alone(reader: Reader) -> None:
    base, headers = f"/preferences/{reader.tokens[Purpose.PREFERENCES]}", {"host": "evil.example", "referer": "//evil"}
    for room, typed in (("", {"topics": "knots"}), ("/pause", {"until": "2026-08-20"}), ("/pause", {"resume": "1"})):
        bait = {"next": "//evil.example", "url": "https://evil.example", "return_to": "javascript:alert(1)"}
        answer = reader.client.post(f"{base}{room}?next=//evil.example", data=typed | bait, headers=headers)
        assert answer.status_code == 303
        assert re.fullmatch(rf"{base}(?:\?saved=\d+)?", answer.headers["location"])


def test_a_mail_we_no_longer_know_leads_to_papers_and_nowhere_else(app_on_both: App) -> None:
    add_papers(app_on_both, [record(1)])
    client = visitor(app_on_both)
    path = f"/c/{app_on_both.signer.sign(Purpose.READ, 999_999, now=app_on_both.now())}"
    assert targets([client.get(f"{path}/1/page")]) == {"https://arxiv.org/abs/2608.00001"}
    for paper in (0, -1, 2, 2**31, 2**63, 10**30):
        assert client.get(f"{path}/{paper}/page").status_code == 404


def test_the_host_that_was_asked_changes_nothing(reader: Reader) -> None:
    paths = ["/", "/link", "/api/docs", "/api/openapi.json", "/nowhere", "/u/x"]
    paths += [room.format(reader.tokens[purpose]) for room, (purpose, _) in reader.rooms().items()]
    plain = {path: reader.client.get(path) for path in paths}
    hosts = ["evil.example", "evil.example:80", "[::1", "", "a b", "news.example.org@evil", "x" * 3_000]
    for number, host in enumerate(hosts):
        headers = {
            "host": host,
            "x-forwarded-host": host,
            "x-forwarded-proto": "http",
            "forwarded": "host=evil.example",
        }
        for path in paths:
            odd = reader.client.get(path, headers=headers)
            assert (odd.status_code, odd.content) == (plain[path].status_code, plain[path].content), (path, host)
            assert odd.headers.get("location") == plain[path].headers.get("location")
        visitor(reader.app, f"203.0.113.{number + 50}", reader.client.app).post(
            "/subscribe", data={"email": f"late{number}@example.org"}, headers=headers
        )
        [mail] = mails_of(reader.app, f"late{number}@example.org")
        assert "evil" not in mail.as_string()


def test_a_change_of_address_names_nobody_else(reader: Reader) -> None:
    with reader.app.db.session() as session:
        names = {"old_email": "x@example.org", "new_email": "y@example.org"}
        change = AddressChange(subscriber_id=person(reader.app).id or 0, asked_at=reader.app.now(), **names)
        session.add(change)
        session.flush()
        token = reader.app.signer.sign(Purpose.NEW_ADDRESS, change.id or 0, now=reader.app.now())
    assert reader.client.post(f"/address/{token}").status_code == 404, "it was asked for under another address"
    assert person(reader.app).email == ADA

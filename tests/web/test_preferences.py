"""The preferences page: what is saved, refused, undone and shown again; on both databases where rows matter."""

import re
from datetime import date
from html.parser import HTMLParser
from itertools import product
from typing import Any

import pytest
from fakes import Clock
from fastapi.testclient import TestClient
from httpx2 import Response
from samples import HOSTILE, add_readers
from sqlmodel import select

from newsletter import steering
from newsletter.app import App
from newsletter.papers.pasted import read_pasted
from newsletter.signing import Purpose
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.changes.models import PreferenceChange
from newsletter.subscribers.models import Subscriber
from newsletter.subscribers.preferences import Preferences
from newsletter.web import create_web

Fields = dict[str, Any]
ALL: Fields = {
    "topics": ["proteins", "my own topic, with a comma"],
    "about": "I work on protein design, with diffusion models; on weekends I fish.",
    "keywords": "flow matching, C++, α-helix",
    "authors": "Ada Example, Bo Sample",
    "categories": "cs.LG, q-bio.BM",
    "mutes": "survey, Eve Other",
    "timezone": "America/Argentina/Buenos_Aires",
    "hour": "23",
    "cadence": "days",
    "weekdays": ["mon", "sun"],
    "bar": "0",
    "max_papers": "50",
    "language": "de",
    "tracking": "no",
    "source_news": "yes",
    "outside": "yes",
    "trending": "no",
}


BOXES = ("source_news", "outside")


class Form(HTMLParser):
    """What a browser would send if nobody touched the form with that action."""

    def __init__(self, page: str, action: str) -> None:
        super().__init__()
        self.action = action
        self.inside = False
        self.values: dict[str, list[str]] = {}
        self._select = self._text = ""
        self._options: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        if tag == "form":
            self.inside = has.get("action") == self.action
        if not self.inside:
            return
        name, value = has.get("name") or "", has.get("value") or ""
        if tag == "input" and name and (has.get("type") != "checkbox" or "checked" in has):
            self.values.setdefault(name, []).append(value)
        elif tag == "select":
            self._select, self._options = name, []
        elif tag == "option":
            self._options = [value] if "selected" in has else self._options or [value]
        elif tag == "textarea":
            self._text = name
            self.values[name] = [""]

    def handle_data(self, data: str) -> None:
        if self._text:
            self.values[self._text][0] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "select" and self._select:
            self.values[self._select] = self._options
            self._select = ""
        elif tag == "textarea" and self._text:  # a browser leaves out the line break after the tag
            self.values[self._text] = [self.values[self._text][0].removeprefix("\n")]
            self._text = ""
        elif tag == "form":
            self.inside = False


@pytest.fixture
def both(app_on_both: App) -> TestClient:
    return TestClient(create_web(app_on_both), follow_redirects=False)


@pytest.fixture
def client(app: App) -> TestClient:
    return TestClient(create_web(app), follow_redirects=False)


def link(app: App, id_: int) -> str:
    return f"/preferences/{app.signer.sign(Purpose.PREFERENCES, id_, now=app.now())}"


def person(app: App, id_: int) -> Subscriber:
    with app.db.snapshot() as session:
        found = subscribers.get(session, id_)
    assert found is not None
    return found


def wishes(app: App, id_: int) -> Preferences:
    return person(app, id_).preferences


def form(client: TestClient, path: str) -> dict[str, list[str]]:
    answer = client.get(path)
    assert answer.status_code == 200
    return Form(answer.text, path).values


def changes(app: App) -> list[int]:
    with app.db.snapshot() as session:
        return [each or 0 for each in session.exec(select(PreferenceChange.id).order_by(PreferenceChange.id))]  # type: ignore[arg-type]


def saved(answer: Response) -> int:
    assert answer.status_code == 303, answer.text
    path, _, number = answer.headers["location"].partition("?saved=")
    assert path.startswith("/preferences/")
    return int(number) if number.isdecimal() else 0


def wrong(answer: Response) -> dict[str, str]:
    return dict(re.findall(r'id="(\w+)-wrong">(.*?)</p>', answer.text, re.DOTALL))


def test_every_field_goes_from_the_form_to_the_database_and_back(app_on_both: App, both: TestClient) -> None:
    [id_] = add_readers(app_on_both, 1)
    path = link(app_on_both, id_)
    empty = form(both, path)
    assert set(empty) | {"topics", "weekdays"} == set(ALL), "a field that the page does not offer cannot be changed"
    number = saved(both.post(path, data=empty | ALL))
    kept = wishes(app_on_both, id_)
    assert kept.model_dump(mode="json") == {
        **ALL,
        "keywords": ["flow matching", "C++", "α-helix"],
        "authors": ["Ada Example", "Bo Sample"],
        "categories": ["cs.LG", "q-bio.BM"],
        "mutes": ["survey", "Eve Other"],
        "hour": 23,
        "bar": 0,
        "max_papers": 50,
        "tracking": False,
        "source_news": True,
        "outside": True,
        "trending": False,
    }
    page = both.get(f"{path}?saved={number}")
    again = Form(page.text, path).values
    for name, value in ALL.items():
        assert again[name] == ([value] if isinstance(value, str) else value) or name in BOXES
    assert [again[name] for name in BOXES] == [["no", "yes"]] * 2, "a box that is ticked comes after its no"
    assert saved(both.post(path, data=again)) == 0, "who saves an untouched form changes nothing"
    assert wishes(app_on_both, id_) == kept
    assert len(changes(app_on_both)) == 1


@pytest.mark.parametrize(
    "wish",
    [
        {"timezone": "US/Eastern"},
        {"timezone": "Etc/GMT+5"},
        {"mutes": ("Smith, John",)},
        {"keywords": ("in vitro, in vivo", "another")},
        {"topics": ("a topic of their own", "<b>&amp, commas")},
        {"about": "\"quoted\" & <tagged> 'text'"},
    ],
    ids=str,
)
def test_saving_an_untouched_form_changes_nothing_whatever_was_wished_elsewhere(
    app: App, client: TestClient, wish: Fields
) -> None:
    [id_] = add_readers(app, 1, **wish)
    before, path = wishes(app, id_), link(app, id_)
    assert saved(client.post(path, data=form(client, path))) == 0
    assert wishes(app, id_) == before


BAD: list[tuple[str, Fields]] = [
    ("hour", {"hour": "24"}),
    ("bar", {"bar": "101"}),
    ("bar", {"bar": "-1"}),
    ("max_papers", {"max_papers": "0"}),
    ("max_papers", {"max_papers": "51"}),
    ("max_papers", {"max_papers": "9" * 5_000}),
    ("timezone", {"timezone": "Mars/Phobos"}),
    ("language", {"language": "xx"}),
    ("cadence", {"cadence": "hourly"}),
    ("weekdays", {"cadence": "days", "weekdays": []}),
    ("weekdays", {"weekdays": ["mon", "noday"]}),
    ("keywords", {"keywords": ",".join(f"word{n}" for n in range(101))}),
    ("keywords", {"keywords": "k" * 101}),
    ("authors", {"authors": "a" * 4_001}),
    ("mutes", {"mutes": "m" * 101}),
    ("about", {"about": "a" * 1_001}),
    ("topics", {"topics": [f"topic {n}" for n in range(101)]}),
    ("topics", {"topics": ["t" * 101]}),
]


@pytest.mark.parametrize(("name", "typed"), BAD, ids=[f"{name} {number}" for number, (name, _) in enumerate(BAD)])
def test_a_bad_value_is_named_at_its_field_and_all_that_was_typed_is_still_there(
    app: App, client: TestClient, name: str, typed: Fields
) -> None:
    [id_] = add_readers(app, 1, topics=("proteins",))
    before, path = wishes(app, id_), link(app, id_)
    answer = client.post(path, data=ALL | {"weekdays": ["tue"]} | typed)
    assert answer.status_code == 400
    assert set(wrong(answer)) == {name}
    assert re.search(rf'id="{name}"[^>]*aria-describedby="[^"]*{name}-wrong"[^>]*aria-invalid', answer.text)
    again = Form(answer.text, path).values
    for field, value in (ALL | {"weekdays": ["tue"]} | typed).items():
        if field in {"about", "keywords", "authors", "categories", "mutes", "bar", "max_papers"}:
            assert again[field] == [value]
        elif field != name:
            assert again.get(field, [])[-1:] == ([value] if isinstance(value, str) else value)[-1:]
    assert wishes(app, id_) == before
    assert changes(app) == []


def test_hostile_texts_stay_texts_in_every_field(app_on_both: App, both: TestClient) -> None:
    [id_] = add_readers(app_on_both, 1)
    path = link(app_on_both, id_)
    for hostile, name in product(HOSTILE, ("about", "keywords", "authors", "categories", "mutes", "topics")):
        answer = both.post(path, data={name: hostile})
        good = answer.status_code == 303
        page = both.get(path).text if good else answer.text
        assert "<script>alert" not in page
        assert "<img" not in page
        again = Form(page, path).values
        if good:
            assert wishes(app_on_both, id_).model_dump()[name]
            assert saved(both.post(path, data=again)) == 0, f"what is shown is what is kept: {hostile[:20]!r}"
            assert both.get(f"{path}/export").json()["subscriber"][name]
        else:
            assert set(wrong(answer)) == {name}
            assert name == "topics" or again[name] != [""]


def test_a_change_can_be_undone_and_the_undoing_too(app_on_both: App, both: TestClient) -> None:
    [id_] = add_readers(app_on_both, 1, topics=("proteins",), cadence="weekly")
    path = link(app_on_both, id_)
    first = wishes(app_on_both, id_)
    number = saved(both.post(path, data=ALL))
    second = wishes(app_on_both, id_)
    banner = both.get(f"{path}?saved={number}").text
    assert f'action="{path}/undo"' in banner
    assert saved(both.post(f"{path}/undo", data=Form(banner, f"{path}/undo").values)) == 0
    assert wishes(app_on_both, id_) == first
    assert f'action="{path}/undo"' not in both.get(f"{path}?saved={number}").text, "the same undo is over"
    assert both.post(f"{path}/undo", data={"change": number}).status_code == 200
    assert wishes(app_on_both, id_) == first, "pressing twice is the same as once"
    assert saved(both.post(f"{path}/undo", data={"change": changes(app_on_both)[-1]})) == 0
    assert wishes(app_on_both, id_) == second


def test_only_the_last_change_can_be_undone_and_only_by_its_reader(app_on_both: App, both: TestClient) -> None:
    ada, bob = add_readers(app_on_both, 2, topics=("proteins",))
    path, other = link(app_on_both, ada), link(app_on_both, bob)
    older = saved(both.post(path, data={"topics": ["robotics"]}))
    bobs = saved(both.post(other, data={"topics": ["vision"]}))
    newer = saved(both.post(path, data={"topics": ["robotics", "vision"]}))
    for number in (older, bobs, 0, -newer, 10**6, 2**31, 10**16, "x", "", f"{newer}\x00", f"{newer}.0"):
        answer = both.post(f"{path}/undo", data={"change": str(number)})
        assert answer.status_code == 200
        assert wishes(app_on_both, ada).topics == ("robotics", "vision")
    both.post(f"{path}/undo", data={"change": bobs})
    assert wishes(app_on_both, bob).topics == ("vision",)


def test_undo_puts_a_pause_back_exactly(app_on_both: App, both: TestClient, clock: Clock) -> None:
    [id_] = add_readers(app_on_both, 1, timezone="Pacific/Kiritimati")
    path = link(app_on_both, id_)

    def pause() -> tuple[date | None, date | None]:
        found = person(app_on_both, id_)
        return found.paused_from, found.paused_until

    def undo() -> None:
        saved(both.post(f"{path}/undo", data={"change": changes(app_on_both)[-1]}))

    both.post(f"{path}/pause", data={"until": "2026-08-20"})
    paused = date(2026, 8, 5), date(2026, 8, 20)
    assert pause() == paused
    undo()
    assert pause() == (None, None)
    undo()
    assert pause() == paused
    clock.forward(days=3)
    saved(both.post(path, data={"topics": ["robotics"]}))
    undo()
    assert (pause(), wishes(app_on_both, id_).topics) == (paused, ())
    both.post(f"{path}/pause", data={"resume": "1"})
    assert pause() == (paused[0], date(2026, 8, 8))
    undo()
    assert pause() == paused


def test_a_number_that_means_nothing_is_harmless(app: App, client: TestClient) -> None:
    [id_] = add_readers(app, 1)
    path = link(app, id_)
    client.post(path, data={"topics": ["robotics"]})
    for number in ("nonsense", "-1", "0", "9" * 17, "9" * 30, "1' OR 1=1", "²", "٣", "%00", "<script>"):
        answer = client.get(path, params={"saved": number})
        assert answer.status_code == 200
        assert f"{path}/undo" not in answer.text


def test_of_two_tabs_the_last_one_counts_and_the_first_cannot_undo_it(app_on_both: App, both: TestClient) -> None:
    [id_] = add_readers(app_on_both, 1)
    path = link(app_on_both, id_)
    one, two = form(both, path), form(both, path)
    first = saved(both.post(path, data=one | {"topics": ["robotics"]}))
    second = saved(both.post(path, data=two | {"hour": "9"}))
    kept = wishes(app_on_both, id_)
    assert (kept.topics, kept.hour) == ((), 9)
    refused = both.post(f"{path}/undo", data={"change": first})
    assert refused.status_code == 200
    assert "changed again meanwhile" in refused.text
    assert wishes(app_on_both, id_) == kept
    saved(both.post(f"{path}/undo", data={"change": second}))
    assert wishes(app_on_both, id_).topics == ("robotics",)


def test_a_day_that_cannot_be_paused_until_is_said_at_its_field(app: App, client: TestClient) -> None:
    [id_] = add_readers(app, 1)
    for until in ("2026-08-05", "2026-08-04", "2027-08-07", "0001-01-01", "9999-12-31", "", "soon", "x" * 9_000):
        answer = client.post(f"{link(app, id_)}/pause", data={"until": until})
        assert (answer.status_code, set(wrong(answer))) == (400, {"until"})
        assert person(app, id_).paused_until is None


def test_what_was_typed_is_still_there_after_a_wrong_day(app: App, client: TestClient) -> None:
    [id_] = add_readers(app, 1)
    answer = client.post(f"{link(app, id_)}/pause", data={"until": "2026-08-01"})
    assert 'value="2026-08-01"' in answer.text


def test_a_number_that_no_row_can_have_is_no_failure(app_on_both: App, both: TestClient) -> None:
    [id_] = add_readers(app_on_both, 1)
    for room, number in product(("papers", "undo", "pause"), (2**31, 10**16, 10**17, 10**40)):
        fields = dict.fromkeys(("drop", "restore", "change", "until"), str(number))
        assert both.post(f"{link(app_on_both, id_)}/{room}", data=fields).status_code in {200, 400}


def test_a_form_that_is_none_changes_nothing_and_is_no_failure(app: App, client: TestClient) -> None:
    [id_] = add_readers(app, 1, topics=("proteins",))
    before, path = person(app, id_), link(app, id_)
    bodies: list[Fields] = [
        {"content": b"\xff\xfe\x00", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"content": b"a=b", "headers": {"content-type": "application/x-www-form-urlencoded; charset=undefined"}},
        {"data": {f"f{n}": "x" for n in range(500)}},
        {"files": {"topics": ("a.bin", b"\x00" * 10)}},
        {"content": b"x" * 600_000},
        {},
    ]
    for room, body in product(("", "/undo", "/papers", "/pause", "/address", "/erase"), bodies):
        assert client.post(path + room, **body).status_code in {200, 400, 413}
        assert person(app, id_) == before
    for elsewhere in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example.net"}):
        assert client.post(path, data={"topics": ["a"]}, headers=elsewhere).status_code == 403


def test_looking_changes_nothing(app_on_both: App, both: TestClient) -> None:
    [id_] = add_readers(app_on_both, 1)
    before, path = person(app_on_both, id_).model_dump(), link(app_on_both, id_)
    for room in ("", "?saved=1", "/export", "/undo", "/papers", "/pause?until=2026-08-20", "/links", "/erase?sure=yes"):
        for method in ("GET", "HEAD"):
            assert both.request(method, path + room).status_code in {200, 303}
    assert person(app_on_both, id_).model_dump() == before
    assert changes(app_on_both) == []


def test_the_page_speaks_the_readers_language_whatever_the_browser_says(app: App, client: TestClient) -> None:
    german, english = add_readers(app, 1, prefix="de", language="de") + add_readers(app, 1, prefix="en")
    for accepted in ("en", "de", "fr;q=0.5, en"):
        header = {"accept-language": accepted}
        assert '<html lang="de"' in client.get(link(app, german), headers=header).text
        assert '<html lang="en"' in client.get(link(app, english), headers=header).text
        assert "nicht zwischen" in wrong(client.post(link(app, german), data={"hour": "77"}, headers=header))["hour"]
        for room, fields in (("undo", {"change": "1"}), ("address", {"email": "de0@example.org"}), ("erase", {})):
            page = client.post(f"{link(app, german)}/{room}", data=fields, headers=header).text
            assert not re.search(r"changed again|your address|Please|already", page)
    assert '<html lang="de"' in client.get("/preferences/x", headers={"accept-language": "de"}).text


def test_all_that_was_said_of_papers_is_shown_a_page_at_a_time(app: App) -> None:
    [id_] = add_readers(app, 1)
    client, path = TestClient(create_web(app)), link(app, id_)
    for first in (0, 200):
        steering.like(app, id_, read_pasted("\n".join(f"10.1000/x{n}" for n in range(first, first + 200))).papers)
    seen, next_ = [], path
    for _ in range(4):
        page = client.get(next_).text
        found = re.findall(r">10\.1000/x(\d+)<", page)
        assert len(found) == 100
        seen += found
        older = re.search(r'href="([^"]+older=\d+)#', page)
        next_ = older[1] if older else ""
    assert next_ == ""
    assert seen == [str(n) for n in reversed(range(400))]
    assert client.get(path, params={"older": "x" * 50}).status_code == 200
    second = {"older": re.findall(r'value="(\d+)" id="do-', client.get(path).text)[-1]}
    dropped = re.findall(r'value="(\d+)" id="do-', client.get(path, params=second).text)[3]
    page = client.post(f"{path}/papers", data=second | {"drop": dropped}).text
    assert 'class="back"' in page, "it can be put back where it was"
    undo = dict(re.findall(r'name="(restore|older)" value="(\d+)"', page))
    assert undo == second | {"restore": dropped}
    client.post(f"{path}/papers", data=undo)
    assert f'value="{dropped}" id="do-' in client.get(path, params=second).text


def test_what_cannot_be_read_of_a_paste_is_said_in_the_readers_language(app: App) -> None:
    [id_] = add_readers(app, 1, language="de")
    page = TestClient(create_web(app)).post(f"{link(app, id_)}/papers", data={"papers": "https://example.org/x\nx"})
    assert "„https://example.org/x“: keine arXiv-Nummer und keine DOI darin." in page.text
    assert "„x“: keine Nummer, keine Adresse und kein Titel." in page.text

"""The preview over HTTP: everything there is, judged, and anew whenever a template is saved."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import NOW, ROOT
from fastapi.testclient import TestClient

from newsletter.app import App, build_app
from newsletter.delivery.lint import RULES
from newsletter.delivery.models import Mail
from newsletter.preview import Gallery, create_preview
from newsletter.preview.shown import show
from newsletter.settings import Settings
from newsletter.specimens import Specimen, specimens

MAKE_APP = Callable[..., App]
_PICTURE = (
    b'<html><body><img src="https://a.example/x.png" alt=""><img src="//b.example/y"><img src="x:y;z"></body></html>'
)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, App]]:
    """A preview of all mails, on no database at all."""
    nowhere = tmp_path_factory.mktemp("nowhere") / "not" / "there.db"
    loaded = Settings(
        _env_file=None,
        database_url=f"sqlite:///{nowhere}",
        secret_key="a key for tests",
        base_url="https://news.example.org",
        postal_address="Example Lab, 1 Long Street, Town",
    )
    app = build_app(loaded, now=lambda: NOW)
    gallery = Gallery(app, None)
    yield TestClient(create_preview(gallery)), app
    gallery.close()
    app.close()
    assert not nowhere.exists()


def put(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_all_forms_of_all_mails_are_shown(everything: tuple[TestClient, App]) -> None:
    client, app = everything
    index = client.get("/").text
    assert "wrong" not in index, "all of ours are good"
    for mail in Mail:
        for each in specimens(app, mail):
            shown = show(each)
            path = f"/{mail}/{shown.name}"
            assert f'href="{path}"' in index
            page = client.get(path)
            assert page.status_code == 200
            for width in (640, 360):
                assert f'src="{path}/html?scheme=light" width="{width}"' in page.text
            assert f"{shown.html_bytes:,}".replace(",", "\u202f") + " of 81\u202f920 bytes" in page.text
            assert f"{len(each.message):,}".replace(",", "\u202f") + " bytes" in page.text
            assert page.text.count('<span class="good">ok</span>') > len(RULES) / 2
            assert all(rule.name in page.text for rule in RULES)
            assert client.get(f"{path}/html").text == shown.mail.html
            source = client.get(f"{path}/mail.eml")
            assert (source.content, source.headers["content-type"]) == (each.message, "message/rfc822")


def test_nothing_runs_in_a_mail_and_nothing_is_loaded_but_what_it_names(everything: tuple[TestClient, App]) -> None:
    client, _ = everything
    for name, pictures in (("ten-papers", "https://news.example.org"), ("hostile", "'none'")):
        policy = client.get(f"/digest/{name}/html").headers["content-security-policy"].split("; ")
        assert policy[0] == "default-src 'none'"
        assert f"img-src {pictures}" in policy
        assert "sandbox allow-same-origin" in policy
        assert not [each for each in policy if "script" in each]
    page = client.get("/digest/hostile")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert page.text.count('sandbox="allow-same-origin"') == page.text.count("<iframe ") == 2
    assert page.text.count("<script") == 1


def test_a_policy_holds_only_addresses(app: App) -> None:
    message = b"Content-Type: text/html\r\n\r\n" + _PICTURE
    assert show(Specimen("x", message, app.about())).pictures == ["https://a.example"]


def test_a_mail_is_shown_light_and_dark_whatever_the_browser_is(everything: tuple[TestClient, App]) -> None:
    client, _ = everything
    texts = {scheme: client.get(f"/digest/ten-papers/html?scheme={scheme}").text for scheme in ("light", "dark", "x")}
    assert "prefers-color-scheme" in texts["x"]
    assert "prefers-color-scheme" not in texts["light"] + texts["dark"]
    assert "@media (min-width:0)" in texts["dark"]
    assert "@media (max-width:0)" in texts["light"]
    assert 'href="/digest/ten-papers?scheme=dark" aria-current="true"' in client.get(
        "/digest/ten-papers?scheme=dark"
    ).text  # fmt: skip


@pytest.mark.parametrize("path", ["/nowhere", "/nowhere/x", "/digest/nowhere", "/digest/nowhere/html", "/welcome/x/y"])
def test_what_there_is_not_is_said_on_a_page(everything: tuple[TestClient, App], path: str) -> None:
    answer = everything[0].get(path)
    assert answer.status_code == 404
    assert "There is no such mail" in answer.text


def test_a_page_is_anew_as_soon_as_a_template_is_saved_broken_or_mended(app: App, tmp_path: Path) -> None:
    own = tmp_path / "own"
    put(own, "email/link/subject.txt", "Hello\n{% if %}")
    gallery = Gallery(app, own, [Mail.LINK, Mail.MOVED])
    client = TestClient(create_preview(gallery))
    steps = [
        ("Hello\n{% if %}", "subject.txt, line 2: Expected an expression"),
        ("Hello from {{ site.name }}", "Hello from Daily Papers"),
        ("Hello\n{{ nope }}", "line 2: there is no nope"),
        ("Hello\n\n{{ 'a' | center(10**9) }}", "line 3: a number above 1,048,576"),
        ("Hello {{ site.name }}!", "Hello Daily Papers!"),
    ]
    seen: set[str] = set()
    for text, says in steps:
        put(own, "email/link/subject.txt", text)
        version = client.get("/version").json()["version"]
        assert version not in seen
        seen.add(version)
        page = client.get("/link/mail")
        assert page.status_code == 200
        assert f'data-version="{version}"' in page.text
        assert says in page.text.replace("&#39;", "'")
        assert says in client.get("/").text.replace("&#39;", "'")
    gallery.close()


def test_a_touched_file_is_a_saved_one_and_nothing_else_is(app: App, tmp_path: Path) -> None:
    put(tmp_path / "own", "email/link/subject.txt", "Hello")
    gallery = Gallery(app, tmp_path / "own")
    before = gallery.version()
    assert gallery.version() == before
    os.utime(tmp_path / "own/email/link/subject.txt", (1, 1))
    touched = gallery.version()
    put(tmp_path / "own", "email/link/body.txt", "Hello")
    assert len({before, touched, gallery.version()}) == 3
    put(tmp_path / "own", "email/link/.body.txt.swp", "half")
    (tmp_path / "own/email/link/body.txt").unlink()
    assert gallery.version() == touched
    assert Gallery(app, None).version() != touched


def test_one_broken_mail_leaves_the_others_to_be_seen(app: App, tmp_path: Path) -> None:
    body = (ROOT / "templates/email/moved/body.txt").read_text(encoding="utf-8")
    put(tmp_path / "own", "email/moved/body.txt", body + "{{ 'a' * 10**10 }}")
    gallery = Gallery(app, tmp_path / "own", [Mail.LINK, Mail.MOVED])
    client = TestClient(create_preview(gallery))
    assert "moved cannot be printed" in client.get("/moved/mail").text
    assert "Your link to" in client.get("/link/mail").text
    gallery.close()

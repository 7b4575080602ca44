"""Is the process up, and can it do its work."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from newsletter.app import App
from newsletter.migrate import migrate
from newsletter.web import create_web


def browse(app: App) -> TestClient:
    return TestClient(create_web(app), follow_redirects=False, raise_server_exceptions=False)


def test_a_good_installation_is_alive_and_ready(make_app: Callable[..., App], database_url: str) -> None:
    client = browse(make_app(database_url))
    for path, said in (("/healthz", "ok\n"), ("/readyz", "ready\n")):
        answer = client.get(path)
        assert (answer.status_code, answer.text) == (200, said)
        assert answer.headers["cache-control"] == "no-store"
        assert client.head(path).status_code == 200


def test_without_tables_it_is_alive_but_not_ready_until_they_are_made(
    make_app: Callable[..., App], tmp_path: Path
) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'empty.db'}")
    client = browse(app)
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    migrate(app.db)
    assert client.get("/readyz").status_code == 200


def test_tables_of_another_version_are_not_ready(app: App) -> None:
    with app.db.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert browse(app).get("/readyz").status_code == 503


@pytest.mark.parametrize(
    "url", ["sqlite:////proc/nowhere.db", "postgresql://somebody:hunter2@127.0.0.1:1/secretdb?connect_timeout=2"]
)
def test_a_database_that_does_not_answer_is_said_without_its_name(
    make_app: Callable[..., App], sqlite_url: str, url: str
) -> None:
    client = browse(make_app(url))
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.text == "not ready, see the log\n"
    assert client.head("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_a_database_that_comes_back_is_ready_again(make_app: Callable[..., App], postgresql_url: str) -> None:
    app = make_app(postgresql_url)
    client = browse(app)
    assert client.get("/readyz").status_code == 200
    other = make_app(postgresql_url)
    with other.db.engine.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert client.get("/readyz").status_code == 200

"""A real App on a fresh database for each test, on SQLite and on PostgreSQL."""

import gc
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import freezegun
import pytest
import structlog
from dkim_keys import OPENDKIM
from fakes import Clock, HuggingFaceServer, SmtpServer
from hypothesis import settings as hypothesis_settings
from servers import BROWSER, database, postgresql, valkey
from sources import ArxivServer, SourceServer

from newsletter.app import App, build_app
from newsletter.cli import main
from newsletter.db import Database
from newsletter.migrate import migrate
from newsletter.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
NOW = datetime(2026, 8, 5, 9, 0, tzinfo=UTC)

# Looking through every loaded module for clocks takes a fifth of a second; these read none of ours.
freezegun.configure(
    extend_ignore_list=["sqlalchemy", "numpy", "scipy", "celery", "kombu", "pydantic", "hypothesis", "playwright"]
)
hypothesis_settings.register_profile("suite", max_examples=25, deadline=None)
hypothesis_settings.register_profile("thorough", max_examples=1_000, deadline=None)
hypothesis_settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    """Compile each module once, also for those who want no bytecode beside their sources: it goes into pytest's cache.

    Else each process compiles all that it imports: half a minute for each worker, two seconds for each command.
    """
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        os.environ.setdefault("PYTHONPYCACHEPREFIX", str(config.rootpath / ".pytest_cache" / "bytecode"))
        sys.dont_write_bytecode, sys.pycache_prefix = False, os.environ["PYTHONPYCACHEPREFIX"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the browser's tests, which one process does for long; without Chromium leave them out, and say so."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is None)
    for item in items:
        if not BROWSER and item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason="no Chromium on this machine"))


def pytest_collection_finish() -> None:
    """Let the collector of garbage pass over what stays until the end: libraries, and thousands of tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def pytest_report_header() -> list[str]:
    """Say which browser the tests drive, and whether there is a second opinion on signatures."""
    return [
        f"browser: {BROWSER or 'none found: BROWSER TESTS ARE LEFT OUT (install chromium to run them)'}",
        f"opendkim: {OPENDKIM or 'none found: SIGNATURES ARE VERIFIED BY DKIMPY ALONE (install opendkim)'}",
    ]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the developer's settings and files out of the tests."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "empty.db"
    db = Database(f"sqlite:///{path}")
    migrate(db)
    with db.engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    db.dispose()
    return path


@pytest.fixture(scope="session")
def _postgresql() -> Iterator[str]:
    with postgresql() as url:
        db = Database(url.format(name="template1"))
        migrate(db)
        db.dispose()
        yield url


@pytest.fixture
def postgresql_url(_postgresql: str) -> Iterator[str]:
    """A fresh, migrated database on a real PostgreSQL."""
    with database(_postgresql) as url:
        yield url


@pytest.fixture
def sqlite_url(_migrated_sqlite: Path, tmp_path: Path) -> str:
    """A fresh, migrated SQLite file."""
    shutil.copy(_migrated_sqlite, tmp_path / "newsletter.db")
    return f"sqlite:///{tmp_path / 'newsletter.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Both databases, one after the other."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def clock() -> Clock:
    """A clock at nine in the morning, UTC, of 5 August 2026, a Wednesday."""
    return Clock(NOW)


@pytest.fixture
def make_app(clock: Clock, tmp_path: Path) -> Iterator[Callable[..., App]]:
    """Build apps that are closed when the test ends."""
    apps: list[App] = []

    def make(database_url: str, *, now: Callable[[], datetime] = clock, **settings: Any) -> App:
        defaults = {
            "secret_key": "a key for tests",
            "outbox_dir": tmp_path / "outbox",
            "base_url": "https://news.example.org",
        }
        loaded = Settings(_env_file=None, database_url=database_url, **(defaults | settings))
        apps.append(build_app(loaded, now=now))
        return apps[-1]

    yield make
    for app in apps:
        app.close()


@pytest.fixture
def app(make_app: Callable[..., App], sqlite_url: str) -> App:
    """An app on SQLite with an outbox, for what does not touch the database's own ways."""
    return make_app(sqlite_url)


@pytest.fixture
def app_on_both(make_app: Callable[..., App], database_url: str) -> App:
    """An app with an outbox on both databases."""
    return make_app(database_url)


@pytest.fixture
def huggingface() -> Iterator[HuggingFaceServer]:
    """A local server that answers as the source does."""
    with HuggingFaceServer().serving() as server:
        yield server


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    """A local relay."""
    with SmtpServer().serving() as server:
        yield server


@pytest.fixture
def broker_url(tmp_path: Path) -> Iterator[str]:
    """A real Valkey."""
    with valkey(tmp_path) as url:
        yield url


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``newsletter …`` as a person would, in a process of its own."""

    def run(*args: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        named = {PREFIX + name.upper(): value for name, value in environment.items()}
        return subprocess.run(
            [str(Path(sys.executable).parent / "newsletter"), *args],
            capture_output=True,
            text=True,
            input=stdin,
            cwd=tmp_path,
            env=kept | {"NO_COLOR": "1", "COLUMNS": "200"} | named,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def command_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run ``newsletter …`` in this process: what a process of its own shows, without its two seconds."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        named = {PREFIX + name.upper(): value for name, value in environment.items()}
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            patch.setattr(sys, "argv", ["newsletter", *args])
            for name, value in ({"NO_COLOR": "1", "COLUMNS": "200"} | named).items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(args, int(ended.value.code or 0), said.out, said.err)

    yield run
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def arxiv() -> Iterator[ArxivServer]:
    """A local server that answers as arXiv does."""
    with ArxivServer().serving() as server:
        yield server  # type: ignore[misc]


@pytest.fixture
def web_server() -> Iterator[SourceServer]:
    """A local server that answers as it is told."""
    with SourceServer().serving() as server:
        yield server

"""The database's clock is everybody's."""

from datetime import timedelta

import freezegun
import pytest
from conftest import NOW

from newsletter import clock, logs
from newsletter.app import build_app
from newsletter.db import Database
from newsletter.settings import Settings
from newsletter.timekeeping import DatabaseClock


@pytest.mark.parametrize("hours", [2, -2])
def test_on_postgresql_a_machine_whose_clock_is_wrong_goes_by_the_databases(
    postgresql_url: str, capfd: pytest.CaptureFixture[str], hours: int
) -> None:
    true = clock.now()
    logs.configure("WARNING")
    app = build_app(Settings(_env_file=None, database_url=postgresql_url, secret_key="a key for tests"))
    with freezegun.freeze_time(true + timedelta(hours=hours)):
        for _ in range(2):
            assert abs(app.now() - true) < timedelta(minutes=5)
    assert capfd.readouterr().err.count("clock differs") == 1
    app.close()


def test_on_sqlite_the_machines_clock_counts(sqlite_url: str) -> None:
    app = build_app(Settings(_env_file=None, database_url=sqlite_url, secret_key="a key for tests"))
    with freezegun.freeze_time(NOW):
        assert app.now() == NOW
    app.close()


def test_while_the_database_is_away_time_goes_on(postgresql_url: str) -> None:
    db = Database(postgresql_url.replace("host=/", "host=/nowhere/"))
    now = DatabaseClock(db)
    assert abs(now() - clock.now()) < timedelta(minutes=5)
    db.dispose()

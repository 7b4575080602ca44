"""`newsletter run`: one process, no broker, from the web form to the reader's first issue."""

import email
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from email import policy
from email.message import EmailMessage
from pathlib import Path

import pytest
import requests
from fakes import Session, SmtpServer, free_port
from samples import add_papers, add_readers, open_and_queue, record
from sqlmodel import select

from newsletter import clock, pipeline
from newsletter.app import App
from newsletter.delivery.models import Delivery
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import State

NEWSLETTER = Path(sys.executable).parent / "newsletter"


def test_one_process_mails_who_is_queued_and_takes_a_new_reader_from_the_form_to_their_first_issue(
    make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer
) -> None:
    app = make_app(sqlite_url, now=clock.now)
    add_papers(app, [record(number, f"Diffusion number {number}", listed_at=clock.now()) for number in range(1, 4)])
    add_readers(app, 1, hour=clock.now().hour)  # due now, at whatever time of day the suite runs
    pipeline.tick(app)  # the schedule's own comes once a minute
    port = free_port()
    settings = {"DATABASE_URL": sqlite_url, "SMTP_URL": smtp.url, "PORT": str(port), "SECRET_KEY": "a key for tests",
                "BASE_URL": f"http://127.0.0.1:{port}", "SOURCES": ""}  # fmt: skip
    environment = os.environ | {f"NEWSLETTER_{name}": value for name, value in settings.items()}
    with subprocess.Popen([str(NEWSLETTER), "run"], env=environment, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        try:
            assert "listening" in running.stderr.readline()
            until(lambda: smtp.recipients() == ["reader0@example.org"])
            session = requests.Session()
            retry = requests.adapters.Retry(total=40, backoff_factor=0.05)
            session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retry))
            form = {"email": "ada@example.org", "topics": "diffusion", "keywords": "flow matching"}
            assert session.post(f"http://127.0.0.1:{port}/subscribe", data=form, timeout=10).status_code == 200
            until(lambda: len(smtp.accepted) == 2)
            link = re.search(r"http://\S+/confirm/\S+", text_of(smtp.accepted[1].data))
            assert link is not None
            assert session.post(link[0], timeout=10).status_code == 200
            until(lambda: len(smtp.accepted) == 3)
        finally:
            running.send_signal(signal.SIGTERM)
            assert running.wait(timeout=30) == 0
    assert "matches “diffusion”" in text_of(smtp.accepted[2].data)
    with app.db.snapshot() as read:
        person = subscribers.find(read, "ada@example.org")
        assert person is not None
        assert person.state == State.ACTIVE
        assert [row.state for row in read.exec(select(Delivery))] == ["sent"] * 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_deploy_in_the_middle_of_an_issue_leaves_nothing_unknown(
    number: signal.Signals, make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer
) -> None:
    app = make_app(sqlite_url, now=clock.now)
    add_papers(app, [record(number_, listed_at=clock.now()) for number_ in range(1, 4)])
    add_readers(app, 40)
    issue = open_and_queue(app)
    running: list[subprocess.Popen[str]] = []
    told: list[bool] = []

    def stop_at_the_tenth(step: str, _session: Session) -> str | None:
        if step == "dot" and len(smtp.accepted) >= 10 and not told:  # two at once may take it from nine to eleven
            told.append(True)
            running[0].send_signal(number)
        if len(smtp.accepted) >= 10:
            threading.Event().wait(0.1)  # a relay that takes its time
        return None

    smtp.script = stop_at_the_tenth
    settings = {
        "DATABASE_URL": sqlite_url,
        "SMTP_URL": smtp.url,
        "PORT": str(free_port()),
        "SECRET_KEY": "a key for tests",
        "SOURCES": "",
    }
    environment = os.environ | {f"NEWSLETTER_{name}": value for name, value in settings.items()}
    with smtp._lock:
        running.append(
            subprocess.Popen([str(NEWSLETTER), "run"], env=environment, stderr=subprocess.DEVNULL, text=True)
        )
    assert running[0].wait(timeout=60) == 0
    with app.db.snapshot() as read:
        states = Counter(row.state for row in read.exec(select(Delivery).where(Delivery.issue_id == issue.id)))
    assert states["sent"] == len(smtp.accepted) < 40
    assert set(states) <= {"sent", "queued", "deferred"}, states


def test_a_port_that_is_taken_is_named(
    tmp_path: Path, smtp: SmtpServer, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = command("run", port=str(smtp.server_address[1]), sources="")
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"smtp_url": "smtp://user:hush@host:99999"}, "NEWSLETTER_SMTP_URL"),
        ({"base_url": "news.example.org"}, "NEWSLETTER_BASE_URL"),
        ({"sender": "nobody"}, "NEWSLETTER_SENDER"),
        ({"sources": "huggingfacee"}, "NEWSLETTER_SOURCES"),
        ({"window_days": "many"}, "NEWSLETTER_WINDOW_DAYS"),
        ({"database_url": "oracle://x"}, "NEWSLETTER_DATABASE_URL"),
        ({"secret_key": ","}, "NEWSLETTER_SECRET_KEY"),
        ({"templates_dir": "nowhere"}, "NEWSLETTER_TEMPLATES_DIR"),
    ],
)
def test_a_wrong_setting_is_named_without_a_traceback_or_a_secret(
    settings: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sqlite_url: str,
) -> None:
    from newsletter.cli import main

    settings = {"database_url": sqlite_url} | settings
    for name, value in settings.items():
        monkeypatch.setenv(f"NEWSLETTER_{name.upper()}", value)
    monkeypatch.setattr(sys, "argv", ["newsletter", "status"])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    assert ended.value.code == 1
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert "hush" not in shown.err
    assert not shown.out


def test_a_typo_in_a_setting_is_pointed_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from newsletter.errors import SettingsError
    from newsletter.settings import load, unknown_variables

    assert unknown_variables({"NEWSLETTER_SMPT_URL": "x"}) == [
        "NEWSLETTER_SMPT_URL is not a setting; did you mean NEWSLETTER_SMTP_URL?"
    ]
    (tmp_path / ".env").write_text("NEWSLETTER_SMPT_URL=x\n")
    with pytest.raises(SettingsError, match="did you mean NEWSLETTER_SMTP_URL"):
        load()


def test_a_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from newsletter.settings import load

    (tmp_path / "secret").write_text("from a file\n")
    monkeypatch.setenv("NEWSLETTER_SECRET_KEY_FILE", str(tmp_path / "secret"))
    key = load().secret_key
    assert key is not None
    assert key.get_secret_value() == "from a file"


def message(data: bytes) -> EmailMessage:
    parsed = email.message_from_bytes(data, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def text_of(data: bytes) -> str:
    part = message(data).get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def until(done: Callable[[], bool], seconds: float = 120) -> None:
    ends, pause = clock.monotonic() + seconds, threading.Event()
    while not done():
        assert clock.monotonic() < ends, "it did not happen in time"
        pause.wait(0.05)

"""`newsletter demo` shows the main job, and with `--serve` every link in its mails works."""

import email
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from email import policy
from email.message import EmailMessage
from pathlib import Path

import requests
from fakes import free_port

NEWSLETTER = Path(sys.executable).parent / "newsletter"


def test_the_demo_mails_every_sample_reader_and_says_where_to_look(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    for _ in range(2):  # a second one begins anew
        done = command("demo", database_url="postgresql://nobody@127.0.0.1:1/nothing", smtp_url="smtp://127.0.0.1:1")
        assert done.returncode == 0, done.stderr
        assert "26 papers" in done.stdout
        assert "5 eligible: 5 sent" in done.stdout
    where = re.search(r"file://(\S+)", done.stdout)
    assert where is not None
    index = Path(where[1]).read_text(encoding="utf-8")
    assert "index.html" in index
    mails = sorted((tmp_path / "var/demo/outbox").glob("*/*.eml"))
    assert len(mails) == 5
    for path in mails:
        html, text = parts(path)
        assert set(re.findall(r"https://arxiv\.org/abs/[\d.]+", html)) == set(
            re.findall(r"https://arxiv\.org/abs/[\d.]+", text)
        )
        assert "Why:" in html
        assert "Why:" in text


def test_a_folder_that_is_no_demo_is_left_alone(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").write_text("x")
    done = command("demo", "--dir", "thesis")
    assert done.returncode == 1
    assert "holds no earlier demo" in done.stderr
    assert (tmp_path / "thesis/chapter.tex").exists()


def test_every_link_in_a_served_demo_works(tmp_path: Path) -> None:
    port = free_port()
    with subprocess.Popen(
        [str(NEWSLETTER), "demo", "--serve", "--port", str(port)],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as demo:
        assert demo.stderr is not None
        try:
            assert f"listening on http://127.0.0.1:{port}" in demo.stderr.readline()
            _wait_for(f"http://127.0.0.1:{port}/readyz")
            links = {
                link
                for path in (tmp_path / "var/demo/outbox").glob("*/*.eml")
                for part in parts(path)
                for link in addresses(part)
            }
            ours = {link for link in links if link.startswith(f"http://127.0.0.1:{port}/")}
            assert len(ours) > 100
            assert links == ours, "a tracked mail links to us only"
            for link in ours:
                answer = requests.get(link, allow_redirects=False, timeout=10)
                assert answer.status_code == (302 if "/c/" in link else 200), link
                if "/c/" in link:
                    assert answer.headers["location"].startswith("https://")
        finally:
            demo.send_signal(signal.SIGTERM)


def parts(path: Path) -> tuple[str, str]:
    message = email.message_from_bytes(path.read_bytes(), policy=policy.default)
    assert isinstance(message, EmailMessage)
    html, text = message.get_body(("html",)), message.get_body(("plain",))
    assert html is not None
    assert text is not None
    return html.get_content(), text.get_content()


def addresses(part: str) -> list[str]:
    """Return the links that a reader can press or a client may fetch."""
    found = re.findall(r'(?:href|src)="(https?://[^"]+)"', part)
    return found or re.findall(r"^.*?(https?://\S+)", part, re.MULTILINE)


def _wait_for(url: str) -> None:
    session = requests.Session()
    retry = requests.adapters.Retry(total=40, backoff_factor=0.05, status_forcelist=[503])
    session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retry))
    assert session.get(url, timeout=10).status_code == 200

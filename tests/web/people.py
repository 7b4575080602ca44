"""What people do and see in a browser."""

import email
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import policy
from email.message import EmailMessage
from typing import Any

import uvicorn
from fakes import Clock, SmtpServer
from fastapi import FastAPI
from playwright.sync_api import Page, expect
from samples import add_papers, open_and_queue, record

from newsletter import pipeline
from newsletter.app import App
from newsletter.web import create_web

ADA = "ada@example.org"
TITLES = (
    "Diffusion models for protein design",
    "Reasoning with less compute",
    "Robots that fold laundry",
    "Graph neural networks at scale",
    "Flow matching for proteins",
    "Language models that plan",
    "Segmenting cells in microscopy",
    "A benchmark of long-context retrieval",
    "Diffusion policies for robots",
    "Sparse autoencoders, interpreted",
    "Peptides from language models",
    "Speech without transcripts",
)


class Server(uvicorn.Server):
    """Tells when it has started."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextmanager
def serving(app: App, port: int) -> Iterator[None]:
    """Serve an app's pages until the block ends."""
    with listening(create_web(app), port):
        yield


@contextmanager
def listening(web: FastAPI, port: int) -> Iterator[None]:
    """Serve pages until the block ends."""
    server = Server(uvicorn.Config(web, host="127.0.0.1", port=port, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.ready.wait(20)
    yield
    server.should_exit = True
    thread.join(20)


def publish(app: App) -> None:
    """Pull a day's papers and open its issue."""
    add_papers(
        app,
        [
            record(
                number,
                title,
                abstract=f"{title} is what this paper is about. It says so in two sentences.",
                authors=["Ada Example", "Bela Muster"],
                categories=["cs.LG"],
                keywords=["peptides"] if "rotein" in title else [],
                code_url="https://example.org/code",
            )
            for number, title in enumerate(TITLES, start=1)
        ],
    )
    open_and_queue(app)


def mails(app: App, smtp: SmtpServer) -> list[EmailMessage]:
    """Deliver what is due, and return all that the relay was given, oldest first."""
    for issue_id in pipeline.sweep(app):
        pipeline.deliver(app, issue_id)
    found = []
    for each in smtp.accepted:
        mail = email.message_from_bytes(each.data, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        found.append(mail)
    return found


def text_of(mail: EmailMessage) -> str:
    """Return a mail's text part."""
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def links(mail: EmailMessage) -> Iterator[str]:
    """Yield every address in a mail's parts and headers."""
    for part in mail.walk():
        if part.get_content_maintype() == "text":
            yield from re.findall(r"https?://[^\s\"'<>]+", part.get_content())
    yield from re.findall(r"<(http[^>]+)>", mail["List-Unsubscribe"] or "")


def link(mail: EmailMessage, room: str, ending: str = "") -> str:
    """Return the first address of ours in a mail that leads to a room."""
    return next(each for each in links(mail) if f"/{room}/" in each and each.endswith(ending))


def press(page: Page, name: str) -> None:
    """Press a button, and wait for the page that answers, with all that it loads: styles too."""
    with page.expect_navigation():
        page.get_by_role("button", name=name).click()


def heading(page: Page, text: str) -> None:
    """Wait for a page by its heading."""
    expect(page.get_by_role("heading", level=1)).to_have_text(text)


def fill_in(page: Page, clock: Clock, address: str = ADA) -> None:
    """Give an address and a topic, as slowly as people do."""
    page.get_by_label("Email address").fill(address)
    page.get_by_label("proteins", exact=True).check()
    clock.forward(seconds=5)

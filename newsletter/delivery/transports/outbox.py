"""The outbox: each mail a file, with a page to browse them. Nothing leaves the machine."""

import email
import os
from collections.abc import Iterable
from email import policy
from email.parser import BytesHeaderParser
from html import escape
from pathlib import Path
from queue import SimpleQueue

from newsletter.delivery.retry import accepted
from newsletter.delivery.transports import Marks, Outgoing, Untried

_STYLE = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.5 }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid #8884; overflow-wrap: anywhere }
@media (max-width: 40rem) { tr, td { display: block; border: 0; padding: .2rem 0 } th { display: none } }
"""


class Outbox:
    """Writes ``<folder>/<delivery>.eml`` and, for browsers, the same mail's HTML part beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._touched: set[Path] = set()

    def deliver(self, batch: Iterable[Outgoing], marks: Marks) -> Untried:
        """Write each message under a temporary name, mark the handoff, and give it its name."""
        for outgoing in batch:
            folder = self.root / outgoing.folder
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / f"{outgoing.leased.id:08d}.eml"
            part = target.with_suffix(".part")
            _write(part, outgoing.message)
            answers: SimpleQueue[bool | Exception] = SimpleQueue()
            marks.handoff(outgoing, answers.put)
            ours = answers.get()
            if ours is not True:
                part.unlink(missing_ok=True)
                if isinstance(ours, Exception):
                    raise ours
                continue
            part.replace(target)
            target.with_suffix(".html").write_text(_html_part(outgoing.message), encoding="utf-8")
            self._touched.add(folder)
            marks.settle(outgoing, accepted(250, "written to the outbox"))
            marks.beat()
        return Untried()

    def finish(self) -> None:
        """Write the pages that list what is there."""
        for folder in sorted(self._touched):
            _write_index(folder)
        if self._touched:
            _write_root(self.root)
        self._touched.clear()

    def close(self) -> None:
        """Nothing stays open."""


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _html_part(message: bytes) -> str:
    parsed = email.message_from_bytes(message, policy=policy.default)
    part = parsed.get_body(("html",))
    return str(part.get_content()) if part else ""


def _write_index(folder: Path) -> None:
    rows = []
    for path in sorted(folder.glob("*.eml")):
        with path.open("rb") as file:  # only the head: a folder may hold very many mails
            head = BytesHeaderParser(policy=policy.default).parsebytes(file.read(4_096))
        size = path.stat().st_size
        subject, to = escape(str(head["subject"])), escape(str(head["to"]))
        file_cell = f'<a href="{path.name}">.eml</a>, {size / 1024:.0f} KiB'
        rows.append(f'<tr><td><a href="{path.stem}.html">{subject}</a></td><td>{to}</td><td>{file_cell}</td></tr>')
    _page(
        folder / "index.html",
        f"Mails of {folder.name}",
        "<tr><th>Subject</th><th>To</th><th>Message</th></tr>" + "".join(rows),
    )


def _write_root(root: Path) -> None:
    folders = sorted((path for path in root.iterdir() if (path / "index.html").is_file()), reverse=True)
    rows = []
    for path in folders:
        name, mails = escape(path.name), len(list(path.glob("*.eml")))
        rows.append(f'<tr><td><a href="{name}/index.html">{name}</a></td><td>{mails}</td></tr>')
    _page(root / "index.html", "Outbox", "<tr><th>Issue</th><th>Mails</th></tr>" + "".join(rows))


def _page(path: Path, title: str, rows: str) -> None:
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1><table>{rows}</table></html>",
        encoding="utf-8",
    )

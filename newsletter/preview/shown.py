"""What a page shows of a specimen. Pure."""

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from urllib.parse import urlsplit

from newsletter.delivery.lint import Opened, Verdict, lint
from newsletter.rendering.typeset import MAX_HTML_BYTES
from newsletter.specimens import Specimen

SCHEMES = ("light", "dark")
_DARK = re.compile(r"\(\s*prefers-color-scheme\s*:\s*(dark|light)\s*\)", re.IGNORECASE)
_BOTH = re.compile(r"(?<!supported-)color-scheme\s*:\s*light dark", re.IGNORECASE)
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d+)?")


@dataclass(frozen=True)
class Shown:
    """A specimen, opened, and what the rules say of it.

    :ivar name: of its form, as it stands in an address.
    """

    title: str
    name: str
    form: str
    mail: Opened
    verdicts: tuple[Verdict, ...]

    @property
    def subject(self) -> str:
        """The subject, decoded."""
        return self.mail.shown("Subject")

    @property
    def preheader(self) -> str:
        """What the list of mails shows beside the subject."""
        return " ".join(self.mail.page.hidden.split())

    @property
    def source(self) -> str:
        """The message as it goes over the wire."""
        return self.mail.raw.decode("utf-8", "replace").replace("\r\n", "\n")

    @cached_property
    def html_bytes(self) -> int:
        """How large the HTML is for who reads it."""
        return len(self.mail.html.encode())

    @property
    def html_share(self) -> float:
        """How much that is of what a mail may have, in percent."""
        return 100 * self.html_bytes / MAX_HTML_BYTES

    @property
    def text_bytes(self) -> int:
        """How large the text is."""
        return len(self.mail.text.encode())

    @property
    def faults(self) -> list[Verdict]:
        """The rules that find something wrong."""
        return [each for each in self.verdicts if each.faults]

    @cached_property
    def rooms(self) -> list[tuple[str, list[Verdict]]]:
        """All verdicts, by the first half of their rules' names."""
        rooms = groupby(self.verdicts, key=lambda each: each.rule.name.partition(".")[0])
        return [(room, list(verdicts)) for room, verdicts in rooms]

    @cached_property
    def pictures(self) -> list[str]:
        """Where the mail's pictures come from: what a browser that shows it may ask for them."""
        sources = (_origin(each.get("src")) for each in self.mail.page.named("img"))
        return sorted({each for each in sources if each})

    def html(self, scheme: str) -> str:
        """Return the HTML as a client that is light, or dark, reads it.

        :param scheme: one of `SCHEMES`; with any other it stays as it is, and goes by the browser.
        """
        if scheme not in SCHEMES:
            return self.mail.html
        html = _DARK.sub(lambda each: "(min-width:0)" if each[1].lower() == scheme else "(max-width:0)", self.mail.html)
        return _BOTH.sub(f"color-scheme: {scheme}", html)


def show(specimen: Specimen) -> Shown:
    """Return what there is to see of a specimen."""
    _, _, form = specimen.title.partition(", ")
    name = "-".join(re.findall(r"[a-z0-9]+", form.lower())) or "mail"
    opened = Opened(specimen.message, specimen.about)
    return Shown(specimen.title, name, form, opened, tuple(lint(specimen.message, specimen.about)))


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    origin = f"{parts.scheme}://{parts.netloc}"
    return origin if _ORIGIN.fullmatch(origin) else ""

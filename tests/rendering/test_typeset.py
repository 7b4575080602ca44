"""The joined message decodes to exactly what rendering the templates for that reader gives."""

import quopri
import re
from collections.abc import Sequence
from datetime import date
from functools import lru_cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import HOSTILE, record

from newsletter.issues.compose import DigestPick, Edition, Selection
from newsletter.issues.models import IssueCandidate
from newsletter.papers.models import MAX_ABSTRACT, MAX_TITLE, Paper
from newsletter.papers.textclean import clean
from newsletter.rendering.letterhead import Letterhead
from newsletter.rendering.links import Links
from newsletter.rendering.templates import Content, Templates
from newsletter.rendering.typeset import MAX_HTML_BYTES, Press, quoted_printable
from newsletter.rendering.views import Tokens, card, digest_values
from newsletter.subscribers.preferences import Preferences

DAY = date(2026, 8, 5)
TOKENS = Tokens("r" * 38, "u" * 38, "f" * 38, "p" * 38)
SITE = Letterhead("Daily Papers", "https://news.example.org", "1 Example Street")


@lru_cache(maxsize=1)
def templates() -> Templates:
    return Templates()


def paper(number: int, title: str, abstract: str = "", authors: Sequence[str] = ()) -> Paper:
    made = record(number, clean(title, MAX_TITLE) or "x", abstract=clean(abstract, MAX_ABSTRACT))
    fields = {
        name: getattr(made, name) for name in ("key", "title", "abstract", "url", "pdf_url", "listed_at", "source")
    }
    names = [clean(name, 200) for name in authors]
    at = {"first_seen_at": made.listed_at, "updated_at": made.listed_at}
    return Paper(
        id=number,
        authors=names,
        organization=clean(title, 200),
        code_url="https://example.org/code?a=1&b=2",
        **fields,
        **at,
    )


def edition(papers: Sequence[Paper]) -> Edition:
    candidates = [IssueCandidate(issue_id=1, paper_id=each.id or 0, trend=0.5, upvotes=7) for each in papers]
    return Edition(DAY, candidates, {each.id or 0: each for each in papers})


def plain(edition_: Edition, selection: Selection, preferences: Preferences, links: Links) -> Content:
    """Render the templates in full, the slow way."""
    mail = templates().mail("digest")
    digest = edition_.compose(preferences, selection)
    cards = [card(edition_.papers[each.paper_id], links, TOKENS, each.reason) for each in selection.picks]
    values = digest_values(digest, "", cards, SITE, links, TOKENS)
    return mail.render(values)


def printed(edition_: Edition, selection: Selection, preferences: Preferences, links: Links) -> Content:
    """Print the typeset issue and decode it, as a mail client would."""
    press = Press(templates().mail("digest"), edition_, SITE, links)
    done = press.print(edition_.compose(preferences, selection), TOKENS)
    for part in (done.text, done.html):
        assert max(map(len, part.split(b"\r\n"))) <= 76
        assert re.search(rb"\r(?!\n)|(?<!\r)\n|[^\t\r\n\x20-\x7e]", part) is None
    decoded = [quopri.decodestring(part).decode().replace("\r\n", "\n") for part in (done.text, done.html)]
    assert done.html_bytes == len(quopri.decodestring(done.html))
    return Content(done.subject, *decoded)


LINKED = (
    'See [<b>our "page"](https://example.org/a_b?c=1&d=2). More is at https://example.org/e-f/g.',
    '[a](javascript:alert(1)) [b](https://example.org/"onmouseover="x) [c](https://user@example.org)',
)
words = (
    st.sampled_from(LINKED)
    | st.text(max_size=60)
    | st.sampled_from(HOSTILE)
    | st.text(alphabet="=.\t %\n<>&'\"é漢🦊\u0301", max_size=200)
)
reasons = st.text(max_size=80).map(lambda text: clean(text, 200))


@given(
    titles=st.lists(st.tuples(words, words, st.lists(words, max_size=8)), min_size=1, max_size=4),
    interest=st.lists(st.text(min_size=1, max_size=30), max_size=4),
    reason=reasons,
    tracked=st.booleans(),
)
def test_printed_mail_decodes_to_the_plain_render(
    titles: list[tuple[str, str, list[str]]], interest: list[str], reason: str, tracked: bool
) -> None:
    papers = [paper(number, *parts) for number, parts in enumerate(titles, start=1)]
    made, preferences = edition(papers), Preferences(keywords=tuple(interest))
    picks = tuple(DigestPick(each.id or 0, 0.5, reason) for each in reversed(papers))
    selection = Selection(len(papers), picks)
    links = Links(SITE.base_url, tracked=tracked)
    assert printed(made, selection, preferences, links) == plain(made, selection, preferences, links)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_arrives_as_text(text: str) -> None:
    from html.parser import HTMLParser

    seen: list[tuple[str, dict[str, str | None]]] = []
    said: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append((tag, dict(attrs)))

        def handle_data(self, data: str) -> None:
            said.append(data)

    harmless = edition([paper(1, "A title", "An abstract.", ["A"])])
    hostile = edition([paper(1, text, text, [text])])
    one = Selection(1, (DigestPick(1, 0.5, clean(text, 100)),))
    links = Links(SITE.base_url, tracked=True)
    tags = []
    for made in (harmless, hostile):
        seen.clear()
        Reader().feed(printed(made, one, Preferences(keywords=("x",)), links).html)
        tags.append([tag for tag, _ in seen])
        assert not [name for _, attributes in seen for name in attributes if name.startswith("on")]
        assert all((attributes.get("href") or "https:").startswith("http") for _, attributes in seen)
    assert tags[0] == tags[1], "a text added or removed a tag"
    assert clean(text, 100)[:40].rstrip("…") in "".join(said)


def test_a_link_in_a_teaser_can_be_followed_in_both_parts() -> None:
    made = edition([paper(1, "A title", LINKED[0])])
    one, links = Selection(1, (DigestPick(1, 0.5, "new"),)), Links(SITE.base_url, tracked=True)
    done = printed(made, one, Preferences(keywords=("x",)), links)
    assert re.search(
        r'See <a [^>]*href="https://example.org/a_b\?c=1&amp;d=2"[^>]*>&lt;b&gt;our &#34;page&#34;</a>\.', done.html
    )
    assert re.search(r'at <a [^>]*href="https://example.org/e-f/g"[^>]*>https://example.org/e-f/g</a>\.', done.html)
    assert "https://example.org/e-f/g." in done.text
    assert "(https://example.org/a_b?c=1&d=2)." in done.text


def test_a_title_has_no_links_in_it() -> None:
    view = card(paper(1, "About [a thing](https://example.org/t)"), Links(SITE.base_url, tracked=True), TOKENS, "new")
    assert view.title == "About a thing"


def test_an_address_that_could_be_anything_is_no_link() -> None:
    made = edition([paper(1, "A title", LINKED[1])])
    one, links = Selection(1, (DigestPick(1, 0.5, "new"),)), Links(SITE.base_url, tracked=True)
    html = printed(made, one, Preferences(keywords=("x",)), links).html
    assert not re.search(r'href="(javascript|https://user@|[^"]*onmouseover)', html)
    assert "onmouseover=&#34;x" in html


def test_no_selection_exceeds_eighty_kibibytes() -> None:
    papers = [paper(number, "&" * 1_000, "<" * 5_000, ["'" * 200] * 600) for number in range(1, 51)]
    made = edition(papers)
    links = Links(SITE.base_url, tracked=True)
    press = Press(templates().mail("digest"), made, SITE, links)
    selection = Selection(50, tuple(DigestPick(each.id or 0, 0.5, "“" * 200) for each in papers))
    fitted = press.fit(selection)
    assert 0 < len(fitted.picks) < 50
    done = press.print(made.compose(Preferences(keywords=('"' * 100,) * 1), fitted), TOKENS)
    assert done.html_bytes <= MAX_HTML_BYTES


def test_a_mail_has_room_for_more_than_twenty_five_ordinary_papers_with_all_their_links() -> None:
    papers = [
        paper(number, "An ordinary title of an ordinary paper", "A sentence. " * 60, ["Ada Example"] * 6)
        for number in range(1, 51)
    ]
    press = Press(templates().mail("digest"), edition(papers), SITE, Links(SITE.base_url, tracked=True))
    selection = Selection(50, tuple(DigestPick(each.id or 0, 0.5, "matches “x”, 7 upvotes") for each in papers))
    assert len(press.fit(selection).picks) > 25


@given(st.text() | st.text(alphabet=".\n =aé", max_size=400))
def test_quoted_printable_survives_any_text(text: str) -> None:
    text = text.replace("\r", "")
    encoded = quoted_printable(text)
    assert quopri.decodestring(encoded).decode().replace("\r\n", "\n") == text
    lines = encoded.split(b"\r\n")
    assert max(map(len, lines)) <= 76
    assert not any(line.startswith(b".") for line in lines), "a dot there would have to be doubled"


def test_no_line_begins_with_a_dot_or_is_too_long_however_long_a_text_is_and_whatever_it_ends_with() -> None:
    made, links = edition([paper(1, "A title", "An abstract.")]), Links(SITE.base_url, tracked=False)
    press = Press(templates().mail("digest"), made, SITE, links)
    for length in range(1, 160):
        for end in (".", "..", "é.", ". "):
            selection = Selection(1, (DigestPick(1, 0.5, "w" * length + end),))
            done = press.print(made.compose(Preferences(keywords=("k" * min(length, 99),)), selection), TOKENS)
            for line in (done.text + b"\r\n" + done.html).split(b"\r\n"):
                assert not line.startswith(b".")
                assert len(line) <= 76
    for text in ("a" * 75 + " \nx", "." * 77 + "\t\n", "é" * 30 + " "):
        encoded = quoted_printable(text)
        assert quopri.decodestring(encoded).replace(b"\r\n", b"\n") == text.encode()
        assert max(map(len, encoded.split(b"\r\n"))) <= 76


def test_a_carriage_return_of_its_own_is_the_end_of_a_line() -> None:
    assert quoted_printable("one\rtwo\r\nthree\r") == b"one\r\ntwo\r\nthree\r\n"

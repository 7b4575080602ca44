"""The joined message decodes to exactly what rendering the templates for that reader gives."""

import quopri
import re
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from samples import HOSTILE, record

from newsletter.issues.compose import Edition
from newsletter.issues.digest import DigestPick, Mention, Selection, Span
from newsletter.issues.models import IssueCandidate
from newsletter.papers.models import MAX_ABSTRACT, MAX_TITLE, Paper
from newsletter.papers.textclean import clean
from newsletter.rendering.letterhead import Letterhead
from newsletter.rendering.links import Links
from newsletter.rendering.placeholders import PLACEHOLDERS
from newsletter.rendering.templates import Content, Templates
from newsletter.rendering.typeset import MAX_HTML_BYTES, Press, quoted_printable
from newsletter.rendering.views import TEASER, Tokens, card, whole_digest
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


def plain(
    edition_: Edition,
    selection: Selection,
    preferences: Preferences,
    links: Links,
    mail: str = "digest",
    room: int = TEASER,
    most: int = 50,
) -> Content:
    """Render the templates in full, the slow way."""
    digest = edition_.compose(preferences, selection)
    digest = digest if len(digest.picks) <= most else digest.first(most)
    return templates().mail(mail).render(whole_digest(digest, edition_.papers, SITE, links, TOKENS, room))


def printed(
    edition_: Edition, selection: Selection, preferences: Preferences, links: Links, mail: str = "digest"
) -> Content:
    """Print the typeset issue and decode it, as a mail client would."""
    press = Press(templates().mail(mail), edition_, SITE, links)
    done = press.print(edition_.compose(preferences, selection), TOKENS)
    for part in (done.text, done.html):
        assert max(map(len, part.split(b"\r\n"))) <= 76
        assert re.search(rb"\r(?!\n)|(?<!\r)\n|[^\t\r\n\x20-\x7e]", part) is None
        assert not part.endswith(b"=\r\n")
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
    titles=st.lists(st.tuples(words, words, st.lists(words, max_size=8)), min_size=1, max_size=6),
    interest=st.lists(st.text(min_size=1, max_size=30), max_size=4),
    reason=reasons,
    sections=st.lists(reasons | st.just("a long name of an interest " * 4), min_size=1, max_size=7),
    trending=st.integers(0, 3),
    tracked=st.booleans(),
    mail=st.sampled_from(("digest", "weekly", "pause_ended")),
)
def test_printed_mail_decodes_to_the_plain_render(
    titles: list[tuple[str, str, list[str]]],
    interest: list[str],
    reason: str,
    sections: list[str],
    trending: int,
    tracked: bool,
    mail: str,
) -> None:
    papers = [paper(number, *parts) for number, parts in enumerate(titles, start=1)]
    made, preferences = edition(papers), Preferences(keywords=tuple(interest), source_news=tracked)
    picks = [
        DigestPick(each.id or 0, 0.5, reason, None, sections[number % len(sections)])
        for number, each in enumerate(reversed(papers[trending:]))
    ]
    mentions = tuple(Mention(each.id or 0, reason) for each in papers[:trending]) if picks else ()
    selection = Selection(len(papers), tuple(picks), Span.DAY, mentions, clean("".join(interest), 60))
    links = Links(SITE.base_url, tracked=tracked)
    assert printed(made, selection, preferences, links, mail) == plain(made, selection, preferences, links, mail)


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


def fifty(title: str, abstract: str, authors: list[str], reason: str, sections: int = 1) -> tuple[Edition, Selection]:
    papers = [paper(number, f"{title} {number}", abstract, authors) for number in range(1, 54)]
    picks = [DigestPick(n, 0.5, reason, None, f"{n % sections} {title}"[:100]) for n in range(1, 51)]
    mentions = tuple(Mention(each, reason) for each in range(51, 54))
    return edition(papers), Selection(53, tuple(picks), Span.DAY, mentions)


@pytest.mark.parametrize(
    ("title", "abstract", "authors", "reason", "sections"),
    [
        ("An ordinary title of an ordinary paper", "A sentence that says more. " * 60, ["Ada Example"] * 6, "x", 5),
        ("漢" * 200, "é" * 140 + ". " + "字" * 5_000, ["ü" * 200] * 600, "“漢字”" * 20, 50),
        ("&" * 1_000, "<" * 5_000, ["'" * 200] * 600, "“" * 200, 50),
        ("x", "", [], "new", 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("tracked", [True, False])
def test_a_mail_has_at_most_eighty_kibibytes_and_says_what_it_has_no_room_for(
    title: str, abstract: str, authors: list[str], reason: str, sections: int, tracked: bool
) -> None:
    made, selection = fifty(title, abstract, authors, reason, sections)
    links, asked = Links(SITE.base_url, tracked=tracked), Preferences(keywords=('"' * 100, "'" * 100, "&" * 100))
    done = Press(templates().mail("digest"), made, SITE, links).print(made.compose(asked, selection), TOKENS)
    decoded = quopri.decodestring(done.html).decode().replace("\r\n", "\n")
    assert len(decoded.encode()) <= done.html_bytes <= MAX_HTML_BYTES
    cards = decoded.count('class="card"')
    assert 5 < cards == 50 - done.left_out
    assert (f">and {done.left_out} more</a>" in decoded) == (done.left_out > 0)
    assert decoded.count('class="line"') == 3
    rooms = [plain(made, selection, asked, links, room=room, most=cards).html for room in (TEASER, 140, 0)]
    assert decoded in rooms
    # papers are left out only when no teaser is left that could be shorter
    assert not done.left_out or decoded == rooms[-1]
    assert done.html_bytes > MAX_HTML_BYTES * 0.7 or decoded == rooms[0], "there was room for more"


def test_a_card_has_a_picture_where_mails_have_any_and_the_reader_is_counted() -> None:
    one = paper(1, 'A "title" <b>')
    one.picture_url = "https://pictures.example.org/1.png?a=1&b=2"
    selection = Selection(1, (DigestPick(1, 0.5, "new"),))
    shown = {}
    for tracked, pictures in ((True, True), (True, False), (False, True)):
        links = Links(SITE.base_url, tracked=tracked, pictures=pictures)
        made = printed(edition([one]), selection, Preferences(), links)
        assert made == plain(edition([one]), selection, Preferences(), links)
        shown[tracked, pictures] = re.findall(r"<img class=.picture.[^>]*>|<img [^>]*pictures[^>]*>", made.html)
    assert [key for key, found in shown.items() if found] == [(True, True)]
    [picture] = shown[True, True]
    assert 'src="https://pictures.example.org/1.png?a=1&amp;b=2"' in picture
    assert 'alt="Preview of A &#34;title&#34; &lt;b&gt;"' in picture
    assert 'width="240"' in picture
    assert 'height="126"' in picture


@pytest.mark.parametrize("most", range(1, 51, 7))
def test_sections_that_come_with_fewer_papers_are_measured_too(most: int) -> None:
    made, whole = fifty("&" * 100, "<" * 900, ["A"], "new")
    names = ["a"] * (50 - most) + [f"{number} " + "&" * 95 for number in range(most)]
    picks = tuple(pick._replace(section=name) for pick, name in zip(whole.picks, names, strict=True))
    selection, links = Selection(53, picks, Span.DAY, whole.trending), Links(SITE.base_url, tracked=False)
    done = Press(templates().mail("digest"), made, SITE, links).print(made.compose(Preferences(), selection), TOKENS)
    assert done.html_bytes <= MAX_HTML_BYTES
    decoded = quopri.decodestring(done.html).decode().replace("\r\n", "\n")
    assert decoded == plain(made, selection, Preferences(), links, room=done.room, most=50 - done.left_out).html


def test_a_template_with_room_for_no_paper_says_so(tmp_path: Path) -> None:
    body = (ROOT / "templates/email/digest/body.mjml").read_text(encoding="utf-8")
    (tmp_path / "email/digest").mkdir(parents=True)
    long = body.replace("New for you", "x" * MAX_HTML_BYTES)
    (tmp_path / "email/digest/body.mjml").write_text(long, encoding="utf-8")
    made, selection = fifty("Title", "", [], "new")
    press = Press(Templates(tmp_path).mail("digest"), made, SITE, Links(SITE.base_url, tracked=False))
    with pytest.raises(ValueError, match=r"email/digest/body\.mjml: no paper fits"):
        press.print(made.compose(Preferences(), selection), TOKENS)


def test_teasers_give_way_before_papers_do() -> None:
    made, selection = fifty(
        "An ordinary title", "A sentence of some length about a matter. " * 60, ["Ada Example"] * 6, "x"
    )
    links = Links(SITE.base_url, tracked=True)
    press = Press(templates().mail("digest"), made, SITE, links)
    done = press.print(made.compose(Preferences(), selection), TOKENS)
    assert done.left_out < 15
    assert "A sentence of some length" not in quopri.decodestring(done.html).decode()
    ten = press.print(made.compose(Preferences(), Selection(53, selection.picks[:10])), TOKENS)
    assert ten.left_out == 0
    assert quopri.decodestring(ten.html).decode().count("A sentence of some length") > 10


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


def test_a_mark_is_a_byte_that_no_text_becomes() -> None:
    for place in PLACEHOLDERS.values():
        assert place not in quoted_printable(f"a{place.decode()} {place.decode()}\n{place.decode()}")
    one = Selection(1, (DigestPick(1, 0.5, "\x01\x02"),))
    made, links = edition([paper(1, "A title", "An abstract.")]), Links(SITE.base_url, tracked=True)
    done = Press(templates().mail("digest"), made, SITE, links).print(made.compose(Preferences(), one), TOKENS)
    for part in (done.text_pieces, done.html_pieces):
        assert {bytes([byte]) for piece in part for byte in piece if byte < 32} == {
            b"\r",
            b"\n",
            *PLACEHOLDERS.values(),
        }


def test_a_carriage_return_of_its_own_is_the_end_of_a_line() -> None:
    assert quoted_printable("one\rtwo\r\nthree\r") == b"one\r\ntwo\r\nthree\r\n"

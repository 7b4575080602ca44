"""Pages speak more than English: all of each language, and the one that the reader asks for."""

import ast
import re
import string
from datetime import date

import polib
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from newsletter.rendering.letterhead import Letterhead
from newsletter.subscribers import preferences
from newsletter.subscribers.preferences import LANGUAGES
from newsletter.web import languages, server
from newsletter.web.pages import Pages, environment_in

TEMPLATES = ROOT / "templates" / "web"
OTHERS = [language for language in LANGUAGES if language != languages.DEFAULT]
SPEAK_TO_MACHINES = {"api.py", "metrics.py"}
CODE = [
    *(path for path in sorted((ROOT / "newsletter" / "web").glob("*.py")) if path.name not in SPEAK_TO_MACHINES),
    *(ROOT / "newsletter" / name for name in ("sampling.py", "steering.py", "papers/pasted.py")),
]
TITLES = {*server._TITLES.values(), "That did not work"}
MAY_BE_LEFT_OUT = {"why"}  # a library says it, in English


def in_templates() -> set[str]:
    """Return every text of every template, both numbers of those that have two."""
    environment = environment_in([TEMPLATES], languages.DEFAULT)
    found = [
        message
        for path in sorted(TEMPLATES.glob("*.html"))
        for _, _, message in environment.extract_translations(path.read_text(encoding="utf-8"))  # type: ignore[attr-defined]
    ]
    both = (message if isinstance(message, tuple) else (message,) for message in found)
    return {text for texts in both for text in texts if text}


def in_code() -> set[str]:
    """Return what the code says to readers: whatever is passed to be said, and every whole sentence."""
    nodes = [node for path in CODE for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    calls = [node for node in nodes if isinstance(node, ast.Call) and node.args]
    passed = [call.args[0] for call in calls if ast.unparse(call.func).rpartition(".")[2] in {"say", "Trouble"}]
    texts = [node for node in nodes if isinstance(node, ast.Constant) and id(node) not in docstrings]
    sentences = [node for node in texts if re.match(r"[A-Z].* .*[.!?]$", str(node.value))]
    return {str(node.value) for node in (*passed, *sentences) if isinstance(node, ast.Constant)}


def all_texts() -> set[str]:
    troubles = {*preferences._TROUBLES.values(), *preferences._BY_FIELD.values()}
    return in_templates() | troubles | in_code() | TITLES


def catalogue(language: str) -> polib.POFile:
    return polib.pofile(str(languages.FOLDER / f"{language}.po"), check_for_duplicates=True)


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"%\((\w+)\)s", text))


def tags(text: str) -> list[str]:
    return sorted(re.findall(r"<[^>]*>", text))


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_said_in_every_language_and_nothing_else_is(language: str) -> None:
    entries = catalogue(language)
    known = {text for entry in entries for text in (entry.msgid, entry.msgid_plural) if text}
    assert not all_texts() - known
    assert not known - all_texts()
    assert not entries.obsolete_entries()
    assert not entries.fuzzy_entries()
    assert not entries.untranslated_entries()


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_keeps_placeholders_and_tags(language: str) -> None:
    for entry in catalogue(language):
        ways = entry.msgstr_plural.values() if entry.msgid_plural else [entry.msgstr]
        wanted = placeholders(entry.msgid) | placeholders(entry.msgid_plural)
        needed = placeholders(entry.msgid) & wanted - MAY_BE_LEFT_OUT
        for said in ways:
            assert needed <= placeholders(said) <= wanted, entry.msgid
            assert tags(said) == tags(entry.msgid), entry.msgid
            assert said.strip() == said
            assert said % dict.fromkeys(wanted, "x")


def test_every_text_of_the_templates_can_be_translated() -> None:
    """No words stand in a template outside of gettext; what is the same everywhere does."""
    code = re.compile(r"\{#.*?#\}|\{% trans.*?endtrans %\}|\{%.*?%\}|\{\{.*?\}\}", re.DOTALL)
    markup = re.compile(r"<[^>]*>|[\w-]+=\"[^\"]*\"")
    for path in sorted(TEMPLATES.glob("*.html")):
        lines = markup.sub("\n", code.sub("", path.read_text(encoding="utf-8"))).split("\n")
        words = {line.strip() for line in lines if line.strip(string.punctuation + string.whitespace)}
        assert words <= {"UTC", "·", "Atom", "JSON Feed", "BibTeX", "RIS"}, path.name


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("DE-at", "de"),
        ("de-CH,de;q=0.9,en;q=0.8", "de"),
        ("en-GB,de;q=0.9", "en"),
        ("fr,de;q=0.5,en;q=0.4", "de"),
        ("fr;q=1.0, en;q=0.4, de;q=0.5", "de"),
        ("en;q=0,de;q=0.001", "de"),
        ("de;q=0", "en"),
        ("de;q=0,*", "en"),
        ("en;q=0, *;q=0.1", "de"),
        ("*", "en"),
        ("*;q=0.5,de;q=0.4", "en"),
        ("fr", "en"),
        ("de;q=2,en;q=0.1", "en"),
        ("de;q=nan", "en"),
        ("de;q=-1", "en"),
        ("de;q=١", "en"),
        ("de;q=", "en"),
        ("de;x=1", "en"),
        (" de ; q = 0.7 ", "de"),
        (",;=,;q=1,,de", "de"),
        ("deutsch", "en"),
        ("x" * 100_000 + ",de", "en"),
    ],
)
def test_the_language_is_the_one_liked_best_of_those_we_speak(accepted: str, language: str) -> None:
    assert languages.choose(accepted) == language


@pytest.mark.parametrize(
    ("wanted", "language"), [("de", "de"), ("en", "en"), ("de-AT", "de"), ("", "de"), ("tlh", "de"), ("../de", "de")]
)
def test_what_was_asked_for_by_name_goes_first(wanted: str, language: str) -> None:
    assert languages.choose("de", wanted) == language


@given(st.text(), st.text())
def test_any_nonsense_gets_a_language(accepted: str, wanted: str) -> None:
    assert languages.choose(accepted, wanted) in LANGUAGES


@given(st.text(alphabet="deqn*;,=.-01 "))
def test_anything_like_a_header_gets_a_language(accepted: str) -> None:
    assert languages.choose(accepted) in LANGUAGES


def test_texts_are_translated_and_unknown_ones_stay() -> None:
    assert languages.translate("de", "Sorry") == "Entschuldigung"
    assert languages.translate("en", "Sorry") == "Sorry"
    assert languages.translate("tlh", "Sorry") == "Sorry"
    assert languages.translate("../../etc/passwd", "Sorry") == "Sorry"
    assert languages.translate("de", "said nowhere") == "said nowhere"
    assert languages.translate("de", "") == "", "not the header of the catalogue"


def test_days_are_written_as_people_write_them() -> None:
    assert languages.written_day("en", date(2026, 3, 9)) == "9 March 2026"
    assert languages.written_day("de", date(2026, 3, 9)) == "9. März 2026"
    assert languages.written_day("tlh", date(2026, 12, 31)) == "31 December 2026"


@pytest.mark.parametrize(
    ("language", "spoken", "heading"),
    [("en", "en", "Everything is erased"), ("de", "de", "Alles ist gelöscht"), ("tlh", "en", "Everything is erased")],
)
def test_a_page_says_which_language_it_speaks(language: str, spoken: str, heading: str) -> None:
    pages = Pages([TEMPLATES], Letterhead("Daily <Papers>", "https://papers.example.org", ""))
    page = pages.render("erased.html", language)
    assert f'<html lang="{spoken}">' in page
    assert f"<h1>{heading}</h1>" in page
    assert "Daily &lt;Papers&gt;" in page


def test_what_goes_into_a_text_is_escaped() -> None:
    pages = Pages([TEMPLATES], Letterhead("Daily Papers", "https://papers.example.org", ""))
    for language in LANGUAGES:
        page = pages.render("link_sent.html", language, email="<b>%(x)s{{ 7*7 }}")
        assert "<strong>&lt;b&gt;%(x)s{{ 7*7 }}</strong>" in page


def test_numbers_have_their_own_words() -> None:
    one, many = (
        Pages([TEMPLATES], Letterhead("Daily Papers", "https://papers.example.org", "")).render(
            "link.html", "de", typed={"email": ""}, errors=errors, stamp="", work_bits=0
        )
        for errors in ({"email": "x"}, {"email": "x", "stamp": "y"})
    )
    assert "Bitte sieh dir das noch einmal an:" in one
    assert "Bitte sieh dir diese 2 noch einmal an:" in many

"""Papers that a reader names in one text box: ids, addresses, titles, and what reference managers export. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from urllib.parse import unquote

from newsletter.errors import Trouble
from newsletter.papers.bibliography import Broken, Work, pieces
from newsletter.papers.identity import is_public, title_key
from newsletter.papers.models import MAX_TITLE
from newsletter.papers.sources import fields
from newsletter.papers.textclean import URL, clean, trimmed

MAX_PASTED = 200
MAX_PASTED_CHARS = 400_000
_MAX_TEXT = 2_000
_MAX_NOTES = 5
_MAX_SAID = 60
_TITLE_CHARS = range(15, 301)
_TITLE_WORDS = 3
# Each of these costs far more time than a letter, and nobody's list of papers has so many.
_COSTLY = {"\\": 20_000, "\n": 20_000, "@": 5_000}

_NUMBER = r"(?P<arxiv>(?:\d{4}\.\d{4,5}|[a-z][a-z-]{1,7}(?:\.[A-Za-z]{2})?/\d{7})(?:v\d{1,3})?)(?![A-Za-z0-9]|\.\d)"
# What stands before one: the name, or an address of arXiv, alphaXiv, ar5iv, SciRate or Hugging Face.
_PLACE = (
    r"(?i:(?:arxiv|alphaxiv|ar5iv)(?:[a-z.]{0,20}/(?:[a-z]{2,12}/){0,2}|[\s:._-]{0,3})"
    r"|\b(?:huggingface|hf)\.co/papers/)"
)
# A comma belongs to it, but not with the next id behind it.
_DOI = r"(?<![0-9.])(?P<doi>10\.\d{4,9}/(?:(?![,;](?:https?:|10\.\d|(?i:doi|arxiv)))[!#-;=?-Z_a-z~])+)"
_ID_PATTERN = rf"{_DOI}|(?:{_PLACE}|(?<![A-Za-z0-9./-])){_NUMBER}"
_ID = re.compile(_ID_PATTERN, re.ASCII)
_ID_OR_ADDRESS = re.compile(rf"(?P<url>(?i:{URL}))|{_ID_PATTERN}", re.ASCII)
_DOI_TAIL = re.compile(
    r"(?:/(?:full|abstract|e?pdf|meta|html|full-?text|summary)?|\+html)?(?:[?#].*|&[\w.]{1,40}=.*|;jsessionid.*|$)"
)
# At its beginning: what else a remark names may be another paper.
_REMARK = re.compile(rf"^(?:(?i:arxiv (?:preprint|e-prints),?\s))?(?:{_PLACE}|abs/){_NUMBER}", re.ASCII | re.MULTILINE)
_ESCAPED = re.compile(r"\{?\\([_%&#~])\}?")
_BULLET = re.compile(r"^(?:[-*+>•–—]+|\(?\d{1,3}[.)]|\[\d{1,3}\])\s+")  # noqa: RUF001  dashes of every length
_QUOTES = " \t\"'“”„‘’«»*_`"  # noqa: RUF001
_NO_TITLE = re.compile(r"^[\w-]{1,30}\s*=\s|:$|\S@\S+\.\w")


@dataclass(frozen=True, slots=True)
class PastedPaper:
    """A paper that a reader named.

    :ivar key: as in `identity`: ``arxiv:…``, ``doi:…``, or what `title_key` makes of its title.
    :ivar title: readable, or empty when only an id was given.
    :ivar text: the abstract if it was given, readable, at most 2,000 characters.
    """

    key: str
    title: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Paste:
    """What a pasted text names.

    :ivar papers: each once (by key), in order, at most `MAX_PASTED`.
    :ivar notes: a short line for each thing that could not be read, at most 5; the last says how many more.
    """

    papers: tuple[PastedPaper, ...] = ()
    notes: tuple[Trouble, ...] = ()


def read_pasted(text: str) -> Paste:
    """Return the papers that `text` names; whatever it is, in time linear in its length.

    Text beyond `MAX_PASTED_CHARS` is cut off, and a note says so.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").strip()
    head = _bounded(text)
    first = Trouble("Only the first %(count)s characters were read.", {"count": len(head)})
    notes = [] if len(head) == len(text) else [first]
    papers: dict[str, PastedPaper] = {}
    unread: list[Trouble] = []
    for each in _found(head):
        if isinstance(each, Trouble):
            unread.append(each)
        elif each.key in papers or len(papers) < MAX_PASTED:
            papers[each.key] = _fuller(papers.get(each.key, each), each)
        else:
            notes.append(Trouble("Only the first %(count)s papers were kept.", {"count": MAX_PASTED}))
            break
    return Paste(tuple(papers.values()), _notes(notes + unread))


def _bounded(text: str) -> str:
    """Return as much of `text` as is read: all of it, or up to the last space within the bounds."""
    head = text[:MAX_PASTED_CHARS]
    for sign, most in _COSTLY.items():
        beyond = next(islice(re.finditer(re.escape(sign), head), most, None), None)
        head = head[: beyond.start()] if beyond else head
    # Half an id is another paper's.
    return text if len(head) == len(text) else "".join(head.rsplit(maxsplit=1)[:1])


def _fuller(old: PastedPaper, new: PastedPaper) -> PastedPaper:
    return max(old, new, key=lambda paper: (paper.title != "", paper.text != ""))


def _notes(notes: list[Trouble]) -> tuple[Trouble, ...]:
    more = len(notes) - _MAX_NOTES
    if more <= 0:
        return tuple(notes)
    return (*notes[: _MAX_NOTES - 1], Trouble("%(count)s more could not be read.", {"count": more + 1}))


def _named(said: str) -> dict[str, str]:
    return {"said": clean(said[: 4 * _MAX_SAID], _MAX_SAID)}


def _found(text: str) -> Iterator[PastedPaper | Trouble]:
    for piece in pieces(text):
        if isinstance(piece, str):
            for line in piece.split("\n"):
                yield from _in_line(line)
        elif isinstance(piece, Work):
            yield _paper(piece) or Trouble('"%(said)s": neither an id nor a title.', _named(piece.name))
        else:
            yield from _in_broken(piece)


def _in_line(line: str) -> Iterator[PastedPaper | Trouble]:
    line = line.strip() if line.isascii() else clean(line, 4 * len(line))
    found = list(_ids(line))
    for said, key in found:
        yield PastedPaper(key) if key else Trouble('"%(said)s": no arXiv id and no DOI in it.', _named(said))
    if found or not any(char.isalnum() for char in line):
        return
    title = _title(line)
    if title:
        yield PastedPaper(title_key(title), title)
    else:
        yield Trouble('"%(said)s": no id, no address and no title.', _named(line))


def _title(line: str) -> str:
    """Return a line as a title if it reads like one, else an empty string."""
    bare = _BULLET.sub("", line).strip(_QUOTES)
    if len(bare) not in _TITLE_CHARS or _NO_TITLE.search(bare):
        return ""
    words = sum(any(char.isalpha() for char in word) for word in bare.split())
    return fields.prose(bare, MAX_TITLE) if words >= _TITLE_WORDS else ""


def _paper(work: Work) -> PastedPaper | None:
    title = fields.prose(work.title, MAX_TITLE)
    key = _key(work) or (title_key(title) if title else "")
    return PastedPaper(key, title, fields.prose(work.abstract, _MAX_TEXT)) if key else None


def _key(work: Work) -> str:
    """Return the arXiv key if there is one, else the first DOI's, else an empty string."""
    keys = [key for value in work.ids for key in _keys(_ESCAPED.sub(r"\1", value))]
    keys += [f for value in work.remarks for found in _REMARK.finditer(value) if (f := fields.key(found["arxiv"]))]
    return next((key for key in keys if key.startswith("arxiv:")), keys[0] if keys else "")


def _keys(value: str) -> Iterable[str]:
    key = fields.key(value)
    return [key] if key else (key for _, key in _ids(value) if key)


def _in_broken(piece: Broken) -> Iterator[PastedPaper | Trouble]:
    """Yield what can be trusted of a broken piece: ids, and a title that swallowed nothing behind it."""
    ids = [(said, key) for said, key in _ids(piece.text) if key]
    # Half a DOI may be another one.
    is_cut = bool(ids) and ids[-1][1].startswith("doi:") and piece.text.endswith(ids[-1][0])
    half = ids.pop()[1] if is_cut else ""
    papers = [PastedPaper(key) for _, key in ids]
    whole = _paper(piece.work) if piece.work else None
    if whole and whole.key == half:
        whole = replace(whole, key=title_key(whole.title)) if whole.title else None
    if whole and (is_public(whole.key) or not (papers or "=" in whole.title)):
        papers.insert(0, whole)
    yield from papers
    if not papers:
        yield Trouble('"%(said)s": broken or cut off.', _named(piece.name))


def _ids(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield each address and its key, ``None`` if it has none, and each other id and its key."""
    for found in _ID_OR_ADDRESS.finditer(text):
        if address := found["url"]:
            keys: list[str | None] = [key for each in _ID.finditer(unquote(address)) if (key := _id_key(each))]
            yield from ((address, key) for key in keys or [None])
        elif key := _id_key(found):
            yield found.group(), key


def _id_key(found: re.Match[str]) -> str | None:
    if found["arxiv"]:
        return fields.key(found["arxiv"])
    # As an address, so that what publishers append is taken off.
    return fields.key(f"https://doi.org/{_DOI_TAIL.sub('', trimmed(found['doi']))}")

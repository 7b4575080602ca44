"""A pasted text in its pieces: works told by BibTeX, RIS, CSL JSON or CSV, and the plain text around them.

BibTeX is bibtexparser's: it takes linear time and goes on behind a broken entry. RIS is read here, because rispy raises
KeyError on half a record, forgets one without an end, and takes the square of time on long ones. Pure.
"""

import csv
import io
import json
import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from html import unescape

from bibtexparser.entrypoint import parse_string
from bibtexparser.library import Library
from bibtexparser.middlewares import RemoveEnclosingMiddleware
from bibtexparser.model import Block, Entry, ImplicitComment, ParsingFailedBlock

_JSON = re.compile(r"\s*(?:\[\s*\{\s*\"|\{\s*\")")
_GAP = re.compile(r"[\s,]*")
_DECODER = json.JSONDecoder(parse_int=float, strict=False)  # an integer may have more digits than Python reads
_BIBTEX = re.compile(r"@[A-Za-z]{2,30}[ \t]*\{|^[ \t]*@[A-Za-z]{2,30}[ \t]*\(", re.MULTILINE)
_ENCLOSING = RemoveEnclosingMiddleware()
_RIS = re.compile(r"^[ \t]*TY {1,2}-", re.MULTILINE)
_RIS_LINE = re.compile(r"([A-Z][A-Z0-9]) {1,2}-(?: (.*)|)", re.DOTALL)
_EMPTY_LINE = re.compile(r"\n[ \t]*\n")
_TAG = re.compile(
    r"</?(?:[biup]|br|em|strong|su[bp]|span|sc|scp|div|jats:[a-z]{1,20})(?:\s[^<>]{0,200})?/?>", re.IGNORECASE
)
_MAX_HEADER = 10_000
# What a column, a key, a field or a tag may be called, in small letters and without signs; the first one counts.
_TITLE = ("title", "ti", "t1", "bt")
_ABSTRACT = ("abstract", "abstractnote", "ab", "n2")
_IDS = (
    "eprint", "arxiv", "arxivid", "archiveid", "doi", "do", "url", "urls", "ur", "link", "links", "ee", "lk", "l1",
    "l2", "howpublished", "archivelocation", "pdfurl", "id",
)  # fmt: skip
_REMARKS = (
    "number", "m1", "journal", "journaltitle", "publicationtitle", "containertitle", "jo", "jf", "t2", "series", "an",
    "volume", "vl", "note", "n1", "extra",
)  # fmt: skip
_COLUMNS = {*_ABSTRACT, *_IDS, "key", "itemtype", "author", "authors", "year", "publicationyear", "date", "extra"}


@dataclass(frozen=True, slots=True)
class Work:
    """What a bibliography tells of one work, as it stands there.

    :ivar name: what to call it in a note.
    :ivar ids: texts that name it: ids and addresses.
    :ivar remarks: texts that may begin with its id, and may name other works.
    """

    name: str
    title: str
    abstract: str
    ids: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """A piece of a bibliography that cannot be read as such.

    :ivar work: what it tells if it is only not finished.
    """

    name: str
    text: str
    work: Work | None = None


Piece = Work | Broken | str


def pieces(text: str) -> Iterator[Piece]:
    r"""Yield what `text` holds, in order; a string is plain text of one or more lines.

    :param text: with ``\n`` as the only end of a line.
    """
    at = 0
    while _JSON.match(text, at):
        at = yield from _from_json(text, at)
    rest = text[at:]
    if delimiter := _delimiter(rest):
        yield from _from_csv(rest.lstrip(), delimiter)
    elif _BIBTEX.search(rest):
        for piece in _from_bibtex(rest):
            yield from _from_ris(piece) if isinstance(piece, str) else (piece,)
    else:
        yield from _from_ris(rest)


def _from_json(text: str, at: int) -> Generator[Piece, None, int]:
    """Yield the works of a list or an object that begins at `at`; return where it ends."""
    at = _skip(text, at)
    is_list = text[at] == "["
    at = _skip(text, at + is_list)
    number = 0
    while text[at : at + 1] == "{":
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        listed = value.get("items")
        for each in listed if isinstance(listed, list) else [value]:
            number += 1
            yield _work(f"JSON entry {number}", _texts(each) if isinstance(each, dict) else {})
        at = _skip(text, at)
        if not is_list:
            return at
    if is_list and text[at : at + 1] == "]":
        return _skip(text, at + 1)
    yield Broken(f"the JSON after entry {number}" if number else "the JSON", text[at:])
    return len(text)


def _skip(text: str, at: int) -> int:
    found = _GAP.match(text, at)
    return found.end() if found else at


def _texts(value: Mapping[str, object]) -> dict[str, str]:
    """Return the texts of an object; of a list, those in it."""
    lists = {key: each if isinstance(each, list) else [each] for key, each in value.items()}
    return {key: "\n".join(text for text in each if isinstance(text, str)) for key, each in lists.items()}


def _delimiter(text: str) -> str:
    """Return what stands between the columns of a table of papers, or nothing if `text` is none."""
    header = text.lstrip()[:_MAX_HEADER].partition("\n")[0]
    for delimiter in ",;\t":
        names = {_plain_name(cell.strip(' "')) for cell in header.split(delimiter)}
        if "title" in names and names & _COLUMNS:
            return delimiter
    return ""


def _from_csv(text: str, delimiter: str) -> Iterator[Piece]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header: list[str] | None = None
    done = 0
    try:
        for row in rows:
            if header is None:
                header = row
            elif any(row):
                yield _work(f"CSV line {done + 1}", dict(zip(header, row, strict=False)))
            done = rows.line_num
    except csv.Error:  # a quote that never ends makes a field longer than the module takes
        yield Broken(f"the CSV from line {done + 1} on", "\n".join(text.split("\n")[done:]))


def _from_ris(text: str) -> Iterator[Piece]:
    if not _RIS.search(text):
        yield text
        return
    plain: list[str] = []
    tags: dict[str, list[str]] | None = None
    last: list[str] = []
    number = 0
    for line in [*text.split("\n"), "TY  - "]:
        found = _RIS_LINE.fullmatch(line.strip())
        tag = found[1] if found else ""
        if tag == "TY" or (tag == "ER" and tags is not None):
            number += tags is not None
            yield "\n".join(plain) if tags is None else _ris_work(number, tags)
            plain, tags, last = [], {} if tag == "TY" else None, []
        elif tags is None:
            plain.append(line)
        elif found:
            last = tags.setdefault(tag, [])
            last.append(found[2] or "")
        else:
            last.append(line)


def _ris_work(number: int, tags: Mapping[str, list[str]]) -> Work:
    return _work(f"RIS entry {number}", {tag: "\n".join(lines) for tag, lines in tags.items()})


def _from_bibtex(text: str) -> Iterator[Piece]:
    broken: Broken | None = None
    for block in parse_string(text, parse_stack=[]).blocks:
        if broken and isinstance(block, ImplicitComment):
            # the parser goes on where it stumbled, which may be in the midst of the entry
            tail, *plain = _EMPTY_LINE.split(block.comment, maxsplit=1)
            yield Broken(broken.name, f"{broken.text}\n{tail}", broken.work)
            yield from plain
            broken = None
            continue
        if broken:
            yield broken
            broken = None
        if isinstance(block, ImplicitComment):
            yield block.comment
        elif work := _bibtex_work(block):
            yield work
        elif isinstance(block, ParsingFailedBlock):
            broken = _broken(block.raw or "")
    if broken:
        yield broken


def _bibtex_work(block: Block) -> Work | None:
    # An entry with a key or a field that was there before is an entry all the same.
    entry = block.ignore_error_block if isinstance(block, ParsingFailedBlock) else block
    if not isinstance(entry, Entry):
        return None
    fields = _ENCLOSING.transform_entry(entry, Library()).fields
    return _work(f"BibTeX entry {entry.key}", {field.key: str(field.value) for field in reversed(fields)})


def _broken(raw: str) -> Broken:
    """Return an entry that is no entry, finished if braces at its end are all that is missing."""
    missing = raw.count("{") - raw.count("}")
    finished = parse_string(raw + "}" * missing, parse_stack=[]).blocks if 0 < missing <= 2 else []
    works = [work for block in finished if (work := _bibtex_work(block))]
    return Broken(f"BibTeX {raw[:60]}", raw, works[0] if works else None)


def _work(name: str, fields: Mapping[str, str]) -> Work:
    named: dict[str, str] = {}
    for key, value in fields.items():
        if value.strip():
            named.setdefault(_plain_name(key), value.strip())
    return Work(
        name,
        title=_untagged(next((named[key] for key in _TITLE if key in named), "")),
        abstract=_untagged(next((named[key] for key in _ABSTRACT if key in named), "")),
        ids=tuple(named[key] for key in _IDS if key in named),
        remarks=tuple(named[key] for key in _REMARKS if key in named),
    )


def _plain_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name[:100].lower())


def _untagged(text: str) -> str:
    """Return a text without the tags and entities that titles and abstracts in exports have."""
    try:
        return unescape(_TAG.sub("", text))
    except ValueError:  # "&#999…", with thousands of digits
        return text

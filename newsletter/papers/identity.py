"""The canonical id of a paper: one work, one key. Pure."""

import hashlib
import re
import unicodedata

# YYMM.NNNN from 0704 to 1412, YYMM.NNNNN since 1501; before that archive(.SC)/YYMMNNN.
_ARXIV = re.compile(
    r"(?P<new>\d{4}\.\d{4,5})(?:v\d+)?|(?P<archive>[a-z][a-z-]+)(?:\.[A-Za-z]{2})?/(?P<old>\d{7})(?:v\d+)?",
    re.ASCII,  # other scripts have digits, too
)
# The archives there were until 2007, when ids came to do without them; arXiv refuses a question about any other.
_ARCHIVES = re.compile(
    r"acc-phys|adap-org|alg-geom|ao-sci|astro-ph|atom-ph|bayes-an|chao-dyn|chem-ph|cmp-lg|comp-gas|cond-mat|cs|dg-ga|"
    r"funct-an|gr-qc|hep-(?:ex|lat|ph|th)|math|math-ph|mtrl-th|nlin|nucl-(?:ex|th)|patt-sol|physics|plasm-ph|q-alg|"
    r"q-bio|quant-ph|solv-int|supr-con"
)
_DOI = re.compile(r"10\.\d{4,9}/[!-~]{1,500}", re.ASCII)  # a database refuses NUL, and a key of many kilobytes
_ARXIV_DOI = re.compile(r"10\.48550/arxiv\.(.+)", re.IGNORECASE)
_ARXIV_PREFIX = re.compile(
    r"^(?:arxiv:|oai:arxiv\.org:|https?://(?:www\.|export\.)?arxiv\.org/(?:abs|pdf|html)/|https?://huggingface\.co/papers/)",
    re.IGNORECASE,
)
# Year, month and day since December 2019, a number of six digits before; a version may follow.
_PREPRINT_DOI = re.compile(r"doi:10\.(?:1101|64898)/((?:\d{4}\.\d\d\.\d\d\.)?\d{6,9})", re.ASCII)
_PREPRINT_VERSION = re.compile(r"(10\.(?:1101|64898)/(?:\d{4}\.\d\d\.\d\d\.)?\d{6,9})v\d+", re.ASCII)
_TELLING = 5  # words in a title that tells papers apart
_DOI_PREFIX = re.compile(
    r"^(?:doi:|https?://(?:dx\.)?doi\.org/|https?://(?:www\.)?(?:bio|med)rxiv\.org/content/)", re.IGNORECASE
)
_ADDRESS_END = re.compile(r"[?#].*$|(?:\.pdf|\.full(?:\.pdf|-text)?|\.abstract)$")


def canonical_key(identifier: str) -> str | None:
    """Return ``arxiv:…`` (without a version) or ``doi:…`` (lower case) for an id in any usual spelling."""
    text = identifier.strip()
    if text[:4].lower() == "http":
        text = _ADDRESS_END.sub("", _ADDRESS_END.sub("", text))
    bare = _DOI_PREFIX.sub("", text)
    if own := _ARXIV_DOI.fullmatch(bare):
        text = own[1]
    elif _DOI.fullmatch(bare):
        bare = _PREPRINT_VERSION.sub(r"\1", bare) if _PREPRINT_VERSION.fullmatch(bare) else bare
        return f"doi:{bare.lower()}"
    text = _ARXIV_PREFIX.sub("", text).removesuffix(".pdf")
    match = _ARXIV.fullmatch(text)
    if match is None or not _plausible(match):
        return None
    # A subject class says where it was filed, not which one it is: math.GT/0309136 is math/0309136.
    return f"arxiv:{match['new'] or match['archive'] + '/' + match['old']}"


def arxiv_version(identifier: str) -> int:
    """Return the version that an arXiv id or address names, 0 for none."""
    found = re.search(r"v([1-9]\d{0,3})(?:\.pdf)?$", identifier.strip(), re.ASCII)
    return int(found[1]) if found else 0


def aliases(key: str) -> tuple[str, ...]:
    """Return the other keys of the same id.

    bioRxiv and medRxiv changed their DOI prefix from 10.1101 to 10.64898; the rest tells which paper it is.
    """
    found = _PREPRINT_DOI.fullmatch(key)
    return (f"preprint:{found[1]}",) if found else ()


def is_public(key: str) -> bool:
    """Return whether a key is an id that all the world uses: an arXiv id or a DOI."""
    return key.startswith(("arxiv:", "doi:"))


def fingerprint(title: str) -> str | None:
    """Return a key made of the words of `title`, by which sources without ids may know the same paper.

    Case, accents, punctuation and spaces do not count; numbers do: "Part II" is not "Part III". ``None`` for
    fewer than five words: too many papers are called "Technical Report".
    """
    words = _words(title)
    return f"fingerprint:{_digest(' '.join(words))}" if len(words) >= _TELLING else None


def title_key(title: str, first_author: str = "") -> str:
    """Return the key of a paper without an id: its title's words, and who wrote it."""
    # where there is nothing but signs, the signs count
    known_by = " ".join(_words(title)) or unicodedata.normalize("NFKD", title).casefold()
    if first_author:
        known_by += f"|{' '.join(sorted(name_parts(first_author)))}"
    return f"title:{_digest(known_by)}"


def guid_key(feed: str, guid: str) -> str:
    """Return the key of a feed's entry, which is unique within that feed only (RFC 4287, section 4.2.6)."""
    return f"feed:{_digest(f'{feed} {guid}')}"


def name_parts(name: str) -> frozenset[str]:
    """Return the parts of a person's name that tell people apart: no initials, no accents, in no order."""
    return frozenset(part for part in _words(name) if len(part) > 1)


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKD", text).casefold()
    return "".join(char if char.isalnum() else " " for char in folded if not unicodedata.combining(char)).split()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _plausible(match: re.Match[str]) -> bool:
    # A trailing zero lost by a float parser gives an id with too few digits for its year.
    if not match["new"]:
        return _ARCHIVES.fullmatch(match["archive"]) is not None
    month, number = match["new"].split(".")
    return int(month) >= 704 and 1 <= int(month[2:]) <= 12 and len(number) == (5 if int(month) >= 1501 else 4)

"""The canonical id of a paper: one work, one key. Pure."""

import hashlib
import re
import unicodedata

# YYMM.NNNN from 0704 to 1412, YYMM.NNNNN since 1501; before that archive(.SC)/YYMMNNN.
_ARXIV = re.compile(
    r"(?P<new>\d{4}\.\d{4,5})(?:v\d+)?|(?P<archive>[a-z][a-z-]+)(?:\.[A-Za-z]{2})?/(?P<old>\d{7})(?:v\d+)?",
    re.ASCII,  # other scripts have digits, too
)
_DOI = re.compile(r"10\.\d{4,9}/[!-~]{1,500}", re.ASCII)  # a database refuses NUL, and a key of many kilobytes
_ARXIV_DOI = re.compile(r"10\.48550/arxiv\.(.+)", re.IGNORECASE)
_ARXIV_PREFIX = re.compile(
    r"^(?:arxiv:|oai:arxiv\.org:|https?://(?:www\.|export\.)?arxiv\.org/(?:abs|pdf|html)/|https?://huggingface\.co/papers/)",
    re.IGNORECASE,
)
_DOI_PREFIX = re.compile(r"^(?:doi:|https?://(?:dx\.)?doi\.org/)", re.IGNORECASE)


def canonical_key(identifier: str) -> str | None:
    """Return ``arxiv:…`` (without a version) or ``doi:…`` (lower case) for an id in any usual spelling."""
    text = identifier.strip()
    bare = _DOI_PREFIX.sub("", text)
    if own := _ARXIV_DOI.fullmatch(bare):
        text = own[1]
    elif _DOI.fullmatch(bare):
        return f"doi:{bare.lower()}"
    text = _ARXIV_PREFIX.sub("", text).removesuffix(".pdf")
    match = _ARXIV.fullmatch(text)
    if match is None or not _plausible(match):
        return None
    # A subject class says where it was filed, not which one it is: math.GT/0309136 is math/0309136.
    return f"arxiv:{match['new'] or match['archive'] + '/' + match['old']}"


def title_key(title: str) -> str:
    """Return a key made of the words of `title`, for papers without an id.

    Case, accents, punctuation and spaces do not count, unless there is nothing else.
    """
    folded = unicodedata.normalize("NFKD", title).casefold()
    words = "".join(char if char.isalnum() else " " for char in folded if not unicodedata.combining(char)).split()
    known_by = " ".join(words) or folded
    return "title:" + hashlib.sha256(known_by.encode("utf-8", "replace")).hexdigest()[:32]


def _plausible(match: re.Match[str]) -> bool:
    # A trailing zero lost by a float parser gives an id with too few digits for its year.
    if not match["new"]:
        return True
    month, number = match["new"].split(".")
    return int(month) >= 704 and 1 <= int(month[2:]) <= 12 and len(number) == (5 if int(month) >= 1501 else 4)

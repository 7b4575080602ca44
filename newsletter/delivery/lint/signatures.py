"""Rules of signatures (DKIM: RFC 6376, RFC 8301, RFC 8463, and RFC 8058 for what they must cover). Pure."""

import base64
import re
from collections import Counter
from collections.abc import Callable, Iterator
from email.utils import parseaddr

from cryptography.exceptions import InvalidSignature

from newsletter.delivery.dkim import OVERSIGNED, body_hash, signed_data
from newsletter.delivery.dkim.keys import Key
from newsletter.delivery.lint.opened import Opened
from newsletter.delivery.lint.rules import Book, brief

RULES = Book("dkim")
_TAG = re.compile(r"\s*([a-z]+)\s*=\s*([^;]*?)\s*(?:;|$)")
_ALGORITHMS = {"rsa-sha256", "ed25519-sha256"}
_SMALLEST = 2048  # bits (RFC 8301, section 3.2)


def _signatures(mail: Opened) -> list[str]:
    return [value for name, value in mail.fields if name.strip().lower() == "dkim-signature"]


def _is_signed(mail: Opened) -> bool:
    return bool(_signatures(mail))


def _is_ours(mail: Opened) -> bool:
    return bool(_signatures(mail) and mail.about.keys)


def _tags(signature: str) -> dict[str, str]:
    return dict(_TAG.findall(re.sub(r"\r\n(?=[ \t])", "", signature)))


def _names(tags: dict[str, str]) -> list[str]:
    return [each.strip().lower() for each in tags.get("h", "").split(":")]


def _each(what: Callable[[Opened, dict[str, str]], Iterator[str]]) -> Callable[[Opened], Iterator[str]]:
    """Look at each signature; what is found wrong names its selector."""

    def find(mail: Opened) -> Iterator[str]:
        for signature in _signatures(mail):
            tags = _tags(signature)
            yield from (f"{brief(tags.get('s', ''), 30)}: {found}" for found in what(mail, tags))

    return find


@RULES.rule("signed", "each configured key has signed", lambda mail: bool(mail.about.keys))
def _signed(mail: Opened) -> Iterator[str]:
    there = {(tags.get("s"), tags.get("d")) for tags in map(_tags, _signatures(mail))}
    yield from (f"{key.selector} has not" for key in mail.about.keys if (key.selector, key.domain) not in there)


@RULES.rule("algorithm", "signatures are rsa-sha256 or ed25519-sha256", _is_signed)
@_each
def _algorithm(_mail: Opened, tags: dict[str, str]) -> Iterator[str]:
    if tags.get("a") not in _ALGORITHMS:
        yield brief(tags.get("a", "none"), 30)


@RULES.rule("strength", "RSA signatures are by keys of 2048 bits or more", _is_signed)
@_each
def _strength(_mail: Opened, tags: dict[str, str]) -> Iterator[str]:
    letters = len("".join(tags.get("b", "").split()).rstrip("="))
    if tags.get("a", "").startswith("rsa") and letters * 6 // 8 * 8 < _SMALLEST:
        yield f"{letters * 6 // 8 * 8} bits"


@RULES.rule("relaxed", "signatures are relaxed/relaxed: relays may fold anew", _is_signed)
@_each
def _relaxed(_mail: Opened, tags: dict[str, str]) -> Iterator[str]:
    if tags.get("c") != "relaxed/relaxed":
        yield brief(tags.get("c", "simple/simple"), 30)


@RULES.rule("covers", "every field that a reader or their program sees is signed", _is_signed)
@_each
def _covers(mail: Opened, tags: dict[str, str]) -> Iterator[str]:
    names, there = _names(tags), {name.strip().lower() for name, _ in mail.fields}
    left_out = [name for name in OVERSIGNED if name.lower() in there and name.lower() not in names]
    if left_out:
        yield f"{', '.join(left_out)}: not signed"


@RULES.rule("oversigned", "no field that counts can be added behind the signature", _is_ours)
@_each
def _oversigned(mail: Opened, tags: dict[str, str]) -> Iterator[str]:
    if not any(key.selector == tags.get("s") for key in mail.about.keys):
        return  # a relay's own, which says what it likes
    signed, there = Counter(_names(tags)), Counter(name.strip().lower() for name, _ in mail.fields)
    missing = [name for name in OVERSIGNED if signed[name.lower()] <= there[name.lower()]]
    if missing:
        yield f"{', '.join(missing)}: not signed once more than there are"


@RULES.rule("whole", "signatures cover the whole body: no l=", _is_signed)
@_each
def _whole(_mail: Opened, tags: dict[str, str]) -> Iterator[str]:
    if "l" in tags:
        yield "there is an l="


@RULES.rule("aligned", "one signature is for the domain of From, or one above or below it", _is_signed)
def _aligned(mail: Opened) -> Iterator[str]:
    ours = parseaddr(mail.value("From"))[1].rpartition("@")[2].lower()
    domains = [_tags(each).get("d", "").lower() for each in _signatures(mail)]
    if not any(_related(each, ours) for each in domains):
        yield f"{', '.join(map(brief, domains))}, but From is of {brief(ours)}"


def _related(one: str, other: str) -> bool:
    return bool(one and other) and (one == other or one.endswith(f".{other}") or other.endswith(f".{one}"))


@RULES.rule("body", "the body is the one that was signed", _is_signed)
@_each
def _body(mail: Opened, tags: dict[str, str]) -> Iterator[str]:
    is_plain = tags.get("c", "").endswith("/relaxed") and "l" not in tags
    if is_plain and "".join(tags.get("bh", "").split()) != body_hash([mail.body]):
        yield "its hash is another"


@RULES.rule("verifies", "signatures by configured keys are good", _is_ours)
def _verifies(mail: Opened) -> Iterator[str]:
    for signature in _signatures(mail):
        tags = _tags(signature)
        for key in mail.about.keys:
            if (key.selector, key.domain) == (tags.get("s"), tags.get("d")) and not _is_good(
                mail, signature, tags, key
            ):
                yield f"{key.selector}: this key, or these fields, are others"


def _is_good(mail: Opened, signature: str, tags: dict[str, str], key: Key) -> bool:
    """Return whether a key's signature is good; the body's hash is looked at elsewhere."""
    without = re.sub(r"([\s;]b\s*=)[^;]*", r"\1", signature, count=1)
    try:
        made = base64.b64decode("".join(tags.get("b", "").split()), validate=True)
        key.verify(made, signed_data(mail.fields, _names(tags), without))
    except (InvalidSignature, ValueError):
        return False
    return True

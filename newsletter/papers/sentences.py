"""Where sentences end, and which of them may be quoted. Pure."""

import re
from collections.abc import Iterator

# ruff: noqa: RUF001  quotation marks close sentences, too
# The last three end sentences in Chinese and Japanese, without a space after them.
_END = "(?<![.!?])[.!?]+[\"”’')\\]]*\\s+|[\u3002\uff01\uff1f]+[”’」』）]*\\s*"
_LINK_OR_END = re.compile(rf"\[[^\[\]]*\]\([^\s()]*\)|(?P<end>{_END})")
_NO_END = re.compile(
    r"(?:(?:^|[\s(\[“‘\"~])(?:e\.g|i\.e|a\.k\.a|w\.r\.t|al|[Ff]igs?|[Ee]qs?|[Ss]ecs?|[Tt]ab|[Vv]s|cf|approx|resp|Dr|Mr|Ms|Prof"
    r"|St|No|vol|pp|incl|[A-Z](?:\.[A-Z])*))\.$"
)
_RESIDUE = re.compile(
    r"\\|[_^]\{|[_^]\s|\$[A-Za-z]|[A-Za-z)]\$|``|''"
    r"|(?<=[A-Za-z\d)])\{|\}(?=[A-Za-z\d(])"
    r"|\w(?:left|right)[(\[|{]"
    r"|mathcal|mathbb|mathbf|mathrm|boldsymbol|textbf|textit|texttt|textsc|operatorname|lceil|rceil|lfloor|rfloor|langle"
    r"|rangle|varepsilon|widetilde|widehat|infty|nabla|propto|rightarrow|(?<!e)cdot"
    r"|(?<![A-Za-z])(?:leq|geq|neq|sqrt|circ)(?![a-z])|(?<![A-Za-z])frac(?:\d|(?![a-z]))"
    # glued formulas, such as "mtimes n", "xin R^d" and "dlog(n)"
    r"|(?<![A-Za-z])[A-Za-z]?in R[\^²³ⁿ]|[b-z]log[(²³]"
    r"|(?<![A-Za-z])[A-Za-z]times(?![a-z])|\dtimes|(?<![A-Za-z-])times\d|\b(?:le|ge) \d"
    # a macro that was dropped: "we introduce , a" and "models () are"
    r"|(?<!\w)\(\s?\)|(?:introduces?|proposes?|presents?|releases?|termed|called|named|dubbed) [,.](?:\s|$)"
)


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a line; a link is never taken apart."""
    start = 0
    for match in _LINK_OR_END.finditer(text):
        if match["end"] and _ends(text, start, match):
            yield text[start : match.end()].strip()
            start = match.end()
    if text[start:].strip():
        yield text[start:].strip()


def _ends(text: str, start: int, match: re.Match[str]) -> bool:
    following = text[match.end() : match.end() + 20].split(" ", 1)[0]
    if not following or match.group()[0] in "\u3002\uff01\uff1f":
        return True
    if following[0].islower() and following[0].isascii() and not any(char.isupper() for char in following):
        return False
    return not _NO_END.search(text[max(start, match.start() - 12) : match.start() + 1])


def damaged(sentence: str) -> bool:
    """Say whether a sentence still holds what is left of a formula or of an author's own macro."""
    return bool(_RESIDUE.search(sentence)) or sentence.count("{") != sentence.count("}")

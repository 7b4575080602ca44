r"""Text a person can read: TeX, and what is left of it where a source took the ``$`` and backslashes away, as Unicode.

The knowledge of names (``\alpha``, ``\'e``) is pylatexenc's; the structure is ours, because abstracts are no
documents: half of a formula is missing, macros are the authors' own, and a dollar is mostly money.
Innermost groups go first, one layer a pass, until nothing changes: the result stays as it is when read again.
Bare words are never translated by guess: "Phi" is a model, "bin" and "all" are words. Pure.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from unicodedata import category, normalize

from pylatexenc.latex2text import LatexNodes2Text, get_default_latex_context_db

from newsletter.papers.textclean import URL, clean, trimmed

# ruff: noqa: RUF001  the signs that are easily confused are what this is about
_MAX_TEXT = 50_000  # characters looked at
_MAX_PASSES = 12  # layers of braces; no abstract has five
# Nothing below changes a text without one of these.
_SIGNS = r"[\\${}^`~*_]|--|''|leq|geq|neq|arrow|infty|cdot|propto|var(?:epsilon|phi|nothing)|nabla|boldsymbol"
_SUSPECT = re.compile(rf"{_SIGNS}|[\d°²³A-Z]times|times\d|\d times \d|sim!? ?\d|\d pm \d|\S [.,](?:\s|$)|[.!?] % [A-Z]")
_UNDO = re.compile(rf"{_SIGNS}|times|sim| pm |(?<= )[.,](?=\s|$)|(?<=[.!?] )% ")
_HIDDEN = re.compile("\x00(\\d+)\x00")  # cleaned text has no control characters
_PATH = r"(?<![\w\\])(?:[A-Z]:|\\\\[\w.-]+)\\[\w.~-]+(?:\\[\w.~-]*)*"
_PROTECTED = re.compile(rf"(?i:{URL})|{_PATH}")

_COLOURS = "red|green|blue|orange|teal|magenta|cyan|purple|violet|brown|gray|grey|black|olive|pink|yellow"
_STYLES = (
    r"text(?:bf|it|tt|sc|sf|rm|md|up|sl|normal)?|emph|underline|uline|mbox|hbox|bm|boldsymbol|pmb|ensuremath"
    r"|math(?:bf|it|rm|sf|tt|cal|bb|frak|scr)|operatorname\*?"
)
_SWITCHES = (
    "em|it|bf|tt|sc|rm|sf|sl|itshape|bfseries|ttfamily|scshape|small|large|Large|footnotesize|displaystyle|limits"
    "|left|right|bigg?|Bigg?|xspace|protect|allowbreak|nobreakdash|par|noindent|centering"
)
_GREEK = (
    "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|upsilon|phi|chi|psi"
    "|omega|Gamma|Delta|Theta|Lambda|Xi|Pi|Sigma|Upsilon|Phi|Psi|Omega|ell"
)
_NO_WORDS = (
    "leq|geq|neq|rightarrow|leftarrow|leftrightarrow|Rightarrow|uparrow|downarrow|infty|cdot|propto|nabla"
    "|varepsilon|varphi|varnothing"
)
_OWN = {
    "eg": "e.g.", "ie": "i.e.", "etc": "etc.", "etal": "et al.", "vs": "vs.", "wrt": "w.r.t.", "aka": "a.k.a.",
    "LaTeX": "LaTeX", "TeX": "TeX", "deg": "°", "degree": "°", "textdegree": "°", "textgreater": ">",
    "textless": "<", "textasciitilde": "~", "ldots": "…", "dots": "…", "cdots": "…", "quad": " ", "qquad": " ",
    "star": "*", "ast": "*", "colon": ":", "prime": "′", "lvert": "|", "rvert": "|", "lVert": "‖", "rVert": "‖",
    "epsilon": "ε", "phi": "φ",
}  # fmt: skip
_HATS = {
    "hat": "\u0302", "widehat": "\u0302", "tilde": "\u0303", "widetilde": "\u0303", "bar": "\u0304",
    "overline": "\u0304", "dot": "\u0307", "ddot": "\u0308", "check": "\u030c", "breve": "\u0306",
    "acute": "\u0301", "grave": "\u0300", "vec": "\u20d7",
}  # fmt: skip
# A sign without which the rule has nothing to do, a pattern, what to put.
Rule = tuple[str, str, str | Callable[[re.Match[str]], str]]
_RAISED = str.maketrans("0123456789-+", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺")
_LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def readable(text: str) -> str:
    """Return what a reader should see of a title, abstract or summary, on one line.

    A link with a label becomes ``[label](address)``. What cannot be mended stays as it is.
    Reading the result again changes nothing.
    """
    text = clean(text, _MAX_TEXT)
    for _ in range(_MAX_PASSES):
        if not _SUSPECT.search(text):
            return text
        mended = clean(_mend(text), _MAX_TEXT)
        if mended == text:
            return text
        text = mended
    # Nobody writes so deep; without any of the signs there is nothing left to change.
    while _SUSPECT.search(text):
        text = clean(_UNDO.sub(" ", text), _MAX_TEXT)
    return text


def _mend(text: str) -> str:
    """Take off one layer."""
    hidden: list[str] = []

    def hide(match: re.Match[str]) -> str:
        found = match.group()
        is_path = "://" not in found
        if is_path and re.match(rf"[A-Z]:\\(?:{_STYLES})(?![A-Za-z])", found):
            return found  # a function "F:\mathbb R"
        kept = found if is_path else trimmed(found)
        hidden.append(kept if is_path else re.sub(r"\\([_%&#~$-])", r"\1", kept))
        return f"\x00{len(hidden) - 1}\x00{found[len(kept) :]}"

    text = _PROTECTED.sub(hide, text)
    for sign, pattern, put in _RULES:
        if sign in text:
            text = pattern.sub(put, text)
    return _HIDDEN.sub(lambda match: hidden[int(match[1])], text)


def _link(match: re.Match[str]) -> str:
    address, label = match["address"], match["label"].strip()
    stop = "." if label.endswith(".") else ""
    label = label.rstrip(" .").replace("[", "(").replace("]", ")")
    if not label or "\x00" in label:
        return address + stop
    return f"[{label}]({address}){stop}"


def _math(match: re.Match[str]) -> str:
    inside = match[1]
    if not re.search(r"[\\^_={}<>]", inside):
        after = match.string[match.end() : match.end() + 1]
        money = after.isdigit() or (inside[0].isdigit() and " " in inside)
        return match.group() if money else inside
    if re.fullmatch(r"_\d|_\{\d+\}", inside):
        return inside.strip("_{}").translate(_LOWERED)  # "H$_2$O"
    # "LLM$\\times$MapReduce": the dollar was also the end of a macro's name
    return inside + "{}" if re.search(r"\\[A-Za-z]+$", inside) else inside


@cache
def _symbols() -> dict[str, str]:
    """Return what stands for a macro without arguments, by its name: one sign, or a word such as "log"."""
    specs = get_default_latex_context_db().iter_macro_specs()
    texts = {spec.macroname: spec.simplify_repl for spec in specs if isinstance(spec.simplify_repl, str)}
    plain = {name: text for name, text in texts.items() if _is_sign(text) or _is_word(text)}
    return plain | _OWN


def _is_sign(text: str) -> bool:
    """Say whether `text` is one character that fonts have; letters of a mathematical alphabet are not."""
    return len(text) == 1 and text != "\\" and "!" <= text <= "\uffff"


def _is_word(text: str) -> bool:
    return len(text) > 1 and text.replace(" ", "").isalpha()


def _symbol(match: re.Match[str]) -> str:
    name = match[1]
    text = _symbols().get(name)
    if text is None:
        return match.group()
    before = match.string[match.start() - 1 : match.start()]
    after = match.string[match.end() : match.end() + 2]
    # "k\log{n}" is no "klogn", and "u\in V" no "u∈ V"; but "2\times faster" stays together
    relation = category(text[0]) == "Sm" and after[:1] == " " and (text != "×" or after[1:].isdigit())
    ahead = (_is_word(text) or relation) and (before.isalnum() or before == ")")
    return f"{' ' * ahead}{text}{' ' * after.startswith('{')}"


@cache
def _accented(accent: str, letter: str) -> str:
    """Return the letter under its accent, or nothing if there is no such letter."""
    try:
        text = normalize("NFC", LatexNodes2Text().latex_to_text(f"\\{accent}{{{letter}}}"))
    except (IndexError, ValueError):
        return ""
    return text if len(text) == 1 else ""


def _accent(match: re.Match[str]) -> str:
    letter = match["braced"] or match["bare"]
    return _accented(match["accent"], letter) or match.group()


def _hat(match: re.Match[str]) -> str:
    letter = match["braced"] or match["bare"]
    return normalize("NFC", letter + _HATS[match["accent"]])


def _ended(match: re.Match[str]) -> str:
    """Say where a known name ends, before the next one may melt into a letter."""
    return match.group() + "{}" if match[1] in _symbols() else match.group()


def _fraction(match: re.Match[str]) -> str:
    return "/".join(part if re.fullmatch(r"√?[\w.^]*", part) else f"({part})" for part in match.groups())


def _root(match: re.Match[str]) -> str:
    return f"√{match[1]}" if re.fullmatch(r"\w*", match[1]) else f"√({match[1]})"


def _raise(match: re.Match[str]) -> str:
    return (match[1] or match[2] or match[3]).translate(_RAISED)


def _lower(match: re.Match[str]) -> str:
    return match[1] + match[2].translate(_LOWERED)


def _script(match: re.Match[str]) -> str:
    r"""Return ``_{LM}`` as ``_LM`` and ``_{i+1}`` as ``_(i+1)``."""
    sign, inside = match[1], match[2].strip()
    if not inside:
        return ""
    after = match.string[match.end() : match.end() + 1]
    simple = re.fullmatch(r"\w+(?:\.\w+)*|[*†‡′]+", inside) and not after.isalnum()
    return sign + inside if simple or inside[0] == "(" else f"{sign}({inside})"


def _group(match: re.Match[str]) -> str:
    """Return a group without its braces, unless they may be a set's or what they held together is lost."""
    inside = match["inside"]
    if inside is None:
        return match.group()
    before = match.string[match.start() - 1 : match.start()] if match.start() else ""
    if not re.search(r"\w", inside):
        return inside
    if before.isdigit() or before in {"_", "^", "\\", "}", ")", "\x00"}:
        return match.group()
    if before.isalpha():
        # "Touch{é}" and "{Δ}{Δ}G" are words; "d{ε}" was a fraction
        word = inside.isalpha() and len(inside) <= 3 and (max(inside) < "\u0250" or not before.isascii())
        return inside if word else match.group()
    is_set = re.search(r"[,:;\"|]", inside) and "\x00" not in inside
    return match.group() if is_set else inside


def _stray(match: re.Match[str]) -> str:
    unopened = match.string.count("}") > match.string.count("{")
    return match[1] if unopened else match.group()


def _marked(match: re.Match[str]) -> str:
    return {"prime": "′", "star": "*", "ast": "*", "top": "^T"}.get(match[1], match[1])


def _named(match: re.Match[str]) -> str:
    return _symbols()[match[1]]


def _times(match: re.Match[str]) -> str:
    return "× " if match[1] else "×"


def _link_rules() -> Iterator[Rule]:
    r"""Addresses, hidden as ``\x00…\x00``, and what points to them or elsewhere."""
    address = "(?P<address>\x00\\d+\x00)"
    yield "\x00", rf"(?:\\|(?<![A-Za-z]))url ?\{{\s*{address}([.,;]?)\s*\}}", r"\1\2"
    yield "\x00", rf"(?:\\|(?<![A-Za-z]))href ?\{{\s*{address}\s*\}} ?\{{(?P<label>[^{{}}]*)\}}", _link
    yield "\x00", rf"{address}\{{(?P<label>[^{{}}]*)\}}", _link
    yield "\\", r"\\([A-Za-z]+)(?=\\)", _ended
    yield "\\", r"\\href ?\{[^{}]*\} ?\{([^{}]*)\}", r"\1"
    yield "\\", r"\\href ?\{([^{}]*)\}(?! ?\{)", r"\1"
    yield "\\", r"\\footnote ?\{([^{}]*?)(\.?)\}(?:\.(?=\s))?", r" (\1)\2"
    pointer = r"(?:nocite|cite[a-z]*|ref|eqref|[cC]ref|autoref|label|vspace|hspace)"
    yield "\\", rf"[~ ]{{0,3}}\\{pointer}\*?(?:\[[^\[\]]*\])*\{{[^{{}}]*\}}", ""


def _sign_rules() -> Iterator[Rule]:
    """Formulas, and single signs after a backslash."""
    yield "~", r"~[a-z]{2,40}(?:19|20)\d\d[a-z]{2,40}\b", ""
    yield "\\", r"\\[()\[\]]", ""
    yield "$", r"\$\$", "$"
    yield "$", r"(?<!\\)\$([^\s$](?:[^$]{0,300}?[^\s$\\])?)\$", _math
    yield "\\", r"\\\\(?=\s|$)", " "
    yield "\\", r"\\([%&$#_{}])", r"\1"
    yield "\\", r"(?<=\.)\\, ?|(?<=\d)\\,(?=[kKMBT]\b)", ""
    yield "\\", r"(?<=[A-Za-z])\\'(?=(?:s|t|d|m|re|ve|ll)(?![A-Za-z]))", "'"
    yield "\\", r"\\(?:[,;:>] ?| )", " "
    yield "\\", r"\\[!@/-](?=\w)", ""
    yield "\\", r'(?<!\w)\\"([^"\\]{1,200})\\"(?!\w)', r"“\1”"
    yield "\\", r"(?<!\w)\\'([^'\\]{1,200})\\'(?!\w)", r"‘\1’"


def _accent_rules() -> Iterator[Rule]:
    """Letters of other languages."""
    letter = r"(?:\{\s*(?P<braced>\\?[A-Za-z])\s*\}|(?P<bare>\\[ij](?![A-Za-z])|[A-Za-z]))"
    yield "\\", rf"\\(?P<accent>[\"'`^~=.]) ?{letter}", _accent
    yield "\\", r"\\(?P<accent>[cvHkrud])(?: ?\{(?P<braced>[A-Za-z])\}| (?P<bare>[A-Za-z])(?![A-Za-z]))", _accent
    yield "\\", r"\\([~^])\{\}", r"\1"


def _macro_rules() -> Iterator[Rule]:
    """Macros by name, with and without their backslash."""
    yield "\\", r"\\text(?:super)script ?\{([^{}]*)\}", r"^{\1}"
    yield "\\", r"\\textsubscript ?\{([^{}]*)\}", r"_{\1}"
    yield "\\", rf"\\textcolor ?\{{(?:{_COLOURS})\}} ?\{{([^{{}}]*)\}}", r"\1"
    yield "\\", rf"\\color ?\{{(?:{_COLOURS})\}} ?", ""
    yield "{", rf"(?<![A-Za-z\\])(?:{_COLOURS})\{{([^{{}}]*)\}}", r"\1"
    yield "{", rf"(?:\\|(?<![A-Za-z\\]))(?:{_STYLES})\{{([^{{}}]*)\}}", r"\1"
    alphabet = r"(?:math(?:bf|rm|cal|bb|frak|scr)|bm|boldsymbol)"
    yield "\\", rf"\\{alphabet}(?: ([A-Za-z])(?![A-Za-z])| ?([^\W\d_a-zA-Z]))", r"\1\2"
    yield "\\", rf"\\(?:{_SWITCHES})(?![A-Za-z]) ?", ""
    yield "\\", r"\\(eg|ie|etc|etal|vs|wrt|aka)(?![A-Za-z])\.?", _symbol
    yield "\\", r"\\([A-Za-z]+)(?![A-Za-z])(?:\{\})?", _symbol
    yield "\\", r"\\\|", "‖"
    yield "", r"(?<=[⟨⌊⌈]) ", ""
    letter = r"(?: ?\{(?P<braced>[^\W\d_])\}| ?(?P<bare>[^\W\d_])(?![A-Za-z]))"
    yield "\\", rf"\\(?P<accent>{'|'.join(_HATS)}){letter}", _hat
    yield "{", r"(?:\\|(?<![A-Za-z\\]))[td]?frac\{([^{}]*)\}\{([^{}]*)\}", _fraction
    yield "\\", r"\\[td]?frac ?(\d)(\d)", r"\1/\2"
    yield "{", r"(?:\\|(?<![A-Za-z\\]))sqrt\{([^{}]*)\}", _root


def _script_rules() -> Iterator[Rule]:
    """What stands above or below the line."""
    yield "{", r"\{ ?(times|sim) ?\}", r"\1"
    yield "{", r"\{(?:bf|em|tt|sc) (?=\w)", "{"
    yield "", rf"(?<![A-Za-z\\])({_GREEK})(?=_\{{|_\d|\^|_[A-Z]|_infty|_[a-z](?![A-Za-z]))", _named
    yield "^", r"\^\{?(?:∘|circ(?=times|[^a-z]|$))\}?", "°"
    yield "^", r"\^\{?([*†‡′]|(?:prime|star|ast|top)(?![a-z]))\}?", _marked
    yield "^", r"(?<=\d)\^\{(st|nd|rd|th)\}", r"\1"
    yield "^", r"\^(?:\{([-+]?\d{1,4})\}|\(([-+]?\d{1,4})\)|(\d{1,4})(?!\d|\.\d))", _raise
    yield "{", r"([_^])\{([^{}]*)\}", _script
    yield "_", r"(?<![\w\\.@-])([^\W\d_])_(\d)(?![A-Za-z0-9_]|\.\w)", _lower


def _lossy_rules() -> Iterator[Rule]:
    """Names of signs that lost their backslash, where they can be no words."""
    yield "times", r"(?<=[\d°²³])times ?(?=\d)", "×"
    yield "times", r"(?<=[\d°²³])times(?![a-rt-z]|s(?!im\d))(?=([A-Z])?)", _times
    yield "times", r"(?<![A-Za-z])times(?=\d)|(?<=[A-Z])times(?=[A-Z])", "×"
    yield " times ", r"(?:(?<=\d)|(?<=_\w)) times (?=\d|\w_\w)", " × "
    yield " pm ", r"(?<=\d) pm (?=\d*\.\d)", " ± "
    yield "sim", r"(?<=\d)sim(?=\d)", "~"
    yield "sim", r"(?<![A-Za-z\d_-])sim!? ?(?=\d)(?!2-?(?:real|sim|Real|Sim|R|S))", "~"
    yield "", rf"(?<![A-Za-z\\])({_NO_WORDS})(?![a-z])", _named
    yield "boldsymbol", r"(?<![A-Za-z\\])boldsymbol ?(?=\w)", ""
    yield "arrow", r"(?<=[A-Z])((?:left)?rightarrow|leftarrow)(?=[A-Z])", _named


def _print_rules() -> Iterator[Rule]:
    """Dashes, quotation marks, ties, Markdown, and the braces that are left."""
    yield "% ", r"(?<=[.!?] )% (?=[A-Z])", ""
    yield "-", r"(?<![-!<])---(?![->])", "—"
    yield "-", r"(?<=[^-!<\s])--(?![->])|(?<= )--(?= )", "–"
    yield "`", r"``([^`]{1,300}?)(?:''|``|\")", r"“\1”"
    yield "`", r"(?<![\w`])`([^`'\s](?:[^`']{0,200}[^`'\s])?)'(?![\w'])", r"‘\1’"
    yield "`", r"(?<![\w`])`([^`]{1,200})`(?!`)", r"\1"
    yield "''", r"\"([^\"`']{1,200})''", r"“\1”"
    yield "''", r"(?<![\w'])''(?=\w)", "“"
    yield "''", r"(?<=\W[A-Za-z])''(?!['\w])", "″"
    yield "''", r"(?<=[^\s'])''(?!['\w(])", "”"
    yield "~", r"(?<=[A-Za-z.,;:)\]%”’\x00])~(?=[A-Za-z(“‘\x00\\\[])", " "
    yield "~", r"(?<=[A-Za-z]{2})~(?=\d)|(?<=\d)~(?=[A-Za-z]{2}|\()", " "
    yield "~", r"(?<=[A-Za-z])~(?=[.,;:)]|\s|$)", ""
    yield "**", r"\*\*([^*\s](?:[^*]{0,300}?[^*\s])?)\*\*", r"\1"
    yield "*", r"(?<![^\s(\"“])\*([^*\s](?:[^*]{0,200}?[^*\s])?)\*(?![\w*])", r"\1"
    yield "{", r"\\[A-Za-z]+\*?(?:\{[^{}]*\})+|\{(?P<inside>[^{}]*)\}", _group
    yield "}", "(\x00[.,]?)\\}", _stray
    yield "\x00", "(?<=\x00) (?=[.,](?:\\s|$))", ""


# No pattern looks further than to the next brace or dollar, or 300 characters: a text is read in linear time.
_RULES = tuple(
    (sign, re.compile(pattern), put)
    for rules in (
        _link_rules, _sign_rules, _accent_rules, _macro_rules, _script_rules, _lossy_rules, _print_rules,
    )
    for sign, pattern, put in rules()
)  # fmt: skip

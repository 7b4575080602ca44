r"""What a reader sees of TeX, and of what is left of it where ``$`` and backslashes were taken away."""

import gzip
import json
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from samples import HOSTILE

from newsletter.papers.sentences import damaged, sentences
from newsletter.papers.tex import readable
from newsletter.papers.textclean import clean, teaser

# Not part of the project: the texts in it are not ours to pass on.
ARCHIVE = Path(__file__).parents[3] / "shared" / "data" / "hf_daily" / "daily_papers_to_2026-08-07.jsonl.gz"
needs_archive = pytest.mark.skipif(not ARCHIVE.exists(), reason="the recorded archive is not part of the project")

PIECES = (
    *"\\${}[]()^_~`'\"*.,;:-<>|&%#@!? \n\x00\x01ae1éα∘²₁×",
    "\\alpha", "\\times", "\\log", "\\emph{", "\\textbf{", "\\frac{", "\\sqrt{",
    "\\href{", "\\url{", "\\footnote{", "\\cite{a}", "\\mathbb R", "\\mathbf", "\\tilde", "\\^o", "\\'e", "\\name",
    "\\method", "\\color{red}", "\\left", "\\(", "\\[", "\\\\", "\\,", "\\ ", "``", "''", "---", "--", "**", "times",
    "sim", "sim50", "2times", "frac12", "leq", "rightarrow", "theta_", "textit{", "url{", "href{", "boldsymbol", " pm ",
    "https://a.org/b_c", "https://a.org/", "http://", "{label}", "[label](", "C:\\a", "\u200b", "\u0301", "\u202e",
)  # fmt: skip
TRICKY = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        ("generation.~Specifically", "generation. Specifically"),
        (
            "at https://github.com/someone/ICCV2023-MCNET{Project}.",
            "at [Project](https://github.com/someone/ICCV2023-MCNET).",
        ),
        ("It\\^o density", "Itô density"),
        ("`disentangled' factors", "‘disentangled’ factors"),
        ("(i.\\,i.\\,d) data", "(i.i.d) data"),
        ("230times speedup", "230× speedup"),
        ("(sim50\\%)", "(~50%)"),
        ("sim39K", "~39K"),
        ("{\\em finite sample}", "finite sample"),
        ("G_{LM}", "G_LM"),
        ("Frankle & Carbin", "Frankle & Carbin"),
        ("Frankle \\& Carbin", "Frankle & Carbin"),
        ("**bold** and **B**old", "bold and Bold"),
        ("[our page](https://example.org/a_b)", "[our page](https://example.org/a_b)"),
    ],
)
def test_the_traps_of_the_live_feed(raw: str, seen: str) -> None:
    assert readable(raw) == seen


@pytest.mark.parametrize(
    "text",
    [
        "1~4 frames",
        "(~1%",
        "from ~9 to ~ 12, 7.33~8.26",
        "$60 GPUs",
        "costs $5 to $10 a day, or $0.005",
        "US$5 and A$7",
        "at 4$ per hour",
        "from $2,000 to C$3,000",
        "Phi, alpha, bin and all are words",
        "pi-Flow, mu-law, sim-to-real, sim2real and Sim2Real",
        "a timestep and sometimes 5 times more",
        "</think> <|im_end|>",
        "file_name, snake_case, __init__ and _private",
        "someone_else@example.org",
        "C# and F#, ~/papers, /home/~user",
        "a^b, ^_^ and x ^ y",
        "C:\\Users\\alpha\\times.txt",
        "\\\\server\\share\\alpha",
        "V* and A* search, 6K*6K, k* of n*",
        "--flag, <!-- not -->, a-b - c",
        'a {"key": 1} and {-1, 0, 1}',
        "don't 'quote' \"me\"",
        "see https://example.org/a_b-c/~d?x=1&y=$",
        "rock & roll <b>",
        "拡散モデルを使う。速い。",
        "диффузия, נתיב, مدل \U0001f600 \U0001f469\u200d\U0001f52c",
        "\\method and \\ours{} stay",
        "at 5 pm we met",
    ],
)  # fmt: skip
def test_nothing_else_is_touched(text: str) -> None:
    assert readable(text) == text


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        ("$\\mathcal{O}(n^2)$ time", "O(n²) time"),
        ("the $\\alpha$-moment of $x_i$", "the α-moment of x_i"),
        ("LLM$\\times$Map", "LLM×Map"),
        ("\\emph{a \\textbf{b \\texttt{c}}} d", "a b c d"),
        ("pages 3--5 --- or ``more''", "pages 3–5 — or “more”"),
        ("as known~\\cite{a,b}, \\citep[p.~3]{c}.", "as known,."),
        ("code: \\url{https://example.org/a_b}.", "code: https://example.org/a_b."),
        ("\\href{https://example.org/x}{our \\textbf{page}}.", "[our page](https://example.org/x)."),
        ("\\href{mailto:us@example.org}{write}", "write"),
        ("\\href{https://example.org/x{page}}.", "[page](https://example.org/x)."),
        ("a result\\footnote{Shown in part.} here", "a result (Shown in part). here"),
        ("\\$60, 5\\%, R\\&D, \\#1, a\\_b", "$60, 5%, R&D, #1, a_b"),
        ("costs \\$60 for $k$ and \\$70 for $n$", "costs $60 for k and $70 for n"),
        ("$x^{2}$, $x^{-2}$, $x^{i+1}$, $x_{i+1}$, $x_{2}$", "x², x⁻², x^(i+1), x_(i+1), x₂"),
        ("$\\frac{a}{b}$, $\\frac12$, $\\frac{a+b}{\\sqrt{n}}$", "a/b, 1/2, (a+b)/√n"),
        ("$\\sqrt{x}$ and $\\sqrt{x+1}$", "√x and √(x+1)"),
        ("$f:\\mathbb R^d\\to\\mathbb{R}$, $F:\\mathbb{R}$", "f:R^d→R, F:R"),
        ("$p \\le q \\times r$, $n \\to \\infty$", "p ≤ q × r, n → ∞"),
        ("$O(n\\log(1/\\varepsilon))$ or $2\\varepsilon$-far", "O(n log(1/ε)) or 2ε-far"),
        ("$\\tilde{O}(\\sqrt{\\log N})$", "Õ(√(log N))"),
        ("\\( O(n^3) \\) and \\[x\\]", "O(n³) and x"),
        ("$1000$ samples of $\\{1,2\\}$", "1000 samples of {1,2}"),
        ("na\\\"{\\i}ve Schr\\\"odinger, Pok\\'emon, vis-\\`a-vis", "naïve Schrödinger, Pokémon, vis-à-vis"),
        ("Fran\\c{c}ois, Erd\\H{o}s, {\\'e}t{\\'e}", "François, Erdős, été"),
        ("the model\\'s \\\"quoted\\\" words", "the model's “quoted” words"),
        ("(\\eg, this), \\ie that, \\etc.", "(e.g., this), i.e. that, etc."),
        ("{\\color{red} new} \\textcolor{blue}{text}", "new text"),
        ("360$^\\circ$ and 360{\\deg}", "360° and 360°"),
        ("the \\LaTeX{} source", "the LaTeX source"),
    ],
)  # fmt: skip
def test_tex_as_arxiv_has_it(raw: str, seen: str) -> None:
    assert readable(raw) == seen


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        ("256times256 and 8timesGPU, 4{times}, {sim}750", "256×256 and 8× GPU, 4×, ~750"),
        ("2 times 2 blocks, up to times3.2", "2 × 2 blocks, up to ×3.2"),
        ("textit{O}bstacles, textsc{Name}, teal{Tools}", "Obstacles, Name, Tools"),
        ("mathcal{O}(T^{-1/3})", "O(T^(-1/3))"),
        ("nabla^2DFT, ell_2 norm, pi_0.5, pi_{RL}, tau^3", "∇²DFT, ℓ₂ norm, π_0.5, π_RL, τ³"),
        ("leq5% of 0.73rightarrow0.90", "≤5% of 0.73→0.90"),
        ("SL^{2}A, 360^circ views, 10^{-9}, A^* search, 1{,}879", "SL²A, 360° views, 10⁻⁹, A* search, 1,879"),
        ("{Flow-Noise} and brea{K}ing", "Flow-Noise and breaKing"),
        ("as https://example.org/{https://example.org/.} says", "as https://example.org/. says"),
        ("https://example.org/x{blue{https://example.org/x}}.", "https://example.org/x."),
        ("found at https://example.org/a\\_b .", "found at https://example.org/a_b."),
        ("models~(LLMs), Step~9, 14~FPS, at~https://example.org", "models (LLMs), Step 9, 14 FPS, at https://example.org"),
        ("windows~chen2024quantum. The", "windows. The"),
        ("It works. % We show more.", "It works. We show more."),
        ("69.8 pm 0.5 points", "69.8 ± 0.5 points"),
    ],
)  # fmt: skip
def test_what_is_left_of_tex_elsewhere(raw: str, seen: str) -> None:
    assert readable(raw) == seen


@given(st.one_of(st.text(st.characters()), TRICKY, st.text(st.sampled_from(PIECES[:40]))))
@settings(max_examples=1_500)
@example("{" * 30 + "a~." + "}" * 30 + " ~. ~.")
@example("\\al\u200bpha e\\^\u200b{o}")
@example("x\\'{i}\u0301")
def test_reading_twice_changes_nothing(text: str) -> None:
    once = readable(text)
    assert readable(once) == once
    assert clean(once, 10**6) == once
    assert not any(unicodedata.category(char) in {"Cc", "Cs"} for char in once)


@given(TRICKY, st.integers(1, 60))
def test_kept_text_is_read_the_same_again(text: str, limit: int) -> None:
    kept = clean(readable(text), 10**6)
    assert readable(kept) == kept
    assert len(clean(kept, limit)) <= limit


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_one_printable_line(hostile: str) -> None:
    assert readable(hostile).isprintable()


@pytest.mark.parametrize(
    "hostile",
    [
        "{" * 20_000,
        "{" * 20_000 + "x" + "}" * 20_000,
        "$" * 20_000,
        "$a " * 20_000,
        "\\" * 20_000,
        "\\href{" * 10_000,
        "\\cite" + "[a]" * 20_000,
        "~ " * 20_000 + "\\cite",
        "^_" * 20_000,
        "x^{" * 20_000,
        "``a " * 20_000,
        "*a" * 20_000,
        "http://a.b{" * 20_000,
        "[a](http://a.b" * 20_000,
        "http://a.b/" + ")" * 200_000,
        "{a}" * 333_333,
        "x " * 500_000,
        "a\u0301\u0316" * 300_000,
    ],
    ids=lambda text: f"{text[:12]!r} {len(text)}",
)
def test_hostile_length_ends(hostile: str) -> None:
    read = readable(hostile)
    assert readable(read) == read
    assert isinstance(teaser(hostile, hostile, 320), str)


@needs_archive
def test_every_fourth_paper_of_the_archive_is_read_once_and_for_all() -> None:
    papers = [json.loads(line) for line in gzip.decompress(ARCHIVE.read_bytes()).splitlines()[::4]]
    hurt = 0
    for paper in papers:
        texts = [readable(paper.get(name) or "") for name in ("title", "summary", "ai_summary")]
        assert [clean(readable(text), 10**6) for text in texts] == texts, paper["id"]
        hurt += damaged(next(sentences(texts[1]), ""))
        said = teaser(texts[2], texts[1], 320)
        assert said, paper["id"]
        assert not re.search(r"\\[A-Za-z]|[_^]\{|\dtimes|``|textbf|mathcal", said), paper["id"]
    assert hurt < len(papers) / 500

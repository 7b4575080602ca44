"""``newsletter evaluate``: the ranking of an issue, on files."""

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
FIELDS = ("enzymes fold in water", "tools on the web", "knots in space")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Thirty old papers and nine new ones of three fields, and a reader of each."""

    def lines(name: str, rows: list[dict[str, object]]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    old = [{"id": f"p{n}", "title": f"Old {n}", "abstract": FIELDS[n % 3]} for n in range(30)]
    new = [{"id": f"n{n}", "title": f"New {n}", "abstract": FIELDS[n % 3]} for n in range(9)]
    readers = [{"id": f"s{n}", "likes": [f"p{n}", f"p{n + 3}", "gone"], "keywords": []} for n in range(3)]
    readers.append({"id": "keywords only", "likes": [], "keywords": ["tools"]})
    days = tmp_path / "days.json"
    days.write_text(json.dumps({"d0": ["n0", "n1", "n2"], "d1": ["n8", "n7", "n6"], "d2": []}), encoding="utf-8")
    return {
        "archive": lines("archive.jsonl", old),
        "new": lines("new.jsonl", new),
        "subscribers": lines("subscribers.jsonl", readers),
        "days": days,
        "out": tmp_path / "out.csv",
    }


def ranked(command: Command, files: dict[str, Path]) -> subprocess.CompletedProcess[str]:
    words = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    return command("evaluate", "rank", *words)


def test_readers_get_the_new_papers_of_their_field_first(command_here: Command, files: dict[str, Path]) -> None:
    done = ranked(command_here, files)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"4 readers, 9 new papers, 3 days: {files['out']}\n"
    rows = list(csv.DictReader(files["out"].open(encoding="utf-8")))
    for number, reader in enumerate(["s0", "s1", "s2", "keywords only"]):
        field = 1 if reader == "keywords only" else number
        full = [row["paper"] for row in rows if row["subscriber"] == reader and not row["day"]]
        assert {int(each[1:]) % 3 for each in full[:3]} == {field}
        assert len(full) == 9
        digest = [(row["paper"], row["rank"]) for row in rows if row["subscriber"] == reader and row["day"] == "d0"]
        assert digest[0] == (f"n{field}", "1")
        assert [rank for _, rank in digest] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("archive", "{", "no JSON lines"),
        ("archive", "[1]\n", "line 1: no JSON object"),
        ("new", '{"id": "n0"}\n{"id": "n0"}\n', "line 2: a second paper n0"),
        ("new", '{"title": "no id"}\n', "line 1: no id"),
        ("subscribers", '{"id": "s0", "likes": "p1"}\n', "line 1: likes and keywords are lists"),
        ("new", '{"id": "\\ud800"}\n', "id holds half a character"),
        ("archive", "[" * 100_000, "no JSON lines"),
        ("days", "[]", "no JSON object of days"),
        ("days", '{"d0": ["nowhere"]}', "day d0 has a paper nowhere"),
    ],
)
def test_files_that_make_no_sense_are_refused_with_the_place(
    command_here: Command, files: dict[str, Path], name: str, text: str, says: str
) -> None:
    files[name].write_text(text, encoding="utf-8")
    done = ranked(command_here, files)
    assert done.returncode == 1
    assert says in done.stderr
    assert not files["out"].exists()


_EVERYTHING = ("archive", "new", "subscribers", "days")


@pytest.mark.parametrize("empty", [("archive",), ("subscribers",), ("new", "days"), _EVERYTHING])
def test_nothing_to_rank_is_no_error(command_here: Command, files: dict[str, Path], empty: tuple[str, ...]) -> None:
    for name in empty:
        files[name].write_text("{}" if name == "days" else "", encoding="utf-8")
    done = ranked(command_here, files)
    assert done.returncode == 0, done.stderr
    assert files["out"].exists()

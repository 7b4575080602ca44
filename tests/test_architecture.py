"""The rules of the house, held by tests."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from importlinter.cli import lint_imports

MODULES = sorted(
    path
    for folder in ("newsletter", "worker")
    for path in (ROOT / folder).rglob("*.py")
    if "versions" not in path.parts
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MAX_FUNCTION, MAX_MODULE = 40, 400


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def calls(path: Path) -> Iterator[str]:
    return (ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call))


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return a function's lines from its first statement on, without its docstring: what there is to follow."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_imports_keep_to_the_layers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    # It would switch off all loggers that there are by now, for every test that comes after it in this process.
    monkeypatch.setattr("importlinter.cli._configure_logging", lambda _verbose: None)
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), cache_dir=None) == 0, capsys.readouterr().out


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_room_grows_past_its_size(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= MAX_MODULE
    assert not {each.name: body_lines(each) for each in functions(path) if body_lines(each) > MAX_FUNCTION}


def test_the_median_function_is_short() -> None:
    sizes = sorted(body_lines(each) for path in MODULES for each in functions(path))
    assert sizes[len(sizes) // 2] < 10


def test_only_the_clock_reads_the_clock() -> None:
    readers = re.compile(r"(^|\.)(now|utcnow|today)$|^time\.(time|monotonic|perf_counter|sleep)$")
    allowed = re.compile(r"^(self|app|clock|awake)\.(_?now|monotonic)$|^now$|^apps?\.now$|^self\._now$")
    found = {
        f"{name(path)}: {call}"
        for path in MODULES
        if path.name != "clock.py"
        for call in calls(path)
        if readers.search(call) and not allowed.match(call)
    }
    assert not found


def test_settings_are_read_at_the_entrances_only() -> None:
    entrances = {"newsletter/cli/frame.py", "worker/tasks.py", "worker/celery.py", "newsletter/settings.py"}
    readers = {name(path) for path in MODULES if {"load", "settings.load", "Settings"} & set(calls(path))}
    assert readers <= entrances


def test_sql_is_in_stores_and_ledgers_only() -> None:
    homes = {"store.py", "ledger.py", "models.py", "db.py", "tables.py", "migrate.py", "env.py"}
    imports = re.compile(r"^(from sqlmodel import .*\b(select|col)\b|from sqlalchemy|import sqlalchemy)", re.MULTILINE)
    found = {
        name(path) for path in MODULES if path.name not in homes and imports.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"newsletter/app.py"}, "app.py takes a database URL apart, and no more"


def test_nobody_commits_by_hand() -> None:
    found = {
        f"{name(path)}: {call}" for path in MODULES for call in calls(path) if call.endswith((".commit", ".rollback"))
    }
    assert not found


def test_a_task_is_one_statement() -> None:
    tasks = [
        each
        for each in functions(ROOT / "worker/tasks.py")
        if any("task" in ast.unparse(deco) for deco in each.decorator_list)
    ]
    assert len(tasks) >= 4
    for task in tasks:
        statements = [
            each for each in task.body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
        ]
        assert len(statements) == 1, task.name
        assert isinstance(statements[0], ast.Expr)
        assert isinstance(statements[0].value, ast.Call)


def test_public_functions_say_what_they_do() -> None:
    found = {
        f"{name(path)}:{each.lineno} {each.name}"
        for path in MODULES
        for each in tree(path).body
        if isinstance(each, (ast.FunctionDef, ast.ClassDef))
        and not each.name.startswith("_")
        and not ast.get_docstring(each)
    }
    assert not found


def test_pure_modules_touch_nothing_outside() -> None:
    outside = re.compile(
        r"^(?:from|import) (?:sqlalchemy|sqlmodel|requests|smtplib|socket|random|secrets)\b|"
        r"^from newsletter\.(?:db|clock|settings)\b",
        re.MULTILINE,
    )
    pure = [path for path in MODULES if re.match(r'""".*?Pure\.', path.read_text(encoding="utf-8"), re.DOTALL)]
    assert len(pure) >= 15
    found = {name(path) for path in pure if outside.search(path.read_text(encoding="utf-8"))}
    assert not found


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "helpers", "common", "manager", "service", "misc"}
    assert not {name(path) for path in MODULES if path.stem in drawers}


@pytest.mark.parametrize("path", TESTS, ids=name)
def test_tests_use_the_real_thing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    forbidden = (
        "unittest" + ".mock",
        "from mock " + "import",
        "time" + ".sleep(",
        'monkeypatch.setattr("' + "newsletter",
    )
    assert not [each for each in forbidden if each in text]

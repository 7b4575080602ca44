"""``newsletter lint``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from newsletter.cli.frame import open_app, print_json
from newsletter.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from newsletter.app import App
    from newsletter.delivery.lint import Verdict
    from newsletter.delivery.models import Mail
    from newsletter.specimens import Specimen


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("lint")(lint)


def lint(
    what: list[str] = typer.Argument(
        None,
        metavar="[FILE.eml|TEMPLATE]...",
        help="A mail in a file (- is stdin), or the name of one of ours; all of ours.",
    ),
    only_faults: bool = typer.Option(False, "--faults", help="Show only the rules that find something wrong."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Judge mails by all rules: wire, identity, list headers, signatures, parts, HTML; 1 when anything is wrong."""
    judged = []
    with open_app(schema=False) as app:
        for specimen in _specimens(app, what or []):
            judged.append((specimen, _judge(specimen)))
            if not as_json:
                _say(*judged[-1], only_faults=only_faults)
    number = sum(bool(each.faults) for _, verdicts in judged for each in verdicts)
    if as_json:
        mails = [{"mail": specimen.title, "rules": [_row(each) for each in verdicts]} for specimen, verdicts in judged]
        print_json({"faults": number, "mails": mails})
    if number:
        typer.echo(f"newsletter: {number} fault{'' if number == 1 else 's'}", err=True)
        raise typer.Exit(1)


def _specimens(app: "App", names: "Sequence[str]") -> "Iterator[Specimen]":
    from newsletter.delivery.models import Mail
    from newsletter.specimens import Specimen

    named = list(names or Mail)
    printed = _printed(app, [Mail(each) for each in dict.fromkeys(named) if each in set(Mail)])
    for name in named:
        if name in set(Mail):
            yield from printed[Mail(name)]
        else:
            yield Specimen(name, _read(name), app.about())


def _printed(app: "App", mails: "Sequence[Mail]") -> "dict[Mail, list[Specimen]]":
    """Return the forms of mails; an operator's templates are rendered under limits."""
    from newsletter.specimens import specimens, tried

    own = app.settings.templates_dir
    if own is None:
        return {mail: list(specimens(app, mail)) for mail in mails}
    found: dict[Mail, list[Specimen]] = {}
    for mail, forms in tried(app, own, mails):
        if isinstance(forms, str):
            raise InputError(forms)
        found[mail] = forms
    return found


def _read(name: str) -> bytes:
    from newsletter.delivery.models import Mail

    if name == "-":
        return sys.stdin.buffer.read()
    path = Path(name)
    if not path.is_file():
        raise InputError(f"{name} is no file, and no mail of ours: {', '.join(Mail)}")
    return path.read_bytes()


def _judge(specimen: "Specimen") -> "list[Verdict]":
    from newsletter.delivery import lint as rules

    return list(rules.lint(specimen.message, specimen.about))


def _say(specimen: "Specimen", verdicts: "list[Verdict]", *, only_faults: bool) -> None:
    typer.echo(specimen.title)
    for each in verdicts:
        if only_faults and not each.faults:
            continue
        said = f": {'; '.join(each.faults)}" if each.faults else ""
        typer.echo(f"  {_word(each):<5}  {each.rule.name:<19}  {each.rule.wants}{said}")


def _word(verdict: "Verdict") -> str:
    if verdict.applies:
        return "fault" if verdict.faults else "ok"
    return "-"  # does not concern this mail


def _row(verdict: "Verdict") -> dict[str, Any]:
    return {
        "rule": verdict.rule.name,
        "wants": verdict.rule.wants,
        "applies": verdict.applies,
        "faults": list(verdict.faults),
    }

"""``newsletter explain``: why a reader got these papers."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import typer

from newsletter.cli.frame import LOOK, open_app, print_json
from newsletter.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from newsletter.app import App
    from newsletter.issues.digest import DigestPick
    from newsletter.ranking.explain import Explained

_SHOWN = 20  # of those that were left out
_PARTS = "named", "liked", "text", "coread", "semantic", "disliked", "trend"
_HEAD = f"score  {'  '.join(_PARTS)}"


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("explain")(explain)


def explain(
    subscriber: str = typer.Option(..., metavar="EMAIL", help="Whose papers."),
    issue: str = typer.Option(..., metavar="SLOT", help="Of which issue, such as 2026-08-05."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object, with all candidates."),
) -> None:
    """Show why a reader got these papers: as they were sent, and how each candidate fares with them now."""
    with open_app() as app:
        found = _explained(app, subscriber, issue)
    if as_json:
        print_json(found)
    else:
        for line in _lines(found):
            typer.echo(line)
    if not found["candidates"]:
        raise typer.Exit(LOOK)


def _explained(app: "App", email: str, slot: str) -> dict[str, Any]:
    from newsletter.delivery import store as deliveries
    from newsletter.delivery.desk import Desk
    from newsletter.delivery.models import SkipReason
    from newsletter.issues import store as issues
    from newsletter.subscribers import store as subscribers

    with app.db.snapshot() as session:
        person, issue = subscribers.find(session, email), issues.find(session, slot)
        if person is None:
            raise InputError(f"there is no subscriber {email}")
        if issue is None:
            raise InputError(f"there is no issue {slot}")
        id_ = person.id or 0
        delivery = deliveries.of_issue(session, issue.id or 0, id_)
        sent = _kept(delivery.selection) if delivery and delivery.selection else ()
        drafted = issues.draft(session, issue.day, app.now(), app.settings.window)
        desk = Desk(session, drafted, app.identity, app.templates)
        now = desk.explain(session, id_)
        papers = desk.papers
    found: dict[str, Any] = {
        "issue": slot,
        "subscriber": person.email,
        "state": delivery.state if delivery else None,
        "why_none": (delivery.skip_reason or "") if delivery else "",
        "sent": [each._asdict() | {"title": _title(papers, each.paper_id), "parts": each.parts and each.parts._asdict()}
                 for each in sent],
    }  # fmt: skip
    if isinstance(now, SkipReason):
        return found | {"why_none": found["why_none"] or now.value, "candidates": []}
    edition, explanation = now
    reasons = explanation.reasons
    return found | {"candidates": [_candidate(each, edition.papers, reasons) for each in explanation.candidates]}


def _kept(selection: dict[str, Any]) -> "Sequence[DigestPick]":
    """Return what was sent.

    :raises InputError: it cannot be read.
    """
    from newsletter.delivery.desk import thaw

    try:
        return thaw(selection).picks
    except (TypeError, ValueError, KeyError) as exc:
        raise InputError(f"what was sent cannot be read: {exc}") from exc


def _candidate(each: "Explained", papers: dict[int, Any], reasons: dict[int, str]) -> dict[str, Any]:
    return {
        "paper_id": each.paper_id,
        "title": papers[each.paper_id].title,
        "place": each.place or None,
        "score": round(each.score, 4),
        "parts": each.parts._asdict(),
        "rule": each.rule.value,
        "by": list(each.by),
        "reason": reasons.get(each.paper_id, ""),
    }


def _title(papers: dict[int, Any], paper_id: int) -> str:
    return papers[paper_id].title if paper_id in papers else f"paper {paper_id}"


def _lines(found: dict[str, Any]) -> list[str]:
    none = f", {found['why_none']}" if found["why_none"] else ""
    lines = [f"issue {found['issue']}, {found['subscriber']}: {found['state'] or 'not queued'}{none}"]
    if found["sent"]:
        lines.append(f"      {_HEAD}")
    for place, each in enumerate(found["sent"], 1):
        lines.append(f"  {place:2}  {_numbers(each)}  {each['title']} ({each['reason']})")
    picked = [each for each in found["candidates"] if each["place"]]
    others = [each for each in found["candidates"] if not each["place"]]
    if found["candidates"]:
        lines.append(f"by what they ask for and like now: {len(picked)} of {len(found['candidates'])} candidates")
        lines.append(f"      {_HEAD}")
    lines += [f"  {each['place']:2}  {_numbers(each)}  {each['title']} ({each['reason']})" for each in picked]
    if others:
        counts = Counter(each["rule"] for each in others)
        lines.append("left out: " + ", ".join(f"{number} {rule}" for rule, number in counts.items()))
    for each in others[:_SHOWN]:
        by = f": {', '.join(each['by'])}" if each["by"] else ""
        lines.append(f"   -  {_numbers(each)}  {each['title']} ({each['rule']}{by})")
    if len(others) > _SHOWN:
        lines.append(f"  and {len(others) - _SHOWN} more: --json has them all")
    return lines


def _numbers(each: dict[str, Any]) -> str:
    parts = each["parts"] or {}  # it was sent before they were kept
    told = [(f"{parts[name]:.2f}" if name in parts else "-").rjust(len(name)) for name in _PARTS]
    return "  ".join([f"{each['score']:5.2f}", *told])

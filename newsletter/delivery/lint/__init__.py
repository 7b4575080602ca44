"""Lint: what a mail must be like before it goes out, one rule a line. Pure.

``rules`` says what a rule is and ``opened`` takes a mail apart; the rules themselves are in ``wire``, ``identity``,
``lists``, ``signatures``, ``parts`` and ``look``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from newsletter.delivery.lint import identity, lists, look, parts, signatures, wire
from newsletter.delivery.lint.opened import About, Opened
from newsletter.delivery.lint.rules import Rule

RULES: tuple[Rule, ...] = (
    *wire.RULES, *identity.RULES, *lists.RULES, *signatures.RULES, *parts.RULES, *look.RULES,
)  # fmt: skip
_TOLD = 3  # places that are named; there may be thousands


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one rule.

    :ivar faults: what is wrong, the first places of it.
    :ivar applies: whether the rule concerns the mail at all.
    """

    rule: Rule
    faults: tuple[str, ...] = ()
    applies: bool = True


def lint(raw: bytes, about: About | None = None) -> Iterator[Verdict]:
    """Judge a mail by every rule, in order; whatever the bytes, something comes back for each."""
    mail = Opened(raw, about or About())
    for rule in RULES:
        applies = rule.applies(mail)
        yield Verdict(rule, tuple(islice(rule.find(mail), _TOLD)) if applies else (), applies)


def faults(raw: bytes, about: About | None = None) -> list[str]:
    """Return what is wrong with a mail, a line for each rule that says so."""
    found = (each for each in lint(raw, about) if each.faults)
    return [f"{each.rule.name}: {each.rule.wants}: {'; '.join(each.faults)}" for each in found]


__all__ = ["RULES", "About", "Opened", "Verdict", "faults", "lint"]

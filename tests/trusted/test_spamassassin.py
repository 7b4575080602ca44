"""SpamAssassin, without a network and without anything it learned: no mail of ours gets a point."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from arrivals import Arrived, altered
from judges import program

from newsletter.delivery.models import Mail

pytestmark = pytest.mark.trusted
_LIMIT = 0.0  # where others speak of spam from 5 points on
_RULES = "/usr/share/spamassassin"  # those of the package, whatever this machine has fetched since
_SETTINGS = ("use_bayes 0", "fold_headers 0", "add_header all Judged _SCORE_ _TESTSSCORES(;)_")
_JUDGED = re.compile(r"^X-Spam-Judged: (\S+) (.*)$", re.MULTILINE)
_GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What SpamAssassin makes of a mail.

    :ivar score: rounded to a tenth, as it compares and prints it.
    """

    score: float
    rules: Mapping[str, float]


def judge(mails: Sequence[Arrived], folder: Path) -> list[Verdict]:
    """Have mails judged by one process, in order."""
    for number, mail in enumerate(mails):
        # A server hands mails to it with line ends of its own.
        (folder / f"{number:04}.eml").write_bytes(mail.raw.replace(b"\r\n", b"\n"))
    settings = [f"--cf={each}" for each in _SETTINGS]
    command = [program("spamassassin"), "--local", f"--configpath={_RULES}", *settings, *sorted(folder.glob("*.eml"))]
    home = os.environ | {"HOME": str(folder), "LC_ALL": "C"}
    said = subprocess.run(command, env=home, capture_output=True, check=True).stdout.decode("utf-8", "replace")
    verdicts = [Verdict(float(score), _points(rules)) for score, rules in _JUDGED.findall(said)]
    assert len(verdicts) == len(mails)
    return verdicts


def _points(rules: str) -> dict[str, float]:
    return {name: float(points) for name, _, points in (each.partition("=") for each in rules.split(";")) if points}


def spam(ham: Arrived) -> dict[str, Arrived]:
    """Return one of our mails made into spam."""
    loud = b"Subject: FREE MONEY !!! ACT NOW, YOU WON $5,000,000 !!!\r\n"
    return {
        "shouting": altered(ham, rb"Subject: .*?\r\n", loud),
        "gtube": altered(ham, rb"quoted-printable\r\n\r\n", b"quoted-printable\r\n\r\n" + _GTUBE + b"\r\n"),
    }


@pytest.fixture(scope="module")
def verdicts(every_form: list[Arrived], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    """What is thought of each form, by its title, and of spam: it takes seconds to begin, so it is asked once."""
    mails = {each.title: each for each in every_form} | spam(every_form[0])
    return dict(zip(mails, judge(list(mails.values()), tmp_path_factory.mktemp("spamassassin")), strict=True))


@pytest.mark.parametrize("mail", list(Mail))
def test_spamassassin_gives_no_mail_a_point(
    forms: Mapping[Mail, Sequence[Arrived]], verdicts: Mapping[str, Verdict], mail: Mail
) -> None:
    assert forms[mail]
    assert {each.title: found for each in forms[mail] if (found := verdicts[each.title]).score > _LIMIT} == {}


def test_spamassassin_knows_spam(every_form: list[Arrived], verdicts: Mapping[str, Verdict]) -> None:
    ham = verdicts[every_form[0].title]
    assert "NO_RELAYS" not in ham.rules
    assert verdicts["gtube"].score > 900
    assert verdicts["shouting"].score > max(ham.score, _LIMIT)

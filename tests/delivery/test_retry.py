"""What replies mean."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.delivery.models import DeliveryState
from newsletter.delivery.retry import BACKOFF, Phase, no_reply, refused, spread_of

D, F, U = DeliveryState.DEFERRED, DeliveryState.FAILED, DeliveryState.UNKNOWN


@pytest.mark.parametrize(
    ("phase", "code", "reply", "state", "suppress", "stop"),
    [
        (Phase.RCPT, 550, "5.1.1 no such user", F, True, False),
        (Phase.DOT, 550, "5.1.1 no such user", F, True, False),
        (Phase.MAIL, 550, "5.1.1 odd, but about our sender", D, False, True),
        (Phase.MAIL, 530, "Authentication required", D, False, True),
        (Phase.MAIL, 552, "5.3.4 too big", F, False, False),
        (Phase.RCPT, 550, "5.7.1 this server refuses us", F, False, False),
        (Phase.RCPT, 550, "no such user, says nobody's class", F, False, False),
        (Phase.RCPT, 552, "5.2.2 full", F, False, False),
        (Phase.DOT, 550, "5.7.515 access denied", D, False, True),
        (Phase.RCPT, 450, "4.2.1 busy", D, False, False),
        (Phase.DOT, 451, "4.7.1 later", D, False, False),
        (Phase.DOT, 251, "what", U, False, False),
        (Phase.RCPT, 354, "what", D, False, False),
    ],
)
def test_a_reply_decides_by_its_class(
    phase: Phase, code: int, reply: str, state: DeliveryState, suppress: bool, stop: bool
) -> None:
    outcome = refused(phase, code, reply, 1, 0)
    assert (outcome.state, outcome.suppress, outcome.stop) == (state, suppress, stop)


ANY = (Phase.RCPT, Phase.DATA, Phase.DOT)
WORDS = ("suppress", "hard", "full", "ours", "stop", "refused_us", "slow")


@pytest.mark.parametrize(
    ("phases", "code", "reply", "state", "said"),
    [
        *((ANY, 550, f"{each} gone", F, {"suppress"}) for each in ("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10")),
        (ANY, 553, "5.1.3 bad syntax", F, {"suppress"}),
        (ANY, 501, "5.1.3 bad syntax", F, {"suppress"}),
        *(([Phase.RCPT], code, "no", F, {"hard"}) for code in (521, 550, 551, 553, 556)),
        ([Phase.RCPT], 550, "5.2.1 disabled", F, {"hard"}),
        ([Phase.RCPT], 550, "5.4.1 access denied", F, {"hard"}),
        ([Phase.RCPT], 550, "5.1.0 address rejected", F, {"hard"}),
        ([Phase.DATA, Phase.DOT], 550, "spam", F, set()),
        ([Phase.DATA, Phase.DOT], 554, "no thanks", F, set()),
        ([Phase.RCPT], 554, "no thanks", F, {"refused_us"}),
        ([Phase.RCPT], 554, "5.7.1 relay access denied", F, {"refused_us"}),
        ([Phase.RCPT], 553, "5.7.1 sender refused", F, {"refused_us"}),
        ([Phase.RCPT], 550, "5.1.8 bad sender", F, {"refused_us"}),
        ([Phase.MAIL, Phase.DATA, Phase.BODY, Phase.DOT], 550, "5.7.26 unauthenticated", D, {"stop"}),
        ([Phase.MAIL, Phase.DATA, Phase.DOT], 553, "5.1.8 bad sender", D, {"stop"}),
        ([Phase.MAIL], 553, "who are you", D, {"stop"}),
        ([Phase.MAIL], 503, "5.5.1 log in first", D, {"stop"}),
        (ANY, 552, "5.2.2 full", F, {"full"}),
        (ANY, 552, "too much stored", F, {"full"}),
        (ANY, 550, "5.2.2 over quota", F, {"full"}),
        ([Phase.MAIL, *ANY], 552, "5.3.4 too big", F, {"ours"}),
        ([Phase.MAIL], 552, "too big", F, {"ours"}),
        (ANY, 552, "5.2.3 too big for them", F, {"ours"}),
        (ANY, 554, "5.5.4 what", F, {"ours"}),
        (ANY, 500, "what", F, {"ours"}),
        ([Phase.MAIL, *ANY], 421, "4.7.0 too fast", D, {"slow: relay"}),
        ([Phase.MAIL, *ANY], 421, "closing", D, {"slow: relay"}),
        ([Phase.MAIL], 451, "4.7.1 greylisted", D, {"slow: relay"}),
        (ANY, 450, "4.7.28 unusual rate", D, {"slow: domain"}),
        (ANY, 452, "4.2.2 full for now", D, set()),
        (ANY, 451, "4.3.0 try again", D, set()),
    ],
)
def test_each_reply_says_who_is_to_blame_and_what_follows(
    phases: list[Phase], code: int, reply: str, state: DeliveryState, said: set[str]
) -> None:
    for phase in phases:
        outcome = refused(phase, code, reply, 1, 0)
        found = {name if getattr(outcome, name) is True else f"{name}: {getattr(outcome, name)}"
                 for name in WORDS if getattr(outcome, name)}  # fmt: skip
        assert (outcome.state, found) == (state, said), phase


def test_a_mailbox_that_was_full_until_we_gave_up_counts_as_full() -> None:
    assert refused(Phase.RCPT, 452, "4.2.2 full", len(BACKOFF) + 1, 0).full


@given(st.sampled_from(Phase), st.integers(0, 999), st.text(), st.integers(1, 9), st.floats(-1, 1))
def test_no_answer_means_sent_and_only_silence_after_the_dot_is_unknown(
    phase: Phase, code: int, reply: str, attempts: int, spread: float
) -> None:
    outcome = refused(phase, code, reply, attempts, spread)
    assert outcome.state in {D, F, U}
    assert (outcome.state is U) <= (phase is Phase.DOT)
    assert no_reply(phase, reply, attempts, spread).state is (
        U if phase is Phase.DOT else F if attempts > len(BACKOFF) else D
    )


def test_waits_grow_and_are_spread() -> None:
    waits = [refused(Phase.RCPT, 450, "x", attempt, 0).retry_after for attempt in range(1, 6)]
    assert waits == [timedelta(minutes=minutes) for minutes in (5, 15, 60, 240, 240)]
    assert refused(Phase.RCPT, 450, "x", 6, 0).state is F
    spreads = {spread_of(number, 1) for number in range(1_000)}
    assert len(spreads) > 900
    assert all(-1 <= spread <= 1 for spread in spreads)

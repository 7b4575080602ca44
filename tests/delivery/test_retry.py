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

"""Pacing as a run sees it: whether a mail may go out now, and what its outcome says of our pace."""

from collections.abc import Callable
from datetime import datetime, timedelta

from newsletter.delivery.models import DeliveryState
from newsletter.delivery.pacing import Pacer
from newsletter.delivery.retry import Outcome
from newsletter.delivery.transports import Outgoing

_SECONDS = 10  # mails are put off in steps, so that many share a statement


class Paced:
    """Asks the pacer, by the clock of the application."""

    def __init__(self, pacer: Pacer, now: Callable[[], datetime]) -> None:
        self._pacer = pacer
        self._now = now
        self._turns: dict[str, datetime] = {}

    def wait(self, relay: str, outgoing: Outgoing) -> float:
        """Return 0 when a mail may be sent now, else seconds; see `Pacer.take`."""
        return self._pacer.take(relay, domain_of(outgoing), self._now())

    def rest(self, relay: str) -> float:
        """Return the seconds for which a relay must be given nothing at all."""
        return self._pacer.rest(relay, self._now())

    def has_limit(self, outgoing: Outgoing) -> bool:
        """Return whether mails to this one's domain have a rate of their own."""
        return bool(self._pacer.rate_of(domain_of(outgoing)))

    def is_slowed(self, outgoing: Outgoing) -> bool:
        """Return whether mails to this one's domain rest, or are tried out one by one."""
        return self._pacer.slowed(domain_of(outgoing))

    def unheard(self, relay: str, outgoing: Outgoing) -> None:
        """Note that nothing was heard of our pace, as the mail did not go out after all."""
        self._pacer.unheard(relay, domain_of(outgoing), self._now())

    def turn(self, outgoing: Outgoing, wait: float) -> timedelta:
        """Return until when a mail is put off: those to a domain with a limit one behind the other."""
        domain, now = domain_of(outgoing), self._now()
        rate = self._pacer.rate_of(domain)
        turn = max(self._turns.get(domain, now), now + timedelta(seconds=wait))
        if rate:
            self._turns[domain] = turn + timedelta(seconds=1 / rate)
        return timedelta(seconds=((turn - now).total_seconds() // _SECONDS + 1) * _SECONDS)

    def learn(self, relay: str, outgoing: Outgoing, outcome: Outcome) -> None:
        """Slow down where a reply asks for it; what works again is trusted again."""
        if outcome.state is DeliveryState.SENT:
            self._pacer.worked(relay, domain_of(outgoing), self._now())
        elif outcome.slow:
            self._pacer.slow(relay, domain_of(outgoing) if outcome.slow == "domain" else None, self._now())
        else:
            self._pacer.unheard(relay, domain_of(outgoing), self._now())


def domain_of(outgoing: Outgoing) -> str:
    """Return the domain that a mail goes to."""
    return outgoing.recipient.rpartition("@")[2]

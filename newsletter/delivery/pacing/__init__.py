"""How fast mails may go out: a rate limit, a warm-up plan and a circuit breaker, each shared by all processes.

Each is kept for a relay; rate limit and breaker for recipients' domains, too. `Pacer` is asked before each mail.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from threading import RLock

from newsletter.db import Database
from newsletter.delivery.pacing.allotments import Allotments
from newsletter.delivery.pacing.aside import Aside, Here
from newsletter.delivery.pacing.bucket import micros
from newsletter.delivery.pacing.circuits import Circuits
from newsletter.delivery.pacing.shared import Buckets
from newsletter.delivery.pacing.slots import Slots
from newsletter.rates import DomainRates, WarmUp

NO_DOMAINS = DomainRates()


class Pacer:
    """Says whether a mail may go out now. Any thread may ask; nobody waits for a database or a broker.

    :param rate: mails a second to each relay; 0 is no limit.
    :param domains: limits of recipients' domains, over all relays.
    :param warm_ups: plans by relay; see `rates.parse_warm_ups`.
    :param broker: where rate limits are counted while it answers; ``None`` is the database.
    :param aside: who asks the database and the broker.
    """

    def __init__(
        self,
        db: Database,
        now: Callable[[], datetime],
        *,
        rate: float = 0.0,
        domains: DomainRates = NO_DOMAINS,
        warm_ups: Mapping[str, WarmUp] | None = None,
        broker: Buckets | None = None,
        aside: Here | None = None,
    ) -> None:
        self._rate = rate
        self._domains = domains
        self._warms_up = bool(warm_ups)
        self._unlimited = not (rate or domains.named or domains.other or warm_ups)
        self._aside = aside or Aside()
        self._lock = RLock()
        self._circuits = Circuits(db, self._aside, self._lock)
        self._allotments = Allotments(db, warm_ups or {}, self._aside, self._lock)
        self._slots = Slots(db, now, self._circuits, self._aside, self._lock, broker)

    def take(self, relay: str, domain: str, now: datetime) -> float:
        """Return 0 when a mail may be sent now, which uses a permit of everything that limits it.

        Otherwise no permit is used, and it is the seconds after which it is worth asking again: milliseconds for a rate
        limit, the rest of a rest, or the time to the next day (UTC) when the relay's warm-up cap is reached.
        """
        if self._unlimited and not self._circuits and self._circuits.is_fresh(now):
            return 0.0
        with self._lock:
            self._circuits.look_if_due(now)
            name = self._name(domain)
            keys = (_relay(relay), _domain(name)) if self._circuits else ()
            wait = keys and self._circuits.wait(keys, now)
            wait = wait or (self._warms_up and self._allotments.wait(relay, now)) or 0.0
            wait = wait or self._permit(relay, name, now)
            if not wait:
                if keys:
                    self._circuits.use(keys)
                if self._warms_up:
                    self._allotments.use(relay)
            return wait

    def rest(self, relay: str, now: datetime) -> float:
        """Return for how many seconds a relay must be given nothing, whoever the reader; rate limits do not count."""
        with self._lock:
            keys = (_relay(relay),) if self._circuits else ()
            return (keys and self._circuits.wait(keys, now)) or (
                self._allotments.wait(relay, now) if self._warms_up else 0.0
            )

    def rate_of(self, domain: str) -> float:
        """Return how many mails a second may go to a recipient's domain; 0 is no limit."""
        found = self._domains.of(self._name(domain))
        return found.rate if found else 0.0

    def slowed(self, domain: str) -> bool:
        """Return whether mails to a recipient's domain rest, or are being tried out one by one."""
        with self._lock:
            breaker = self._circuits.get(_domain(self._name(domain)))
            return breaker is not None and not breaker.closed

    def slow(self, relay: str, domain: str | None, now: datetime) -> None:
        """Note a refusal for now (421, 4.7.x): the relay rests, or with a `domain` mails to that domain do."""
        key = _relay(relay) if domain is None else _domain(self._name(domain))
        with self._lock:
            self._circuits.slow(key, now)

    def worked(self, relay: str, domain: str, now: datetime) -> None:
        """Note that a mail was accepted: what was on probation is trusted again."""
        if self._circuits:
            with self._lock:
                self._circuits.worked(_relay(relay), now)
                self._circuits.worked(_domain(self._name(domain)), now)

    def unheard(self, relay: str, domain: str, now: datetime) -> None:
        """Note that a mail came to an end that says nothing of our pace, such as a broken connection."""
        if self._circuits:
            with self._lock:
                self._circuits.unheard(_relay(relay), now)
                self._circuits.unheard(_domain(self._name(domain)), now)

    def close(self) -> None:
        """Wait until all is written down, and give back what was not used."""
        self._aside.close()
        Here().do(self._allotments.give_back)

    def _permit(self, relay: str, name: str, now: datetime) -> float:
        """Use a slot of the domain's limit and one of the relay's, or return the seconds to wait.

        The domain's is asked for first: slots of the relay are not reserved for mails that cannot use them.
        """
        of_domain = self._domains.of(name)
        limits = [(_domain(name), of_domain.rate)] if of_domain else []
        if self._rate:
            limits.append((_relay(relay), self._rate))
        if not limits:
            return 0.0
        at = micros(now)
        for key, rate in limits:
            if wait := self._slots.wait(key, rate, at):
                return wait
        for key, _ in limits:
            self._slots.use(key, at)
        return 0.0

    def _name(self, domain: str) -> str:
        """Return whose limit and whose breaker a domain has: its provider's, if that is named."""
        domain = domain.lower()
        found = self._domains.named.get(domain)
        return found.name if found else domain


def _relay(relay: str) -> str:
    return f"relay {relay}"


def _domain(name: str) -> str:
    return f"domain {name}"

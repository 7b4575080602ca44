"""The connections to one relay: how many there may be, and whether it serves us at all just now."""

import ssl

from newsletter import clock
from newsletter.delivery.retry import Outcome
from newsletter.delivery.transports.connection import Connection, Work
from newsletter.delivery.transports.handshake import shake_hands
from newsletter.errors import RelayAwayError
from newsletter.relays import Relay

_IDLE_SECONDS = 60.0  # a relay may have closed a connection that was silent for longer
_FAILURES = 5


class Pool:
    """Connections to one relay; they stay open from one batch to the next.

    :ivar taken: mails given to this relay, for sharing them by weight.
    :ivar paced_until: by the loop's clock, when it may be asked again whether a mail may go out.
    :ivar away: why the relay serves us no more for now; empty while it does.
    """

    def __init__(self, relay: Relay, context: ssl.SSLContext) -> None:
        self.relay = relay
        self.connections: set[Connection] = set()
        self.taken = 0
        self.away = ""
        self.paced_until = 0.0
        self._context = context
        self._opening = 0
        self._most = relay.connections
        self._failures = 0

    @property
    def share(self) -> float:
        """How much this relay was given already, in relation to its weight."""
        return self.taken / (self.relay.weight or 1)

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self._opening) or any(each.busy for each in self.connections)

    @property
    def idle(self) -> Connection | None:
        """A connection that has nothing to do."""
        return next((each for each in self.connections if not each.busy and not each.closed), None)

    def begin_run(self, work: Work) -> None:
        """Try the relay again, whatever it did before; connections that are old, or were closed, are not used."""
        self.away, self.taken, self._failures, self._most = "", 0, 0, self.relay.connections
        self.paced_until = 0.0
        for connection in list(self.connections):
            connection.work = work
            if clock.monotonic() - connection.idle_since > _IDLE_SECONDS or connection.busy:
                connection.quit()
            if connection.closed:
                self.connections.discard(connection)

    def may_open(self) -> bool:
        """Return whether another connection may be opened; while none is open, one at a time is tried."""
        if self.away or self._opening + len(self.connections) >= self._most:
            return False
        return bool(self.connections) or not self._opening

    def reserve(self) -> None:
        """Count a connection that is about to be opened."""
        self._opening += 1

    async def open(self, work: Work) -> Connection | None:
        """Open a reserved connection; where that fails, the open ones must do, and without any the relay is away."""
        try:
            transport, offers = await shake_hands(self.relay, self._context)
        except RelayAwayError as exc:
            self._most = len(self.connections)
            if not self.connections:
                self.away = str(exc)[:300]
            return None
        finally:
            self._opening -= 1
        connection = Connection(transport, offers, self.relay.timeout_seconds, work)
        self.connections.add(connection)
        return connection

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self.connections.discard(connection)

    def judge(self, outcome: Outcome) -> None:
        """Take note of what a mail's outcome says of the relay."""
        self._failures = self._failures + 1 if outcome.close else 0
        if outcome.silent:
            self._most -= 1  # each connection that is let wait is one that is not opened again
        if self._failures >= _FAILURES or self._most <= 0:
            self.away = outcome.reply or "the relay does not answer"

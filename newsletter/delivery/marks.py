"""The ledger as transports see it: each mark is one committed transaction."""

from collections.abc import Callable
from datetime import datetime

from newsletter import logs
from newsletter.db import Database
from newsletter.delivery import ledger
from newsletter.delivery.models import DeliveryState, Mail
from newsletter.delivery.retry import Outcome
from newsletter.delivery.transports import Outgoing
from newsletter.errors import LeaseLostError
from newsletter.issues import store as issues
from newsletter.subscribers import store as subscribers

_log = logs.get(__name__)


class LedgerMarks:
    """Marks of one worker.

    :param owner: who leased the deliveries; every change names it.
    :param issue_id: the issue that a refusal of everything stops.
    """

    def __init__(self, db: Database, clock: Callable[[], datetime], owner: str, issue_id: int | None) -> None:
        self._db = db
        self._now = clock
        self._owner = owner
        self._issue_id = issue_id

    def handoff(self, outgoing: Outgoing) -> None:
        """See `Marks.handoff`; a reader who has left meanwhile is skipped, who paused or moved looked at again."""
        leased, now = outgoing.leased, self._now()
        try:
            with self._db.session() as session:
                ledger.mark_handoff(
                    session,
                    leased,
                    owner=self._owner,
                    now=now,
                    recipient=outgoing.recipient,
                    message_id=outgoing.message_id,
                    selection=outgoing.selection,
                )
        except LeaseLostError:
            with self._db.session() as session:  # changes nothing where the lease is another's
                ledger.turn_back(session, leased, owner=self._owner, now=now)
            raise

    def settle(self, outgoing: Outgoing, outcome: Outcome) -> None:
        """Write the outcome, suppress an address that does not exist, stop an issue that the relay refuses."""
        now = self._now()
        with self._db.session() as session:
            ours = ledger.settle(session, outgoing.leased, outcome, owner=self._owner, now=now)
            if outcome.suppress:
                subscribers.suppress(session, outgoing.recipient, "bounced", now)
            if outcome.stop and self._issue_id is not None:
                issues.stop(session, self._issue_id, outcome.reply)
        fields = {
            "delivery": outgoing.leased.id,
            "state": outcome.state,
            "phase": outcome.phase,
            "code": outcome.code,
        }
        if outcome.state is DeliveryState.SENT:
            _log.debug("delivery settled", ours=ours, **fields)
        else:
            _log.warning(
                "delivery not accepted",
                ours=ours,
                mail=Mail(outgoing.leased.mail),
                reply=outcome.reply,
                **fields,
            )


class NoMarks:
    """Marks for a rehearsal: nothing is kept."""

    def handoff(self, outgoing: Outgoing) -> None:
        """See `Marks.handoff`."""

    def settle(self, outgoing: Outgoing, outcome: Outcome) -> None:
        """See `Marks.settle`."""

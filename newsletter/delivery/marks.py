"""The ledger as transports see it: a mark is committed when the call returns."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from sqlmodel import Session

from newsletter import logs
from newsletter.db import Database
from newsletter.delivery import ledger
from newsletter.delivery.ledger import Handoff
from newsletter.delivery.models import DeliveryState, Mail
from newsletter.delivery.retry import Outcome
from newsletter.delivery.transports import Outgoing
from newsletter.errors import LeaseLostError
from newsletter.issues import store as issues
from newsletter.subscribers import store as subscribers

_log = logs.get(__name__)


@dataclass(slots=True, eq=False)
class _Mark:
    """What one connection wants written down; without an outcome it is a handoff.

    :ivar trouble: why it could not be.
    """

    outgoing: Outgoing
    outcome: Outcome | None = None
    done: bool = False
    ours: bool = False
    trouble: BaseException | None = None


class LedgerMarks:
    """Marks of one worker: those of all its connections that come while a transaction runs share the next one.

    :param owner: who leased the deliveries; every change names it.
    :param issue_id: the issue that a refusal of everything stops.
    """

    def __init__(self, db: Database, clock: Callable[[], datetime], owner: str, issue_id: int | None) -> None:
        self._db = db
        self._now = clock
        self._owner = owner
        self._issue_id = issue_id
        self._waiting: deque[_Mark] = deque()
        self._turn = Lock()

    def handoff(self, outgoing: Outgoing) -> None:
        """See `Marks.handoff`; who left meanwhile is skipped, who paused or moved looked at again."""
        if not self._commit(_Mark(outgoing)):
            raise LeaseLostError(f"delivery {outgoing.leased.id} is no longer ours to send")

    def settle(self, outgoing: Outgoing, outcome: Outcome) -> None:
        """Write the outcome, suppress an address that does not exist, stop an issue that the relay refuses."""
        ours = self._commit(_Mark(outgoing, outcome))
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

    def _commit(self, mark: _Mark) -> bool:
        """Return, after the commit, whether the delivery was ours."""
        self._waiting.append(mark)
        with self._turn:  # whoever has it commits for all who wait for it
            if not mark.done:
                self._write([self._waiting.popleft() for _ in range(len(self._waiting))])
        if mark.trouble is not None:
            raise mark.trouble
        return mark.ours

    def _write(self, group: Sequence[_Mark]) -> None:
        try:
            with self._db.session() as session:
                ours = self._write_in(session, group)
        except BaseException as exc:
            if len(group) > 1 and isinstance(exc, Exception) and not getattr(exc, "connection_invalidated", False):
                for each in group:
                    self._write([each])  # one that cannot be written must not cost the others what is known of theirs
                return
            for each in group:
                each.done, each.trouble = True, exc
            if not isinstance(exc, Exception):
                raise
            return
        for each in group:
            each.done, each.ours = True, each.outgoing.leased.id in ours[each.outcome is None]

    def _write_in(self, session: Session, group: Sequence[_Mark]) -> dict[bool, set[int]]:
        """Return which deliveries were ours, of handoffs (True) and of outcomes (False)."""
        now, mine = self._now(), {"owner": self._owner}
        handoffs = [each.outgoing for each in group if each.outcome is None]
        settled = [(each.outgoing, each.outcome) for each in group if each.outcome is not None]
        marked, ours = set[int](), set[int]()
        if settled:
            ours = ledger.settle(session, [(each.leased, outcome) for each, outcome in settled], now=now, **mine)
        for outgoing, outcome in sorted(settled, key=lambda each: each[0].recipient):  # the same order everywhere
            if outcome.suppress:
                subscribers.suppress(session, outgoing.recipient, "bounced", now)
            if outcome.stop and self._issue_id is not None:
                issues.stop(session, self._issue_id, outcome.reply)
        if handoffs:
            rows = [Handoff(each.leased, each.recipient, each.message_id, each.selection) for each in handoffs]
            marked = ledger.mark_handoffs(session, rows, now=now, **mine)
            ledger.turn_back(
                session, [each.leased for each in handoffs if each.leased.id not in marked], now=now, **mine
            )
        return {True: marked, False: ours}


class NoMarks:
    """Marks for a rehearsal: nothing is kept."""

    def handoff(self, outgoing: Outgoing) -> None:
        """See `Marks.handoff`."""

    def settle(self, outgoing: Outgoing, outcome: Outcome) -> None:
        """See `Marks.settle`."""

"""The ledger as transports see it: one thread writes the marks of all connections, many in one transaction."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Condition, Thread
from types import TracebackType
from typing import Self

from sqlmodel import Session

from newsletter import clock, logs
from newsletter.db import Database, is_away, is_over
from newsletter.delivery import ledger
from newsletter.delivery.ledger import Handoff, Leased
from newsletter.delivery.models import DeliveryState, Mail
from newsletter.delivery.retry import Outcome
from newsletter.delivery.transports import Outgoing, Told
from newsletter.issues import store as issues
from newsletter.subscribers import store as subscribers

_log = logs.get(__name__)
_GROUP = 500
_RENEW_SECONDS = ledger.LEASE / timedelta(seconds=3)
_ALIVE_SECONDS = 5.0  # a transport that has said nothing for so long holds nothing worth keeping
_KNOWN_FOR_SECONDS = 60.0  # how long a database that is away is waited for, to tell it what became of mails
_AGAIN_SECONDS = 0.5
_TRIES = 5  # of a transaction that a deadlock ended
_GATHER_SECONDS = 0.002  # that a group waits until it is as large as those before it


@dataclass(slots=True, eq=False)
class _Mark:
    """What is to be written down of a mail: its outcome, its handoff with whoever waits for that, or that it waits."""

    outgoing: Outgoing
    outcome: Outcome | None = None
    told: Told | None = None
    wait: timedelta | None = None


class LedgerMarks:
    """Marks of one run, written by a thread of its own between ``with`` and its end.

    Marks that come while a transaction runs share the next one, so strictness costs little even where
    each commit waits for the disk.

    :param owner: who leased the deliveries; every change names it.
    :param issue_id: the issue that a refusal of everything stops.
    """

    def __init__(self, db: Database, now: Callable[[], datetime], owner: str, issue_id: int | None) -> None:
        self._db = db
        self._now = now
        self._owner = owner
        self._issue_id = issue_id
        self._waiting: deque[_Mark] = deque()
        self._changed = Condition()
        self._writing = self._closing = False
        self._trouble: Exception | None = None
        self._wanted = 0
        self._beat_at = self._renewed_at = clock.monotonic()
        self._thread = Thread(target=self._run, name="ledger", daemon=True)

    def __enter__(self) -> Self:
        """Start writing."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, trouble: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Return when all is written.

        :raises Exception: why what became of mails could not be written down.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if self._trouble is not None and trouble is None:
            raise self._trouble

    def handoff(self, outgoing: Outgoing, told: Told) -> None:
        """See `Marks.handoff`; who left meanwhile is skipped, who paused or moved looked at again."""
        self._add(_Mark(outgoing, None, told))

    def settle(self, outgoing: Outgoing, outcome: Outcome) -> None:
        """Write the outcome, suppress an address that does not exist, stop an issue that the relay refuses."""
        self._add(_Mark(outgoing, outcome))

    def put_off(self, outgoing: Outgoing, wait: timedelta) -> None:
        """See `Marks.put_off`."""
        self._add(_Mark(outgoing, wait=wait))

    def beat(self) -> None:
        """See `Marks.beat`."""
        self._beat_at = clock.monotonic()

    def flush(self) -> None:
        """Return when all that was said so far is written."""
        with self._changed:
            while self._waiting or self._writing:
                self._changed.wait()

    def _add(self, mark: _Mark) -> None:
        with self._changed:
            self._waiting.append(mark)
            if not self._writing and (len(self._waiting) == 1 or len(self._waiting) >= self._wanted):
                self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                if not self._waiting and not self._closing:
                    self._changed.wait(_RENEW_SECONDS / 2)
                self._gather()
                group = self._next_group()
                self._writing = True
                if self._closing and not group:
                    self._writing = False
                    self._changed.notify_all()
                    return
            if group:
                self._write(group)
            self._renew()

    def _gather(self) -> None:
        """Let a group grow for a moment, if those before it were larger: each costs a wait for the disk."""
        self._changed.wait_for(lambda: self._closing or len(self._waiting) >= self._wanted, _GATHER_SECONDS)

    def _next_group(self) -> list[_Mark]:
        """Take marks that are written together: at most one of a delivery, as a statement knows no order."""
        group: dict[int, _Mark] = {}
        while self._waiting and len(group) < _GROUP and self._waiting[0].outgoing.leased.id not in group:
            mark = self._waiting.popleft()
            group[mark.outgoing.leased.id] = mark
        self._wanted = len(group) + len(group) // 4
        return list(group.values())

    def _renew(self) -> None:
        """Keep the leases of what is still to be sent, as long as somebody is there to send it."""
        now = clock.monotonic()
        if now - self._renewed_at < _RENEW_SECONDS or now - self._beat_at > _ALIVE_SECONDS:
            return
        self._renewed_at = now
        try:
            with self._db.session() as session:
                ledger.renew(session, owner=self._owner, now=self._now())
        except Exception:  # noqa: BLE001  lost leases are noticed at the handoff
            _log.warning("leases not renewed", exc_info=True)

    def _write(self, group: Sequence[_Mark], until: float | None = None) -> None:
        until = until or clock.monotonic() + _KNOWN_FOR_SECONDS
        try:
            ours = self._written(group)
        except Exception as exc:  # noqa: BLE001  whatever it is, who waits for an answer gets it
            if len(group) > 1 and not is_away(exc):
                for each in group:  # one that cannot be written must not cost the others what is known of theirs
                    self._write([each], until)
                return
            self._refuse(group, exc, until)
            return
        for each in group:
            self._tell(each, each.outgoing.leased.id in ours[each.told is not None])

    def _refuse(self, group: Sequence[_Mark], trouble: Exception, until: float) -> None:
        """Refuse handoffs at once; what became of mails must not be forgotten because a database restarts."""
        known = [each for each in group if each.told is None]
        for each in group:
            if each.told is not None:
                each.told(trouble)
        while known and is_away(trouble) and clock.monotonic() < until:
            clock.wait(_AGAIN_SECONDS)
            try:
                ours = self._written(known)
            except Exception as exc:  # noqa: BLE001  told when the time is over
                trouble = exc
            else:
                for each in known:
                    self._tell(each, each.outgoing.leased.id in ours[False])
                return
        if known:
            self._trouble = self._trouble or trouble
            _log.error(
                "outcomes lost", deliveries=[each.outgoing.leased.id for each in known], why=type(trouble).__name__
            )

    def _written(self, group: Sequence[_Mark]) -> dict[bool, set[int]]:
        for tries_left in reversed(range(_TRIES)):
            try:
                with self._db.session() as session:
                    return self._write_in(session, group)
            except Exception as exc:
                if not (tries_left and is_over(exc)):
                    raise
        raise AssertionError("the last try returns or raises")

    def _write_in(self, session: Session, group: Sequence[_Mark]) -> dict[bool, set[int]]:
        """Return which deliveries were ours, of handoffs (True) and of outcomes (False)."""
        now, mine = self._now(), {"owner": self._owner}
        handoffs = [each.outgoing for each in group if each.told is not None]
        settled = [(each.outgoing, each.outcome) for each in group if each.outcome is not None]
        marked, ours = set[int](), set[int]()
        if handoffs:
            rows = [Handoff(each.leased, each.recipient, each.message_id, each.selection) for each in handoffs]
            marked = ledger.mark_handoffs(session, rows, now=now, **mine)
            ledger.turn_back(
                session, [each.leased for each in handoffs if each.leased.id not in marked], now=now, **mine
            )
        if settled:
            ours = ledger.settle(session, [(each.leased, outcome) for each, outcome in settled], now=now, **mine)
        for outgoing, outcome in sorted(settled, key=lambda each: each[0].recipient):  # the same order everywhere
            if outcome.suppress and not outgoing.leased.mail.is_for_operator:
                subscribers.suppress(session, outgoing.recipient, "bounced", now)
            if outcome.stop and self._issue_id is not None:
                issues.stop(session, self._issue_id, outcome.reply)
        waiting: dict[timedelta, list[Leased]] = {}
        for each in group:
            if each.wait is not None:
                waiting.setdefault(each.wait, []).append(each.outgoing.leased)
        for wait, leased in waiting.items():
            ledger.release(session, leased, not_before=now + wait, **mine)
        return {True: marked, False: ours}

    def _tell(self, mark: _Mark, ours: bool) -> None:
        if mark.told is not None:
            mark.told(ours)
        elif mark.outcome is not None:
            _report(mark.outgoing, mark.outcome, ours=ours)


class NoMarks:
    """Marks for a rehearsal: nothing is kept."""

    def handoff(self, outgoing: Outgoing, told: Told) -> None:
        """See `Marks.handoff`."""
        del outgoing
        told(True)

    def settle(self, outgoing: Outgoing, outcome: Outcome) -> None:
        """See `Marks.settle`."""

    def put_off(self, outgoing: Outgoing, wait: timedelta) -> None:
        """See `Marks.put_off`."""

    def beat(self) -> None:
        """See `Marks.beat`."""


def _report(outgoing: Outgoing, outcome: Outcome, *, ours: bool) -> None:
    if outcome.state is DeliveryState.SENT and not logs.verbose(__name__):
        return  # thousands a second, that nobody reads
    fields = {"delivery": outgoing.leased.id, "state": outcome.state, "phase": outcome.phase, "code": outcome.code}
    if outcome.state is DeliveryState.SENT:
        _log.debug("delivery settled", ours=ours, **fields)
    else:
        _log.warning("delivery not accepted", ours=ours, mail=Mail(outgoing.leased.mail), reply=outcome.reply, **fields)

"""A dry run: the real run minus its last step. It writes nothing and hands nothing over."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from newsletter import operating, pipeline
from newsletter.app import App
from newsletter.delivery import lint
from newsletter.delivery import store as deliveries
from newsletter.delivery.desk import Desk, Prepared
from newsletter.delivery.ledger import Leased
from newsletter.delivery.marks import NoMarks
from newsletter.delivery.models import DeliveryState, Mail, SkipReason
from newsletter.delivery.printing import address_digest, sign
from newsletter.delivery.store import Accounting, Waiting
from newsletter.delivery.transports import Outgoing
from newsletter.delivery.transports.outbox import Outbox
from newsletter.issues import store as issues
from newsletter.issues.cadence import Due, Group
from newsletter.papers.models import Paper

_LAST = 2**63  # a delivery that is still to be queued gets a higher id than all there are
_LINTED = 50  # mails of a run: a second; all of an issue are of the same pieces


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a run would do: its accounting and each mail, in the order of sending.

    :ivar held_up: why no mail would go out, if something keeps all of them.
    :ivar linted: how many of the mails, the first ones, were judged by all rules; what is wrong is in their warnings.
    """

    accounting: Accounting
    mails: tuple[Prepared, ...]
    papers: Mapping[int, Paper]
    slot: str
    held_up: tuple[str, ...] = ()
    linted: int = 0


def rehearse(
    app: App,
    day: date,
    due: Callable[[Sequence[Group]], list[Due]],
    *,
    only: int | None = None,
    limit: int | None = None,
) -> Rehearsal:
    """Do all that opening, queueing and delivering a day's issue would do, but write and send nothing.

    :raises InputError: the issue was cancelled.
    """
    now = app.now()
    with app.db.snapshot() as session:
        draft = pipeline.draft(app, session, day, now)
        pipeline.refuse_cancelled(draft.issue)
        desk = Desk(session, draft, app.identity, app.templates)
        issue_id = draft.issue.id or 0
        before = _lapse(
            deliveries.accounting(session, issue_id, draft.issue.slot), deliveries.lapsed(session, issue_id, now)
        )
        known = deliveries.queued_already(session, issue_id)
        fresh = [
            Waiting(id_, DeliveryState.QUEUED, (each.due_at, _LAST))
            for each in due(issues.groups(session))
            for id_ in session.exec(deliveries.due_readers(each, only=only))
            if id_ not in known
        ]
        queue = sorted([*deliveries.waiting(session, issue_id, now, only=only), *fresh], key=lambda each: each.order)
        # whoever sends to everybody lets a stopped issue go on
        held_up = tuple(operating.held_up(session, draft.issue, resumes=only is None))
        waiting = [] if held_up else [each.subscriber_id for each in queue]
        found: dict[int, Prepared | SkipReason] = {}
        while len(found) < len(waiting) and (limit is None or _mails(found) < limit):
            size = app.batch if limit is None else min(app.batch, limit - _mails(found))
            readers = waiting[len(found) : len(found) + size]
            found |= desk.prepare(session, readers, deliveries.kept_selections(session, issue_id, readers), now)
    reaped = sum(each.state == DeliveryState.LEASED for each in queue)
    before = replace(before, leased=before.leased - reaped, deferred=before.deferred + reaped)
    states = {
        each.subscriber_id: DeliveryState.DEFERRED if each.state == DeliveryState.LEASED else each.state
        for each in queue
    }
    mails = [each for each in found.values() if isinstance(each, Prepared)]
    slot, looked_at = draft.issue.slot, _looked_at(app, mails[:_LINTED], draft.issue.slot)
    accounting = _after(before, len(fresh), states, found)
    return Rehearsal(accounting, (*looked_at, *mails[_LINTED:]), desk.papers, slot, held_up, len(looked_at))


def _looked_at(app: App, mails: Sequence[Prepared], slot: str) -> list[Prepared]:
    """Return mails with warnings of what lint finds wrong with them."""
    found = []
    for mail, outgoing in zip(mails, _messages(app, mails, slot), strict=True):
        about = app.about(tracked=mail.subscriber.preferences.tracking)
        found.append(replace(mail, warnings=(*mail.warnings, *lint.faults(outgoing.message, about))))
    return found


def write_rehearsal(app: App, rehearsal: Rehearsal, folder: Path) -> None:
    """Write a rehearsal's mails into a folder, as an outbox would."""
    outbox = Outbox(folder)
    # Never among mails that were really sent: their files have the same names.
    messages = _messages(app, rehearsal.mails, rehearsal.slot)
    outbox.deliver([replace(each, folder=f"dry-run-{rehearsal.slot}") for each in messages], NoMarks())
    outbox.finish()


def _messages(app: App, mails: Sequence[Prepared], slot: str) -> list[Outgoing]:
    """Return mails as a run would hand them over, with numbers in place of their deliveries' ids."""
    now = app.now()
    outgoing = [
        address_digest(Leased(number, Mail.DIGEST, mail.subscriber.id, 1, None, None), mail, app.identity, now, slot)
        for number, mail in enumerate(mails, start=1)
    ]
    return sign(outgoing, app.identity, now)


def _mails(found: Mapping[int, Prepared | SkipReason]) -> int:
    return sum(isinstance(each, Prepared) for each in found.values())


def _lapse(before: Accounting, lapsed: Mapping[str, int]) -> Accounting:
    """Return the accounting after what is too late was given up, and what died in a handoff became unknown."""
    unknown = lapsed.get(DeliveryState.HANDOFF, 0)
    late = {
        state: lapsed.get(state, 0) for state in (DeliveryState.QUEUED, DeliveryState.DEFERRED, DeliveryState.LEASED)
    }
    return replace(
        before,
        queued=before.queued - late[DeliveryState.QUEUED],
        deferred=before.deferred - late[DeliveryState.DEFERRED],
        leased=before.leased - late[DeliveryState.LEASED],
        failed=before.failed + sum(late.values()),
        handoff=before.handoff - unknown,
        unknown=before.unknown + unknown,
    )


def _after(
    before: Accounting, fresh: int, states: Mapping[int, str], found: Mapping[int, Prepared | SkipReason]
) -> Accounting:
    """Return the accounting as it would be: `fresh` readers more, and each of `found` where it would end."""
    counts = {"queued": before.queued + fresh, "deferred": before.deferred}
    skipped = dict(before.skipped)
    for id_, each in found.items():
        counts[states[id_]] -= 1
        if isinstance(each, SkipReason):
            skipped[each.value] = skipped.get(each.value, 0) + 1
    return replace(
        before,
        eligible=before.eligible + fresh,
        sent=before.sent + _mails(found),
        queued=counts["queued"],
        deferred=counts["deferred"],
        skipped=skipped,
    )

"""One issue on the printers' desk: what each reader gets of it, chosen and printed. Reads, never writes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, cast

from sqlmodel import Session

from newsletter import logs
from newsletter.delivery import store
from newsletter.delivery.dkim.keys import Key
from newsletter.delivery.kept import store as kept_mails
from newsletter.delivery.models import Mail, SkipReason
from newsletter.issues import store as issues
from newsletter.issues.compose import Edition, Explanation, Reader
from newsletter.issues.digest import DigestPick, Mention, Selection, Span
from newsletter.issues.learned import store as learned
from newsletter.issues.models import Issue
from newsletter.issues.store import Draft
from newsletter.papers import store as papers
from newsletter.papers.models import Paper
from newsletter.ranking.types import Parts
from newsletter.rendering.letterhead import Letterhead
from newsletter.rendering.links import Links
from newsletter.rendering.templates import MailTemplate, Templates
from newsletter.rendering.typeset import Press, Printed
from newsletter.rendering.views import Tokens
from newsletter.settings import Sender
from newsletter.signing import Purpose, Signer
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import Addressee, State, Subscriber
from newsletter.subscribers.preferences import Cadence, Preferences

_log = logs.get(__name__)
MAILS = {Span.DAY: Mail.DIGEST, Span.WEEK: Mail.WEEKLY, Span.CATCH_UP: Mail.PAUSE_ENDED}
_NO_TOKENS: Mapping[int, int] = {}  # a dry run has no deliveries
_SEEN_MARGIN = timedelta(days=2)  # an issue may have been queued before the listing's own day began


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the mails come from, and what signs their links and themselves.

    :ivar operators: where alerts go.
    """

    sender: Sender
    envelope_domain: str
    letterhead: Letterhead
    links: Links
    signer: Signer
    dkim_keys: tuple[Key, ...] = ()
    operators: tuple[str, ...] = ()

    def preferences_url(self, person: Subscriber | Addressee, now: datetime) -> str:
        """Return a fresh link to a reader's preferences."""
        at = max(now, person.links_since or now)
        return self.links.preferences(self.signer.sign(Purpose.PREFERENCES, person.id or 0, now=at))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A reader's mail, all but its address and its delivery: what a dry run shows and a real run sends.

    :ivar unsubscribe: the token by which they leave.
    """

    subscriber: Addressee
    selection: Selection
    printed: Printed
    unsubscribe: str
    warnings: tuple[str, ...] = ()


class Desk:
    """An issue's editions and presses: made once, when the first reader needs them, and shared by all batches."""

    def __init__(self, session: Session, draft: Draft, identity: Identity, templates: Templates) -> None:
        self.issue: Issue = draft.issue
        self._draft = draft
        self._identity = identity
        self._templates = templates
        self._settings: dict[tuple[Span, date | None], _Setting] = {}
        self._setting(session, Span.DAY, None)

    @property
    def papers(self) -> dict[int, Paper]:
        """All papers that a reader may have been given."""
        return {id_: paper for each in self._settings.values() for id_, paper in each.edition.papers.items()}

    def prepare(
        self,
        session: Session,
        subscriber_ids: Sequence[int],
        kept: Mapping[int, dict[str, Any]],
        now: datetime,
        tokens: Mapping[int, int] = _NO_TOKENS,
    ) -> dict[int, Prepared | SkipReason]:
        """Return each subscriber's mail, or why there is none.

        :param kept: by subscriber, the selection of an earlier attempt, which is sent again as it was.
        :param tokens: by subscriber, the delivery whose id the links carry.
        """
        people = subscribers.addressees(session, subscriber_ids)
        wishes: dict[int, Preferences] = {}
        found = _not_to_mail(session, people, subscriber_ids, self.issue.day, wishes)
        readers = [people[each] for each in subscriber_ids if each not in found]
        for (span, since), group in self._by_edition(session, readers, wishes).items():
            setting = self._setting(session, span, since)
            selections = self._selections(session, setting, group, wishes, kept)
            for person, selection in zip(group, selections, strict=True):
                if isinstance(selection, SkipReason):
                    found[person.id] = selection
                    continue
                asked, delivery_id = wishes[person.id], tokens.get(person.id, 0)
                found[person.id] = (
                    self._guarded(person, partial(self._print, setting, person, asked, selection, delivery_id, now))
                    if setting.edition.worth_a_mail(asked, selection)
                    else SkipReason.NOTHING_NEW
                )
        return {each: found[each] for each in dict.fromkeys(subscriber_ids)}

    def _by_edition(
        self, session: Session, readers: Sequence[Addressee], wishes: dict[int, Preferences]
    ) -> dict[tuple[Span, date | None], list[Addressee]]:
        """Return readers by the edition they get: who was away the best since then, the weekly ones the week's."""
        back = [each.id for each in readers if each.paused_until and each.paused_until <= self.issue.day]
        last = store.caught_up(session, back, self.issue.id or 0) if back else {}
        groups: dict[tuple[Span, date | None], list[Addressee]] = {}
        for person in readers:
            until = person.paused_until
            key: tuple[Span, date | None] = (Span.DAY, None)
            if person.id in back and until and last.get(person.id, date.min) < until:
                # so there are no more editions than days that are looked back at
                key = (Span.CATCH_UP, max(person.paused_from or until, self.issue.day - issues.FURTHEST_BACK))
            elif wishes[person.id].cadence is Cadence.WEEKLY:
                key = (Span.WEEK, None)
            groups.setdefault(key, []).append(person)
        return groups

    def _setting(self, session: Session, span: Span, since: date | None) -> "_Setting":
        if (span, since) not in self._settings:
            edition = issues.edition(session, self._draft, span, since)
            template = self._templates.mail(MAILS[span])
            self._settings[span, since] = _Setting(edition, template, self._identity, self.issue.window_start)
        return self._settings[span, since]

    def _selections(
        self,
        session: Session,
        setting: "_Setting",
        readers: Sequence[Addressee],
        wishes: dict[int, Preferences],
        kept: Mapping[int, dict[str, Any]],
    ) -> list[Selection | SkipReason]:
        edition = setting.edition
        found = {each.id: self._thawed(each, kept[each.id]) for each in readers if each.id in kept}
        # who undid a pause since an earlier attempt gets another edition, which may not hold what was kept
        fresh = [
            each
            for each in readers
            if each.id not in found or not (_papers_of(found[each.id]) <= edition.papers.keys())
        ]
        chosen = edition.choose(self._known(session, setting, fresh, wishes))
        found |= {each.id: selection for each, selection in zip(fresh, chosen, strict=True)}
        return [found[each.id] for each in readers]

    def _thawed(self, person: Addressee, kept: Any) -> Selection | SkipReason:  # noqa: ANN401  JSON
        """Return what was kept. If it cannot be read nothing is chosen anew: what was chosen may have arrived."""
        try:
            return thaw(kept)
        except (TypeError, ValueError, KeyError, AttributeError):
            _log.exception("kept selection cannot be read", subscriber=person.id, issue=self.issue.slot)
            return SkipReason.UNPRINTABLE

    def _known(
        self,
        session: Session,
        setting: "_Setting",
        readers: Sequence[Addressee],
        wishes: dict[int, Preferences],
        *,
        but: int | None = None,
    ) -> list[Reader]:
        """Return what choosing needs to know of readers.

        :param but: an issue whose mails are not there yet, as if it were only being chosen.
        """
        ids = [person.id for person in readers]
        sent = kept_mails.sent(session, ids, setting.known_since - _SEEN_MARGIN, but=but)
        twins = papers.twins(session, (paper_id for each in sent.values() for paper_id in each.papers))
        # who was sent a paper was sent what turned out to be the same one, too
        seen = {
            reader: each.papers | {twins[paper_id] for paper_id in each.papers & twins.keys()}
            for reader, each in sent.items()
        }
        rated = learned.rated(session, ids, self.issue.learnt, setting.edition.pool, by=self.issue.opened_at)
        nobody, nothing = learned.NO_RATINGS, kept_mails.Sent()
        return [
            Reader(wishes[id_], seen.get(id_, frozenset()) | said.papers, said.rated, sent.get(id_, nothing).subject)
            for id_ in ids
            for said in (rated.get(id_, nobody),)
        ]

    def explain(self, session: Session, subscriber_id: int) -> tuple[Edition, Explanation] | SkipReason:
        """Return a reader's edition, and what it would hold by what is known of them now; or why they get none."""
        people = subscribers.addressees(session, [subscriber_id])
        wishes: dict[int, Preferences] = {}
        found = _not_to_mail(session, people, [subscriber_id], self.issue.day, wishes)
        if subscriber_id in found:
            return cast(SkipReason, found[subscriber_id])
        readers = [people[subscriber_id]]
        [((span, since), _)] = self._by_edition(session, readers, wishes).items()
        setting = self._setting(session, span, since)
        [reader] = self._known(session, setting, readers, wishes, but=self.issue.id)
        return setting.edition, setting.edition.explain(reader)

    def _guarded(self, person: Addressee, make: Callable[[], Prepared]) -> Prepared | SkipReason:
        try:
            return make()
        except Exception:  # noqa: BLE001  one reader's broken mail must not cost the others theirs
            _log.exception("mail cannot be printed", subscriber=person.id, issue=self.issue.slot)
            return SkipReason.UNPRINTABLE

    def _print(
        self,
        setting: "_Setting",
        person: Addressee,
        wishes: Preferences,
        selection: Selection,
        delivery_id: int,
        now: datetime,
    ) -> Prepared:
        press = setting.press(tracked=wishes.tracking)
        digest = setting.edition.compose(wishes, selection)
        sign, at = self._identity.signer.sign, max(now, person.links_since or now)
        tokens = Tokens(
            read=sign(Purpose.READ, delivery_id, now=now),
            unsubscribe=sign(Purpose.UNSUBSCRIBE, person.id, now=now),
            feedback=sign(Purpose.FEEDBACK, delivery_id, now=at),
            preferences=sign(Purpose.PREFERENCES, person.id, now=at),
        )
        printed = press.print(digest, tokens)
        left_out = printed.left_out
        warnings = (f"{left_out} papers are on the mail's page only: it would be too large",) if left_out else ()
        kept = Selection(
            selection.considered,
            selection.picks,
            setting.edition.span,
            selection.trending,
            digest.subject,
            (digest.opening, digest.why),
        )
        return Prepared(person, kept, printed, tokens.unsubscribe, warnings)


class _Setting:
    """One edition of an issue with its presses: one for who may be counted, one for who may not."""

    def __init__(self, edition: Edition, template: MailTemplate, identity: Identity, window_start: datetime) -> None:
        self.edition = edition
        # a candidate may have been listed before the window, by another source, and been sent then
        listed = (each.first_listed_at for each in edition.papers.values() if each.first_listed_at)
        self.known_since = min(listed, default=window_start)
        self._template = template
        self._identity = identity
        self._presses: dict[bool, Press] = {}

    def press(self, *, tracked: bool) -> Press:
        """Return the press for readers whose opens and clicks may, or may not, be counted."""
        identity = self._identity
        counted = identity.links.tracked and tracked
        if counted not in self._presses:
            links = replace(identity.links, tracked=counted)
            self._presses[counted] = Press(self._template, self.edition, identity.letterhead, links)
        return self._presses[counted]


def _not_to_mail(
    session: Session,
    people: dict[int, Addressee],
    subscriber_ids: Sequence[int],
    day: date,
    wishes: dict[int, Preferences],
) -> dict[int, Prepared | SkipReason]:
    """Return who gets no mail, and why; put what the others asked for into `wishes`."""
    barred = subscribers.suppressed(session, [each.email for each in people.values()])
    found: dict[int, Prepared | SkipReason] = {}
    for subscriber_id in subscriber_ids:
        person = people.get(subscriber_id)
        if person is None or person.state != State.ACTIVE:
            found[subscriber_id] = SkipReason.NOT_ACTIVE
        elif person.email in barred:
            found[subscriber_id] = SkipReason.SUPPRESSED
        elif person.paused_until and person.paused_until > day:
            found[subscriber_id] = SkipReason.PAUSED
        else:
            try:
                wishes[subscriber_id] = person.preferences
            except Exception:  # noqa: BLE001  whatever somebody wrote into those columns, it is this reader's
                _log.exception("wishes cannot be read", subscriber=person.id)
                found[subscriber_id] = SkipReason.UNPRINTABLE
    return found


def _papers_of(selection: Selection | SkipReason) -> set[int]:
    if isinstance(selection, SkipReason):
        return set()
    return set(selection.paper_ids)


def freeze(selection: Selection) -> dict[str, Any]:
    """Return a selection as the ledger keeps it."""
    return {
        "considered": selection.considered,
        "picks": selection.picks,
        "span": selection.span.name,
        "trending": selection.trending,
        "subject": selection.subject,
        "said": selection.said,
    }


def thaw(kept: dict[str, Any]) -> Selection:
    """Return the selection that `freeze` kept, in this version or an earlier one.

    :raises TypeError, ValueError, KeyError: it is no such thing.
    """
    return Selection(
        considered=int(kept["considered"]),
        picks=tuple([_pick(*each) for each in kept["picks"]]),
        span=Span[kept.get("span", Span.DAY.name)],
        trending=tuple([Mention(_paper_id(paper_id), str(said)) for paper_id, said in kept.get("trending", ())]),
        subject=str(kept.get("subject", "")),
        said=tuple(map(str, kept.get("said", ()))),
    )


def _pick(paper_id: Any, score: Any, reason: Any, parts: Any = None, section: Any = "") -> DigestPick:  # noqa: ANN401  JSON
    told = Parts(*map(float, parts)) if parts else None
    return DigestPick(_paper_id(paper_id), float(score), str(reason), told, str(section))


def _paper_id(paper_id: Any) -> int:  # noqa: ANN401  JSON
    if not 0 <= paper_id <= kept_mails.MOST_ID:
        raise ValueError(f"{paper_id} is no paper")
    return int(paper_id)

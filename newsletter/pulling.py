"""Pulling: every source is asked politely, all at once, and each costs only its own papers.

What a source told is kept page by page, with what makes the next request conditional, so that a pull may be
stopped anywhere and repeated. Then arXiv is asked for the real text of what the others only told of.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import chain, count
from threading import Event, Thread

from sqlmodel import Session

from newsletter import logs
from newsletter.app import App
from newsletter.db import chunks
from newsletter.errors import SourceDownError, SourceError, SourceRefusedError
from newsletter.papers import ledger
from newsletter.papers import store as papers
from newsletter.papers.ledger import Upserted
from newsletter.papers.models import PaperRecord, Parsed
from newsletter.papers.pulls import health
from newsletter.papers.pulls import store as pulls
from newsletter.papers.pulls.health import News, shown
from newsletter.papers.pulls.models import Pull
from newsletter.papers.sources import Details, Known, Page, Source, jsonl, page
from newsletter.papers.sources.http import Validators
from newsletter.subscribers.ratings import store as ratings

_log = logs.get(__name__)
_IN_ONE_GO = 500  # records
_LAST_WORDS_SECONDS = 2.0
_MOST_REFUSALS = 20  # in one pull: two bad ids among a hundred
_SILENCES = 2  # days in a row, until a source is not asked for further ones
_LOOK_BACK = timedelta(days=8)
_ASK_AGAIN = timedelta(hours=6)  # about a paper that arXiv did not know
_NAME_AGAIN = timedelta(days=7)  # about one that a reader named
_MOST_DETAILS = 1_000  # papers in one pull: some forty seconds at arXiv's pace
_KEEP = timedelta(days=90)
Tell = Callable[[int], None]
Plan = Mapping[str, Sequence[date]]
"""By source, the days whose lists are asked for."""


def quiet(_number: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What one run over one list of a source did.

    ``received = new + updated + unchanged + unlisted + repeated + dropped``.

    :ivar repeated: records of a paper that the same page held already.
    :ivar listed: how many were listed on that very day.
    :ivar dated: whether the answer said that it was of that day.
    :ivar withdrawn: papers that their authors took back: kept, and no candidates.
    """

    source: str
    day: date | None
    received: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()
    stored: Upserted = field(default_factory=Upserted)
    repeated: int = 0
    listed: int = 0
    dated: bool = False
    unmodified: bool = False
    error: str = ""
    down: bool = False
    stopped: bool = False
    withdrawn: int = 0

    def plus(self, other: "Pulled") -> "Pulled":
        """Return this report with that of another page of the same list."""
        return replace(
            other,
            received=self.received + other.received,
            dropped=self.dropped + other.dropped,
            notes=(*self.notes, *other.notes),
            stored=self.stored.plus(other.stored),
            repeated=self.repeated + other.repeated,
            listed=self.listed + other.listed,
            dated=self.dated or other.dated,
            unmodified=self.unmodified or other.unmodified,
            withdrawn=self.withdrawn + other.withdrawn,
        )


def pull(app: App, plan: Plan, tell: Tell = quiet) -> list[Pulled]:
    """Ask each source of a plan for its days, all sources at once, then arXiv for what is missing."""
    run = app.now()
    found = _at_once(
        app.stopping, [partial(_pull_source, app, app.sources[name], plan[name], run, tell) for name in plan]
    )
    reports = [report for each in found for report in each] + _complete(app, run)
    with app.db.session() as session:
        ratings.link_known(session)
    return reports


def plan(app: App, days: Sequence[date] | None = None, names: Iterable[str] | None = None) -> Plan:
    """Return what to ask: some days, or those whose lists may still change and those that were missed."""
    today = app.now().astimezone(UTC).date()
    chosen = [app.sources[name] for name in (app.sources if names is None else names)]
    if days is not None:
        return {each.name: days if each.dated else [today] for each in chosen if each.dated or today in days}
    with app.db.snapshot() as session:
        return {each.name: _open_days(app, session, each) for each in chosen}


def pull_recent(app: App) -> None:
    """Pull, on schedule, what is worth asking for now; a source that keeps failing is left alone for a while."""
    now = app.now()
    with app.db.snapshot() as session:
        resting = _resting(session, now)
        worth = {
            name: [day for day in days if health.worth_asking(app.sources[name].calendar(day), looks.get(day, ()), now)]
            for name, days in plan(app, names=[name for name in app.sources if name not in resting]).items()
            for looks in (pulls.looks(session, name, now.date() - _LOOK_BACK),)
        }
    pull(app, {name: days for name, days in worth.items() if days})
    with app.db.session() as session:
        pulls.forget(session, now - _KEEP)


def pull_lines(app: App, lines: Iterable[bytes], day: date | None, tell: Tell = quiet) -> list[Pulled]:
    """Take papers from a file: JSON Lines, as many as there are, or the page of daily papers copied as text.

    :param day: the day they count as listed on; ``None`` takes each one's own date, else now.
    """
    run = app.now()
    listed_at = datetime.combine(day, time(), UTC) if day else None
    reports = []
    for parsed in _read(iter(lines), listed_at, run):
        reports.append(_keep(app, jsonl.NAME, day, parsed))
        tell(parsed.received)
    total = Pulled(jsonl.NAME, day)
    for report in reports:
        total = total.plus(report)
    _record(app, [total], run)
    return reports


def news(app: App, session: Session, now: datetime, day: date, *, by: datetime | None = None) -> list[News]:
    """Return what there is to say about each source: which list is still to come, and why one is missing.

    :param day: of whose issue it is told.
    :param by: until when an issue would wait for it; `now` unless given.
    """
    return [
        health.news(name, source.calendar, pulls.looks(session, name, now.date() - _LOOK_BACK), now, by or now, day)
        for name, source in app.sources.items()
    ]


def _open_days(app: App, session: Session, source: Source) -> list[date]:
    """Return the days (UTC) whose lists may still change, and those that were missed."""
    now = app.now()
    today = now.astimezone(UTC).date()
    if not source.dated:
        return [today]
    missed = health.days_missed(source.calendar, pulls.looks(session, source.name, now.date() - _LOOK_BACK), now)
    # today's first: whoever is silent about the days before may still tell it
    return sorted({*missed, *health.days_to_ask(source.calendar, today)}, reverse=True)


def _at_once(stopping: Event, jobs: Sequence[Callable[[], list[Pulled]]]) -> list[list[Pulled]]:
    """Do jobs in threads of their own, one source each; whoever interrupts does not wait for an answer that hangs."""
    futures: list[Future[list[Pulled]]] = [Future() for _ in jobs]

    def work(job: Callable[[], list[Pulled]], future: "Future[list[Pulled]]") -> None:
        try:
            future.set_result(job())
        except BaseException as exc:  # noqa: BLE001  it is raised again by whoever asks for the result
            future.set_exception(exc)

    for job, future in zip(jobs, futures, strict=True):
        Thread(target=work, args=(job, future), name="pull", daemon=True).start()
    try:
        return [future.result() for future in futures]
    except KeyboardInterrupt:
        stopping.set()  # each ends with the page it is at
        wait(futures, _LAST_WORDS_SECONDS)
        raise


def _pull_source(app: App, source: Source, days: Sequence[date], run: datetime, tell: Tell) -> list[Pulled]:
    reports: list[Pulled] = []
    silent = 0
    with app.db.snapshot() as session:
        known = pulls.known_answers(session, source.address)
    for day in days:
        if app.stopping.is_set():
            break
        if silent < _SILENCES:
            report = _pull_day(app, source, day, known)
            if not report.stopped:  # a stop is nothing that the source did; the next pull asks again
                _record(app, [report], run)
        else:
            report = Pulled(source.name, day, error=f"{source.name} is down, not asked again", down=True)
        silent = silent + 1 if report.down else 0
        reports.append(report)
        tell(1)
    return reports


def _pull_day(app: App, source: Source, day: date, known: Known) -> Pulled:
    report = Pulled(source.name, day)
    for found, parsed in _pages(source, day, app.now(), known):
        if isinstance(parsed, SourceError):
            if app.stopping.is_set():
                return replace(report, error=f"{source.name} was stopped half-way", stopped=True)
            _log.warning("source failed", source=shown(source.name), day=day.isoformat(), error=str(parsed))
            return replace(report, error=f"{source.name} {parsed}", down=isinstance(parsed, SourceDownError))
        if parsed is None:
            report = replace(report, unmodified=True)
            continue
        try:
            report = report.plus(_keep(app, source.name, day, parsed, found))
        except Exception as exc:  # noqa: BLE001  what cannot be kept of one source must not cost the others theirs
            _log.exception("papers not kept", source=shown(source.name), day=day.isoformat())
            return replace(report, error=f"{source.name} answered, but it could not be kept ({type(exc).__name__})")
        if app.stopping.is_set() and not found.last:
            return replace(report, error=f"{source.name} was stopped half-way", stopped=True)
    return report


def _pages(
    source: Source, day: date, now: datetime, known: Known
) -> Iterator[tuple[Page, Parsed | SourceError | None]]:
    """Yield each page with what it holds: nothing where nothing changed, an error where the answer ends."""
    at = Page(source.address, None)
    pages = source.fetch(day, now=now, known=known)
    while True:
        try:
            at = next(pages)
            parsed = None if at.body is None else source.parse(at.body, day)
        except StopIteration:
            return
        except SourceError as exc:
            yield at, exc
            return
        except Exception as exc:  # noqa: BLE001  an answer that nobody foresaw must not cost the other sources theirs
            _log.exception("source not understood", source=shown(source.name), day=day.isoformat())
            yield at, SourceError(f"answered something that we do not understand ({type(exc).__name__}, see the log)")
            return
        yield at, parsed


def _keep(
    app: App, name: str, day: date | None, parsed: Parsed, found: Page | None = None, asked: Sequence[str] = ()
) -> Pulled:
    """Store a page's papers and, in the same moment, that this page is known and who was asked about."""
    now = app.now()
    stored = Upserted()
    # Some at a time, so that nobody else waits long for the database; what is known of the page comes with the last.
    told = [_until(now, record) for record in parsed.records]
    *most, last = list(chunks(told, _IN_ONE_GO)) or [()]
    for records in most:
        with app.db.session() as session:
            stored = stored.plus(ledger.upsert(session, records, now))
    with app.db.session() as session:
        stored = stored.plus(ledger.upsert(session, last, now))
        if found is not None and parsed.whole and found.validators != Validators():
            pulls.know(session, {found.url: found.validators}, now)
        papers.mark_asked(session, asked, now)
        ratings.mark_looked_up(session, [f"arxiv:{each}" for each in asked], now)
    listed = sum(each.listed_at is not None and each.listed_at.date() == day for each in parsed.records)
    return Pulled(
        name,
        day,
        parsed.received,
        parsed.dropped,
        parsed.notes,
        stored,
        repeated=len(parsed.records) - stored.papers,
        listed=listed,
        dated=day is not None and parsed.day == day,
        withdrawn=sum(each.withdrawn for each in parsed.records),
    )


def _until(now: datetime, record: PaperRecord) -> PaperRecord:
    """Return a record that is listed now at the latest: one of this evening would be missing in today's issue."""
    return replace(record, listed_at=now) if record.listed_at and record.listed_at > now else record


def _complete(app: App, run: datetime) -> list[Pulled]:
    """Ask arXiv for the real text of papers that readers named, and of listed ones of which it has news to tell."""
    details, now = app.details, app.now()
    if details is None:
        return []
    with app.db.snapshot() as session:
        if details.name in _resting(session, now):
            return []
        wanted = ratings.unknown(session, "arxiv:", now - _NAME_AGAIN, _MOST_DETAILS // 4)
        wanted += papers.without_details(session, details.name, now - app.settings.window, now - _ASK_AGAIN)
    if not wanted:
        return []
    report, refusals = Pulled(details.name, None), count()
    for ids in chunks(wanted[:_MOST_DETAILS], details.batch):
        report = report.plus(_ask(app, details, ids, refusals))
        if report.error or app.stopping.is_set():
            break
    if not report.stopped:
        _record(app, [report], run)
    return [report]


def _ask(app: App, details: Details, ids: Sequence[str], refusals: Iterator[int]) -> Pulled:
    """Ask about some papers; where one of them is refused, about each half, so that one bad id costs only itself.

    :param refusals: counts them: who refuses too often is not well, whatever we ask.
    """
    nothing = Pulled(details.name, None)
    try:
        parsed = details.parse(details.fetch(ids))
        told = {record.key.removeprefix("arxiv:") for record in parsed.records}
        if missing := [each for each in ids if each not in told]:
            _log.info("arxiv does not tell", papers=len(missing))
        return _keep(app, details.name, None, parsed, asked=ids)
    except SourceRefusedError as exc:
        if next(refusals) < _MOST_REFUSALS:
            return _ask_each_half(app, details, ids, refusals)
        return replace(nothing, error=f"{details.name} {exc}, whatever it is asked")
    except SourceError as exc:
        if app.stopping.is_set():
            return replace(nothing, error=f"{details.name} was stopped half-way", stopped=True)
        _log.warning("source failed", source=details.name, error=str(exc))
        return replace(nothing, error=f"{details.name} {exc}")
    except Exception as exc:  # noqa: BLE001  what nobody foresaw must not cost the lists that came before
        _log.exception("details not kept")
        return replace(nothing, error=f"{details.name} answered, but it could not be kept ({type(exc).__name__})")


def _ask_each_half(app: App, details: Details, ids: Sequence[str], refusals: Iterator[int]) -> Pulled:
    if len(ids) == 1:
        _log.warning("arxiv refuses", paper=ids[0])
        return _keep(app, details.name, None, Parsed(), asked=ids)
    middle = len(ids) // 2
    first = _ask(app, details, ids[:middle], refusals)
    return first if first.error else first.plus(_ask(app, details, ids[middle:], refusals))


def _resting(session: Session, now: datetime) -> set[str]:
    return {each.source for each in pulls.health(session) if each.resting_until and now < each.resting_until}


def _read(lines: Iterator[bytes], listed_at: datetime | None, now: datetime) -> Iterator[Parsed]:
    """Yield what a file holds, whichever of the two it is."""
    head: list[bytes] = []
    for line in lines:
        head.append(line)
        if len(b"".join(head)) >= page.HEAD_BYTES or line.lstrip()[:1] == b"{":
            break
    if page.is_page(b"".join(head)):
        size = sum(map(len, head))
        for line in lines:
            head.append(line)
            size += len(line)
            if size > page.MAX_PAGE_BYTES:
                break
        yield page.parse_page(b"".join(head), listed_at, now, jsonl.NAME)
    else:
        yield from jsonl.parse_lines(chain(head, lines), listed_at, now)


def _record(app: App, reports: Iterable[Pulled], run: datetime) -> None:
    """Keep what a run over some lists did, one row each, and say it in the log."""
    rows = [
        Pull(
            source=each.source,
            day=each.day,
            started_at=run,
            finished_at=app.now(),
            received=each.received,
            listed=each.listed,
            dated=each.dated,
            unmodified=each.unmodified,
            new=each.stored.new,
            updated=each.stored.updated,
            dropped=dict(each.dropped),
            error=each.error,
        )
        for each in reports
    ]
    said = [
        (row.source, row.received, row.new, row.updated, sum(row.dropped.values())) for row in rows if not row.error
    ]
    with app.db.session() as session:
        pulls.record(session, rows)
    for source, received, new, updated, dropped in said:
        _log.info("pulled", source=shown(source), received=received, new=new, updated=updated, dropped=dropped)

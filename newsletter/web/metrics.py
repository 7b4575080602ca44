"""``/metrics``: how the sources, the papers and the deliveries are, in Prometheus' text format.

https://prometheus.io/docs/instrumenting/exposition_formats/. Numbers only: no address, no title.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from newsletter.db import Database
from newsletter.delivery import store as deliveries
from newsletter.delivery.custody import store as custody
from newsletter.delivery.pacing.standing import Standing, standing
from newsletter.issues import store as issues
from newsletter.papers import store as papers
from newsletter.papers.pulls import store as pulls
from newsletter.papers.pulls.health import Health, shown
from newsletter.rates import WarmUp
from newsletter.subscribers import store as subscribers
from newsletter.web.deps import AppDep

router = APIRouter()


@router.get("/metrics")
def metrics(app: AppDep) -> Response:
    """Return what the database knows now; keep it from strangers at the reverse proxy."""
    registry = CollectorRegistry(auto_describe=False)
    details = [app.details.name] if app.details else []
    registry.register(_Numbers(app.db, app.now(), {*app.sources, *details}, app.settings.warm_ups))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Numbers(Collector):
    def __init__(
        self, db: Database, now: datetime, configured: Collection[str], warm_ups: Mapping[str, WarmUp]
    ) -> None:
        self._db = db
        self._now = now
        self._configured = configured
        self._warm_ups = warm_ups

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its labels."""
        now = self._now
        with self._db.snapshot() as session:
            sources = [each for each in pulls.health(session) if each.source in self._configured]
            people = subscribers.counts(session)
            pacing = standing(session, self._warm_ups, now)
            oldest = deliveries.oldest_due(session, now)
            stopped, held = issues.stopped_count(session), bool(custody.held_why(session))
            yield _gauge("newsletter_papers", "Papers that were listed.", papers.count(session))
            yield _gauge(
                "newsletter_deliveries_unknown", "Mails that wait for evidence.", deliveries.unknown_count(session)
            )
            yield _gauge("newsletter_issues_stopped", "Issues that the relay's refusal stopped.", stopped)
            yield _gauge("newsletter_sending_held", "1 while a copied database must not send.", held)
        waited = (now - oldest).total_seconds() if oldest else 0
        yield _gauge("newsletter_oldest_due_seconds", "How long the oldest due delivery has waited.", waited)
        readers = GaugeMetricFamily("newsletter_subscribers", "Subscribers by state.", labels=["state"])
        for state, number in people.items():
            readers.add_metric([state], number)
        yield readers
        yield from _pacing(pacing)
        yield from _sources(sources, now.timestamp())


def _pacing(pacing: Standing) -> Iterator[Metric]:
    rest = GaugeMetricFamily(
        "newsletter_slowed_until_timestamp_seconds", "When what was slowed is tried again.", labels=["what"]
    )
    for each in pacing.resting:
        rest.add_metric([each.what], each.until.timestamp())
    taken = GaugeMetricFamily("newsletter_warmup_mails", "Mails of today's warm-up cap.", labels=["relay"])
    cap = GaugeMetricFamily("newsletter_warmup_cap", "Today's warm-up cap.", labels=["relay"])
    for relay in pacing.warming:
        taken.add_metric([relay.relay], relay.taken)
        cap.add_metric([relay.relay], relay.cap)
    yield from (rest, taken, cap)


def _sources(sources: list[Health], now: float) -> Iterator[Metric]:
    name = "newsletter_source_"
    success = GaugeMetricFamily(f"{name}last_success_timestamp_seconds", "When it last answered.", labels=["source"])
    age = GaugeMetricFamily(f"{name}age_seconds", "How long ago it last answered.", labels=["source"])
    failure = GaugeMetricFamily(f"{name}last_error_timestamp_seconds", "When it last failed.", labels=["source"])
    failures = GaugeMetricFamily(f"{name}failures", "Runs that failed in a row.", labels=["source"])
    rest = GaugeMetricFamily(f"{name}resting", "1 while it is left alone.", labels=["source"])
    new = CounterMetricFamily(f"{name}new_papers", "New papers it brought.", labels=["source"])
    updated = CounterMetricFamily(f"{name}updated_papers", "Papers it told more of.", labels=["source"])
    for each in sources:
        label = [shown(each.source)]
        if each.last_success_at:
            success.add_metric(label, each.last_success_at.timestamp())
            age.add_metric(label, now - each.last_success_at.timestamp())
        if each.last_error_at:
            failure.add_metric(label, each.last_error_at.timestamp())
        failures.add_metric(label, each.failures)
        rest.add_metric(label, each.resting_until is not None and each.resting_until.timestamp() > now)
        new.add_metric(label, each.new)
        updated.add_metric(label, each.updated)
    yield from (success, age, failure, failures, rest, new, updated)


def _gauge(name: str, said: str, value: float) -> Metric:
    return GaugeMetricFamily(name, said, value=value)

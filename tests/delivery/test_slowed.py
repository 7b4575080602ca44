"""Domains that a relay wants slower: they keep nobody else waiting, and are tried out again in time."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from fakes import Clock, Session, SmtpServer
from samples import add_papers, add_readers, open_and_queue, record
from sqlmodel import select

from newsletter import pipeline
from newsletter.app import App
from newsletter.delivery.models import Delivery
from newsletter.delivery.pacing import store
from newsletter.delivery.pacing.breaker import slowed
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import Entry, State
from newsletter.subscribers.preferences import Preferences


@pytest.mark.parametrize("probing", [False, True])
def test_a_domain_that_is_slowed_keeps_nobody_else_waiting(
    make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer, clock: Clock, probing: bool
) -> None:
    app = make_app(sqlite_url, smtp_url=f"{smtp.url}&connections=2")
    add_papers(app, [record(1)])
    slow, fast = ("slow.example.org", 150), ("fast.example.org", 5)
    entries = [
        Entry(f"r{n}@{domain}", Preferences(), State.ACTIVE) for domain, many in (slow, fast) for n in range(many)
    ]
    with app.db.session() as session:
        subscribers.write_entries(session, entries, clock.at - timedelta(days=30))
        store.change(session, "domain slow.example.org", lambda found: slowed(found, clock.at - timedelta(seconds=25)))
        if probing:  # somebody else's probe is on its way
            at = clock.at + timedelta(seconds=5)
            store.change(session, "domain slow.example.org", lambda found: found and replace(found, probing_until=at))
    issue = open_and_queue(app)
    app.pacing._circuits.look(clock.at)  # else it hears of that within a second
    pipeline.deliver(app, issue.id)
    assert {each.partition("@")[2] for each in smtp.recipients()} == {"fast.example.org"}
    assert len(smtp.accepted) == 5
    with app.db.snapshot() as session:
        waiting = session.exec(select(Delivery).where(Delivery.state == "deferred")).all()
    assert len(waiting) == 150
    assert all(each.attempts == 0 and each.not_before > clock.at for each in waiting)


def test_a_probe_whose_connection_was_closed_meanwhile_is_made_again_at_once(
    make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer, clock: Clock
) -> None:
    app = make_app(sqlite_url, smtp_url=f"{smtp.url}&connections=1")
    add_papers(app, [record(1)])
    add_readers(app, 6)
    issue = open_and_queue(app)
    pipeline.deliver(app, issue.id, limit=1)
    with app.db.session() as session:
        store.change(session, "domain example.org", lambda found: slowed(found, clock.at - timedelta(seconds=31)))
    clock.forward(seconds=2)
    dropped = []

    def script(step: str, _session: Session) -> str | None:
        if step == "mail" and not dropped:
            dropped.append(step)
            return "drop"  # without a word
        return None

    smtp.script = script
    pipeline.deliver(app, issue.id)
    assert dropped
    assert len(smtp.accepted) >= 2, "the probe went out on another connection"

"""All SQL about what a reader's mails held."""

from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from newsletter.delivery.models import Delivery, DeliveryState, Mail


def newest(session: Session, subscriber_id: int, limit: int) -> list[tuple[datetime, Any]]:
    """Return when a reader's newest digests were accepted by our relay, and what they held, newest first."""
    statement = (
        select(Delivery.done_at, Delivery.queued_at, Delivery.selection)
        .where(
            Delivery.subscriber_id == subscriber_id,
            Delivery.mail == Mail.DIGEST,
            Delivery.state == DeliveryState.SENT,
            col(Delivery.selection).is_not(None),
        )
        .order_by(col(Delivery.queued_at).desc(), col(Delivery.id).desc())
        .limit(limit)
    )
    return [(done_at or queued_at, selection) for done_at, queued_at, selection in session.exec(statement)]

"""Every table, imported in one place, so that the metadata is complete for migrations."""

from sqlmodel import SQLModel

from newsletter.delivery.alarms.models import Alarm
from newsletter.delivery.custody.models import Custody
from newsletter.delivery.models import Attempt, Delivery
from newsletter.delivery.pacing.models import PaceBreaker, PaceBucket, PaceDay
from newsletter.issues.learned.models import CoreadModel, EmbeddingSpace, PaperEmbedding, PaperFactors, TextStatistics
from newsletter.issues.models import Issue, IssueCandidate
from newsletter.papers.models import Paper, PaperKey, StoredRecord, Turn, VoteCount
from newsletter.papers.pulls.models import KnownAnswer, Pull
from newsletter.subscribers.changes.models import AddressChange, Consent, PreferenceChange
from newsletter.subscribers.intake.models import SignUp
from newsletter.subscribers.models import Subscriber, Suppression
from newsletter.subscribers.ratings.models import Rating
from newsletter.tracking.models import Event

TABLES = (
    *(Paper, StoredRecord, PaperKey, VoteCount),
    *(Pull, KnownAnswer, Turn),
    *(Subscriber, Suppression, SignUp, Rating),
    *(PreferenceChange, AddressChange, Consent),
    *(TextStatistics, CoreadModel, PaperFactors, EmbeddingSpace, PaperEmbedding),
    *(Issue, IssueCandidate),
    *(Delivery, Attempt, Custody, Alarm),
    *(PaceBucket, PaceBreaker, PaceDay),
    Event,
)
metadata = SQLModel.metadata

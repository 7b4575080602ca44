"""Transports: our side of handing a message over. All keep the same promise to the ledger."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from newsletter.delivery.ledger import Leased
from newsletter.delivery.retry import Outcome


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A printed message on its way.

    :ivar folder: where an outbox keeps it: the issue's slot, or ``notices``.
    """

    leased: Leased
    folder: str
    sender: str
    recipient: str
    message_id: str
    message: bytes
    selection: dict[str, object] | None


class Marks(Protocol):
    """The ledger as a transport sees it; both calls commit before they return."""

    def handoff(self, outgoing: Outgoing) -> None:
        """Say that the other side may have the message from now on.

        :raises LeaseLostError: it must not get it: close the connection.
        """

    def settle(self, outgoing: Outgoing, outcome: Outcome) -> None:
        """Say what became of the message."""


@dataclass(frozen=True, slots=True)
class Untried:
    """Messages of a batch that were not tried.

    :ivar why: what keeps the other side from taking anything now; empty when we were told to stop.
    :ivar refused: it is us that the other side refuses, whoever the reader.
    """

    messages: tuple[Outgoing, ...] = ()
    why: str = ""
    refused: bool = False


class Transport(Protocol):
    """Hands messages over."""

    def deliver(self, batch: Iterable[Outgoing], marks: Marks) -> Untried:
        """Hand over a batch and settle each message; return those that were not tried.

        For each message: everything but the last step, then `Marks.handoff`, then the last step, then
        `Marks.settle`. After an outcome that says ``stop`` the rest is not tried.
        """

    def finish(self) -> None:
        """Put things in order when there is nothing left to do now."""

    def close(self) -> None:
        """Close what is open."""

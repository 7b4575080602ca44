"""Transports: our side of handing a message over. All keep the same promise to the ledger."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from newsletter.delivery.ledger import Leased
from newsletter.delivery.retry import Outcome
from newsletter.rendering.placeholders import joined


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A printed message on its way.

    :ivar pieces: of the message; most of them it shares with the others of its issue.
    :ivar tokens: what belongs into them, by its placeholder.
    :ivar folder: where an outbox keeps it: the issue's slot, or ``notices``.
    """

    leased: Leased
    folder: str
    sender: str
    recipient: str
    message_id: str
    pieces: list[bytes]
    selection: dict[str, object] | None
    tokens: Mapping[bytes, bytes] = field(default_factory=dict)

    @property
    def message(self) -> bytes:
        """The message, joined when it is asked for; it ends with CRLF, and no line of it begins with a dot."""
        return joined(self.pieces, self.tokens)


Told = Callable[[bool | Exception], None]


class Marks(Protocol):
    """The ledger as a transport sees it."""

    def handoff(self, outgoing: Outgoing, told: Told) -> None:
        """Have it committed that the other side may have the message from now on.

        :param told: hears, on another thread, True once that is so; False when the other side must not
            get it, and an exception when nothing can be written: then the connection must be closed.
        """

    def settle(self, outgoing: Outgoing, outcome: Outcome) -> None:
        """Have it written down what became of the message; what is told first is written first."""

    def put_off(self, outgoing: Outgoing, wait: timedelta) -> None:
        """Give back a message that must not be tried now; it counts as no attempt."""

    def beat(self) -> None:
        """Say that the transport is alive: the leases of what it still holds are kept as long as it is."""


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
        """Hand over all messages and settle each; return those that were taken from `batch` and not tried.

        For each message: everything but the last step, then `Marks.handoff`, then the last step, then
        `Marks.settle`. After an outcome that says ``stop`` the rest is not tried.
        """

    def finish(self) -> None:
        """Put things in order when there is nothing left to do now."""

    def close(self) -> None:
        """Close what is open."""

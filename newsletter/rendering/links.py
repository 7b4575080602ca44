"""The addresses that mails carry. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

FEEDBACK = ("like", "dislike", "more", "less", "mute")


@dataclass(frozen=True, slots=True)
class Links:
    """Makes addresses below `base_url`; a paper's target is looked up when it is clicked, never carried along.

    :ivar pictures: whether papers have a picture, which whoever has it is asked for when the mail is read.
    :ivar tracked: whether clicks and opens pass by us; if not, links go straight to the paper.
    """

    base_url: str
    tracked: bool
    pictures: bool = False

    def paper(self, token: str, paper_id: int, targets: Mapping[str, str]) -> dict[str, str]:
        """Return a paper's links by kind."""
        if not self.tracked:
            return dict(targets)
        return {kind: f"{self.base_url}/c/{token}/{paper_id}/{kind}" for kind in targets}

    def picture(self, url: str) -> str:
        """Return a paper's picture, if mails have any: who does not want to be counted is by nobody."""
        return url if self.pictures and self.tracked else ""

    def pixel(self, token: str) -> str:
        """Return the address of the picture that tells an open, or an empty string."""
        return f"{self.base_url}/o/{token}.gif" if self.tracked else ""

    def unsubscribe(self, token: str) -> str:
        """Return the address that is both the page to leave and the one-click target (RFC 8058)."""
        return f"{self.base_url}/u/{token}"

    def rejoin(self, token: str) -> str:
        """Return the address of the page with the ways back for who has left."""
        return f"{self.base_url}/rejoin/{token}"

    def confirm(self, token: str) -> str:
        """Return the address of the page that confirms a sign-up."""
        return f"{self.base_url}/confirm/{token}"

    def preferences(self, token: str) -> str:
        """Return the address of a reader's preferences."""
        return f"{self.base_url}/preferences/{token}"

    def new_address(self, token: str) -> str:
        """Return the address of the page that confirms a change of address."""
        return f"{self.base_url}/address/{token}"

    def view(self, token: str) -> str:
        """Return the address of a mail's page; the token is the one for `feedback`, which may do all that it shows."""
        return f"{self.base_url}/v/{token}"

    def feedback(self, token: str, paper_id: int) -> dict[str, str]:
        """Return the addresses by which a reader says something of a paper, by what they say."""
        return {kind: f"{self.base_url}/f/{token}/{paper_id}/{kind}" for kind in FEEDBACK}

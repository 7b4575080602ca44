"""What ``newsletter demo`` shows: real papers (titles, authors, counts) with our own summaries; sample readers."""

from importlib.resources import files

from newsletter.subscribers.preferences import Preferences

READERS: dict[str, Preferences] = {
    "robotics@example.org": Preferences(
        topics=("robotics",), keywords=("world model",), timezone="Europe/Berlin", max_papers=6
    ),
    "language@example.org": Preferences(
        topics=("language models", "reasoning"),
        keywords=("multilingual",),
        mutes=("robot",),
        timezone="America/New_York",
    ),
    "diffusion@example.org": Preferences(
        topics=("diffusion",), keywords=("flow matching",), timezone="Asia/Tokyo", max_papers=5
    ),
    "agents@example.org": Preferences(topics=("agents", "safety"), hour=7, timezone="Europe/London", max_papers=8),
    "curious@example.org": Preferences(max_papers=10),
}


def papers() -> list[bytes]:
    """Return the sample papers as JSON Lines."""
    return (files(__name__) / "papers.jsonl").read_bytes().splitlines()

"""The bytes of a message."""

import email
import re
from datetime import UTC, datetime
from email import policy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import HOSTILE

from newsletter.delivery.message import Envelope, build, header_text

NAMES = [
    "From", "To", "Subject", "Date", "Message-ID", "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post",
    "Feedback-ID", "Auto-Submitted", "Precedence", "MIME-Version", "Content-Type",
]  # fmt: skip
TOKEN = "A" * 38


def envelope(**changes: object) -> Envelope:
    values: dict[str, object] = {
        "sender_name": "Tägliche Papers",
        "sender_address": "papers@example.org",
        "recipient": "reader@example.org",
        "subject": "Flow matching for proteins + 6 more",
        "date": datetime(2026, 8, 5, 9, 0, tzinfo=UTC),
        "message_id": "<2026-08-05.1.abc@example.org>",
        "list_id": "digest.example.org",
        "unsubscribe_url": f"https://a-rather-long-host-name.newsletter.example.org/u/{TOKEN}",
        "unsubscribe_mailto": f"mailto:papers@example.org?subject=unsubscribe%20{TOKEN}",
        "feedback_id": "2026-08-05:digest:newsletter:exampleorg",
    }
    return Envelope(**(values | changes))  # type: ignore[arg-type]


def headers(raw: bytes) -> list[str]:
    return [name for name, _ in email.message_from_bytes(raw, policy=policy.default).raw_items()]


def test_a_message_is_as_the_standards_want_it() -> None:
    raw = b"".join(build(envelope(), [b"text\r\n"], [b"<p>html</p>\r\n"]))
    assert headers(raw) == NAMES
    assert re.search(rb"\r(?!\n)|(?<!\r)\n", raw) is None
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 200
    parsed = email.message_from_bytes(raw, policy=policy.default)
    assert not parsed.defects
    assert parsed["date"] == "Wed, 05 Aug 2026 09:00:00 +0000"
    assert parsed["from"] == "Tägliche Papers <papers@example.org>"
    parts = list(parsed.iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    assert parts[0].get_content().strip() == "text"


def test_list_unsubscribe_is_never_encoded_however_long() -> None:
    raw = b"".join(build(envelope(unsubscribe_url="https://news.example.org/u/" + "x" * 150), [], []))
    line = re.search(rb"List-Unsubscribe: (.*?)\r\n(?! )", raw, re.DOTALL)
    assert line is not None
    assert line[1].startswith(b"<https://news.example.org/u/xxx")
    assert b"=?" not in line[1]
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in raw


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_subject_adds_no_header(text: str) -> None:
    raw = b"".join(build(envelope(subject=text, sender_name=text), [], []))
    assert headers(raw) == NAMES
    # and not even when Python writes the message again
    again = email.message_from_bytes(raw, policy=policy.SMTP).as_bytes()
    assert headers(again) == NAMES
    assert str(email.message_from_bytes(raw, policy=policy.default)["subject"]) == header_text(text)


@given(st.text())
def test_any_subject_arrives_as_cleaned(text: str) -> None:
    raw = b"".join(build(envelope(subject=text), [], []))
    assert headers(raw) == NAMES
    assert str(email.message_from_bytes(raw, policy=policy.default)["subject"]) == header_text(text)
    assert len(header_text(text)) <= 150

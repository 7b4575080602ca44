"""What many senders do: send, then mark, and send again where in doubt. ``comparator.py DATABASE PORT PART PARTS``."""

import smtplib
import sqlite3
import sys
from contextlib import suppress
from email.message import EmailMessage


def main(database: str, port: int, part: int, parts: int) -> None:
    """Send to everybody of our part who is not marked, until everybody is."""
    ledger = sqlite3.connect(database, timeout=60, isolation_level=None)
    while waiting := ledger.execute(
        "SELECT address FROM readers WHERE NOT sent AND rowid % ? = ? LIMIT 50", (parts, part)
    ).fetchall():
        for (address,) in waiting:
            try:
                send(port, address)
            except smtplib.SMTPRecipientsRefused as exc:
                code = exc.recipients[address][0]
                if code < 500:
                    continue  # again in the next round
            except (OSError, smtplib.SMTPException):
                continue  # in doubt: again in the next round
            ledger.execute("UPDATE readers SET sent = 1 WHERE address = ?", (address,))


_kept: list[smtplib.SMTP] = []


def send(port: int, address: str) -> None:
    """Send one mail over a kept-open connection; a doubtful connection is not kept."""
    if not _kept:
        _kept.append(smtplib.SMTP("127.0.0.1", port, timeout=4))
    smtp = _kept.pop()
    made = EmailMessage()
    made["From"], made["To"], made["Message-ID"] = "papers@example.org", address, f"<{address}>"
    made.set_content("A mail.\n" * 200)
    try:
        smtp.send_message(made)
    except smtplib.SMTPException:
        with suppress(OSError):
            smtp.close()
        raise
    _kept.append(smtp)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))

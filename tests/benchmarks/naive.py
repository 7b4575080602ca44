"""The naive way to send an issue: templates per reader, the standard library's message and SMTP, a commit a mail.

``naive.py ISSUE MAILS PORT``, with the settings in the environment. Choosing the papers is not counted: a naive sender
may have them for nothing. Speaks as ``sender.py`` does.
"""

import json
import smtplib
import sys
import time
from email.message import EmailMessage
from email.policy import SMTP

from sqlmodel import Session, col, select

from newsletter import logs
from newsletter.app import App, build_app
from newsletter.delivery.desk import Desk, Prepared
from newsletter.delivery.models import Delivery, DeliveryState
from newsletter.issues import store as issues
from newsletter.issues.compose import Edition
from newsletter.rendering.views import Tokens, whole_digest
from newsletter.settings import Settings


def message(app: App, edition: Edition, mail: Prepared) -> EmailMessage:
    """Return a reader's mail, rendered for nobody else."""
    links, tokens = app.identity.links, Tokens("r" * 38, "u" * 38, "f" * 38, "p" * 38)
    digest = edition.compose(mail.subscriber.preferences, mail.selection)
    values = whole_digest(digest, edition.papers, app.identity.letterhead, links, tokens)
    content = app.templates.mail("digest").render(values)
    made = EmailMessage(policy=SMTP)
    made["From"], made["To"], made["Subject"] = "papers@example.org", mail.subscriber.email, content.subject
    made.set_content(content.text)
    made.add_alternative(content.html, subtype="html")
    return made


def prepared(app: App, issue_id: int, mails: int) -> tuple[Edition, list[tuple[int, Prepared]]]:
    """Return the issue's edition, and deliveries with what their readers get."""
    with app.db.snapshot() as session:
        issue = issues.get(session, issue_id)
        assert issue is not None
        draft = issues.draft(session, issue.day, app.now(), app.settings.window)
        due = session.exec(select(Delivery).where(Delivery.issue_id == issue_id).limit(mails)).all()
        readers = {each.subscriber_id: each.id or 0 for each in due}
        desk = Desk(session, draft, app.identity, app.templates)
        found = desk.prepare(session, list(readers), {}, app.now(), readers)
        chosen = [(readers[who], each) for who, each in found.items() if isinstance(each, Prepared)]
        return issues.edition(session, draft), chosen


def main(issue_id: int, mails: int, port: int) -> None:
    """Send and report."""
    logs.configure("ERROR")
    app = build_app(Settings(_env_file=None))
    edition, chosen = prepared(app, issue_id, mails)
    message(app, edition, chosen[0][1])  # compiles the template
    smtp = smtplib.SMTP("127.0.0.1", port)
    smtp.ehlo()
    print("ready", flush=True)
    sys.stdin.readline()
    cpu, begun = time.process_time(), time.perf_counter()
    for delivery_id, mail in chosen:
        made = message(app, edition, mail)
        smtp.sendmail("papers@example.org", [mail.subscriber.email], made.as_bytes())
        with app.db.session() as session:
            _sent(session, delivery_id)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    print(json.dumps({"tried": len(chosen), "seconds": seconds, "cpu": cpu}), flush=True)
    smtp.quit()
    app.close()


def _sent(session: Session, delivery_id: int) -> None:
    row = session.exec(select(Delivery).where(col(Delivery.id) == delivery_id)).one()
    row.state = DeliveryState.SENT


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))

"""Signatures that others verify: over the relay's wire, whatever is in the mail, and broken by whoever touches it."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from dkim_keys import OPENDKIM, key, key_files, pem, public_pem, verified, verified_by_opendkim
from fakes import SmtpServer
from hypothesis import given
from hypothesis import strategies as st
from samples import HOSTILE, add_papers, add_readers, open_and_queue, record
from test_message import envelope

from newsletter import pipeline
from newsletter.app import App
from newsletter.delivery import dkim
from newsletter.delivery import store as deliveries
from newsletter.delivery.alarms import store as alarms
from newsletter.delivery.alarms.models import Found, Kind
from newsletter.delivery.desk import MAILS
from newsletter.delivery.message import build
from newsletter.delivery.models import Mail
from newsletter.errors import SettingsError
from newsletter.papers.models import MAX_TITLE
from newsletter.papers.textclean import clean
from newsletter.rendering.placeholders import NO_TOKENS, PLACEHOLDERS, joined
from newsletter.rendering.typeset import quoted_printable
from newsletter.settings import Settings
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.models import Entry, State
from newsletter.subscribers.preferences import Preferences

NOW = datetime(2026, 8, 5, 9, 0, tzinfo=UTC)
KEYS = [key("rsa"), key("ed25519")]
needs_opendkim = pytest.mark.skipif(OPENDKIM is None, reason="no OpenDKIM on this machine (apt-get install opendkim)")
TEXTS = [
    *HOSTILE,
    "",
    "\r\n\r\n\r\n",
    ".\r\n..\r\n...dots",
    "blanks   \t in  a row \t \r\n\t \r\n",
    "l" * 5_000,
    "x \u4e2d\u6587 " * 200,
]


def signed(text: str = "Hello,\n.\nthere  are\tblanks", *, kinds: list[dkim.Key] = KEYS, **changes: object) -> bytes:
    part = quoted_printable(text)
    return b"".join(dkim.signed(build(envelope(**changes), [part], [b"<p>", part, b"</p>"]), kinds, NOW))


@pytest.mark.parametrize("text", TEXTS)
def test_dkimpy_verifies_both_signatures_whatever_is_in_the_mail(text: str) -> None:
    message = signed(
        text, subject=text, sender_name=text or "Nobody", unsubscribe_url=f"https://example.org/u/{'A' * 900}"
    )
    assert verified(message, KEYS) == [True, True]
    assert max(map(len, message.partition(b"From:")[0].split(b"\r\n"))) <= 78


@needs_opendkim
def test_opendkim_verifies_both_signatures_whatever_is_in_the_mail(tmp_path: Path) -> None:
    for text in TEXTS:
        message = signed(text, subject=text, sender_name=text or "Nobody")
        assert verified_by_opendkim(message, KEYS, tmp_path) == ["pass", "pass"], text
    assert verified_by_opendkim(message.replace(b"<p>", b"<i>"), KEYS, tmp_path) == ["fail", "fail"]


@given(st.lists(st.text(alphabet=" \tab=.\r\né", max_size=40), max_size=40))
def test_pieces_hash_as_the_whole_does(texts: list[str]) -> None:
    pieces = [quoted_printable(text).rstrip(b"\r\n \t") + b"=\r\n" for text in texts]
    whole = b"".join(pieces)
    assert dkim.body_hash(pieces) == dkim.body_hash([whole])
    cut = [*pieces, b"--\r\n"] if pieces else [b"--\r\n"]
    message = b"".join(dkim.signed([b"From: a@example.org\r\n", b"\r\n", *cut], KEYS[1:], NOW))
    assert verified(message, KEYS) == [True]


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_subject_and_any_text_verify(subject: str, text: str) -> None:
    assert verified(signed(text, kinds=KEYS[1:], subject=subject), KEYS) == [True]


@pytest.mark.parametrize("name", dkim.OVERSIGNED)
def test_who_adds_a_header_that_counts_breaks_the_signature(name: str, tmp_path: Path) -> None:
    good = signed()
    for place in (b"From: ", b"\r\n--=_newsletter_parts"):
        bad = good.replace(place, f"{name}: <https://evil.example.org/>\r\n".encode() + place, 1)
        assert verified(bad, KEYS) == [False, False]
        if OPENDKIM:
            assert "pass" not in verified_by_opendkim(bad, KEYS, tmp_path)


def test_who_changes_or_removes_a_signed_header_breaks_the_signature() -> None:
    good = signed()
    head = good.partition(b"\r\n\r\n")[0] + b"\r\n"
    fields = re.findall(rb"^([A-Za-z-]+): (.*?)\r\n(?![ \t])", head, re.MULTILINE | re.DOTALL)
    names = {name for name, _ in fields} - {b"DKIM-Signature"}
    assert len(names) == 13
    for name, value in fields:
        if name in names:
            whole = name + b": " + value + b"\r\n"
            assert verified(good.replace(whole, b"", 1), KEYS) == [False, False], name
            assert verified(good.replace(whole, name + b": x" + value + b"\r\n", 1), KEYS) == [False, False], name


def test_what_relays_may_do_to_a_mail_does_not_break_the_signature() -> None:
    good = signed()
    refolded = good.replace(b"Subject: Flow matching", b"subject:   Flow\r\n\tmatching  ", 1)
    received = b"Received: from a by b; Wed, 05 Aug 2026 09:00:00 +0000\r\nX-Spam: no\r\n" + refolded + b"\r\n\r\n"
    assert received != good
    assert verified(received, KEYS) == [True, True]


def test_signing_takes_the_place_of_nothing() -> None:
    pieces = build(envelope(), [b"text\r\n"], [b"<p>html</p>\r\n"])
    assert dkim.signed(pieces, [], NOW) == pieces
    assert dkim.signed(pieces, KEYS, NOW)[2:] == pieces
    messages = [build(envelope(recipient=f"reader{n}@example.org"), [b"text\r\n"], [b"html\r\n"]) for n in range(7)]
    alone = [dkim.signed(each, KEYS, NOW) for each in messages]
    assert dkim.sign_all([(each, NO_TOKENS) for each in messages], KEYS, NOW) == alone


@pytest.mark.parametrize("pieces", [1, 40])
def test_what_is_signed_is_what_goes_out_with_the_tokens_in_it(pieces: int) -> None:
    tokens = {place: name.encode() * 9 for name, place in PLACEHOLDERS.items()}
    marked = [b"  a =\r\n" + b"=\r\n".join(PLACEHOLDERS.values()) + b"=\r\nb\t \r\n"] * pieces
    [done] = dkim.sign_all([(build(envelope(), marked, marked), tokens)], KEYS, NOW)
    assert verified(joined(done, tokens), KEYS) == [True, True]
    assert verified(b"".join(done), KEYS) == [False, False]


def test_every_mail_that_reaches_the_relay_is_signed(
    make_app: Callable[..., App], sqlite_url: str, smtp: SmtpServer, tmp_path: Path
) -> None:
    settings = {"smtp_url": smtp.url, "dkim_keys": key_files(tmp_path, "rsa", "ed25519")}
    app = make_app(sqlite_url, **settings, admin_email="admin@example.org")
    titles = (*HOSTILE, ".dots\n.\n..", "Δίκτυα 网络 شبكات")
    add_papers(app, [record(n, clean(text, MAX_TITLE), abstract=f".{text}" * 9) for n, text in enumerate(titles, 1)])
    readers = add_readers(app, 3, max_papers=20) + add_readers(app, 2, prefix="plain", tracking=False)
    notices = [mail for mail in Mail if mail not in MAILS.values()]
    with app.db.session() as session:
        entry = Entry("pending@example.org", Preferences(), State.PENDING)
        pending = next(iter(subscribers.write_entries(session, [entry], app.now())[0]))
        subscribers.leave(session, readers[-1:], app.now())
        wanting = {State.PENDING: pending, State.ACTIVE: readers[0], State.UNSUBSCRIBED: readers[-1]}
        found = Found(Kind.SOURCE, "x", "Something happened", "What it was.", "newsletter status")
        assert alarms.keep(session, [found], app.now())
        assert alarms.tell(session, 1, app.now())
        for mail in notices:
            who = wanting[mail.wanted_by]
            if not mail.is_for_operator:
                deliveries.queue_notices(session, mail, {who: mail}, now=app.now(), within=timedelta(days=1))
    issue = open_and_queue(app)
    assert pipeline.deliver(app, issue.id) == 4
    assert pipeline.deliver(app, None) == len(notices)
    for each in smtp.accepted:
        assert verified(each.data, KEYS) == [True, True]
        if OPENDKIM:
            assert verified_by_opendkim(each.data, KEYS, tmp_path) == ["pass", "pass"]


def test_the_domain_to_sign_for_may_be_another(make_app: Callable[..., App], sqlite_url: str, tmp_path: Path) -> None:
    app = make_app(sqlite_url, dkim_keys=key_files(tmp_path, "rsa"), sender="Us <us@News.Example.Org>")
    assert app.dkim_keys[0].record_name == "rsa._domainkey.news.example.org"
    app = make_app(sqlite_url, dkim_keys=key_files(tmp_path, "rsa"), dkim_domain="example.org")
    assert app.dkim_keys[0].record_name == "rsa._domainkey.example.org"


BAD_KEYS = {
    "garbage": (b"secret nonsense", "no key in PEM"),
    "empty": (b"", "no key in PEM"),
    "public": (public_pem("rsa"), "a public key"),
    "small": (pem("rsa-1024"), "1024 bits"),
    "encrypted": (pem("rsa", BestAvailableEncryption(b"secret word")), "encrypted"),
    "cut": (pem("rsa")[:900], "no key in PEM|damaged"),
    "damaged": (pem("rsa").replace(b"M", b"!"), "damaged|no key in PEM"),
    "elliptic": (pem("ec"), "neither RSA nor Ed25519"),
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_a_bad_key_is_one_clear_line_at_the_start(
    name: str, make_app: Callable[..., App], sqlite_url: str, tmp_path: Path
) -> None:
    content, why = BAD_KEYS[name]
    path = tmp_path / "bad.pem"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=why) as raised:
        make_app(sqlite_url, dkim_keys=f"news:{path}")
    said = str(raised.value)
    assert said.startswith(f"NEWSLETTER_DKIM_KEYS: {path} ")
    assert "\n" not in said
    assert not any(line.decode() in said for line in content.split(b"\n") if len(line) > 8)


def test_a_key_that_others_may_read_or_that_is_not_there_is_refused(
    make_app: Callable[..., App], sqlite_url: str, tmp_path: Path
) -> None:
    setting = key_files(tmp_path, "rsa")
    for mode in (0o644, 0o660, 0o602):
        (tmp_path / "rsa.pem").chmod(mode)
        with pytest.raises(SettingsError, match=rf"rsa\.pem may be read or changed by others.*{mode:04o}"):
            make_app(sqlite_url, dkim_keys=setting)
    (tmp_path / "rsa.pem").chmod(0o640)
    assert make_app(sqlite_url, dkim_keys=setting).dkim_keys
    (tmp_path / "folder").mkdir(mode=0o700)
    for path, why in ((tmp_path / "none.pem", "No such file"), (tmp_path / "folder", "directory")):
        with pytest.raises(SettingsError, match=f"{path} cannot be read: .*{why}"):
            make_app(sqlite_url, dkim_keys=f"news:{path}")


@pytest.mark.parametrize("setting", ["news", "news:", ":/a.pem", "-x:/a.pem", "a..b:/a", "a:/a.pem a:/b.pem", "ö:/a"])
def test_a_setting_of_keys_that_means_nothing_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match=r"dkim_keys: .*(must look like|twice)"):
        Settings(_env_file=None, dkim_keys=setting)


def test_a_key_is_never_shown(tmp_path: Path) -> None:
    assert "PRIVATE" not in repr(key("rsa"))
    assert "private" not in repr(key("rsa"))


def test_the_records_to_publish_are_shown(command_here: Callable[..., object], tmp_path: Path) -> None:
    setting = key_files(tmp_path, "rsa", "ed25519")
    shown = command_here("dkim", dkim_keys=setting)
    assert shown.returncode == 0  # type: ignore[attr-defined]
    for line, each in zip(shown.stdout.splitlines(), KEYS, strict=True):  # type: ignore[attr-defined]
        name, strings = re.fullmatch(r"(\S+)\. IN TXT \( (.*) \)", line).groups()  # type: ignore[union-attr]
        found = re.findall(r'"([^"]*)"', strings)
        assert name == each.record_name
        assert "".join(found) == each.record
        assert max(map(len, found)) <= 255
    none = command_here("dkim")
    assert (none.returncode, none.stdout) == (1, "")  # type: ignore[attr-defined]
    assert "NEWSLETTER_DKIM_KEYS" in none.stderr  # type: ignore[attr-defined]

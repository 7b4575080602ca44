"""rspamd as it comes, without a network and without anything it learned: no mail of ours gets near being spam."""

import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from arrivals import RELAY, RELAY_IP, Arrived, altered
from fakes import free_port
from judges import program

from newsletter.delivery.models import Mail

pytestmark = pytest.mark.trusted
_LIMIT = 3.0  # it delays a mail from 4 points on, and marks it from 6 on
_STOCK = Path("/etc/rspamd/rspamd.conf")
_SUFFIXES = Path("/usr/share/rspamd/effective_tld_names.dat")
_PATIENCE = 120  # seconds until it must answer
_OFF = (  # what asks the network, or a memory that this instance has not
    "arc", "asn", "bimi", "dkim", "dkim_signing", "dmarc", "fuzzy_check", "greylist", "history_redis", "multimap",
    "mx_check", "neural", "phishing", "ratelimit", "rbl", "replies", "reputation", "rspamd_update", "spf", "surbl",
    "url_redirector", "whitelist",
)  # fmt: skip
_OPTIONS = """
url_tld = "{folder}/suffixes";
filters = "chartable,regexp";
local_addrs = [10.0.0.0/8];
# Nobody answers there: whatever would still ask for a name gets none.
dns {{ nameserver = ["127.0.0.1:9"]; timeout = 0.1s; retransmits = 1; }}
"""
_GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What rspamd makes of a mail."""

    score: float
    symbols: Mapping[str, float]


def configure(folder: Path, port: int) -> None:
    """Write what differs from the package's configuration; what this machine's administrator wrote is not read."""
    local = folder / "local.d"
    local.mkdir()
    # Names under names matter to lists on the network alone, and reading them takes twenty seconds.
    lines = _SUFFIXES.read_text(encoding="utf-8").splitlines()
    suffixes = [line for line in lines if line and "." not in line and not line.startswith("//")]
    (folder / "suffixes").write_text("\n".join(suffixes), encoding="utf-8")
    (local / "options.inc").write_text(_OPTIONS.format(folder=folder), encoding="utf-8")
    (local / "logging.inc").write_text('type = "console"; level = "warning";', encoding="utf-8")
    (local / "worker-normal.inc").write_text(f'bind_socket = "127.0.0.1:{port}"; count = 1;', encoding="utf-8")
    for worker in ("controller", "proxy"):
        (local / f"worker-{worker}.inc").write_text("enabled = false; count = -1;", encoding="utf-8")
    for module in _OFF:
        (local / f"{module}.conf").write_text("enabled = false;", encoding="utf-8")
    asks = ("helo", "hostname", "from", "rcpt", "mid")  # each looks for names in the DNS
    (local / "hfilter.conf").write_text("".join(f"{each}_enabled = false; " for each in asks), encoding="utf-8")


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Yield the address of an rspamd that ends with the block, and with this process."""
    port = free_port()
    configure(folder, port)
    places = [f"--var={name}={folder}" for name in ("DBDIR", "RUNDIR", "LOGDIR", "LOCAL_CONFDIR")]
    alone = [program("setpriv"), "--pdeathsig", "TERM", "--"]
    command = [*alone, program("rspamd"), "--no-fork", "--insecure", f"--config={_STOCK}", *places]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process:
        try:
            await_answer(f"http://127.0.0.1:{port}/ping", process, folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)


def await_answer(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return when the server answers; it says why it does not."""
    pause = threading.Event()
    for _ in range(_PATIENCE * 5):
        assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.RequestException:
            pause.wait(0.2)
    raise AssertionError(log.read_text(encoding="utf-8", errors="replace"))


def judge(url: str, mail: Arrived) -> Verdict:
    """Have a mail judged as a reader's mail server would."""
    told = {"IP": RELAY_IP, "Helo": RELAY, "Hostname": RELAY, "From": mail.sender, "Rcpt": mail.recipient}
    answer = requests.post(f"{url}/checkv2", mail.raw, headers=told, timeout=60)
    answer.raise_for_status()
    found = answer.json()
    return Verdict(found["score"], {name: each["score"] for name, each in found["symbols"].items() if each["score"]})


@pytest.fixture(scope="module")
def rspamd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of our own."""
    with running(tmp_path_factory.mktemp("rspamd")) as url:
        yield url


@pytest.mark.parametrize("mail", list(Mail))
def test_rspamd_is_far_from_calling_a_mail_spam(
    rspamd: str, forms: Mapping[Mail, Sequence[Arrived]], mail: Mail
) -> None:
    assert forms[mail]
    # real mails: the hostile one talks of scripts and data: addresses all the way down
    found = {each.title: judge(rspamd, each) for each in forms[mail] if not each.title.endswith(", hostile")}
    assert {title: each for title, each in found.items() if each.score >= _LIMIT} == {}


def test_rspamd_knows_spam(rspamd: str, every_form: list[Arrived]) -> None:
    ham = min(every_form, key=lambda each: len(each.raw))  # it looks for the test pattern in short mails alone
    nameless = altered(altered(ham, rb"Message-ID: .*?\r\n", b""), rb"\r\nDate: .*?\r\n", b"\r\n")
    gtube = altered(ham, rb"quoted-printable\r\n\r\n", b"quoted-printable\r\n\r\n" + _GTUBE + b"\r\n")
    assert judge(rspamd, nameless).score >= _LIMIT
    assert judge(rspamd, gtube).score >= 15
    # It looks into parts and along the way, and asks nobody.
    symbols = judge(rspamd, ham).symbols
    assert "MIME_GOOD" in symbols
    assert not [name for name in symbols if name.startswith(("RBL_", "R_SPF", "R_DKIM", "DMARC"))]

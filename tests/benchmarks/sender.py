"""Delivers one issue as a worker does, in a process of its own that is measured: ``sender.py ISSUE [--stages]``.

Its settings are in the environment. It sends 100 mails first, which opens the connections and sets the templates and
the issue's cards in type: what a worker does once. It prints ``ready``, waits for a line, delivers all that is left,
and prints what that took as JSON. ``--stages`` also says which part of the product the CPU was spent in.
"""

import json
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from types import FrameType

from newsletter import logs, pipeline
from newsletter.app import build_app
from newsletter.garbage import keep_what_is_loaded
from newsletter.settings import Settings

# The innermost module of the product that is named here says which stage a moment belongs to.
_STAGES = {
    "newsletter/ranking/": "select",
    "newsletter/issues/": "select",
    "newsletter/subscribers/": "select",
    "newsletter/papers/": "select",
    "newsletter/delivery/store": "select",
    "newsletter/delivery/desk": "print",
    "newsletter/rendering/": "print",
    "newsletter/signing": "print",
    "newsletter/delivery/printing": "print",
    "newsletter/delivery/message": "print",
    "newsletter/delivery/ledger": "ledger",
    "newsletter/delivery/marks": "ledger",
    "newsletter/delivery/transports/": "SMTP",
}
_EVERY_SECONDS = 0.001
_FIRST = 100


@dataclass
class Sampler:
    """Looks every millisecond where each thread is, and books the CPU that the thread has spent since the last look."""

    seconds: Counter[str] = field(default_factory=Counter)
    _spent: dict[int, float] = field(default_factory=dict)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Look until stopped."""
        sys.setswitchinterval(_EVERY_SECONDS)
        self._look()
        self.seconds.clear()
        while not self._stopped.wait(_EVERY_SECONDS):
            self._look()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def _look(self) -> None:
        me, spent_now = threading.get_ident(), {}
        for thread, frame in sys._current_frames().items():
            try:
                spent = time.clock_gettime(time.pthread_getcpuclockid(thread))
            except OSError:
                continue  # it has just ended
            before = self._spent.get(thread, 0.0)
            stage = "(this sampler)" if thread == me else _stage(frame)
            self.seconds[stage] += spent - (before if before <= spent else 0.0)  # a new thread may have an old one's id
            spent_now[thread] = spent
        self._spent = spent_now


def _stage(frame: FrameType | None) -> str:
    while frame is not None:
        file = frame.f_code.co_filename
        for part, stage in _STAGES.items():
            if part in file:
                return stage
        frame = frame.f_back
    return "other"


def _cpu() -> float:
    usage = getrusage(RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak_mb() -> float:
    """Return this program's peak of resident memory; that of getrusage holds what its parent had."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main(issue_id: int, *, stages: bool) -> None:
    """Deliver and report."""
    logs.configure("ERROR")
    app = build_app(Settings(_env_file=None))
    keep_what_is_loaded()
    begun = time.perf_counter()
    pipeline.deliver(app, issue_id, limit=_FIRST)
    first = time.perf_counter() - begun
    print("ready", flush=True)
    sys.stdin.readline()
    sampler = Sampler()
    watching = threading.Thread(target=sampler.run)
    cpu, begun = _cpu(), time.perf_counter()
    if stages:
        watching.start()
    tried = pipeline.deliver(app, issue_id)
    seconds, cpu = time.perf_counter() - begun, _cpu() - cpu
    if stages:
        sampler.stop()
        watching.join()
    report = {"tried": tried, "seconds": seconds, "cpu": cpu, "peak_mb": _peak_mb(), "first": first}
    print(json.dumps(report | {"stages": dict(sampler.seconds)}), flush=True)
    app.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), stages="--stages" in sys.argv)

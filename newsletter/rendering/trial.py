"""A trial: what templates make is made in a process of its own first, which may take only so much.

``limits`` stops what it can see from inside. Here the operating system does: processor time and memory are bounded,
and whatever becomes of the process, the one that asked goes on. It is a new interpreter, not a fork: the program has
threads and connections by then, which a fork would share.
"""

import json
import pickle
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any, Self

from newsletter.errors import NewsletterError

# For one mail in all its forms. Ours take up to a second, and a small machine takes some times as long.
CPU_SECONDS = 10
# Above what the process has when it begins: ours take some 30 MiB, and no template needs more than a few texts.
MEMORY_BYTES = 512 * 2**20
# A template cannot wait, only work: this is for a machine that has no time for it.
_WALL_SECONDS = 60.0
_MAX_LINE = 64 * 2**20  # bytes of an answer: a mail in all its forms, none of whose parts is above a megabyte


class OverTimeError(BaseException):
    """The processor time is used up; no template and no library catches this."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one thing that was tried.

    :ivar made: whatever JSON can hold, where it went well.
    :ivar error: else what went wrong, on one line.
    """

    name: str
    made: Any = None
    error: str = ""


class Trial:
    """A process that loads what it needs and then waits to be asked, once.

    :param module: what it runs: a module that calls `answer`.
    :param wall_seconds: how long it may take for each thing, with all that it waits for.
    """

    def __init__(self, module: str, wall_seconds: float = _WALL_SECONDS) -> None:
        self._wall_seconds = wall_seconds
        self._process = subprocess.Popen(  # noqa: S603  a module of ours
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.close()

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # it may have ended before it was asked
                pipe.close()  # type: ignore[union-attr]  # there are pipes
        self._process.wait()

    def ask(self, order: object, names: Sequence[str]) -> Iterator[Tried]:
        """Yield what becomes of each name in turn; one that ends the process is the last.

        :param order: goes to the process as it is, by `pickle`.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ValueError("a trial has pipes")
        with suppress(OSError):  # it has ended: what follows says so
            stdin.write(pickle.dumps((order, tuple(names))))
            stdin.close()
        for name in names:
            timer = Timer(self._wall_seconds, self._process.kill)
            timer.start()
            line = stdout.readline(_MAX_LINE)
            timer.cancel()
            if not line.endswith(b"\n"):
                self._process.kill()
                yield Tried(name, error=_last_words(self._process.wait()))
                return
            yield _read(name, line)


def try_all(module: str, order: object, names: Sequence[str], begun: Trial | None = None) -> Iterator[Tried]:
    """Yield what becomes of each name, with another process for the rest where one ends.

    :param begun: a process of that module that is waiting already.
    """
    left = list(names)
    while left:
        with begun or Trial(module) as trial:
            for tried in trial.ask(order, tuple(left)):
                left.remove(tried.name)
                yield tried
        begun = None


def answer(make: Callable[[Any, str], Any], place: Callable[[Any, BaseException], str]) -> None:
    """Answer what is asked on standard input; what is made of a name goes out as a line of JSON.

    :param make: makes what JSON can hold of the order and a name, under limits.
    :param place: says where in a template an exception came from, or nothing.
    """
    asked = sys.stdin.buffer.read()
    if not asked:  # nobody wants to know any more
        return
    order, names = pickle.loads(asked)  # noqa: S301  from the process that started this one, over its own pipe
    _confine(len(names))
    for name in names:
        made, error = None, ""
        try:
            with _limited():
                made = make(order, name)
        except OverTimeError as exc:
            error = _said(place(order, exc), f"takes more than {CPU_SECONDS} s of processor time")
        except MemoryError as exc:
            error = _said(place(order, exc), f"takes more than {MEMORY_BYTES >> 20} MiB of memory")
        except RecursionError as exc:
            error = _said(place(order, exc), "calls itself too often")
        except NewsletterError as exc:
            error = str(exc)
        tried = {"made": made, "error": error}
        sys.stdout.buffer.write(json.dumps(tried).encode() + b"\n")
        sys.stdout.buffer.flush()


def _read(name: str, line: bytes) -> Tried:
    """Return an answer: strings and numbers, never a pickle, since who answers has run what is being tried."""
    try:
        told = json.loads(line)
        return Tried(name, told["made"], str(told["error"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return Tried(name, error="the process that tried the templates answered nonsense")


def _said(place: str, what: str) -> str:
    return f"{place or 'the templates'}: {what}"


def _confine(number: int) -> None:
    """Bound this process for good: its memory, and the processor time of all that it is asked for together."""
    begun = _address_space()
    if begun is not None:
        resource.setrlimit(resource.RLIMIT_AS, (begun + MEMORY_BYTES, begun + MEMORY_BYTES))
    # What does not listen to the signal is killed by the system.
    most = _used() + (number + 1) * CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def over(*_: object) -> None:
        raise OverTimeError

    signal.signal(signal.SIGXCPU, over)


@contextmanager
def _limited() -> Iterator[None]:
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (min(_used() + CPU_SECONDS, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))


def _used() -> int:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return int(used.ru_utime + used.ru_stime) + 1


def _address_space() -> int | None:
    """Return how many bytes of addresses this process has, where the system says so."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except OSError:
        return None


def _last_words(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the templates take more time or memory than any mail needs: the process that tried them was ended"
    return f"the process that tried the templates ended with {code}"

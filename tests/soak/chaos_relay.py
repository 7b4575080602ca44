"""A relay in a process of its own that writes down what it accepts and goes wrong by plan.

``chaos_relay.py FOLDER SEED FAULTS MAILS [HOST]``: prints its port. ``FOLDER/accepted`` gets a line for each message,
recipient and Message-ID, before the reply is sent; ``FOLDER/faults`` a line for each fault, phase and kind.
"""

import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from fakes import Received, Session, SmtpServer, _HungUpError

PHASES = ("connect", "ehlo", "mail", "rcpt", "data", "body", "dot", "accepted")
DOUBTFUL = ("drop", "garbage", "half", "hang")  # at the dot nobody knows after these
_REFUSALS = (
    "421 4.3.2 closing",
    "450 4.2.1 come again",
    "451 4.3.0 not now",
    "452 4.2.2 mailbox full",
    "552 5.2.2 mailbox full",
    "554 5.3.0 no",
)
_ON_CONNECTIONS = 0.15  # of the connections one goes wrong while any such fault is left


class Log(list[Received]):
    """What was accepted, as lines on the disk; nothing is kept in memory."""

    def __init__(self, file: TextIO) -> None:
        super().__init__()
        self._file = file

    def append(self, message: Received, /) -> None:
        head = message.data.partition(b"\r\n\r\n")[0].decode("ascii", "replace").splitlines()
        message_id = next((line.split()[1] for line in head if line.startswith("Message-ID:")), "-")
        _write(self._file, f"{message.recipient} {message_id}")


class Chaos:
    """A script for the relay: each fault of the plan once, spread over the first half of the mails."""

    def __init__(self, seed: int, faults: int, mails: int, file: TextIO) -> None:
        self._chance = random.Random(seed)
        self._left = dict.fromkeys(PHASES, 0)
        for _ in range(faults):
            self._left[self._chance.choice(PHASES)] += 1
        self._rates = {phase: 2 * left / mails for phase, left in self._left.items()}
        self._file = file

    def __call__(self, phase: str, session: Session) -> str | None:
        """Answer as usual, or not; called by one connection at a time."""
        rate = _ON_CONNECTIONS if phase in {"connect", "ehlo"} else self._rates.get(phase, 0.0)
        if not self._left.get(phase) or self._chance.random() >= rate:
            return None
        self._left[phase] -= 1
        kind = self._chance.choice(_kinds(phase))
        _write(self._file, f"{phase} {kind.partition(' ')[0]}")
        if kind == "half":
            session.wfile.write(b"25")
            kind = "drop"
        if kind == "drop":
            raise _HungUpError
        return "%$ this is no reply" if kind == "garbage" else kind


def _kinds(phase: str) -> Sequence[str]:
    if phase == "body":  # nothing can be said there but goodbye
        return ("drop",)
    if phase == "connect":
        return (*DOUBTFUL, "421 4.3.2 closing")
    if phase == "accepted":
        return DOUBTFUL
    if phase == "mail":  # a permanent refusal of our sender rightly stops the whole issue
        return (*DOUBTFUL, *DOUBTFUL, *(each for each in _REFUSALS if each.startswith("4")))
    return (*DOUBTFUL, *DOUBTFUL, *_REFUSALS)


def _write(file: TextIO, line: str) -> None:
    file.write(line + "\n")
    file.flush()


def main(folder: Path, seed: int, faults: int, mails: int, host: str = "127.0.0.1") -> None:
    """Serve until killed."""
    with (folder / "accepted").open("w") as accepted, (folder / "faults").open("w") as done:
        server = SmtpServer(host)
        server.accepted = Log(accepted)
        server.script = Chaos(seed, faults, mails, done)
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]), *sys.argv[5:])

"""The judges of our mails, and how they come to this machine: run as a program, this installs what is missing.

Programs come from the distribution, whose release says which version; packages of npm from the lock beside this file,
below ``var``. From then on nothing here needs a network.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_HERE = Path(__file__).parent
_FOLDER = _HERE.parents[1] / "var/trusted"
_LOCK = "package-lock.json"
_COMPLETE = _FOLDER / "complete.json"  # the lock, written when all that it names is there
_HOW = "install it with: python tests/trusted/judges.py"
_PROGRAMS = {  # and the distribution's package with it
    "chromium": "chromium",
    "java": "default-jre-headless",
    "node": "nodejs",
    "npm": "npm",
    "rspamd": "rspamd",
    "setpriv": "util-linux",
    "spamassassin": "spamassassin",
}


class NoJudgeError(Exception):
    """A judge is not on this machine: nobody may take its silence for praise."""


def program(name: str) -> str:
    """Return where a program is.

    :raises NoJudgeError: it is not installed.
    """
    if found := shutil.which(name):
        return found
    raise NoJudgeError(f"{name} is missing; {_HOW}")


def package(path: str) -> Path:
    """Return a file of the locked packages of npm, such as ``vnu-jar/build/dist/vnu.jar``.

    :raises NoJudgeError: they are not installed, or others than the lock names.
    """
    found = _FOLDER / "node_modules" / path
    if not (_complete() and found.is_file()):
        raise NoJudgeError(f"{path} of npm is missing or of another version than the lock's; {_HOW}")
    return found


def ask_node(script: str, entry: str, question: object) -> dict[str, object]:
    """Run one of the scripts beside this file and return its JSON.

    :param entry: the package's file that the script imports.
    :param question: becomes JSON on its stdin.
    """
    command = [program("node"), str(_HERE / script), package(entry).as_uri()]
    asked = json.dumps(question).encode()
    return dict(json.loads(subprocess.run(command, input=asked, stdout=subprocess.PIPE, check=True).stdout))


def install() -> None:
    """Fetch what is missing, and nothing else; the two registries at the same time where that is possible."""
    missing = sorted({package for program, package in _PROGRAMS.items() if not shutil.which(program)})
    if not {"nodejs", "npm"} & set(missing):
        with ThreadPoolExecutor() as pool:
            tasks = [pool.submit(_from_the_distribution, missing), pool.submit(_from_npm)]
        for task in tasks:
            task.result()
    else:
        _from_the_distribution(missing)
        _from_npm()


def _complete() -> bool:
    return _COMPLETE.is_file() and _COMPLETE.read_bytes() == (_HERE / _LOCK).read_bytes()


def _from_the_distribution(packages: Sequence[str]) -> None:
    if not packages:
        return
    if not shutil.which("apt-get"):
        raise NoJudgeError(f"no apt-get here; by hand, install {', '.join(packages)}")
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    apt = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    subprocess.run([*apt, "update"], check=True)
    wanted = [*apt, "install", "-y", "--no-install-recommends", *packages]
    subprocess.run(wanted, stdout=subprocess.DEVNULL, check=True)


def _from_npm() -> None:
    if _complete():
        return
    _FOLDER.mkdir(parents=True, exist_ok=True)
    _COMPLETE.unlink(missing_ok=True)
    for name in ("package.json", _LOCK):
        shutil.copy(_HERE / name, _FOLDER)
    # No package's own program runs while it is installed.
    quietly = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run([program("npm"), "ci", *quietly], cwd=_FOLDER, stdout=subprocess.DEVNULL, check=True)
    shutil.copy(_HERE / _LOCK, _COMPLETE)


if __name__ == "__main__":
    try:
        install()
    except (NoJudgeError, subprocess.CalledProcessError) as exc:
        sys.exit(f"judges of mails: {exc}")

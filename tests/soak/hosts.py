"""Hosts in network namespaces on one machine, joined by a bridge; a link between can be cut. Needs root and ``ip``."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

_LETTERS = itertools.cycle("abcdefgh")  # the kernel takes its time to forget a network that is gone


@dataclass(frozen=True)
class Host:
    """A host of the network.

    :ivar cable: the bridge's end of its only link.
    """

    name: str
    address: str
    cable: str

    @property
    def run(self) -> list[str]:
        """Words in front of a command that is to run there, under the host's own name."""
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name]
        return ["ip", "netns", "exec", self.name, *named]

    def cut_off(self) -> None:
        """Pull the cable."""
        _ip("link", "set", self.cable, "down")

    def join(self) -> None:
        """Put the cable back."""
        _ip("link", "set", self.cable, "up")


def why_not() -> str:
    """Return why there can be no namespaces here, or nothing."""
    if shutil.which("ip") is None or os.geteuid():
        return "needs root and ip (apt-get install iproute2)"
    probe = f"nl{os.getpid()}p"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "this machine allows no network namespaces"
    _ip("netns", "del", probe)
    return ""


@contextmanager
def network(names: Sequence[str]) -> Iterator[list[Host]]:
    """Yield hosts with addresses from 10.77.0.1 on; the network is theirs alone."""
    tag = f"nl{os.getpid() % 100_000}{next(_LETTERS)}"
    with ExitStack() as stack:
        bridge = f"{tag}b"
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "del", bridge)
        _ip("link", "set", bridge, "up")
        hosts = []
        for number, name in enumerate(names, start=1):
            host = Host(f"{tag}-{name}", f"10.77.0.{number}", f"{tag}c{number}")
            _ip("netns", "add", host.name)
            stack.callback(_ip, "netns", "del", host.name)
            _ip("link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", host.name)
            stack.callback(_ip, "link", "del", host.cable)
            _ip("link", "set", host.cable, "master", bridge, "up")
            _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                _ip("-n", host.name, "link", "set", link, "up")
            hosts.append(host)
        yield hosts


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)

"""Keys for tests, made once for a process, and verifiers: dkimpy, and OpenDKIM where it is installed."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import dkim as dkimpy
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from newsletter.delivery.dkim.keys import Key, read_key

OPENDKIM = shutil.which("opendkim", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
_MAKE = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-1024": lambda: rsa.generate_private_key(65537, 1024),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
}


@cache
def _private(kind: str) -> ed25519.Ed25519PrivateKey:
    return _MAKE[kind]()  # type: ignore[no-any-return,operator]


def pem(kind: str, encryption: KeySerializationEncryption | None = None) -> bytes:
    """Return a private key as a file holds it."""
    return _private(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def public_pem(kind: str) -> bytes:
    """Return a public key as a file holds it."""
    return _private(kind).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@cache
def key(kind: str) -> Key:
    """Return a key of example.org; its selector is its kind."""
    return read_key(pem(kind), kind, "example.org")


def key_files(folder: Path, *kinds: str) -> str:
    """Write keys into a folder; return them as the setting."""
    for kind in kinds:
        (folder / f"{kind}.pem").touch(mode=0o600)
        (folder / f"{kind}.pem").write_bytes(pem(kind))
    return " ".join(f"{kind}:{folder / kind}.pem" for kind in kinds)


def verified(message: bytes, keys: Iterable[Key]) -> list[bool]:
    """Return, for each signature from the top, whether dkimpy takes it for good."""
    records = {f"{each.record_name}.".encode(): each.record.encode() for each in keys}
    number = sum(name.lower() == b"dkim-signature" for name, _ in dkimpy.DKIM(message).headers)
    # a verifier for each: they remember what they have looked at
    return [_good(message, index, records) for index in range(number)]


def _good(message: bytes, index: int, records: dict[bytes, bytes]) -> bool:
    try:
        found = dkimpy.DKIM(message, minkey=2048).verify(index, dnsfunc=lambda name, timeout=5: records.get(name))
    except dkimpy.DKIMException:
        return False
    return bool(found)


def verified_by_opendkim(message: bytes, keys: Iterable[Key], folder: Path) -> list[str]:
    """Return what OpenDKIM says of each signature: ``pass``, ``fail`` and so on."""
    (folder / "keys").write_text("".join(f"{each.record_name} {each.record}\n" for each in keys), encoding="ascii")
    (folder / "conf").write_text(f"Mode v\nSyslog no\nTestPublicKeys {folder / 'keys'}\n", encoding="ascii")
    (folder / "message.eml").write_bytes(message)
    words = [str(OPENDKIM), "-x", str(folder / "conf"), "-vvv", "-t", str(folder / "message.eml")]
    said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout
    return [part.split()[0].removeprefix("dkim=") for part in said.split("\n\t") if part.startswith("dkim=")]

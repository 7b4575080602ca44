"""The keys that mails are signed with, and what the world must know of them (RFC 6376, RFC 8301, RFC 8463). Pure."""

import base64
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

_SMALLEST, _LARGEST = 2048, 4096  # bits; receivers need not take more (RFC 8301, section 3.2)
_STRING = 255  # bytes of one string in a TXT record (RFC 1035, section 3.3)


@dataclass(frozen=True, slots=True)
class Key:
    """A private key with the place of its public half: ``<selector>._domainkey.<domain>``."""

    selector: str
    domain: str
    private: RSAPrivateKey | Ed25519PrivateKey = field(repr=False)

    @property
    def kind(self) -> str:
        """The key's type as its record names it."""
        return "rsa" if isinstance(self.private, RSAPrivateKey) else "ed25519"

    @property
    def algorithm(self) -> str:
        """The algorithm as a signature names it."""
        return f"{self.kind}-sha256"

    def sign(self, data: bytes) -> bytes:
        """Return the signature of canonical header fields; for a thread beside it the lock is free meanwhile."""
        if isinstance(self.private, RSAPrivateKey):
            return self.private.sign(data, PKCS1v15(), SHA256())
        return self.private.sign(sha256(data).digest())  # of the hash, not of the data (RFC 8463, section 3)

    def verify(self, signature: bytes, data: bytes) -> None:
        """Do nothing when a signature of canonical header fields is good.

        :raises cryptography.exceptions.InvalidSignature: it is not.
        """
        if isinstance(self.private, RSAPrivateKey):
            self.private.public_key().verify(signature, data, PKCS1v15(), SHA256())
        else:
            self.private.public_key().verify(signature, sha256(data).digest())

    @property
    def record_name(self) -> str:
        """The name of the TXT record to publish."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        """The content of the TXT record to publish."""
        public = self.private.public_key()
        if self.kind == "rsa":
            raw = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return f"v=DKIM1; k={self.kind}; p={base64.b64encode(raw).decode()}"

    @property
    def zone_line(self) -> str:
        """The record as a line of a zone file, in strings that are short enough."""
        text = self.record
        strings = " ".join(f'"{text[at : at + _STRING]}"' for at in range(0, len(text), _STRING))
        return f"{self.record_name}. IN TXT ( {strings} )"


def read_key(pem: bytes, selector: str, domain: str) -> Key:
    """Return the key in a PEM file.

    :raises ValueError: it is none that can sign; the message says why, and nothing of what is in it.
    """
    if b"PRIVATE KEY-----" not in pem:
        raise ValueError("holds a public key, not a private one" if b"PUBLIC KEY-----" in pem else "is no key in PEM")
    try:
        private = load_pem_private_key(pem, None)
    except TypeError:
        raise ValueError("is encrypted with a password: store it without") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("holds no key that can be read: it is damaged, or not PEM of RSA or Ed25519") from None
    if isinstance(private, RSAPrivateKey):
        if not _SMALLEST <= private.key_size <= _LARGEST:
            raise ValueError(f"holds an RSA key of {private.key_size} bits: {_SMALLEST} are wanted")
    elif not isinstance(private, Ed25519PrivateKey):
        raise ValueError("holds a key that is neither RSA nor Ed25519")  # noqa: TRY004  a file is wrong, not a type
    return Key(selector, domain, private)

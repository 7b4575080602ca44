"""What holds a token's places until a mail goes out. Pure.

A token stands on every card some ten times. Its places are held by a byte that quoted-printable cannot hold (RFC 2045,
section 6.7), and the token is put in everywhere at once when the pieces of a mail are joined: a card is two or three
pieces, the same for all readers.
"""

from collections.abc import Iterable, Mapping

PLACEHOLDERS = {"read": b"\x01", "feedback": b"\x02"}
NO_TOKENS: Mapping[bytes, bytes] = {}


def joined(pieces: Iterable[bytes], tokens: Mapping[bytes, bytes]) -> bytes:
    """Return pieces as one.

    :param tokens: what to put in, by its placeholder.
    """
    whole = b"".join(pieces)
    for placeholder, token in tokens.items():
        whole = whole.replace(placeholder, token)
    return whole

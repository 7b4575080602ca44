"""Proofs as JSON, on their way from the process that printed them. Pure."""

from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any

from newsletter.errors import InputError
from newsletter.specimens.proofs import Proof


def write_proofs(proofs: Iterable[Proof]) -> list[dict[str, Any]]:
    """Return what JSON can hold of proofs."""
    return [
        {"form": each.form, "pieces": [b64encode(piece).decode() for piece in each.pieces], "tracked": each.tracked}
        for each in proofs
    ]


def read_proofs(told: Any) -> list[Proof]:  # noqa: ANN401  decoded JSON
    """Return what `write_proofs` told.

    :raises InputError: it is no such thing.
    """
    try:
        return [
            Proof(str(each["form"]), (b64decode(each["pieces"][0]), b64decode(each["pieces"][1])), each["tracked"])
            for each in told
        ]
    except (TypeError, KeyError, IndexError, ValueError) as exc:
        raise InputError(f"the process that tried the templates answered nonsense: {exc}") from exc

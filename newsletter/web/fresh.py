"""Answers that may be kept: with an ETag, and no body for who has the same already (RFC 9110, section 13.1.2)."""

import hashlib
import re

from fastapi import Request
from fastapi.responses import Response

# Short enough that an issue that is called off is soon gone, long enough that a page that is shared costs us nothing.
PUBLIC = "public, max-age=300"
PRIVATE = "private, max-age=300"
_TAGS = re.compile(r'(?:W/)?("[^"]*")')


def answer(request: Request, body: str | bytes, media_type: str, kept: str = PUBLIC, **more: str) -> Response:
    """Return `body`, or 304 for who has it.

    :param kept: who may keep it for how long.
    :param more: headers, with underscores for hyphens.
    """
    raw = body.encode() if isinstance(body, str) else body
    tag = f'"{hashlib.sha256(raw).hexdigest()[:24]}"'
    # weak: whoever compresses it on its way need not change it
    named = {name.replace("_", "-"): said for name, said in more.items()}
    headers = {"etag": f"W/{tag}", "cache-control": kept} | named
    if _has(request, tag):
        return Response(status_code=304, headers=headers)
    return Response(raw, media_type=media_type, headers=headers)


def _has(request: Request, tag: str) -> bool:
    asked = ",".join(request.headers.getlist("if-none-match"))
    return asked.strip() == "*" or tag in _TAGS.findall(asked)

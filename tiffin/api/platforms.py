"""Which platform of an image a request means, in the JSON that clients send since 1.48."""

from __future__ import annotations

import msgspec

from tiffin.api.messages import Request
from tiffin.core.image import Platform
from tiffin.errors import InvalidArgument


def asked_platform(request: Request, since: str) -> Platform | None:
    """The JSON of the query's `platform`; None before `since`, which knows no such choice."""
    text = request.query.get("platform")
    if not text or request.version.before(since):
        return None
    try:
        platform = msgspec.json.decode(text, type=Platform)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise InvalidArgument(f"failed to parse platform: {error}") from error
    if not platform.os and not platform.architecture and platform != Platform():
        raise InvalidArgument(
            "optional platform fields provided, but OS and Architecture are missing"
        )
    if not platform.os or not platform.architecture:
        raise InvalidArgument("both OS and Architecture must be provided")
    return platform

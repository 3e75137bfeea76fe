"""A registry's errors, and Docker's words for them."""

from __future__ import annotations

import msgspec

from tiffin.core import image as images
from tiffin.core.reference import Reference
from tiffin.errors import NotFound, RegistryMisbehaved, TiffinError, Unauthorized
from tiffin.registry.messages import Response, printable


class RegistryError(TiffinError):
    """The registry's own error: its code ("MANIFEST_UNKNOWN"), its message, its status."""

    def __init__(self, code: str, text: str, http_status: int):
        super().__init__(f"{code.lower().replace('_', ' ')}: {text}" if code else text)
        self.code = code
        self.text = text
        self.http_status = http_status


class _ErrorItem(msgspec.Struct):
    code: str = ""
    message: str = ""


class _ErrorDocument(msgspec.Struct):
    errors: list[_ErrorItem] = []
    details: str = ""


def refusal(response: Response) -> RegistryError:
    """What the registry's answer says went wrong."""
    try:
        raw = images.without_nulls(msgspec.json.decode(response.body))
        document = msgspec.convert(raw, _ErrorDocument, strict=False)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        document = _ErrorDocument()
    if document.errors:
        first = document.errors[0]
        return RegistryError(
            printable(first.code), printable(first.message or first.code), response.status
        )
    if response.status == 401:
        return RegistryError("UNAUTHORIZED", "authentication required", 401)
    if response.status == 403:
        return RegistryError(
            "DENIED", "requested access to the resource is denied", response.status
        )
    shown = printable(response.body[:200].decode("utf-8", "replace"))
    text = f"received unexpected HTTP status: {response.status}" + (f": {shown}" if shown else "")
    return RegistryError("", text, response.status)


def pull_error(error: RegistryError, reference: Reference) -> TiffinError:
    """Docker's words for a failed pull of `reference`."""
    if error.code == "DENIED" or (error.code == "UNAUTHORIZED" and error.http_status != 401):
        return NotFound(
            f"pull access denied for {reference.familiar_name}, repository does not exist or may "
            f"require 'docker login': {error.message}"
        )
    if error.code in ("MANIFEST_UNKNOWN", "NOT_FOUND"):
        return NotFound(f"manifest for {reference.familiar()} not found: {error.message}")
    if error.code == "NAME_UNKNOWN":
        return NotFound(f"repository {reference.familiar_name} not found: {error.message}")
    if error.http_status == 401:
        return Unauthorized(error.message)
    if error.http_status == 404:
        return NotFound(f"manifest for {reference.familiar()} not found: {error.message}")
    return RegistryMisbehaved(error.message)


def push_error(error: RegistryError) -> TiffinError:
    if error.http_status in (401, 403):
        return Unauthorized(error.message)
    return RegistryMisbehaved(error.message)

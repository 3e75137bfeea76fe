"""Ports in the body of POST /containers/{id}/update: fields that Docker's clients never send."""

from __future__ import annotations

from typing import Any

from tiffin.api.decode import decode
from tiffin.core.publishing import Publishing

_FIELDS = frozenset(("publishadd", "publishremove"))


def read_publishing(document: dict[str, Any]) -> Publishing:
    """Raises InvalidArgument with the field's name."""
    wanted = {key: value for key, value in document.items() if key.lower() in _FIELDS}
    return decode(wanted, Publishing)

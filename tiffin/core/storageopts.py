"""HostConfig.StorageOpt: how much a container may write into its own layer. PURE."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tiffin.errors import InvalidArgument

_SIZE = re.compile(r"(\d{1,20}(?:\.\d{1,20})?) ?([kmgtp]?)i?b?")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_MAX = 2**63 - 1


def parse_size(text: str) -> int:
    """Bytes of "10G", "1.5 GiB", "4096". Raises InvalidArgument in Docker's words."""
    match = _SIZE.fullmatch(text.lower())
    if match is None:
        raise InvalidArgument(f"invalid size: '{text}'")
    size = int(float(match[1]) * 1024 ** _POWERS[match[2]])
    if size > _MAX:
        raise InvalidArgument(f"invalid size: '{text}'")
    return size


def size_limit(options: Mapping[str, str]) -> int:
    """Bytes; 0 is no limit. Raises InvalidArgument for an option that is not known."""
    limit = 0
    for name, value in options.items():
        if name.lower() != "size":
            raise InvalidArgument(f"unknown option {name}")
        limit = parse_size(value)
    return limit

"""API versions: which we speak, how one is read from a path, in whose words one is refused.

What differs by version is decided in this package alone, by asking `version.before("1.44")`.
"""

from __future__ import annotations

from typing import NamedTuple

from tiffin.errors import InvalidArgument


class Version(NamedTuple):
    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    def before(self, text: str) -> bool:
        """`version.before("1.44")`: an older client, that knows nothing of 1.44's changes."""
        major, _, minor = text.partition(".")
        return self < (int(major), int(minor))


OLDEST = Version(1, 24)
NEWEST = Version(1, 55)


def parse_version(text: str) -> Version:
    """From the digits of "/v1.43". Raises InvalidArgument outside of what we serve."""
    numbers = [int(part) for part in text.split(".") if part]
    major, minor, *_ = [*numbers, 0, 0]
    version = Version(major, minor)
    if version < OLDEST:
        raise InvalidArgument(
            f"client version {text} is too old. Minimum supported API version is {OLDEST}, "
            "please upgrade your client to a newer version"
        )
    if version > NEWEST:
        raise InvalidArgument(
            f"client version {text} is too new. Maximum supported API version is {NEWEST}"
        )
    return version

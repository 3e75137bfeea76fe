"""The `filters` query parameter of lists, prunes and events: decoded, checked, matched.

On the wire it is JSON: {"label": {"a=b": true}}, or {"label": ["a=b"]} from older clients. A list
keeps what matches one value of every key; `label` values must all match.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from tiffin.core.timestamps import parse_time
from tiffin.errors import InvalidArgument

_TRUE = frozenset({"1", "true", "True", "TRUE", "t", "T"})
_FALSE = frozenset({"0", "false", "False", "FALSE", "f", "F"})
_MAX_PATTERN = 512


class Filters:
    """Immutable. An absent key matches everything."""

    def __init__(self, values: Mapping[str, Collection[str]] | None = None) -> None:
        self._values = {key: tuple(items) for key, items in (values or {}).items()}

    def __contains__(self, key: str) -> bool:
        return bool(self._values.get(key))

    def __bool__(self) -> bool:
        return any(self._values.values())

    def get(self, key: str) -> tuple[str, ...]:
        return self._values.get(key, ())

    def keys(self) -> list[str]:
        return list(self._values)

    def as_dict(self) -> dict[str, list[str]]:
        return {key: list(values) for key, values in self._values.items()}

    def check(self, *accepted: str) -> Filters:
        """Raises InvalidArgument for a key that this list does not know."""
        for key in self._values:
            if key not in accepted:
                raise InvalidArgument(f"invalid filter '{key}'")
        return self

    def exact(self, key: str, *candidates: str) -> bool:
        wanted = self.get(key)
        return not wanted or any(candidate in wanted for candidate in candidates)

    def prefix(self, key: str, candidate: str) -> bool:
        wanted = self.get(key)
        return not wanted or any(candidate.startswith(value) for value in wanted)

    def pattern(self, key: str, *candidates: str) -> bool:
        """One value equals, or as a regular expression is found in, one of the candidates."""
        wanted = self.get(key)
        return not wanted or any(
            value == candidate or _found(value, candidate)
            for value in wanted
            for candidate in candidates
        )

    def labels(self, labels: Mapping[str, str] | None, key: str = "label") -> bool:
        """Every value ("name" or "name=value") is one of the labels. `label!`: none of them is."""
        given = labels or {}
        wanted = all(_has_label(given, value) for value in self.get(key))
        unwanted = any(_has_label(given, value) for value in self.get(key + "!"))
        return wanted and not unwanted

    def boolean(self, key: str, default: bool) -> bool:
        """Raises InvalidArgument when the values are no booleans or contradict each other."""
        values = self.get(key)
        if not values:
            return default
        yes, no = _TRUE.intersection(values), _FALSE.intersection(values)
        if bool(yes) == bool(no) or len(yes) + len(no) != len(values):
            raise InvalidArgument(f"invalid filter '{key}=[{' '.join(values)}]'")
        return bool(yes)

    def choices(self, key: str, allowed: Collection[str], what: str = "") -> tuple[str, ...]:
        """`what`: Docker's word for it, where it tells what may be chosen."""
        values = self.get(key)
        for value in values:
            if value not in allowed:
                raise InvalidArgument(
                    f"invalid filter '{key}={value}'"
                    + (f": invalid value for {what} ({value}): must be one of " if what else "")
                    + (", ".join(allowed) if what else "")
                )
        return values

    def single(self, key: str) -> str:
        """The one value of a key that takes one; "" if absent."""
        values = self.get(key)
        if len(values) > 1:
            raise InvalidArgument(
                f"invalid filter '{key}=[{' '.join(values)}]': more than one value"
            )
        return values[0] if values else ""

    def until_ns(self, now_ns: int) -> int | None:
        """The one time. None if absent; 0 is a time, before which there was nothing."""
        values = self.get("until")
        if len(values) > 1:
            raise InvalidArgument("more than one until filter specified")
        if not values:
            return None
        if not values[0]:
            raise InvalidArgument('failed to parse value as time or duration: ""')
        return parse_time(values[0], now_ns)

    def integers(self, key: str) -> tuple[int, ...]:
        values = self.get(key)
        for value in values:
            if not re.fullmatch(r"[+-]?[0-9]{1,18}", value):
                why = f'strconv.Atoi: parsing "{value}": invalid syntax'
                raise InvalidArgument(f"invalid filter '{key}={value}': {why}")
        return tuple(map(int, values))


def parse_filters(text: str) -> Filters:
    """Both JSON forms. "" and "null" are no filter. Raises InvalidArgument."""
    if not text:
        return Filters()
    try:
        document: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise InvalidArgument("invalid filter") from error
    if document is None:
        return Filters()
    if not isinstance(document, dict):
        raise InvalidArgument("invalid filter")
    return Filters({key: _values(value) for key, value in document.items()})


def _values(value: Any) -> list[str]:
    if isinstance(value, dict) and all(isinstance(flag, bool) for flag in value.values()):
        return list(value)  # whatever the flags: Docker does not look at them
    if value is None:
        return []
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise InvalidArgument("invalid filter")


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)


def _found(pattern: str, candidate: str) -> bool:
    if len(pattern) > _MAX_PATTERN:
        return False
    try:
        return re.search(pattern, candidate) is not None
    except (re.error, OverflowError, RecursionError):
        return False

"""Points in time as people name them: `42m` ago, a date, seconds since the epoch."""

from __future__ import annotations

import time

from tiffin.cli.failures import CommandFailed
from tiffin.cli.quantities import parse_duration

_FORMS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H", "%Y-%m-%d")


def timestamp(text: str, what: str = "") -> str:
    """Seconds since the epoch, with nine digits after the point where they matter."""
    if text and text.replace(".", "", 1).isdecimal():
        return text
    try:
        return str(int(time.time() - parse_duration(text) / 1e9))
    except ValueError:
        pass
    try:
        return _date(text)
    except ValueError as error:
        prefix = f'invalid value for "{what}": ' if what else ""
        words = f'{prefix}failed to parse value as time or duration: "{text}"'
        raise CommandFailed(words) from error


def _date(text: str) -> str:
    whole, offset = _split_zone(text.strip())
    whole, _, fraction = whole.partition(".")
    for form in _FORMS:
        try:
            parts = time.strptime(whole, form)
        except ValueError:
            continue
        if offset is None:
            seconds = int(time.mktime(parts))
        else:
            import calendar

            seconds = calendar.timegm(parts) - offset
        return f"{seconds}.{fraction.ljust(9, '0')[:9]}"
    raise ValueError(text)


def _split_zone(text: str) -> tuple[str, int | None]:
    """The text before its zone, and the zone in seconds east; None for our own zone."""
    if text.endswith("Z"):
        return text[:-1], 0
    date, mark, rest = text.partition("T")
    for sign in "+-":
        clock, found, zone = rest.partition(sign)
        if mark and found and len(zone) == 5:
            seconds = int(zone[:2]) * 3600 + int(zone[3:]) * 60
            return f"{date}T{clock}", seconds if sign == "+" else -seconds
    return text, None


def parse_rfc3339(text: str) -> float:
    """Seconds since the epoch of a time stamp of the API; 0 for none."""
    try:
        return float(_date(text))
    except ValueError:
        return 0.0


def exact(nanoseconds: int) -> str:
    """RFC 3339 in local time with all nine digits, as `events` shows it."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    shown = "Z" if zone in ("+0000", "") else f"{zone[:3]}:{zone[3:]}"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{rest:09d}{shown}"

"""Points in time on the wire: RFC 3339 with nanoseconds out, Docker's several spellings in.

Everywhere inside, a time is an integer: nanoseconds since the epoch, 0 for "never".
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from tiffin.errors import InvalidArgument

NEVER = "0001-01-01T00:00:00Z"  # Go's zero time, which clients compare with

_NANO = 1_000_000_000
_FARTHEST = 2**63 - 1
_UNIX = re.compile(r"(-?\d{1,18})(?:\.(\d{1,9})\d*)?")
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt ](\d\d)(?::(\d\d)(?::(\d\d)(?:[.,](\d{1,9})\d*)?)?)?)?"
    r"(Z|z|[+-]\d\d:\d\d)?"
)
_GO_DURATION = re.compile(r"([+-]?)((?:\d{1,18}(?:\.\d*)?(?:ns|us|µs|ms|s|m|h))+)")
_GO_PART = re.compile(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)")
_GO_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": _NANO,
    "m": 60 * _NANO,
    "h": 3600 * _NANO,
}


def rfc3339(time_ns: int) -> str:
    """As Go's RFC3339Nano in UTC: no trailing zeros in the fraction, no fraction of zero."""
    if not time_ns:
        return NEVER
    seconds, nanos = divmod(time_ns, _NANO)
    text = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).strftime(
        "%Y-%m-%dT%H:%M:%S"
    )
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    return f"{text}{fraction}Z"


def rfc3339_fixed(time_ns: int) -> str:
    """With all nine digits, as each log line carries it."""
    seconds, nanos = divmod(time_ns, _NANO)
    return f"{rfc3339(seconds * _NANO)[:-1]}.{nanos:09d}Z"


def parse_time(text: str, now_ns: int = 0) -> int:
    """Nanoseconds of a unix time ("1700000000.5"), an RFC 3339 time, or a Go duration before now.

    "" and "0" are 0. A unix time beyond what 64 bits of nanoseconds reach, as one in milliseconds
    is, is the farthest. Raises InvalidArgument.
    """
    if not text or text == "0":
        return 0
    unix = _UNIX.fullmatch(text)
    if unix:
        nanos = int((unix[2] or "").ljust(9, "0"))
        return max(-_FARTHEST, min(int(unix[1]) * _NANO + nanos, _FARTHEST))
    duration = parse_duration(text)
    if duration is not None:
        return now_ns - duration
    return _from_rfc3339(text)


def parse_duration(text: str) -> int | None:
    """Nanoseconds of a Go duration ("1h30m", "10s"), or None if it is none."""
    match = _GO_DURATION.fullmatch(text)
    if match is None:
        return None
    total = sum(float(amount) * _GO_UNITS[unit] for amount, unit in _GO_PART.findall(match[2]))
    return -int(total) if match[1] == "-" else int(total)


def _from_rfc3339(text: str) -> int:
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise InvalidArgument(f'failed to parse value as time or duration: "{text}"')
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    try:
        moment = datetime(
            year, month, day, hour, minute, min(second, 59), tzinfo=_zone(match[8] or "Z")
        )
    except ValueError as error:
        raise InvalidArgument(f'failed to parse value as time or duration: "{text}"') from error
    since_epoch = moment - datetime(1970, 1, 1, tzinfo=UTC)
    nanos = int((match[7] or "").ljust(9, "0"))
    return (since_epoch.days * 86400 + since_epoch.seconds) * _NANO + nanos


def _zone(text: str) -> timezone:
    if text in "Zz":
        return UTC
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[4:6])))

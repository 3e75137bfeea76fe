"""Amounts as people type them: sizes, CPUs, durations, limits. ValueError in Go's words."""

from __future__ import annotations

_BINARY = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_OF_NUMBERS = frozenset("0123456789.eE+-/")
_MOST_DIGITS = 1000
_LIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending "
    "stack".split()
)


def parse_size(text: str) -> int:
    """Bytes: `64m`, `1.5 GiB`, `2kb`; powers of 1024."""
    end = max(text.rfind(char) for char in "01234567890. ")
    if end < 0:
        raise ValueError(f"invalid size: '{text}'")
    number, suffix = text[: end + 1].rstrip(" "), text[end + 1 :].lower()
    try:
        size = float(number)
    except ValueError:
        raise ValueError(f'strconv.ParseFloat: parsing "{number}": invalid syntax') from None
    if size < 0:
        raise ValueError(f"invalid size: '{text}'")
    if suffix in ("", "b"):
        return _int64(size)
    if suffix[0] not in _BINARY or suffix[1:] not in ("", "b", "ib"):
        raise ValueError(f"invalid suffix: '{suffix}'")
    return _int64(size * _BINARY[suffix[0]])


def _int64(value: float) -> int:
    """What is too much is the least there is, as in Go: no daemon takes it for a size."""
    return int(value) if value < 1 << 63 else -1 << 63


def parse_swap(text: str) -> int:
    return -1 if text == "-1" else parse_size(text)


def parse_cpus(text: str) -> int:
    """Billionths of a CPU, exactly: `1.5`, `2e-1`, `1/4`."""
    try:
        over, under = _ratio(text)
    except ValueError:
        raise ValueError(f"failed to parse {text} as a rational number") from None
    if over * 1_000_000_000 % under:
        raise ValueError("value is too precise")
    return over * 1_000_000_000 // under


def _ratio(text: str) -> tuple[int, int]:
    """Numerator and denominator. ValueError where it is no number."""
    sign, rest = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    if not text.isascii() or not set(rest) <= _OF_NUMBERS:
        raise ValueError
    number, slash, under = rest.partition("/")
    if slash:
        if not number.isdecimal() or not under.isdecimal() or not int(under):
            raise ValueError
        return int(sign + number), int(under)
    number, _, power = rest.lower().partition("e")
    whole, _, fraction = number.partition(".")
    exponent = int(power or "0") - len(fraction)
    if not (whole + fraction).isdecimal() or rest[-1:] in "eE" or abs(exponent) > _MOST_DIGITS:
        raise ValueError
    over = int(sign + whole + fraction)
    return (over * 10**exponent, 1) if exponent >= 0 else (over, int(10**-exponent))


def parse_duration(text: str) -> int:
    """Nanoseconds: `1h30m`, `1.5s`, `0`."""
    rest = text.lstrip("+-") if text[:1] in ("+", "-") else text
    sign = -1 if text.startswith("-") else 1
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    total = 0
    while rest:
        end = 0
        while end < len(rest) and rest[end] in "0123456789.":
            end += 1
        number, rest = rest[:end], rest[end:]
        if number.strip(".") == "" or number.count(".") > 1:
            raise ValueError(f'time: invalid duration "{text}"')
        end = 0
        while end < len(rest) and rest[end] not in "0123456789.":
            end += 1
        unit, rest = rest[:end], rest[end:]
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in _NANOSECONDS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        total += round(float(number) * _NANOSECONDS[unit])
    return sign * total


def parse_ulimit(text: str) -> dict[str, object]:
    """`nofile=1024:2048` as the API has it."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in _LIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    parts = limits.split(":")
    if len(parts) > 2:
        raise ValueError(
            f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
        )
    soft, hard = _limit(parts[0]), _limit(parts[-1])
    if hard != -1 and soft == -1:
        raise ValueError(
            "ulimit soft limit must be less than or equal to hard limit: "
            f"soft: -1 (unlimited), hard: {hard}"
        )
    if hard != -1 and soft > hard:
        raise ValueError(
            f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        )
    return {"Name": name, "Hard": hard, "Soft": soft}


def _limit(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None

"""Moments and spans as Go writes them: time.Time and time.Duration.

A moment is kept as the API has it, in RFC 3339; nothing stands for Go's zero time, the year one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MONTHS = "January February March April May June July August September October November December"
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
_UNITS = ((3_600_000_000_000, "h"), (60_000_000_000, "m"), (1_000_000_000, "s"))
_ZERO = "0001-01-01T00:00:00Z"


def show_duration(nanoseconds: int) -> str:
    """`1m30s`, `1.5s`, `10ms`."""
    if not nanoseconds:
        return "0s"
    sign, left = ("-" if nanoseconds < 0 else ""), abs(nanoseconds)
    if left < 1_000_000_000:
        for size, unit in ((1_000_000, "ms"), (1_000, "µs"), (1, "ns")):
            if left >= size:
                return f"{sign}{_decimal(left, size)}{unit}"
    minutes, rest = divmod(left, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    out = f"{hours}h" if hours else ""
    out += f"{minutes}m" if hours or minutes else ""
    return f"{sign}{out}{_decimal(rest, 1_000_000_000)}s"


def _decimal(number: int, size: int) -> str:
    whole, rest = divmod(number, size)
    digits = str(rest).zfill(len(str(size)) - 1).rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)


class Moment:
    """A point in time in a zone: seconds since 1970 (UTC), nanoseconds, the zone's offset."""

    def __init__(self, text: str | None):
        """ValueError where `text` is no time as the API writes it."""
        text = text or _ZERO
        day, _, rest = text.replace("t", "T").partition("T")
        year, month, date = (int(each) for each in day.split("-"))
        clock, offset = rest.rstrip("Zz"), 0
        for sign in "+-":
            if sign in clock:
                clock, _, zone = clock.partition(sign)
                hours, _, minutes = zone.partition(":")
                offset = (int(hours) * 3600 + int(minutes) * 60) * (1 if sign == "+" else -1)
        whole, _, fraction = clock.partition(".")
        hour, minute, second = (int(each) for each in whole.split(":"))
        self.offset = offset
        self.nanoseconds = int(fraction[:9].ljust(9, "0")) if fraction else 0
        self.seconds = (
            _days(year, month, date) * 86400 + hour * 3600 + minute * 60 + second - offset
        )
        self.year, self.month, self.day = year, month, date
        self.hour, self.minute, self.second = hour, minute, second

    @property
    def is_zero(self) -> bool:
        return self.seconds == -62135596800 and not self.nanoseconds

    @property
    def weekday(self) -> int:
        """Monday is 0."""
        return (_days(self.year, self.month, self.day) + 3) % 7

    def in_zone(self, offset: int) -> Moment:
        local = self.seconds + offset
        days, rest = divmod(local, 86400)
        year, month, day = _date(days)
        clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}.{self.nanoseconds:09}"
        return Moment(f"{year:04}-{month:02}-{day:02}T{clock}{_zone(offset, 'Z', ':')}")

    def __str__(self) -> str:
        """As Go prints it."""
        return self.format("2006-01-02 15:04:05.999999999 -0700 MST")

    def rfc3339(self) -> str:
        return self.format("2006-01-02T15:04:05.999999999Z07:00")

    def format(self, layout: str) -> str:
        """Go's layouts, which show how a certain moment of 2006 is to be written."""
        out, position = "", 0
        while position < len(layout):
            for pattern, _ in _PATTERNS:
                if layout.startswith(pattern, position):
                    out += self._written(pattern)
                    position += len(pattern)
                    break
            else:
                taken = self._fraction(layout, position)
                if taken:
                    written, position = taken
                    out += written
                else:
                    out += layout[position]
                    position += 1
        return out

    def _fraction(self, layout: str, position: int) -> tuple[str, int] | None:
        """`.000` and `.999`: so many digits of a second, the latter without zeros at the end."""
        mark = layout[position + 1 : position + 2]
        if layout[position] not in ".," or mark not in ("0", "9"):
            return None
        end = position + 1
        while layout[end : end + 1] == mark:
            end += 1
        if layout[end : end + 1].isdigit():
            return None
        digits = f"{self.nanoseconds:09}"[: end - position - 1]
        if mark == "9":
            digits = digits.rstrip("0")
        return (layout[position] + digits if digits else ""), end

    def _written(self, pattern: str) -> str:
        write: Callable[[Moment], str] = dict(_PATTERNS)[pattern]
        return write(self)


def _zone(offset: int, utc: str, colon: str) -> str:
    if not offset and utc:
        return utc
    minutes = abs(offset) // 60
    return f"{'-' if offset < 0 else '+'}{minutes // 60:02}{colon}{minutes % 60:02}"


def _name_of_zone(moment: Moment) -> str:
    if not moment.offset:
        return "UTC"
    return _zone(moment.offset, "", "")


# In an order in which the longest comes first.
_PATTERNS: tuple[tuple[str, Callable[[Moment], str]], ...] = (
    ("January", lambda it: _MONTHS.split()[it.month - 1]),
    ("Jan", lambda it: _MONTHS.split()[it.month - 1][:3]),
    ("Monday", lambda it: _DAYS.split()[it.weekday]),
    ("Mon", lambda it: _DAYS.split()[it.weekday][:3]),
    ("MST", _name_of_zone),
    ("2006", lambda it: f"{it.year:04}"),
    ("Z07:00", lambda it: _zone(it.offset, "Z", ":")),
    ("Z0700", lambda it: _zone(it.offset, "Z", "")),
    ("-07:00", lambda it: _zone(it.offset, "", ":")),
    ("-0700", lambda it: _zone(it.offset, "", "")),
    ("-07", lambda it: _zone(it.offset, "", "")[:3]),
    ("01", lambda it: f"{it.month:02}"),
    ("02", lambda it: f"{it.day:02}"),
    ("03", lambda it: f"{it.hour % 12 or 12:02}"),
    ("04", lambda it: f"{it.minute:02}"),
    ("05", lambda it: f"{it.second:02}"),
    ("06", lambda it: f"{it.year % 100:02}"),
    ("15", lambda it: f"{it.hour:02}"),
    ("_2", lambda it: f"{it.day:2}"),
    ("PM", lambda it: "PM" if it.hour >= 12 else "AM"),
    ("pm", lambda it: "pm" if it.hour >= 12 else "am"),
    ("1", lambda it: str(it.month)),
    ("2", lambda it: str(it.day)),
    ("3", lambda it: str(it.hour % 12 or 12)),
    ("4", lambda it: str(it.minute)),
    ("5", lambda it: str(it.second)),
)


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970, by the calendar that is in use now."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def _date(days: int) -> tuple[int, int, int]:
    era, of_era = divmod(days + 719468, 146097)
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    return year + era * 400 + (month <= 2), month, day

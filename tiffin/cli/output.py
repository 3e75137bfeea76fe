"""What people read: bytes on stdout and stderr, tables as Docker's, sizes and ages in words."""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

STDIN, STDOUT, STDERR = 0, 1, 2

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def write(descriptor: int, data: bytes) -> None:
    """All of `data`, nothing kept back."""
    view = memoryview(data)
    while view:
        try:
            view = view[posix.write(descriptor, view) :]
        except BlockingIOError:
            wait_until_writable(descriptor)


def wait_until_writable(descriptor: int) -> None:
    """For a terminal or pipe that somebody else made non-blocking."""
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()


def say(text: str) -> None:
    """A line, or lines, on stdout."""
    write(STDOUT, f"{text}\n".encode("utf-8", "surrogateescape"))


def complain(text: str) -> None:
    """A line, or lines, on stderr."""
    write(STDERR, f"{text}\n".encode("utf-8", "surrogateescape"))


def is_terminal(descriptor: int) -> bool:
    return posix.isatty(descriptor)


def terminal_size(descriptor: int) -> tuple[int, int]:
    """Rows and columns, (0, 0) where there is no terminal."""
    try:
        size = posix.get_terminal_size(descriptor)
    except OSError:
        return 0, 0
    return size[1], size[0]


def table(rows: Sequence[Sequence[str]], least: int = 10, padding: int = 3) -> str:
    """Rows of equal length in columns: `least` wide or more, `padding` apart, the last as it is."""
    if not rows:
        return ""
    widths = [
        max(least, max(len(row[column]) for row in rows) + padding)
        for column in range(len(rows[0]) - 1)
    ]
    return "\n".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + row[-1]
        for row in rows
    )


_NARROWEST = 12


def fit(
    rows: Sequence[Sequence[str]], width: int, least: int = 10, padding: int = 3
) -> list[list[str]]:
    """The rows of a table with their widest cells cut, so that its lines are at most `width`.

    The first column names the thing and is left whole, as is what is narrow anyway: a terminal that
    is too narrow for those wraps its lines.
    """
    cells = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    floors = [max(_NARROWEST, len(title)) for title in cells[0]]

    def total() -> int:
        return sum(max(least, each + padding) for each in widths[:-1]) + widths[-1]

    while (excess := total() - width) > 0:
        wide = [
            (widths[column], column)
            for column in range(1, len(widths))
            if widths[column] > floors[column]
        ]
        if not wide:
            break
        widest, column = max(wide)
        # Down to the next widest at most, so that no column pays for all of them.
        others = [each for each, other in wide if other != column]
        floor = max(floors[column], min(max(others, default=0), widest - 1))
        widths[column] = max(floor, widest - excess)
    return [[ellipsis(cell, size) for cell, size in zip(row, widths, strict=True)] for row in cells]


def align(text: str, least: int = 10, padding: int = 3) -> str:
    """Text with tabs, set as Go's tabwriter sets it: a column is what stands below each other."""
    lines = [line.split("\t") for line in text.split("\n")]
    _align_column(lines, 0, least, padding)
    return "\n".join("".join(line) for line in lines)


def _align_column(lines: list[list[str]], column: int, least: int, padding: int) -> None:
    start = 0
    while start < len(lines):
        if len(lines[start]) <= column + 1:
            start += 1
            continue
        end = start
        while end < len(lines) and len(lines[end]) > column + 1:
            end += 1
        block = lines[start:end]
        width = max(least, max(len(line[column]) for line in block) + padding)
        for line in block:
            line[column] = line[column].ljust(width)
        _align_column(block, column + 1, least, padding)
        start = end


def _scaled(size: float, base: float, units: Sequence[str], precision: int) -> str:
    step = 0
    while size >= base and step < len(units) - 1:
        size /= base
        step += 1
    return f"{go_float(size, precision)}{units[step]}"


def go_float(value: float, precision: int) -> str:
    """Go's %.*g: Python's, but without zeros after the point and with its own exponent rule."""
    return f"{value:.{precision}g}"


def human_size(size: float, precision: int = 4) -> str:
    return _scaled(float(size), 1000.0, _SIZES, precision)


def binary_size(size: float) -> str:
    return _scaled(float(size), 1024.0, _BINARY_SIZES, 4)


def age(seconds: float) -> str:
    """A span of time as Docker words it: `About a minute`, `3 hours`."""
    whole = int(seconds)
    minutes, hours = int(seconds / 60), int(seconds / 3600 + 0.5)
    steps = (
        (whole < 1, "Less than a second"),
        (whole == 1, "1 second"),
        (whole < 60, f"{whole} seconds"),
        (minutes == 1, "About a minute"),
        (minutes < 60, f"{minutes} minutes"),
        (hours == 1, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (hours < 24 * 7 * 2, f"{hours // 24} days"),
        (hours < 24 * 30 * 2, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 365 * 2, f"{hours // 24 // 30} months"),
    )
    for applies, words in steps:
        if applies:
            return words
    return f"{int(seconds / 3600) // 24 // 365} years"


def short_id(identity: str) -> str:
    """An id as tables show it: without its algorithm, twelve characters."""
    return identity.rpartition(":")[2][:12]


def ellipsis(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def go_quote(text: str) -> str:
    """strconv.Quote: printable characters stay, the rest is escaped."""
    escapes = {
        '"': '\\"',
        "\\": "\\\\",
        "\n": "\\n",
        "\t": "\\t",
        "\r": "\\r",
        "\a": "\\a",
        "\b": "\\b",
        "\f": "\\f",
        "\v": "\\v",
    }
    return '"' + "".join(escapes.get(char) or _quoted(char) for char in text) + '"'


def _quoted(char: str) -> str:
    if char.isprintable():
        return char
    number = ord(char)
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"

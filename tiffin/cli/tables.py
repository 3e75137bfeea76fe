"""Tables as Docker's: columns by spaces, or set by tabs as Go's tabwriter does it."""

from __future__ import annotations

from tiffin.cli.wording import ellipsis

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


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

"""What is mounted where, as /proc/self/mountinfo tells."""

from __future__ import annotations

from collections.abc import Iterable


def points_below(roots: Iterable[str], mountinfo: str | None = None) -> list[str]:
    """Mount points beneath these directories, in the order in which they were mounted."""
    if mountinfo is None:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mountinfo = file.read()
    prefixes = tuple(root.rstrip("/") + "/" for root in roots)
    points = (_unescape(line.split(" ")[4]) for line in mountinfo.splitlines())
    return [point for point in points if point.startswith(prefixes)]


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text

"""Who reads a directory that may be removed meanwhile: its files go when the last one has done.

Without this a reader would find less and less, and take that for all there is.
"""

from __future__ import annotations

from collections import Counter


class Readers:
    """Of directories by number. For one thread at a time: the owner's lock is held."""

    def __init__(self) -> None:
        self._reading: Counter[int] = Counter()
        self._doomed: set[int] = set()

    def begin(self, number: int) -> None:
        self._reading[number] += 1

    def end(self, number: int) -> bool:
        """Whether the files are to go now."""
        self._reading[number] -= 1
        if self._reading[number]:
            return False
        del self._reading[number]
        doomed = number in self._doomed
        self._doomed.discard(number)
        return doomed

    def remove(self, number: int) -> bool:
        """Whether the files may go now; if not, `end` tells the last reader to let them."""
        if number not in self._reading:
            return True
        self._doomed.add(number)
        return False

"""Leases: what must outlive the collection of garbage although no row names it yet.

A pull, load, import or build holds the chain IDs and digests that it is about to need. Collection
happens under the same lock as taking a lease, so whoever has a lease on a layer either finds it
whole or not at all, and it then stays.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager


class Leases:
    """Thread-safe. Taking one may wait for a running collection: do it in a thread."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._lock = threading.RLock()

    @contextmanager
    def hold(self, names: Collection[str]) -> Iterator[None]:
        with self._lock:
            self._held.update(names)
        try:
            yield
        finally:
            self._held_less(names)

    def _held_less(self, names: Collection[str]) -> None:
        # No lock: Counter's own operations are atomic enough to give back, and the loop may do it.
        for name in names:
            self._held[name] -= 1
            if self._held[name] <= 0:
                del self._held[name]

    @contextmanager
    def collecting(self) -> Iterator[frozenset[str]]:
        """What is held; nobody takes a lease while the block lasts."""
        with self._lock:
            yield frozenset(self._held)

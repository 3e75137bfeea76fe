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

from tiffin.kernel import allocator


class Leases:
    """Thread-safe. Taking one may wait for a running collection: do it in a thread. Giving back
    never waits."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._counting = threading.Lock()  # never held for long
        self._collection = threading.RLock()

    @contextmanager
    def hold(self, names: Collection[str]) -> Iterator[None]:
        with self._collection, self._counting:
            self._held.update(names)
        try:
            yield
        finally:
            with self._counting:
                self._held.subtract(names)
                self._held = +self._held
            if not self._held:
                allocator.give_back()  # layers have gone through our memory

    @contextmanager
    def collecting(self) -> Iterator[frozenset[str]]:
        """What is held; nobody takes a lease while the block lasts."""
        with self._collection:
            with self._counting:
                held = frozenset(self._held)
            yield held

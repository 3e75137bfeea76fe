"""Answers about containers that have not changed since they were last asked for.

A record of a container is immutable, so that the same record is the same answer: who inspects a
thousand containers again and again pays for those that changed. An answer goes with its record, so
when the container changes or is removed.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from functools import partial
from typing import NamedTuple

from tiffin.core.container import Container

LARGEST = 1024  # answers, of some 4 kB each


class _Known(NamedTuple):
    record: weakref.ref[Container]
    beside: Hashable
    answer: bytes


class KnownAnswers:
    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        self._known: dict[str, _Known] = {}

    def get(self, record: Container, beside: Hashable, make: Callable[[], bytes]) -> bytes:
        """`beside` is what else the answer depends on. The oldest answers are forgotten first."""
        known = self._known.pop(record.id, None)
        if known is None or known.record() is not record or known.beside != beside:
            reference = weakref.ref(record, partial(self._forget, record.id))
            known = _Known(reference, beside, make())
        self._known[record.id] = known
        while len(self._known) > self._largest:
            del self._known[next(iter(self._known))]
        return known.answer

    def __len__(self) -> int:
        return len(self._known)

    def _forget(self, container_id: str, record: weakref.ref[Container]) -> None:
        known = self._known.get(container_id)
        if known is not None and known.record is record:
            self._known.pop(container_id, None)

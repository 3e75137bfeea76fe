"""Readers of what is removed meanwhile."""

from __future__ import annotations

from tiffin.storage.readers import Readers


def test_what_nobody_reads_goes_at_once() -> None:
    readers = Readers()
    readers.begin(1)
    assert not readers.end(1)
    assert readers.remove(1)
    assert readers.remove(2)


def test_what_is_read_goes_with_the_last_reader() -> None:
    readers = Readers()
    readers.begin(1)
    readers.begin(1)
    assert not readers.remove(1)
    assert not readers.end(1)
    assert readers.end(1)
    readers.begin(1)
    assert not readers.end(1)  # a directory that took the number

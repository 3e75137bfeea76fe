"""What the C library keeps of memory that was given back to it."""

from __future__ import annotations

import os
import platform

import pytest

from tiffin.kernel import allocator

PIECE = 32 * 1024  # too small to be mapped by itself
PIECES = 2000


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not platform.libc_ver()[0], reason="glibc's allocator only")
def test_pages_between_what_stays_are_given_back() -> None:
    pieces = [bytearray(PIECE) for _ in range(PIECES)]
    kept = pieces[::2]
    del pieces
    before = resident_bytes()
    allocator.give_back()
    assert resident_bytes() < before - PIECE * PIECES // 4
    assert len(kept) == PIECES // 2

"""The C library's allocator: where it keeps what has been given back to it.

Both are glibc's; with another C library they do nothing.
"""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8
_libc = ctypes.CDLL(None)
_mallopt = getattr(_libc, "mallopt", None)
_malloc_trim = getattr(_libc, "malloc_trim", None)


def share_one_arena() -> None:
    """No arena for each thread: of Python's, one at a time allocates anyway."""
    if _mallopt is not None:
        _mallopt(ctypes.c_int(_M_ARENA_MAX), ctypes.c_int(1))


def give_back() -> None:
    """Pages with nothing on them go to the kernel: about a millisecond after 100 MB."""
    if _malloc_trim is not None:
        _malloc_trim(ctypes.c_size_t(0))

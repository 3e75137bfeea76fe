"""Option words of mount(8) as mount(2) takes them."""

from __future__ import annotations

import pytest

from tiffin.kernel import mounts
from tiffin.kernel.mounttext import parse_words


@pytest.mark.parametrize(
    ("words", "flags", "data"),
    [
        ("", 0, ""),
        ("defaults", 0, ""),
        ("size=1m,uid=7", 0, "size=1m,uid=7"),
        ("ro,nosuid,size=1m,noexec", 0x1 | 0x2 | 0x8, "size=1m"),
        ("ro,rw", 0, ""),
        ("bind,ro", mounts.MS_BIND | mounts.MS_RDONLY, ""),
        ("rbind,rslave", mounts.MS_BIND | mounts.MS_REC | mounts.MS_SLAVE, ""),
        (",a,,b,", 0, "a,b"),
    ],
)
def test_flags_are_taken_out_of_the_words(words: str, flags: int, data: str) -> None:
    assert parse_words(words) == (flags, data)

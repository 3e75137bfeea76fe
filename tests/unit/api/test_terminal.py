"""The keys that detach have Docker's names."""

from __future__ import annotations

import pytest

from tiffin.api.terminal import parse_detach_keys
from tiffin.errors import InvalidArgument


def test_keys_have_names() -> None:
    assert parse_detach_keys("") == b"\x10\x11"
    assert parse_detach_keys("a,ctrl-@,ctrl-[,ctrl-z,DEL") == b"a\x00\x1b\x1a\x7f"


@pytest.mark.parametrize("keys", ["ctrl-", "ctrl-1", "ctrl-A", "del", ","])
def test_others_are_refused_by_name(keys: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid detach keys"):
        parse_detach_keys(keys)

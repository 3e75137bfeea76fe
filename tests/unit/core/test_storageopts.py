"""How large a container's own layer may be."""

from __future__ import annotations

import pytest

from tiffin.core.storageopts import parse_size, size_limit
from tiffin.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("1k", 1024),
        ("10G", 10 << 30),
        ("10 GiB", 10 << 30),
        ("1.5mb", 3 << 19),
        ("32b", 32),
        ("2T", 2 << 40),
    ],
)
def test_a_size_has_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "x", "1x", "G", "1.2.3g", "99999999p", "1 2"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid size"):
        parse_size(text)


def test_size_is_the_only_option() -> None:
    assert size_limit({}) == 0
    assert size_limit({"Size": "1m"}) == 1 << 20
    with pytest.raises(InvalidArgument, match="unknown option volume"):
        size_limit({"volume": "x"})

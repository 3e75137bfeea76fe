"""Short names of images stand for whole ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.cli.failures import CommandFailed
from tiffin.cli.names import parse_name
from tiffin.core.reference import parse
from tiffin.errors import InvalidArgument

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "whole", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("a/b:c", "docker.io/a/b:c", "a/b:c"),
        ("localhost:5000/a/b:c", "localhost:5000/a/b:c", "localhost:5000/a/b:c"),
        ("localhost/a", "localhost/a", "localhost/a"),
        ("index.docker.io/a/b", "docker.io/a/b", "a/b"),
        (f"x@{DIGEST}", f"docker.io/library/x@{DIGEST}", f"x@{DIGEST}"),
    ],
)
def test_a_name_is_completed(text: str, whole: str, familiar: str) -> None:
    name = parse_name(text)

    assert (str(name), name.familiar) == (whole, familiar)


@given(st.text(alphabet="abA0._-/:@", max_size=14))
def test_what_it_refuses_the_engine_refuses(text: str) -> None:
    try:
        engine: str | None = str(parse(text))
    except InvalidArgument:
        engine = None
    try:
        ours: str | None = str(parse_name(text))
    except CommandFailed:
        ours = None
    if engine is not None:
        assert ours == engine

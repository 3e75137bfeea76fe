"""A volume that is a directory of the host."""

from __future__ import annotations

import pytest

from tiffin.core.volumeoptions import bound_directory
from tiffin.errors import InvalidArgument, Unsupported


@pytest.mark.parametrize("words", ["bind", "rbind", "bind,rw", "defaults,bind"])
def test_a_bind_is_the_directory_itself(words: str) -> None:
    options = {"type": "none", "o": words, "device": "/srv/../data/"}
    assert bound_directory("vol", options) == "/data"


def test_without_options_a_volume_has_a_directory_of_its_own() -> None:
    assert bound_directory("vol", {}) == ""
    assert bound_directory("vol", {"type": "", "device": ""}) == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": "y"}, 'create vol: invalid option: "x"'),
        ({"type": "none"}, 'create vol: missing required option: "device"'),
        ({"device": "/x"}, 'create vol: missing required option: "type"'),
        ({"o": "bind", "type": "none"}, 'create vol: missing required option: "device"'),
        ({"size": "1g"}, "create vol: quota size requested but no quota support"),
        (
            {"type": "none", "o": "bind", "device": "x"},
            "create vol: invalid mount path: 'x' must be absolute",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        bound_directory("vol", options)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"type": "nfs", "o": "addr=1.2.3.4", "device": ":/x"}, "a volume of type nfs"),
        ({"type": "tmpfs", "device": "tmpfs"}, "a volume of type tmpfs"),
        ({"type": "none", "o": "bind,ro", "device": "/x"}, 'the volume option "o=ro"'),
    ],
)
def test_what_we_lack_is_named(options: dict[str, str], words: str) -> None:
    with pytest.raises(Unsupported, match=words):
        bound_directory("vol", options)

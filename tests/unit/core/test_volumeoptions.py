"""Options of volumes: directories of the host, file systems that are mounted, limits."""

from __future__ import annotations

import pytest

from tiffin.core.volumeoptions import FileSystem, VolumeOptions, volume_options
from tiffin.errors import InvalidArgument


@pytest.mark.parametrize("words", ["bind", "rbind", "bind,rw", "defaults,bind"])
def test_a_bind_is_the_directory_itself(words: str) -> None:
    options = {"type": "none", "o": words, "device": "/srv/../data/"}
    assert volume_options("vol", options) == VolumeOptions(bound="/data")


def test_without_options_a_volume_has_a_directory_of_its_own() -> None:
    assert volume_options("vol", {}) == VolumeOptions()
    assert volume_options("vol", {"type": "", "device": "", "o": ""}) == VolumeOptions()
    assert volume_options("vol", {"size": "1g"}) == VolumeOptions(limit_bytes=1 << 30)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": "y"}, 'create vol: invalid option: "x"'),
        ({"type": "none"}, 'create vol: missing required option: "device"'),
        ({"device": "/x"}, 'create vol: missing required option: "type"'),
        ({"o": "bind", "type": "none"}, 'create vol: missing required option: "device"'),
        ({"o": ""}, 'create vol: missing required option: "device"'),
        ({"size": "much"}, "create vol: invalid size: 'much'"),
        (
            {"type": "a\0b", "device": "x"},
            'create vol: invalid option: "type": contains a nul byte',
        ),
        (
            {"type": "cifs", "device": "//host:1/x"},
            "create vol: port not allowed in CIFS device URL, include 'port' in 'o='",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        volume_options("vol", options)
    assert caught.value.message == message


@pytest.mark.parametrize(
    "options",
    [
        {"type": "nfs", "o": "addr=1.2.3.4", "device": ":/x"},
        {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=7"},
        {"type": "none", "o": "bind,ro", "device": "/x"},
        {"type": "none", "o": "bind", "device": "x"},  # the mount itself refuses that
        {"type": "btrfs", "device": "/dev/sdz"},
    ],
)
def test_what_is_no_plain_bind_is_mounted(options: dict[str, str]) -> None:
    wanted = FileSystem(options["device"], options["type"], options.get("o", ""))
    assert volume_options("vol", options) == VolumeOptions(mounted=wanted)

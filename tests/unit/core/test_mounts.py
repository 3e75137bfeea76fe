"""Mounts as users write them."""

from __future__ import annotations

import pytest

from tiffin.core.container import BindOptions, HostConfig, Mount, MountRequest
from tiffin.core.image import ContainerConfig
from tiffin.core.mounts import parse_bind, requested_mounts
from tiffin.errors import InvalidArgument


def test_a_path_is_bound_and_a_name_is_a_volume() -> None:
    assert parse_bind("/host:/in:ro") == Mount(
        type="bind", source="/host", destination="/in", mode="ro", rw=False, propagation="rprivate"
    )
    volume = parse_bind("data:/in")
    assert (volume.type, volume.name, volume.source, volume.rw) == ("volume", "data", "", True)


@pytest.mark.parametrize(
    "text",
    ["", ":", "a:b", "/a:/b:nope", "/a:/b:ro,rw", "/a:/b:ro:x", "/a:relative", "/a:/", "n ame:/x"],
)
def test_bad_binds_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_bind(text)


def test_the_same_destination_twice_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="Duplicate mount point: /in"):
        requested_mounts(ContainerConfig(), HostConfig(binds=("/a:/in", "/b:/in/")))


def test_an_images_volume_yields_to_what_the_user_mounts_there() -> None:
    config = ContainerConfig(volumes={"/data": {}, "/other": {}})
    mounts = requested_mounts(config, HostConfig(binds=("/a:/data",)))
    assert [(m.type, m.destination) for m in mounts] == [("bind", "/data"), ("volume", "/other")]


def test_a_mount_request_names_what_is_missing() -> None:
    for request, words in [
        (MountRequest(type="bind", source="/a"), "field Target must not be empty"),
        (MountRequest(type="bind", target="/b"), "field Source must not be empty"),
        (MountRequest(type="bind", source="a", target="/b"), "mount path must be absolute"),
        (MountRequest(type="nope", target="/b"), "mount type unknown"),
        (
            MountRequest(
                type="bind", source="/a", target="/b", bind_options=BindOptions(propagation="x")
            ),
            "invalid propagation mode",
        ),
    ]:
        with pytest.raises(InvalidArgument, match=words):
            requested_mounts(ContainerConfig(), HostConfig(mounts=(request,)))

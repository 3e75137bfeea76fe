"""Mounts as users write them."""

from __future__ import annotations

import pytest

from tiffin.core.container import (
    BindOptions,
    ClusterOptions,
    Driver,
    HostConfig,
    ImageOptions,
    Mount,
    MountRequest,
    TmpfsOptions,
    VolumeOptions,
)
from tiffin.core.image import ContainerConfig
from tiffin.core.mounts import from_request, parse_bind, parse_volumes_from, requested_mounts
from tiffin.errors import InvalidArgument


def test_a_path_is_bound_and_a_name_is_a_volume() -> None:
    assert parse_bind("/host:/in:ro").mount == Mount(
        type="bind",
        source="/host",
        destination="/in",
        mode="ro",
        rw=False,
        propagation="rprivate",
        make_source=True,
    )
    volume = parse_bind("data:/in").mount
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
    wanted = requested_mounts(config, HostConfig(binds=("/a:/data",)))
    mounts = [one.mount for one in wanted]
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid volume specification: ''"),
        ("/a:ro", "invalid volume specification: '/a:ro'"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:/b:z,Z", "invalid mode: z,Z"),
        ("/a:/b:shared,rslave", "invalid mode: shared,rslave"),
        ("/a:/b:ro,", "invalid mode: ro,"),
        (
            "/a:/",
            (
                "invalid volume specification: '/a:/': invalid mount config for type \"bind\": "
                "invalid specification: destination can't be '/'"
            ),
        ),
        (
            "a:b",
            (
                "invalid volume specification: 'a:b': invalid mount config for type \"volume\": "
                "invalid mount path: 'b' mount path must be absolute"
            ),
        ),
        (
            "vol:/b:rslave",
            (
                "invalid volume specification: 'vol:/b:rslave': invalid mount config for type "
                '"volume": field BindOptions must not be specified'
            ),
        ),
        (
            "/a:/b:nocopy",
            (
                "invalid volume specification: '/a:/b:nocopy': invalid mount config for type "
                '"bind": field VolumeOptions must not be specified'
            ),
        ),
        (
            "v:/b",
            (
                "create v: volume name is too short, names should be at least two alphanumeric "
                "characters"
            ),
        ),
        (
            "n ame:/b",
            (
                'create n ame: "n ame" includes invalid characters for a local volume name, only '
                '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. '
                "If you intended to pass a host directory, use absolute path"
            ),
        ),
    ],
)
def test_a_bad_bind_is_refused_in_dockers_words(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_bind(text)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("mode", "rw", "propagation"),
    [
        ("ro", False, "rprivate"),
        ("Z,ro", False, "rprivate"),
        ("rshared", True, "rshared"),
        ("ro,slave,z", False, "slave"),
        ("rw,consistent", True, "rprivate"),
    ],
)
def test_each_suffix_of_a_bind_means_something(mode: str, rw: bool, propagation: str) -> None:
    mount = parse_bind(f"/a:/b:{mode}").mount
    assert (mount.rw, mount.propagation, mount.mode) == (rw, propagation, mode)


def test_a_volume_without_copy_and_of_another_driver() -> None:
    wanted = parse_bind("data:/in:nocopy", "elsewhere")
    assert (wanted.copy, wanted.mount.driver, wanted.mount.mode) == (False, "elsewhere", "nocopy")


def request(**fields: object) -> MountRequest:
    return MountRequest(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (request(type="npipe", target="/b"), "mount type unknown"),
        (
            request(type="volume", target="/b", read_only=True),
            "must not set ReadOnly mode when using anonymous volumes",
        ),
        (request(type="cluster", source="x", target="/b"), "mount type unknown"),
        (
            request(type="bind", source="/a", target="/b", cluster_options=ClusterOptions()),
            "field ClusterOptions must not be specified",
        ),
        (
            request(type="volume", target="/b", bind_options=BindOptions()),
            "field BindOptions must not be specified",
        ),
        (request(type="tmpfs", target="/"), "invalid specification: destination can't be '/'"),
        (request(type="tmpfs", target="b"), "invalid mount path: 'b' mount path must be absolute"),
        (request(type="tmpfs", source="a", target="/b"), "field Source must not be specified"),
        (
            request(type="tmpfs", target="/b", tmpfs_options=TmpfsOptions(options=(("suid",),))),
            "invalid option: suid",
        ),
        (
            request(type="tmpfs", target="/b", tmpfs_options=TmpfsOptions(options=((),))),
            "invalid option array length",
        ),
        (
            request(type="tmpfs", target="/b", tmpfs_options=TmpfsOptions(size_bytes=-1)),
            "invalid tmpfs size: -1",
        ),
        (
            request(type="volume", target="/b", volume_options=VolumeOptions(subpath="x")),
            "must not set Subpath when using anonymous volumes",
        ),
        (
            request(
                type="volume",
                source="vol",
                target="/b",
                volume_options=VolumeOptions(subpath="a/../../b"),
            ),
            "subpath must be a relative path within the volume",
        ),
        (request(type="image", target="/b"), "field Source must not be empty"),
        (
            request(
                type="image", source="x", target="/b", image_options=ImageOptions(subpath="/x")
            ),
            "subpath must be a relative path within the volume",
        ),
        (
            request(
                type="bind",
                source="/a",
                target="/b",
                bind_options=BindOptions(read_only_force_recursive=True),
            ),
            "mount options conflict: !ReadOnly && BindOptions.ReadOnlyForceRecursive",
        ),
        (
            request(
                type="bind",
                source="/a",
                target="/b",
                read_only=True,
                bind_options=BindOptions(
                    read_only_non_recursive=True, read_only_force_recursive=True
                ),
            ),
            ("mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive"),
        ),
    ],
)
def test_a_mount_that_cannot_be_is_refused_with_its_type(asked: MountRequest, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        from_request(asked)
    assert caught.value.message == f'invalid mount config for type "{asked.type}": {words}'


def test_a_tmpfs_has_size_mode_and_options() -> None:
    options = TmpfsOptions(size_bytes=4096, mode=0o1700, options=(("exec",),))
    wanted = from_request(request(type="tmpfs", target="/t", tmpfs_options=options))
    assert wanted.mount.options == "size=4096,mode=1700,exec"
    assert wanted.mount.mode == ""


def test_a_volume_request_keeps_labels_driver_and_subpath() -> None:
    options = VolumeOptions(
        no_copy=True, labels={"a": "b"}, subpath="x/y", driver_config=Driver("other", {"o": "p"})
    )
    wanted = from_request(
        request(type="volume", source="vol", target="/t", read_only=True, volume_options=options)
    )
    assert (wanted.copy, wanted.labels, wanted.driver_options) == (False, {"a": "b"}, {"o": "p"})
    mount = wanted.mount
    assert (mount.driver, mount.subpath, mount.rw, mount.mode) == ("other", "x/y", False, "z")


def test_a_read_only_bind_may_leave_what_is_below_writable() -> None:
    options = BindOptions(read_only_non_recursive=True)
    wanted = from_request(
        request(type="bind", source="/a", target="/b", read_only=True, bind_options=options)
    )
    assert not wanted.mount.read_only_below


def test_a_bind_over_a_tmpfs_is_a_duplicate() -> None:
    host = HostConfig(binds=("/a:/t/",), tmpfs={"/t": ""})
    with pytest.raises(InvalidArgument, match="Duplicate mount point: /t"):
        requested_mounts(ContainerConfig(), host)


@pytest.mark.parametrize(
    ("text", "read_only"), [("web", False), ("web:ro", True), ("web:rw", False), ("web:z", False)]
)
def test_volumes_come_from_another_container(text: str, read_only: bool) -> None:
    assert parse_volumes_from(text) == ("web", read_only)


@pytest.mark.parametrize("mode", ["x", "ro,rw", "nocopy", "rshared"])
def test_volumes_come_without_these_words(mode: str) -> None:
    with pytest.raises(InvalidArgument, match=f"invalid mode: {mode}"):
        parse_volumes_from(f"web:{mode}")

"""What we save others load with the same ID, and the other way round; hostile archives fail."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.busybox import busybox_image_id, busybox_image_tar, busybox_tar
from tests.imagebench import Bench, chunked, statuses, tar_of
from tiffin.core.image import ContainerConfig
from tiffin.errors import InvalidArgument, NotFound

pytestmark = pytest.mark.root


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as bench:
        yield bench


@pytest.fixture
def other() -> Iterator[Bench]:
    with Bench() as bench:
        yield bench


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def members(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}  # type: ignore[union-attr]


LAYER = tar_of({"etc/motd": b"hello\n"})


def config_of(*layers: bytes) -> bytes:
    diff_ids = [f"sha256:{sha(layer)}" for layer in layers]
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    return json.dumps(document).encode()


def docker_archive(
    *layers: bytes, tags: list[str] | None = None, config: bytes | None = None
) -> dict[str, bytes]:
    config = config_of(*layers) if config is None else config
    name = f"{sha(config)}.json"
    found = {name: config}
    paths = []
    for number, layer in enumerate(layers):
        paths.append(f"{number}/layer.tar")
        found[paths[-1]] = layer
    entry = {"Config": name, "RepoTags": tags, "Layers": paths}
    return found | {"manifest.json": json.dumps([entry]).encode()}


def test_dockers_older_archive_loads_with_its_id(bench: Bench) -> None:
    said = bench.load(busybox_image_tar())

    assert said == [{"stream": "Loaded image: busybox:latest\n"}]
    assert bench.run(bench.images.get("busybox")).id == busybox_image_id()


@pytest.mark.parametrize("squeeze", [gzip.compress, lambda data: data], ids=["gzip", "plain"])
def test_a_saved_archive_loads_elsewhere_with_the_same_id(
    bench: Bench, other: Bench, squeeze: object
) -> None:
    bench.load(busybox_image_tar())
    bench.make_on("busybox", "more:1", files={"more": b"more"})
    archive = bench.save("busybox", "more:1")

    said = other.load(squeeze(archive))  # type: ignore[operator]

    assert [line["stream"] for line in said] == [
        "Loaded image: busybox:latest\n",
        "Loaded image: more:1\n",
    ]
    for name in ("busybox", "more:1"):
        assert other.run(other.images.get(name)).id == bench.run(bench.images.get(name)).id
    assert other.files("more:1")["more"] == b"more"
    assert other.save("busybox", "more:1") == archive


def test_an_archive_has_both_indexes_and_plain_layers(bench: Bench) -> None:
    bench.load(busybox_image_tar())

    found = members(bench.save("busybox"))

    layer = "blobs/sha256/" + sha(busybox_tar())
    image = "blobs/sha256/" + busybox_image_id().removeprefix("sha256:")
    assert found[layer] == busybox_tar()
    assert json.loads(found["manifest.json"]) == [
        {"Config": image, "RepoTags": ["busybox:latest"], "Layers": [layer]}
    ]
    assert json.loads(found["repositories"]) == {"busybox": {"latest": sha(busybox_tar())}}
    entry = json.loads(found["index.json"])["manifests"][0]
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/library/busybox:latest"
    assert all(name.rpartition("/")[2] == sha(data) for name, data in found.items() if "/" in name)


def test_an_image_saved_by_id_has_no_name(bench: Bench, other: Bench) -> None:
    bench.load(busybox_image_tar())

    said = other.load(bench.save(busybox_image_id()[7:19]))

    assert said == [{"stream": f"Loaded image ID: {busybox_image_id()}\n"}]


def test_a_name_without_a_tag_saves_the_whole_repository(bench: Bench, other: Bench) -> None:
    bench.make("app:1", files={"a": b"1"})
    bench.make("app:2", files={"a": b"2"})

    said = other.load(bench.save("app"))

    assert sorted(line["stream"] for line in said) == [
        "Loaded image: app:1\n",
        "Loaded image: app:2\n",
    ]


def test_saving_what_is_not_here_fails_before_the_first_byte(bench: Bench) -> None:
    with pytest.raises(NotFound, match="No such image: none:latest"):
        bench.save("none")


def test_a_name_that_moves_is_said(bench: Bench) -> None:
    old = bench.make("busybox")

    said = bench.load(busybox_image_tar())

    assert said[0]["stream"] == (
        "The image busybox:latest already exists, renaming the old one with ID "
        f"{old} to empty string\n"
    )
    assert bench.run(bench.images.get(old)).tags == ()


def test_a_link_in_an_archive_is_the_name_of_a_member(bench: Bench) -> None:
    other = tar_of({"x": b"x"})
    found = docker_archive(LAYER, other, LAYER, tags=["linked:1"])
    del found["2/layer.tar"]

    bench.load(tar_of(found, {"2/layer.tar": "../0/layer.tar"}))

    assert bench.files("linked:1") == {"etc/motd": b"hello\n", "x": b"x"}


def test_compressed_layers_in_an_archive_are_inflated(bench: Bench) -> None:
    found = docker_archive(LAYER, tags=["packed:1"])
    found["0/layer.tar"] = gzip.compress(LAYER)

    bench.load(tar_of(found))

    assert bench.files("packed:1") == {"etc/motd": b"hello\n"}


def test_a_bare_oci_layout_loads(bench: Bench) -> None:
    packed, config = gzip.compress(LAYER), config_of(LAYER)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": f"sha256:{sha(config)}",
                "size": len(config),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": f"sha256:{sha(packed)}",
                    "size": len(packed),
                }
            ],
        }
    ).encode()
    index = {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": f"sha256:{sha(manifest)}",
                "size": len(manifest),
                "annotations": {"io.containerd.image.name": "docker.io/library/bare:1"},
            }
        ],
    }
    blobs = {f"blobs/sha256/{sha(data)}": data for data in (packed, config, manifest)}

    bench.load(tar_of(blobs | {"index.json": json.dumps(index).encode()}))

    assert bench.files("bare:1") == {"etc/motd": b"hello\n"}


def spoil(found: dict[str, bytes], **changes: object) -> dict[str, bytes]:
    entry = json.loads(found["manifest.json"])[0] | changes
    return found | {"manifest.json": json.dumps([entry]).encode()}


HOSTILE = {
    "nothing in it": tar_of({}),
    "no archive": b"no tar at all" * 100,
    "empty": b"",
    "cut short": tar_of(docker_archive(LAYER))[:2000],
    "a config outside": tar_of(spoil(docker_archive(LAYER), Config="../../etc/passwd")),
    "an absolute config": tar_of(spoil(docker_archive(LAYER), Config="/etc/passwd")),
    "a layer outside": tar_of(spoil(docker_archive(LAYER), Layers=["/etc/passwd"])),
    "a link outside": tar_of(
        spoil(docker_archive(LAYER), Layers=["link"]), {"link": "../../../etc/passwd"}
    ),
    "a link to itself": tar_of(spoil(docker_archive(LAYER), Layers=["link"]), {"link": "link"}),
    "fewer layers": tar_of(spoil(docker_archive(LAYER), Layers=[])),
    "another diff ID": tar_of(docker_archive(LAYER, config=config_of(LAYER + b"\0" * 512))),
    "a bad diff ID": tar_of(
        docker_archive(LAYER, config=config_of(LAYER).replace(b"sha256:", b"sha256:../"))
    ),
    "a bad tag": tar_of(docker_archive(LAYER, tags=["../../x"])),
    "a tag that is none": tar_of(docker_archive(LAYER, tags=["x"])),
    "a config that is none": tar_of(docker_archive(LAYER, config=b"[]")),
    "a manifest that is none": tar_of({"manifest.json": b"{}"}),
    "a deep document": tar_of({"manifest.json": b"[" * 100_000}),
    "a huge document": tar_of({"manifest.json": b" " * 5_000_000}),
    "another system": tar_of(
        docker_archive(LAYER, config=config_of(LAYER).replace(b"linux", b"windows"))
    ),
    "a layer that leaves": tar_of(docker_archive(tar_of({"../../escaped": b"x"}), LAYER[:700])),
    "an index with layers too": tar_of(
        {"index.json": b'{"schemaVersion":2,"manifests":[],"layers":[]}'}
    ),
}


@pytest.mark.parametrize("archive", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_archive_is_refused_and_leaves_nothing(bench: Bench, archive: bytes) -> None:
    with pytest.raises(InvalidArgument):
        bench.load(archive)

    assert bench.is_bare()


def test_an_import_is_an_image_of_one_layer(bench: Bench) -> None:
    def changes(config: ContainerConfig) -> ContainerConfig:
        return ContainerConfig(cmd=("/bin/sh",))

    said = bench.messages(
        bench.images.import_(
            chunked(gzip.compress(LAYER)), repository="mine", tag="1", message="hi", changes=changes
        )
    )

    image = bench.run(bench.images.get("mine:1"))
    assert said == [{"status": image.id}]
    assert image.config.rootfs.diff_ids == (f"sha256:{sha(LAYER)}",)
    assert image.config.comment == "hi"
    assert image.config.config == ContainerConfig(cmd=("/bin/sh",))
    assert bench.files("mine:1") == {"etc/motd": b"hello\n"}


def test_an_import_of_rubbish_leaves_nothing(bench: Bench) -> None:
    with pytest.raises(InvalidArgument):
        bench.messages(bench.images.import_(chunked(b"rubbish" * 1000), repository="mine"))

    assert bench.is_bare()


def test_the_loading_of_layers_is_shown_unless_quiet(bench: Bench) -> None:
    said = bench.messages(bench.images.load(chunked(busybox_image_tar()), quiet=False))

    amounts = [line for line in said if line.get("status") == "Loading layer"]
    assert amounts[-1]["progressDetail"]["current"] == amounts[-1]["progressDetail"]["total"]
    assert statuses(said) == []


# -- other programs ----------------------------------------------------------------------------


def test_skopeo_reads_both_forms_of_what_we_save(bench: Bench, tmp_path: Path) -> None:
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed")
    bench.load(busybox_image_tar())
    archive = tmp_path / "saved.tar"
    archive.write_bytes(bench.save("busybox"))

    for form in (f"docker-archive:{archive}", f"oci-archive:{archive}:latest"):
        found = subprocess.run(
            ["skopeo", "inspect", "--config", "--raw", form], check=True, capture_output=True
        )
        assert f"sha256:{sha(found.stdout)}" == busybox_image_id(), form


def test_what_skopeo_writes_loads_with_the_same_id(bench: Bench, tmp_path: Path) -> None:
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed")
    source, target = tmp_path / "in.tar", tmp_path / "out.tar"
    source.write_bytes(busybox_image_tar())
    copy = ["skopeo", "--insecure-policy", "copy", f"docker-archive:{source}"]

    subprocess.run([*copy, f"docker-archive:{target}:sk/app:1"], check=True, capture_output=True)
    bench.load(target.read_bytes())

    assert bench.run(bench.images.get("sk/app:1")).id == busybox_image_id()

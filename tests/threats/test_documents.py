"""Manifests, indexes, configs and archives of images that contradict themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.imagebench import Bench, tar_of
from tests.kernel.test_images_archives import LAYER, config_of, docker_archive, spoil
from tiffin.errors import InvalidArgument
from tiffin.registry.documents import decode_document

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = {
    "mediaType": "application/vnd.oci.image.config.v1+json",
    "digest": "sha256:" + "1" * 64,
    "size": 2,
}


def document(**fields: object) -> bytes:
    return json.dumps({"schemaVersion": 2, **fields}).encode()


MANIFEST = document(mediaType=OCI_MANIFEST, config=CONFIG, layers=[])


@pytest.mark.threat("ambiguous-documents")
@pytest.mark.parametrize(
    ("body", "announced"),
    [
        (document(config=CONFIG, layers=[], manifests=[]), ""),
        (document(mediaType=OCI_INDEX, config=CONFIG, layers=[]), ""),
        (document(mediaType=OCI_MANIFEST, manifests=[]), ""),
        (MANIFEST, OCI_INDEX),
        (document(schemaVersion=1, fsLayers=[]), ""),
        (document(mediaType="application/x", layers=[]), ""),
    ],
)
def test_a_document_that_can_be_read_in_two_ways_is_refused(body: bytes, announced: str) -> None:
    """One digest, two meanings: a manifest for who checks it, an index for who runs it
    (CVE-2021-41190).

    Defence: own media type, announced one and content must agree, `layers` and `manifests` do not
    go together (registry.documents).
    Seen to fail: the same document without the contradiction is read.
    """
    with pytest.raises(InvalidArgument):
        decode_document(body, announced)
    assert decode_document(MANIFEST, OCI_MANIFEST)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as bench:
        yield bench


@pytest.mark.root
@pytest.mark.threat("load-archives")
@pytest.mark.parametrize("part", ["Config", "Layers"])
@pytest.mark.parametrize("linked", [False, True])
def test_an_archive_names_nothing_but_its_own_members(
    bench: Bench, tmp_path: Path, part: str, linked: bool
) -> None:
    """`docker load` of an archive whose config or layer is a path of the host, or a link to one
    (CVE-2014-9356).

    Defence: members are looked up by name in an index of the archive; links are names there too.
    Seen to fail: with the same bytes as members of the archive it loads.
    """
    right = docker_archive(LAYER)
    entry = json.loads(right["manifest.json"])[0]
    member = entry["Config"] if part == "Config" else entry["Layers"][0]
    outside = tmp_path / "outside"
    outside.write_bytes(right[member])
    named = "link" if linked else f"../../../../../../..{outside}"
    value: object = named if part == "Config" else [named]
    links = {"link": str(outside)} if linked else {}

    with pytest.raises(InvalidArgument):
        bench.load(tar_of(spoil(right, **{part: value}), links))
    assert bench.is_bare()
    bench.load(tar_of(right))
    assert not bench.is_bare()


@pytest.mark.root
@pytest.mark.threat("load-archives")
@pytest.mark.parametrize(
    "config",
    [
        b"[]",
        b"{",
        b"null",
        b"[" * 100_000,
        config_of(LAYER).replace(b"sha256:", b"sha256:../"),
        config_of(LAYER + b"\0" * 512),
    ],
)
def test_a_config_that_is_none_is_refused_and_leaves_nothing(bench: Bench, config: bytes) -> None:
    """A config that is no object, endlessly deep, or speaks of other layers than it comes with.

    Defence: decoded by type, with a limit of size; diff IDs are compared with what was unpacked.
    Seen to fail: the config as it was, loads.
    """
    with pytest.raises(InvalidArgument):
        bench.load(tar_of(docker_archive(LAYER, config=config)))
    assert bench.is_bare()
    bench.load(tar_of(docker_archive(LAYER)))
    assert not bench.is_bare()


@pytest.mark.root
@pytest.mark.threat("load-archives")
@pytest.mark.parametrize(
    "tag", ["../../x:1", "UPPER:1", "a b:1", "x", "a:b:c", "-x:1", "x:" + "y" * 200]
)
def test_a_tag_that_is_none_is_refused_and_leaves_nothing(bench: Bench, tag: str) -> None:
    """RepoTags are names that somebody else chose.

    Defence: the grammar of references, before anything is stored.
    Seen to fail: a tag by the grammar loads.
    """
    with pytest.raises(InvalidArgument):
        bench.load(tar_of(docker_archive(LAYER, tags=[tag])))
    assert bench.is_bare()
    bench.load(tar_of(docker_archive(LAYER, tags=["x:1"])))
    assert not bench.is_bare()

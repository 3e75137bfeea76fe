"""Any bytes are an archive of images or raise InvalidArgument; what is written reads back."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.imagebench import tar_of
from tiffin.core.image import ImageConfig, Platform, RootFS, digest_of, encode
from tiffin.core.reference import parse
from tiffin.engine.archives import Bundle, Saved, SavedLayer, find_images, write_archive
from tiffin.errors import InvalidArgument

HOST = Platform("amd64", "linux")
LAYER = tar_of({"x": b"x"})
DIFF_ID = digest_of(LAYER)


class OneLayer:
    def write_layer(self, chain: str, out: Any) -> None:
        for start in range(0, len(LAYER), 1000):
            out.write(LAYER[start : start + 1000])


def saved(*names: str, created_seconds: int = 5) -> Saved:
    config = encode(ImageConfig(os="linux", rootfs=RootFS(diff_ids=(DIFF_ID,))))
    layers = (SavedLayer("chain", DIFF_ID, len(LAYER)),)
    references = tuple(parse(name) for name in names)
    return Saved(str(digest_of(config)), config, created_seconds, references, layers)


def archive(*images: Saved) -> bytes:
    out = io.BytesIO()
    write_archive(images, OneLayer(), out)
    return out.getvalue()


def test_what_is_written_reads_back() -> None:
    (found,) = find_images(Bundle(io.BytesIO(archive(saved("a:1", "b.c/d:2")))), HOST)

    assert found.id == saved().id
    assert [name.familiar() for name in found.names] == ["a:1", "b.c/d:2"]
    assert [layer.diff_id for layer in found.layers] == [DIFF_ID]


def test_without_dockers_index_the_layout_says_the_same() -> None:
    with tarfile.open(fileobj=io.BytesIO(archive(saved("a:1", "b.c/d:2")))) as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}  # type: ignore[union-attr]
    del members["manifest.json"]

    (found,) = find_images(Bundle(io.BytesIO(tar_of(members))), HOST)

    assert [name.familiar() for name in found.names] == ["a:1", "b.c/d:2"]
    assert found.layers[0].digest == DIFF_ID


def test_equal_images_give_equal_bytes_and_shared_layers_are_written_once() -> None:
    once, twice = archive(saved("a:1")), archive(saved("a:1"), saved("a:1"))

    assert once == archive(saved("a:1"))
    assert twice.count(LAYER[:512]) == 1


def test_a_layer_of_another_size_is_not_hidden() -> None:
    wrong = saved("a:1")._replace(layers=(SavedLayer("chain", DIFF_ID, 5),))

    with pytest.raises(ValueError, match="bytes"):
        archive(wrong)


def test_the_last_of_equal_names_counts() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for data in (b"first", b"second!"):
            info = tarfile.TarInfo("./a//b")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

    assert Bundle(out).read("a/b") == b"second!"


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_only_regular_members_are_read(kind: bytes) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("manifest.json")
        info.type = kind
        tar.addfile(info)

    assert "manifest.json" not in Bundle(out)


def test_a_huge_extended_header_costs_no_memory() -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40

    with pytest.raises(InvalidArgument):
        Bundle(io.BytesIO(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Config", "Layers", "RepoTags", "manifests", "digest", "config"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150)
@given(json_values, st.sampled_from(["manifest.json", "index.json"]))
def test_any_index_is_read_or_refused(value: object, name: str) -> None:
    bundle = Bundle(io.BytesIO(tar_of({name: json.dumps(value).encode()})))

    try:
        find_images(bundle, HOST)
    except InvalidArgument:
        return


@settings(max_examples=150)
@given(st.data())
def test_any_damage_is_read_or_refused(data: st.DataObject) -> None:
    damaged = bytearray(archive(saved("a:1")))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))

    try:
        find_images(Bundle(io.BytesIO(bytes(damaged))), HOST)
    except InvalidArgument:
        return

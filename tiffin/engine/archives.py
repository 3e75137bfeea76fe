"""Images as tar archives: what `save` writes and `load` reads.

Written: one archive that is an OCI image layout and has Docker's manifest.json and repositories
in it too, as Docker 25 and later write it; layers are plain tars named by their diff IDs. Equal
images give equal bytes.

Read: that, Docker's older form (<id>/layer.tar), and a bare OCI layout. An archive is hostile:
an index of regular members by name, nothing of it is ever a path on the disk, and documents, layers
and diff IDs are verified like a registry's. Links are taken as names of members and nothing else.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, Protocol

import msgspec

from tiffin.core import image as images
from tiffin.core.image import Descriptor, Index, Manifest, Platform, digest_of
from tiffin.core.reference import Reference, parse
from tiffin.errors import InvalidArgument
from tiffin.registry.documents import decode_document
from tiffin.storage import tar

MAX_MEMBERS = 100_000
MAX_IMAGES = 10_000
_MAX_INDEX_DEPTH = 3
_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"


# -- writing -----------------------------------------------------------------------------------


class Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


class Layers(Protocol):
    """Where a saved image's layers are: storage.SnapshotStore."""

    def write_layer(self, chain: str, out: Any) -> None: ...


class Saved(NamedTuple):
    """An image to save. `names` are the tags that were asked for."""

    id: str
    config_bytes: bytes
    created_seconds: int
    names: tuple[Reference, ...]
    layers: tuple[SavedLayer, ...]


class SavedLayer(NamedTuple):
    chain: str
    diff_id: str
    tar_bytes: int


def write_archive(saved: Sequence[Saved], layers: Layers, out: Sink) -> None:
    """Documents and layers once each, then the indexes that name them."""
    _Archive(layers, out).write(saved)


class _Archive:
    def __init__(self, layers: Layers, out: Sink) -> None:
        self._layers = layers
        self._out = out
        self._written: set[str] = set()

    def write(self, saved: Sequence[Saved]) -> None:
        self._directory("blobs/")
        self._directory("blobs/sha256/")
        manifests = [self._image(image) for image in saved]
        index = Index(
            manifests=tuple(entry for entries in manifests for entry in entries),
            schema_version=2,
            media_type=images.OCI_INDEX,
        )
        self._file("index.json", images.encode(index))
        self._file("manifest.json", msgspec.json.encode([_docker_entry(image) for image in saved]))
        self._file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        repositories = _repositories(saved)
        if repositories:
            self._file("repositories", msgspec.json.encode(repositories))
        self._out.write(tar.END)

    def _image(self, image: Saved) -> list[Descriptor]:
        for layer in image.layers:
            self._layer(layer, image.created_seconds)
        self._blob(image.id, image.config_bytes, image.created_seconds)
        manifest = images.encode(_oci_manifest(image))
        digest = digest_of(manifest)
        self._blob(digest, manifest, image.created_seconds)
        plain = Descriptor(images.OCI_MANIFEST, digest, len(manifest))
        named = [
            msgspec.structs.replace(plain, annotations={_NAME: str(name), _REF_NAME: name.tag})
            for name in image.names
        ]
        return named or [plain]

    def _layer(self, layer: SavedLayer, mtime: int) -> None:
        if layer.diff_id in self._written:
            return
        self._written.add(layer.diff_id)
        self._header(_blob_name(layer.diff_id), layer.tar_bytes, mtime)
        counted = _Counted(self._out)
        self._layers.write_layer(layer.chain, counted)
        if counted.size != layer.tar_bytes:
            raise ValueError(f"layer {layer.diff_id} has {counted.size} bytes")
        self._pad(layer.tar_bytes)

    def _blob(self, digest: str, data: bytes, mtime: int) -> None:
        if digest not in self._written:
            self._written.add(digest)
            self._file(_blob_name(digest), data, mtime)

    def _file(self, name: str, data: bytes, mtime: int = 0) -> None:
        self._header(name, len(data), mtime)
        self._out.write(data)
        self._pad(len(data))

    def _directory(self, name: str) -> None:
        entry = tar.Entry(name.encode(), tar.DIRECTORY, mode=0o755)
        self._out.write(tar.encode_header(entry))

    def _header(self, name: str, size: int, mtime: int) -> None:
        seconds = 1_000_000_000
        entry = tar.Entry(name.encode(), tar.REGULAR, size=size, mtime_ns=mtime * seconds)
        self._out.write(tar.encode_header(entry))

    def _pad(self, size: int) -> None:
        self._out.write(bytes(-size % tar.BLOCK))


class _Counted:
    def __init__(self, out: Sink) -> None:
        self._out = out
        self.size = 0

    def write(self, data: bytes) -> None:
        self._out.write(data)
        self.size += len(data)


def _blob_name(digest: str) -> str:
    return "blobs/sha256/" + digest.removeprefix("sha256:")


def _oci_manifest(image: Saved) -> Manifest:
    return Manifest(
        config=Descriptor(images.OCI_CONFIG, image.id, len(image.config_bytes)),
        layers=tuple(
            Descriptor(images.OCI_LAYER, layer.diff_id, layer.tar_bytes) for layer in image.layers
        ),
        schema_version=2,
        media_type=images.OCI_MANIFEST,
    )


def _docker_entry(image: Saved) -> dict[str, object]:
    return {
        "Config": _blob_name(image.id),
        "RepoTags": [name.familiar() for name in image.names] or None,
        "Layers": [_blob_name(layer.diff_id) for layer in image.layers],
    }


def _repositories(saved: Iterable[Saved]) -> dict[str, dict[str, str]]:
    """The oldest of the indexes: name -> tag -> topmost layer."""
    found: dict[str, dict[str, str]] = {}
    for image in saved:
        top = image.layers[-1].diff_id.removeprefix("sha256:") if image.layers else ""
        for name in image.names:
            found.setdefault(name.familiar_name, {})[name.tag] = top
    return found


# -- reading -----------------------------------------------------------------------------------


class Member(NamedTuple):
    offset: int
    size: int


class Bundle:
    """An archive's regular members by name. The last of equal names counts, as when unpacked."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._members: dict[str, Member] = {}
        self._links: dict[str, str] = {}
        self._read_index()

    def _read_index(self) -> None:
        source = _Seekable(self._file)
        for count, entry in enumerate(tar.Reader(source)):
            if count >= MAX_MEMBERS:
                raise InvalidArgument(f"archive has more than {MAX_MEMBERS} members")
            name = _normal(os.fsdecode(entry.name))
            link = os.fsdecode(entry.link)
            if entry.kind == tar.REGULAR and not _is_sparse(entry):
                self._members[name] = Member(source.position, entry.size)
            elif entry.kind == tar.SYMLINK:
                # Docker before 25 saved a layer that it had written already as a link to it.
                self._links[name] = posixpath.join(posixpath.dirname(name), link)
            elif entry.kind == tar.HARD_LINK:
                self._links[name] = link

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def read(self, name: str, limit: int = images.MAX_DOCUMENT_BYTES) -> bytes:
        """A document. Raises InvalidArgument if it is not there or too large."""
        member = self.get(name)
        if member.size > limit:
            raise InvalidArgument(f"{name}: larger than {limit} bytes")
        self._file.seek(member.offset)
        data = self._file.read(member.size)
        if len(data) != member.size:
            raise InvalidArgument(f"{name}: unexpected EOF")
        return data

    def get(self, name: str) -> Member:
        member = self._find(name)
        if member is None:
            raise InvalidArgument(f"invalid archive: {name[:200]!r} is not in it")
        return member

    def chunks(self, name: str, step: int = 1024 * 1024) -> Iterator[bytes]:
        member = self.get(name)
        done = 0
        while done < member.size:
            self._file.seek(member.offset + done)
            data = self._file.read(min(step, member.size - done))
            if not data:
                raise InvalidArgument(f"{name}: unexpected EOF")
            done += len(data)
            yield data

    def _find(self, name: str) -> Member | None:
        key = _normal(name)
        for _ in range(3):
            if key in self._members:
                return self._members[key]
            if key not in self._links:
                return None
            key = _normal(self._links[key])
        return None


class _Seekable(tar.Source):
    """A file as a source of tar entries: bodies are skipped, not read."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(iter(()))
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self.position = 0

    def read(self, count: int) -> bytes:
        self._file.seek(self.position)
        data = self._file.read(count)
        if len(data) != count:
            raise InvalidArgument("unexpected EOF in archive")
        self.position += count
        return data

    def pieces(self, count: int) -> Iterator[memoryview[int]]:
        yield memoryview(self.read(count))

    def skip(self, count: int) -> None:
        if self.position + count > self._size:
            raise InvalidArgument("unexpected EOF in archive")
        self.position += count

    def skip_padding(self, count: int) -> None:
        self.position = min(self.position + count, self._size)

    def block(self) -> bytes | None:
        return None if self.position >= self._size else self.read(tar.BLOCK)

    def drain(self) -> None:
        pass


def _is_sparse(entry: tar.Entry) -> bool:
    return entry.segments is not None


def _normal(name: str) -> str:
    """Names are keys, never paths: "./a//b" is "a/b", and "../x" stays a name like any other."""
    return posixpath.normpath(name.lstrip("/")) if name else name


@dataclass(frozen=True)
class LayerMember:
    """A layer in an archive. `digest` "" if only its diff ID says what it should be."""

    name: str
    diff_id: str
    digest: str = ""
    size: int = -1


@dataclass(frozen=True)
class Loadable:
    """An image found in an archive: everything that can be checked without its layers is."""

    id: str
    config_bytes: bytes
    layers: tuple[LayerMember, ...]
    names: tuple[Reference, ...]
    manifest_bytes: bytes = b""


class _Entry(msgspec.Struct, rename="pascal"):
    config: str
    layers: list[str] = []
    repo_tags: list[str] = []


def find_images(bundle: Bundle, platform: Platform) -> list[Loadable]:
    """By manifest.json where there is one, else by index.json. Raises InvalidArgument."""
    if "manifest.json" in bundle:
        return _docker_images(bundle)
    if "index.json" in bundle:
        return _oci_images(bundle, platform)
    raise InvalidArgument("unrecognized image format: neither manifest.json nor index.json found")


def _docker_images(bundle: Bundle) -> list[Loadable]:
    try:
        raw = images.without_nulls(msgspec.json.decode(bundle.read("manifest.json")))
        entries = msgspec.convert(raw, list[_Entry])
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InvalidArgument(f"invalid manifest.json: {error}") from error
    if len(entries) > MAX_IMAGES:
        raise InvalidArgument("invalid manifest.json: too many images")
    return [_docker_image(bundle, entry) for entry in entries]


def _docker_image(bundle: Bundle, entry: _Entry) -> Loadable:
    config_bytes = bundle.read(entry.config)
    diff_ids = _diff_ids(config_bytes)
    if len(diff_ids) != len(entry.layers):
        raise InvalidArgument(
            f"invalid manifest, layers length mismatch: expected {len(diff_ids)}, "
            f"got {len(entry.layers)}"
        )
    for name in entry.layers:
        bundle.get(name)
    return Loadable(
        id=digest_of(config_bytes),
        config_bytes=config_bytes,
        layers=tuple(
            LayerMember(name, diff_id) for name, diff_id in zip(entry.layers, diff_ids, strict=True)
        ),
        names=tuple(_tag(name) for name in entry.repo_tags),
    )


def _oci_images(bundle: Bundle, platform: Platform) -> list[Loadable]:
    index = decode_document(bundle.read("index.json"), images.OCI_INDEX)
    if not isinstance(index, Index):
        raise InvalidArgument("invalid index.json")
    found: dict[str, Loadable] = {}
    for entry in index.manifests[:MAX_IMAGES]:
        if (entry.annotations or {}).get("vnd.docker.reference.type"):
            continue  # an attestation about another entry
        manifest_bytes, manifest = _manifest(bundle, entry, platform)
        loadable = _oci_image(bundle, manifest_bytes, manifest, _names(entry))
        before = found.get(loadable.id)
        names = (before.names if before else ()) + loadable.names
        found[loadable.id] = Loadable(
            loadable.id, loadable.config_bytes, loadable.layers, names, loadable.manifest_bytes
        )
    return list(found.values())


def _manifest(
    bundle: Bundle, entry: Descriptor, platform: Platform, depth: int = 0
) -> tuple[bytes, Manifest]:
    data = _document(bundle, entry)
    document = decode_document(data, entry.media_type)
    if isinstance(document, Manifest):
        return data, document
    chosen = images.choose_platform(document, platform)
    if chosen is None or depth >= _MAX_INDEX_DEPTH:
        raise InvalidArgument(
            f"no matching manifest for {images.format_platform(platform)} "
            "in the manifest list entries"
        )
    return _manifest(bundle, chosen, platform, depth + 1)


def _oci_image(
    bundle: Bundle, manifest_bytes: bytes, manifest: Manifest, names: tuple[Reference, ...]
) -> Loadable:
    config_bytes = _document(bundle, manifest.config)
    diff_ids = _diff_ids(config_bytes)
    if len(diff_ids) != len(manifest.layers):
        raise InvalidArgument("invalid manifest: it has other layers than its config")
    members = []
    for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
        name = _member_of(layer)
        if bundle.get(name).size != layer.size:
            raise InvalidArgument(f"{name}: has another size than its descriptor says")
        members.append(LayerMember(name, diff_id, layer.digest, layer.size))
    return Loadable(manifest.config.digest, config_bytes, tuple(members), names, manifest_bytes)


def _document(bundle: Bundle, descriptor: Descriptor) -> bytes:
    data = bundle.read(_member_of(descriptor))
    if digest_of(data) != descriptor.digest:
        raise InvalidArgument(f"{descriptor.digest}: the content has another digest")
    return data


def _member_of(descriptor: Descriptor) -> str:
    if not images.is_digest(descriptor.digest):
        raise InvalidArgument(f"invalid digest: {descriptor.digest[:100]!r}")
    return _blob_name(descriptor.digest)


def _diff_ids(config_bytes: bytes) -> tuple[str, ...]:
    config = images.decode_config(config_bytes)
    if config.os not in ("", "linux"):
        raise InvalidArgument(
            f'cannot load {config.os} image on linux: operating system "{config.os[:50]}"'
        )
    for diff_id in config.rootfs.diff_ids:
        if not images.is_digest(diff_id):
            raise InvalidArgument(f"invalid diff ID: {diff_id[:100]!r}")
    return config.rootfs.diff_ids


def _names(entry: Descriptor) -> tuple[Reference, ...]:
    """containerd's full name; a bare "latest" (skopeo, buildah) names no image."""
    annotations = entry.annotations or {}
    name = annotations.get(_NAME) or annotations.get(_REF_NAME, "")
    if not name or ("/" not in name and ":" not in name):
        return ()
    return (_tag(name),)


def _tag(name: str) -> Reference:
    reference = parse(name)
    if not reference.tag or reference.digest:
        raise InvalidArgument(f"invalid tag {name[:300]!r}")
    return reference

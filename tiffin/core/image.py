"""Images as documents: OCI descriptors, manifests, indexes, configs, and digests that name them.

The bytes of a document are its identity, so whoever stores one keeps the bytes; these types are for
reading one and for making new ones. Sources: OCI image-spec v1.1 (descriptor.md, manifest.md,
image-index.md, config.md) and, for the config's Docker-only fields, moby's image spec v1.2.
"""

from __future__ import annotations

import hashlib
from typing import Any, NewType, TypeVar

import msgspec

from tiffin.errors import InvalidArgument

_Document = TypeVar("_Document", bound=msgspec.Struct)

Digest = NewType("Digest", str)  # "sha256:<64 hex>": of bytes as stored
DiffID = NewType("DiffID", str)  # digest of a layer's tar, uncompressed
ChainID = NewType("ChainID", str)  # digest of a stack of layers
ImageID = NewType("ImageID", str)  # digest of the image config

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"

MAX_DOCUMENT_BYTES = 4 * 1024 * 1024  # what registries and engines agree on as a manifest's limit


class Platform(msgspec.Struct, frozen=True, omit_defaults=True):
    architecture: str = ""
    os: str = ""
    variant: str = ""
    os_version: str = msgspec.field(name="os.version", default="")
    os_features: tuple[str, ...] = msgspec.field(name="os.features", default=())


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    media_type: str
    digest: str
    size: int
    urls: tuple[str, ...] = ()
    annotations: dict[str, str] | None = None
    platform: Platform | None = None
    artifact_type: str = ""


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    config: Descriptor
    layers: tuple[Descriptor, ...]
    schema_version: int = 0  # always 2 in a valid one; written because it is not the default
    media_type: str = ""
    annotations: dict[str, str] | None = None


class Index(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    manifests: tuple[Descriptor, ...]
    schema_version: int = 0
    media_type: str = ""
    annotations: dict[str, str] | None = None


class Healthcheck(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """Times are nanoseconds. `test` is ["NONE"], ["CMD", ...] or ["CMD-SHELL", command]."""

    test: tuple[str, ...] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ContainerConfig(msgspec.Struct, frozen=True, rename="pascal"):
    """What runs: Docker's `Config`, in an image and in a container. JSON names are Docker's.

    `None` for a list or map means "not given", which differs from empty when defaults are merged.
    """

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, dict[str, Any]] | None = None  # {"3000/tcp": {}}
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    healthcheck: Healthcheck | None = None
    args_escaped: bool = False
    image: str = ""
    volumes: dict[str, dict[str, Any]] | None = None  # {"/data": {}}
    working_dir: str = ""
    entrypoint: tuple[str, ...] | None = None
    network_disabled: bool = False
    mac_address: str = ""
    on_build: tuple[str, ...] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: tuple[str, ...] | None = None


class History(msgspec.Struct, frozen=True, omit_defaults=True):
    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class RootFS(msgspec.Struct, frozen=True):
    type: str = "layers"
    diff_ids: tuple[str, ...] = ()


class ImageConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """An image config. `created` is RFC 3339. Its encoded bytes' digest is the image ID."""

    architecture: str = ""
    os: str = ""
    variant: str = ""
    os_version: str = msgspec.field(name="os.version", default="")
    created: str = ""
    author: str = ""
    docker_version: str = ""
    comment: str = ""
    config: ContainerConfig | None = None
    rootfs: RootFS = RootFS()
    history: tuple[History, ...] = ()


def digest_of(data: bytes) -> Digest:
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def chain_id(diff_ids: tuple[str, ...]) -> ChainID | None:
    """The chain ID of a stack of diff IDs, bottom first; None for no layers.

    Image-spec config.md, "Layer ChainID".
    """
    chain: str | None = None
    for diff in diff_ids:
        chain = diff if chain is None else digest_of(f"{chain} {diff}".encode())
    return None if chain is None else ChainID(chain)


def is_digest(text: str) -> bool:
    """True for the one algorithm that we store by: sha256 with 64 lower-case hex digits."""
    algorithm, _, value = text.partition(":")
    return algorithm == "sha256" and len(value) == 64 and not value.strip("0123456789abcdef")


def without_nulls(value: Any) -> Any:
    """Go's decoder takes null as "not given", everywhere; so does this, before a typed decode."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def decode_config(data: bytes) -> ImageConfig:
    """Raises InvalidArgument for bytes that are no image config."""
    return _decode(data, ImageConfig, "image config")


def decode_manifest(data: bytes) -> Manifest:
    return _decode(data, Manifest, "image manifest")


def decode_index(data: bytes) -> Index:
    return _decode(data, Index, "image index")


def encode(document: msgspec.Struct) -> bytes:
    return msgspec.json.encode(document)


def _decode(data: bytes, kind: type[_Document], name: str) -> _Document:
    if len(data) > MAX_DOCUMENT_BYTES:
        raise InvalidArgument(f"invalid {name}: larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        return msgspec.convert(without_nulls(msgspec.json.decode(data)), kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidArgument(f"invalid {name}: {error}") from error

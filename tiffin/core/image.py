"""Images as documents: OCI descriptors, manifests, indexes, configs, and digests that name them.

The bytes of a document are its identity, so whoever stores one keeps the bytes; these types are for
reading one and for making new ones. Sources: OCI image-spec v1.1 (descriptor.md, manifest.md,
image-index.md, config.md) and, for the config's Docker-only fields, moby's image spec v1.2.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, NewType, TypeVar

import msgspec

from tiffin.errors import InvalidArgument, NotFound

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

MAX_LAYERS = 490  # the kernel puts 500 directories on each other, and we add our own


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
    parent: str = ""  # Docker's: the image that a committed one was made of
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
    """Raises InvalidArgument for bytes that are no image config, or one of too many layers."""
    config = _decode(data, ImageConfig, "image config")
    check_depth(len(config.rootfs.diff_ids))
    return config


def check_depth(layers: int) -> None:
    """Raises InvalidArgument, in Docker's words, for more than the kernel puts on each other."""
    if layers > MAX_LAYERS:
        raise InvalidArgument("max depth exceeded")


def decode_manifest(data: bytes) -> Manifest:
    return _decode(data, Manifest, "image manifest")


def decode_index(data: bytes) -> Index:
    return _decode(data, Index, "image index")


_ARCHITECTURES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "i386": "386",
    "i686": "386",
    "aarch64": "arm64",
    "armhf": "arm",
    "armel": "arm",
    "armv7l": "arm",
    "armv6l": "arm",
}
_VARIANTS = {"armhf": "v7", "armv7l": "v7", "armel": "v6", "armv6l": "v6"}
_DEFAULT_VARIANT = {"arm64": "v8", "arm": "v7", "amd64": "v1"}


def parse_platform(text: str, host: Platform) -> Platform:
    """A platform as the user types it: "linux/arm64/v8", "linux", "arm64". "" is the host's.

    Raises InvalidArgument in Docker's words.
    """
    if not text:
        return host
    parts = text.lower().split("/")
    if len(parts) > 3 or any(not re.fullmatch(r"[a-z0-9_.-]+", part) for part in parts):
        raise InvalidArgument(f'"{text}": invalid platform')
    if len(parts) == 1:
        if parts[0] in ("linux", "windows", "darwin", "freebsd"):
            return Platform(architecture=host.architecture, os=parts[0], variant=host.variant)
        return machine_platform(parts[0])
    named = machine_platform(parts[1])
    variant = parts[2] if len(parts) == 3 else named.variant
    return Platform(architecture=named.architecture, os=parts[0], variant=variant)


def machine_platform(machine: str) -> Platform:
    """The platform of uname's machine word."""
    architecture = _ARCHITECTURES.get(machine, machine)
    return Platform(architecture=architecture, os="linux", variant=_VARIANTS.get(machine, ""))


def format_platform(platform: Platform) -> str:
    parts = (platform.os, platform.architecture, platform.variant)
    return "/".join(part for part in parts if part)


def check_platform(reference: str, config: ImageConfig, wanted: Platform | None) -> None:
    """An image is of one platform; another one is "not found", so that a client pulls that one."""
    if wanted is None:
        return
    has = Platform(config.architecture, config.os or "linux", config.variant)
    variants_differ = wanted.variant and has.variant and wanted.variant != has.variant
    if (has.os, has.architecture) != (wanted.os, wanted.architecture) or variants_differ:
        raise NotFound(
            f"image with reference {reference} was found but its platform "
            f"({format_platform(has)}) does not match the specified platform "
            f"({format_platform(wanted)})"
        )


def choose_platform(index: Index, wanted: Platform) -> Descriptor | None:
    """The entry that runs on `wanted`: its variant, else the highest below; the first of equals."""
    best: Descriptor | None = None
    best_rank = -1
    for entry in index.manifests:
        rank = _rank(entry.platform, wanted)
        if rank > best_rank:
            best, best_rank = entry, rank
    return best


def runs_on(offered: Platform, wanted: Platform) -> bool:
    return _rank(offered, wanted) >= 0


def _rank(offered: Platform | None, wanted: Platform) -> int:
    """-1 for "does not run there", else the higher the nearer."""
    if offered is None:
        return 0
    if (offered.os, offered.architecture) != (wanted.os, wanted.architecture):
        return -1
    have, want = _variant(offered), _variant(wanted)
    if have == want:
        return 1000
    comparable = have[:1] == want[:1] == "v" and have[1:].isdecimal() and want[1:].isdecimal()
    if not comparable or int(have[1:]) > int(want[1:]):
        return -1
    return int(have[1:])


def _variant(platform: Platform) -> str:
    return platform.variant or _DEFAULT_VARIANT.get(platform.architecture, "")


def encode(document: msgspec.Struct) -> bytes:
    return msgspec.json.encode(document)


def _decode(data: bytes, kind: type[_Document], name: str) -> _Document:
    if len(data) > MAX_DOCUMENT_BYTES:
        raise InvalidArgument(f"invalid {name}: larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        return msgspec.convert(without_nulls(msgspec.json.decode(data)), kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InvalidArgument(f"invalid {name}: {error}") from error

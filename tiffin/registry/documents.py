"""Manifests and indexes from outside: believed only if bytes, media types and content agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from tiffin.core import image as images
from tiffin.core.image import Index, Manifest
from tiffin.errors import InvalidArgument, RegistryMisbehaved
from tiffin.registry.messages import printable

MANIFEST_TYPES = (
    images.DOCKER_MANIFEST,
    images.DOCKER_MANIFEST_LIST,
    images.OCI_MANIFEST,
    images.OCI_INDEX,
)
LAYER_TYPES = (
    images.DOCKER_LAYER,
    images.DOCKER_LAYER_GZIP,
    images.OCI_LAYER,
    images.OCI_LAYER_GZIP,
    images.OCI_LAYER_ZSTD,
)
_INDEX_TYPES = (images.OCI_INDEX, images.DOCKER_MANIFEST_LIST)
_CONFIG_TYPES = (images.DOCKER_CONFIG, images.OCI_CONFIG)
_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1"


def read_document(body: bytes, content_type: str) -> Manifest | Index:
    """The document, if content, own media type and the announced one agree (CVE-2021-41190)."""
    try:
        return decode_document(body, content_type)
    except InvalidArgument as error:
        raise RegistryMisbehaved(error.message) from error


def decode_document(body: bytes, content_type: str = "") -> Manifest | Index:
    """As read_document, for bytes of any origin. Raises InvalidArgument."""
    if len(body) > images.MAX_DOCUMENT_BYTES:
        raise InvalidArgument(f"manifest is larger than {images.MAX_DOCUMENT_BYTES} bytes")
    shape = _shape(body)
    own = shape.media_type
    if content_type.startswith(_SCHEMA1) or own.startswith(_SCHEMA1) or shape.schema_version == 1:
        raise InvalidArgument(
            "Docker Image Format v1 and Docker Image manifest version 2, schema 1 are not supported"
        )
    kind = own or (content_type if content_type in MANIFEST_TYPES else shape.guessed)
    if kind not in MANIFEST_TYPES:
        raise InvalidArgument(f"unsupported manifest media type {printable(kind)!r}")
    if own and content_type in MANIFEST_TYPES and own != content_type:
        raise InvalidArgument(
            f"manifest of media type {printable(own)} was announced as {content_type}"
        )
    if shape.has_manifests and shape.has_layers:
        raise InvalidArgument("manifest contains both layers and manifests")
    if kind in _INDEX_TYPES:
        if shape.has_layers:
            raise InvalidArgument("media type of the manifest contradicts its content")
        return images.decode_index(body)
    if shape.has_manifests:
        raise InvalidArgument("media type of the manifest contradicts its content")
    return images.decode_manifest(body)


@dataclass(frozen=True)
class _Shape:
    media_type: str
    schema_version: object
    has_layers: bool
    has_manifests: bool

    @property
    def guessed(self) -> str:
        return images.OCI_INDEX if self.has_manifests else images.OCI_MANIFEST


def _shape(body: bytes) -> _Shape:
    try:
        raw: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InvalidArgument(f"invalid manifest: {error}") from error
    media_type = raw.get("mediaType")
    return _Shape(
        media_type if isinstance(media_type, str) else "",
        raw.get("schemaVersion"),
        "layers" in raw or "config" in raw or "fsLayers" in raw,
        "manifests" in raw,
    )


def check_manifest(manifest: Manifest) -> None:
    """Only what can be an image: known media types, sha256 digests, sizes that are sizes."""
    if manifest.config.media_type not in _CONFIG_TYPES:
        raise RegistryMisbehaved(
            f'unsupported config media type "{printable(manifest.config.media_type)}"'
        )
    for layer in manifest.layers:
        if layer.media_type not in LAYER_TYPES:
            raise RegistryMisbehaved(
                f'unsupported layer media type "{printable(layer.media_type)}"'
            )
    for descriptor in (manifest.config, *manifest.layers):
        if not images.is_digest(descriptor.digest) or descriptor.size < 0:
            raise RegistryMisbehaved(f"invalid descriptor {printable(descriptor.digest)!r}")
    if manifest.config.size > images.MAX_DOCUMENT_BYTES:
        raise RegistryMisbehaved("image config is too large")

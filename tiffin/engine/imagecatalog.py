"""The images that exist: rows joined with their documents, found by all the names a user may type.

Blocking, for threads. A row's truth is its config: the image ID is the digest of those bytes.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from tiffin.core.image import ImageConfig, chain_id, decode_config
from tiffin.core.reference import Reference, parse
from tiffin.core.timestamps import parse_time
from tiffin.errors import EngineFailure, InvalidArgument, NotFound
from tiffin.kernel import failpoints
from tiffin.storage.database import ImageRow
from tiffin.storage.store import Storage

_log = logging.getLogger(__name__)
_DAMAGE = (EngineFailure, InvalidArgument, NotFound)  # of a configuration on the disk

_HEX = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})", re.ASCII)


class Image(msgspec.Struct, frozen=True):
    """An image as the engine sees it. Tags and repo digests are in familiar form, sorted."""

    id: str
    config: ImageConfig
    config_bytes: bytes
    tags: tuple[str, ...]
    repo_digests: tuple[str, ...]
    size: int  # bytes of all its layers
    created_ns: int  # the config's word; 0 if it has none
    manifest_digest: str = ""

    @property
    def created(self) -> str:
        return self.config.created

    @property
    def chain_id(self) -> str | None:
        return chain_id(self.config.rootfs.diff_ids)

    @property
    def chains(self) -> tuple[str, ...]:
        """The chain ID of each layer, bottom first."""
        return chains_of(self.config.rootfs.diff_ids)

    @property
    def labels(self) -> dict[str, str]:
        return dict((self.config.config.labels if self.config.config else None) or {})

    @property
    def short_id(self) -> str:
        return short(self.id)

    @property
    def is_dangling(self) -> bool:
        return not self.tags and not self.repo_digests


def short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


@lru_cache(maxsize=1024)
def chains_of(diff_ids: tuple[str, ...]) -> tuple[str, ...]:
    chains: list[str] = []
    for diff_id in diff_ids:
        chain = chain_id((chains[-1], diff_id) if chains else (diff_id,))
        assert chain is not None
        chains.append(chain)
    return tuple(chains)


class ImageCatalog:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._database = storage.database
        self._configs: dict[str, tuple[bytes, ImageConfig]] = {}
        self._known: dict[str, tuple[int, Image]] = {}

    def remembered(self, text: str) -> Image | None:
        """What `get` gave for it, if that still holds. Asks no disk: for the loop."""
        since, image = self._known.get(text, (-1, None))
        return image if since == self._database.durable_writes else None

    def get(self, text: str) -> Image:
        """By name, name@digest, ID or unique start of an ID. Raises NotFound, InvalidArgument."""
        since = self._database.durable_writes
        image_id = self.find_id_of(text)
        image = self.find(image_id) if image_id else None
        if image is None:
            raise NotFound(f"No such image: {self._shown(text)}")
        if len(self._known) >= 512:
            self._known.clear()
        self._known[text] = self._known[image.id] = (since, image)
        return image

    def find(self, image_id: str) -> Image | None:
        row = self._database.find_image(image_id)
        return None if row is None else self._image(row, self.names())

    def all(self) -> list[Image]:
        """Newest first. Those that are whole; `damaged` names the others."""
        names, images = self.names(), []
        for row in self._database.images():
            try:
                images.append(self._image(row, names))
            except _DAMAGE as error:
                _log.warning("damaged image=%s: %s", row.id, error.message)
        return sorted(images, key=lambda image: (-image.created_ns, image.id))

    def damaged(self) -> list[tuple[str, str]]:
        """(image ID, what is wrong)."""
        found = []
        for row in self._database.images():
            try:
                self._config(row.config_digest)
            except _DAMAGE as error:
                found.append((row.id, f"its configuration cannot be read: {error.message}"))
        return found

    def names(self) -> dict[str, list[str]]:
        """Image ID -> full references of its tags."""
        names: dict[str, list[str]] = {}
        for reference, image_id in self._database.tags().items():
            names.setdefault(image_id, []).append(reference)
        return names

    def find_id_of(self, text: str) -> str | None:
        exact = _HEX.fullmatch(text)
        if exact and len(exact[1]) == 64:
            image_id = f"sha256:{exact[1]}"
            return image_id if self._database.find_image(image_id) else None
        found = self.find_reference(parse(text))
        if found is not None:
            return found
        return self._by_prefix(exact[1], text) if exact else None

    def find_reference(self, reference: Reference) -> str | None:
        """The image that a tag or repo digest names. A digest beats the tag beside it."""
        if reference.digest:
            return self._database.image_of_repo_digest(reference.name, reference.digest)
        return self._database.tag(str(reference.tagged()))

    def references(self, image_id: str) -> list[Reference]:
        """All names of an image: tags, then repo digests."""
        tags = [parse(name) for name in self.names().get(image_id, [])]
        return tags + [parse(name) for name in self._database.repo_digests(image_id)]

    def add(self, config_bytes: bytes, image_id: str, manifest_digest: str = "") -> Image:
        """Write the row of what is there already. Idempotent: a known manifest stays."""
        config = decode_config(config_bytes)
        known = self._database.find_image(image_id)
        if known and not manifest_digest:
            manifest_digest = known.manifest_digest
        size = sum(map(self._storage.snapshots.layer_size, chains_of(config.rootfs.diff_ids)))
        created = created_ns(config)
        self._database.put_image(image_id, image_id, size, created, manifest_digest)
        failpoints.reach("image-row-written")
        image = self.find(image_id)
        assert image is not None
        return image

    def _by_prefix(self, prefix: str, text: str) -> str | None:
        wanted = f"sha256:{prefix}"
        matches = [row.id for row in self._database.images() if row.id.startswith(wanted)]
        if len(matches) > 1:
            # Not found, as for Docker: `run ab` goes on to pull the image of that name.
            raise NotFound(
                f"No such image: {self._shown(text)} "
                f"(the IDs of {len(matches)} images begin with {prefix})"
            )
        return matches[0] if matches else None

    def _shown(self, text: str) -> str:
        exact = _HEX.fullmatch(text)
        if exact and len(exact[1]) == 64:
            return f"sha256:{exact[1]}"
        return parse(text).tagged().familiar()

    def _image(self, row: ImageRow, names: dict[str, list[str]]) -> Image:
        config_bytes, config = self._config(row.config_digest)
        return Image(
            id=row.id,
            config=config,
            config_bytes=config_bytes,
            tags=_familiar(names.get(row.id, ())),
            repo_digests=_familiar(self._database.repo_digests(row.id)),
            size=row.size,
            created_ns=row.created_ns,
            manifest_digest=row.manifest_digest,
        )

    def _config(self, digest: str) -> tuple[bytes, ImageConfig]:
        # The bytes are immutable and named by their digest, so they may be kept.
        if digest not in self._configs:
            if len(self._configs) >= 512:
                self._configs.clear()
            data = self._storage.blobs.read(digest)
            self._configs[digest] = (data, decode_config(data))
        return self._configs[digest]


def created_ns(config: ImageConfig) -> int:
    """0 where the config does not say, or says it wrong."""
    try:
        return max(0, parse_time(config.created))
    except (InvalidArgument, OverflowError):
        return 0


def _familiar(references: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(parse(reference).familiar() for reference in references))

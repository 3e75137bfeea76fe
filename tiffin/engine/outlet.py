"""Save: images leave as an archive, written by a thread while the client reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence

from tiffin.core.reference import Reference, parse
from tiffin.engine.archives import Saved, SavedLayer, write_archive
from tiffin.engine.imagecatalog import Image, ImageCatalog
from tiffin.engine.pipes import produced
from tiffin.errors import InvalidArgument
from tiffin.storage.store import Storage


class Outlet:
    def __init__(self, storage: Storage, catalog: ImageCatalog) -> None:
        self._storage = storage
        self._catalog = catalog

    async def save(self, references: Sequence[str]) -> AsyncGenerator[bytes, None]:
        """Raises NotFound before the first byte."""
        saved = await asyncio.to_thread(self._selected, references)
        snapshots = self._storage.snapshots
        async for chunk in produced(lambda out: write_archive(saved, snapshots, out)):
            yield chunk

    def _selected(self, references: Sequence[str]) -> list[Saved]:
        """Each image once, with the names by which it was asked for, as Docker does."""
        images: dict[str, Image] = {}
        names: dict[str, list[Reference]] = {}
        for text in references:
            for image, name in self._named(text):
                images[image.id] = image
                chosen = names.setdefault(image.id, [])
                if name is not None and name not in chosen:
                    chosen.append(name)
        sizes = {row.chain_id: row.size for row in self._storage.database.snapshots()}
        return [_saved(images[image_id], names[image_id], sizes) for image_id in images]

    def _named(self, text: str) -> list[tuple[Image, Reference | None]]:
        """A name without a tag stands for all tags of the repository; an ID brings no name."""
        tagged = self._repository(text)
        if tagged:
            return tagged
        image = self._catalog.get(text)
        if image.id.removeprefix("sha256:").startswith(text.removeprefix("sha256:")):
            return [(image, None)]
        named = parse(text)
        return [(image, None if named.digest else named.tagged())]

    def _repository(self, text: str) -> list[tuple[Image, Reference | None]]:
        try:
            named = parse(text)
        except InvalidArgument:
            return []
        if named.tag or named.digest:
            return []
        tags = [parse(tag) for tag in self._storage.database.tags()]
        return [(self._catalog.get(tag.familiar()), tag) for tag in tags if tag.name == named.name]


def _saved(image: Image, names: Sequence[Reference], tar_bytes: Mapping[str | None, int]) -> Saved:
    layers = [
        SavedLayer(chain, diff_id, tar_bytes[chain])
        for chain, diff_id in zip(image.chains, image.config.rootfs.diff_ids, strict=True)
    ]
    created_seconds = image.created_ns // 1_000_000_000
    return Saved(image.id, image.config_bytes, created_seconds, tuple(names), tuple(layers))

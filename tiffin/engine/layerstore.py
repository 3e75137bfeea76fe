"""The collection of garbage: layers, layer blobs and documents that no image needs any more.

Blocking, for threads. What is leased stays, what the build cache knows stays, and a layer on which
a container or another layer stands stays: it goes with the last of them that is collected.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from tiffin.core.image import digest_of
from tiffin.engine.imagecatalog import ImageCatalog
from tiffin.engine.leases import Leases
from tiffin.errors import Conflict, TiffinError
from tiffin.storage.store import Storage

_log = logging.getLogger(__name__)

# The diff ID of a layer in which nothing changed: 1,024 zero bytes. Docker leaves such layers out.
EMPTY_DIFF_ID = digest_of(bytes(1024))


class LayerStore:
    def __init__(self, storage: Storage, catalog: ImageCatalog, leases: Leases) -> None:
        self._storage = storage
        self._catalog = catalog
        self._leases = leases

    def collect(self, chains: Sequence[str], blobs: Iterable[str] = ()) -> list[str]:
        """Remove of these layers (one stack, bottom first) and blobs what is not needed.

        The chain IDs that were removed, top first.
        """
        with self._leases.collecting() as leased:
            removed = self._remove_layers(chains, self._kept_chains() | leased, leased)
            self._remove_blobs(blobs, leased)
        return removed

    def collect_quietly(self, chains: Sequence[str], blobs: Iterable[str] = ()) -> None:
        """After a failure: what was brought for nothing goes; no second failure hides the first."""
        try:
            self.collect(chains, blobs)
        except (TiffinError, OSError) as error:
            _log.warning("collect garbage: %s", error)

    def release(self, chain: str) -> None:
        """Collect the stack that ends with `chain`, if nothing needs it any more."""
        stack: list[str] = []
        below: str | None = chain
        while below is not None and self._storage.snapshots.exists(below):
            stack.insert(0, below)
            below = self._storage.snapshots.parent(below)
        self.collect_quietly(stack)

    def sweep(self, older_than_seconds: float = 0.0) -> None:
        """Remove all layers, and blobs of that age, that nothing reaches."""
        with self._leases.collecting() as leased:
            self._storage.snapshots.prune(self._kept_chains() | leased)
            self._remove_blobs(self._of_age(older_than_seconds), leased)

    def unreached(self, older_than_seconds: float) -> tuple[list[str], list[str]]:
        """What `sweep` would remove: chain IDs, digests."""
        with self._leases.collecting() as leased:
            chains = self._storage.snapshots.unneeded(self._kept_chains() | leased)
            kept = self._kept_blobs(leased)
            blobs = [digest for digest in self._of_age(older_than_seconds) if digest not in kept]
            return chains, blobs

    def _of_age(self, seconds: float) -> list[str]:
        blobs = self._storage.blobs
        return [str(blob) for blob in blobs if not seconds or blobs.age_seconds(blob) > seconds]

    def _remove_layers(
        self, chains: Sequence[str], kept: set[str] | frozenset[str], leased: frozenset[str]
    ) -> list[str]:
        removed = []
        for chain in reversed(chains):
            if not self._storage.snapshots.exists(chain):
                continue
            if chain in kept or self._blob_is_leased(chain, leased):
                break
            try:
                self._storage.snapshots.remove(chain)
            except Conflict:
                break
            removed.append(chain)
        return removed

    def _blob_is_leased(self, chain: str, leased: frozenset[str]) -> bool:
        """A pull found the layer's blob here and is about to unpack it on another chain."""
        diff_id = self._storage.snapshots.diff_id(chain)
        blob = self._storage.database.find_layer_blob(diff_id)
        return blob is not None and blob.digest in leased

    def _remove_blobs(self, digests: Iterable[str], leased: frozenset[str]) -> None:
        kept = self._kept_blobs(leased)
        for digest in digests:
            if digest and digest not in kept:
                self._storage.blobs.remove(digest)

    def _kept_blobs(self, leased: frozenset[str]) -> set[str]:
        layers = {blob.digest for blob in self._storage.database.layer_blobs()}
        return layers | set(self._kept_documents()) | leased

    def _kept_chains(self) -> set[str]:
        kept = {chain for image in self._catalog.all() for chain in image.chains}
        return kept | {record.chain_id for record in self._storage.database.cache_records()}

    def _kept_documents(self) -> Iterator[str]:
        for row in self._storage.database.images():
            yield row.config_digest
            yield row.manifest_digest

"""Snapshots: directory trees, committed (named by chain ID, never changed again) or active.

DATA_ROOT/snapshots/<n>/fs is the tree, or with overlayfs what it says about the one beneath;
<n>/work is overlayfs's own. A container's stands on a layer of furniture, which stands on its
image's. A row in the database makes a directory a snapshot; a directory without a row is rubbish.
So a commit is one row, and a crash leaves rubbish that the next `open` removes. Whether DATA_ROOT
works by overlayfs or by full copies is decided once, when it is made.

Files of committed snapshots are not synced one by one: `settle` does it for all new ones together,
before an image's row names them. A snapshot that was not settled when the machine went down is gone
after the reboot, with the cache records and snapshots that stand on it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

from tiffin.core.image import Descriptor, check_depth, digest_of
from tiffin.core.workload import Overlay
from tiffin.errors import Conflict, EngineFailure, NotFound
from tiffin.kernel import failpoints
from tiffin.kernel.syscalls import boot_id
from tiffin.storage import jail, layers, overlay, treetar, unpack
from tiffin.storage.blobs import BlobStore, ContentMismatch
from tiffin.storage.database import Database, SnapshotRow
from tiffin.storage.directories import Directories
from tiffin.storage.furniture import FurnitureLayers, furnish
from tiffin.storage.layerbytes import LayerBytes
from tiffin.storage.layers import Change
from tiffin.storage.readers import Readers
from tiffin.storage.recovery import lost_snapshots, parents_first
from tiffin.storage.treetar import Difference

_log = logging.getLogger(__name__)

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Committed(NamedTuple):
    """A committed layer on its chain. `size` is that of its uncompressed tar."""

    chain_id: str
    diff_id: str
    size: int


class SnapshotStore:
    """One per DATA_ROOT. Any thread may call; active snapshots belong to whoever prepared them.

    Raises NotFound for an unknown snapshot, EngineFailure for a full disk; then nothing stays.
    """

    def __init__(self, data_root: str, database: Database, blobs: BlobStore):
        self._database = database
        self._blobs = blobs
        self._bytes = LayerBytes(database, blobs)
        self._lock = threading.Lock()
        self._unlocked = threading.Condition(self._lock)
        self._being_unpacked: set[str] = set()
        self._viewed: Counter[str] = Counter()
        self._readers = Readers()
        self._active: dict[str, SnapshotRow] = {}
        self._committed: dict[str, SnapshotRow] = {}
        self._inherited: frozenset[str] = frozenset()
        self.lost: list[str] = []  # dropped at the start, as their files are not there
        self._directories = Directories(data_root)
        self._furniture = FurnitureLayers(self._directories.furniture, self._directories.throw_path)
        try:
            self._overlay = self._decide_kind(data_root)
            self._load()
        except BaseException:
            self._directories.close()
            raise
        database.settle = self.settle

    @property
    def uses_overlay(self) -> bool:
        return self._overlay

    def close(self) -> None:
        self._directories.close()

    def wait_for_trash(self, timeout_seconds: float | None = None) -> bool:
        """Until all that was removed has left the disk too."""
        return self._directories.background.wait(timeout_seconds)

    # Active snapshots

    def prepare(self, parent: str | None, *, furnished: bool = False) -> str:
        """A new active snapshot on the committed chain `parent` (None: on nothing); its id.

        `furnished`: with what every container's tree has. Raises NotFound, InvalidArgument (too
        many layers).
        """
        with self._lock:
            below = None if parent is None else self._chain(parent)
            check_depth(len(self._lower(parent)))
        number = self._directories.take()
        try:
            self._begin(number, below)
            if furnished and not self._overlay:
                furnish([self._directories.fs(number)], self._directories.fs(number))
            row = SnapshotRow(number, None, None, parent, 0, 0, False, furnished)
            with self._lock:
                if parent is not None:
                    self._chain(parent)  # removed meanwhile?
                self._database.put_snapshot(row)
                self._active[str(number)] = row
        except BaseException:
            self._directories.throw(number)
            raise
        return str(number)

    def limit(self, active: str, size_bytes: int) -> None:
        """Bound what is written into it. Raises InvalidArgument where the file system cannot."""
        self._directories.limit(self._find_active(active).id, size_bytes)

    def overlay(self, active: str) -> Overlay:
        """The directories to mount. Where DATA_ROOT works by copies `upper` is all, `lower` ()."""
        row = self._find_active(active)
        return Overlay(
            lower=tuple(self._beneath(row)) if self._overlay else (),
            upper=self._directories.fs(row.id),
            work=self._directories.work(row.id),
        )

    @contextlib.contextmanager
    def mounted(self, active: str, *, read_only: bool = False) -> Iterator[int]:
        """A directory descriptor of the merged tree, attached nowhere.

        Not to be written to while a container has the snapshot mounted; reading is fine then, and
        shows what is there now.
        """
        with self.kept(active) as row, self._tree(row, read_only=read_only) as fd:
            yield fd

    @contextlib.contextmanager
    def kept(self, active: str) -> Iterator[SnapshotRow]:
        """Meanwhile it may be removed, and loses none of its files."""
        with self._lock:
            row = self._active.get(active)
            if row is None:
                raise NotFound(f"no such snapshot: {active}")
            self._readers.begin(row.id)
            self._look_at(row.parent)
        try:
            yield row
        finally:
            with self._lock:
                removed = self._readers.end(row.id)
                self._look_away(row.parent)
            if removed:
                self._directories.throw(row.id)

    @contextlib.contextmanager
    def scratch(self, active: str) -> Iterator[int]:
        """As `mounted`, with a layer on top that takes what is written and is thrown away.

        Where there is no overlay it is written to the snapshot itself.
        """
        with self.kept(active) as row:
            if not self._overlay:
                with self._directories.opened(row.id) as fd:
                    yield fd
                return
            number = self._directories.take()
            try:
                self._directories.imitate_root(row.id, number)
                upper, work = self._directories.fs(number), self._directories.work(number)
                lower = [self._directories.fs(row.id), *self._beneath(row)]
                with overlay.merged(lower, upper, work) as fd:
                    yield fd
            finally:
                self._directories.throw(number)

    def commit(self, active: str, *, latest_ns: int | None = None) -> Committed:
        """Make the active snapshot a committed one, without copying; the active id is gone after.

        Where the same chain exists already ours is dropped. `latest_ns` limits modification times.
        """
        row = self._find_active(active)
        with layers.path_limit():
            committed = self._commit_directory(row.id, row.parent, latest_ns)
        with self._lock:
            self._active.pop(active, None)
        return committed

    def commit_copy(self, active: str) -> Committed:
        """Commit what the active snapshot, a container's, holds now; it goes on.

        Mount points that the container's start has made are no part of it, here and in `changes`.
        """
        with self.kept(active) as row:
            number = self._directories.take()
            try:
                with layers.path_limit():
                    self._directories.copy(row.id, number, keep_xattr=_is_kept_in_copy)
                    with self._beside_lower(number, row.parent) as (fd, lower_fd):
                        layers.remove_mount_points(fd, lower_fd, drop_copied_up=self._overlay)
                    return self._commit_directory(number, row.parent, None)
            except BaseException:
                self._directories.throw(number)
                raise

    def changes(self, active: str) -> list[Change]:
        """As `docker diff` shows them."""
        with (
            self.kept(active) as row,
            layers.path_limit(),
            self._beside_lower(row.id, row.parent) as (fd, lower_fd),
        ):
            found = layers.without_mount_points(self._differences(fd, lower_fd), fd, lower_fd)
            return layers.changes(found, lower_fd)

    def usage(self, active: str) -> int:
        """Bytes in the files that the snapshot has of its own."""
        row = self._find_active(active)
        if self._overlay or row.parent is None:
            with self._directories.opened(row.id) as fd:
                return layers.content_bytes(fd) - layers.furniture_bytes(fd)
        with self._beside_lower(row.id, row.parent) as (fd, lower_fd):
            found = self._differences(fd, lower_fd)
            return sum(map(_file_bytes, layers.without_mount_points(found, fd, lower_fd)))

    def actives(self) -> list[str]:
        with self._lock:
            return list(self._active)

    def inherited(self) -> list[str]:
        """The active ones that an earlier process has left."""
        with self._lock:
            return [active for active in self._active if active in self._inherited]

    # Committed snapshots

    @contextlib.contextmanager
    def view(self, chain: str) -> Iterator[int]:
        """A read-only directory descriptor of a chain's merged tree, which stays while viewed."""
        with self._lock:
            row = self._chain(chain)
            self._look_at(chain)
        try:
            with self._tree(row, read_only=True) as fd:
                yield fd
        finally:
            with self._lock:
                self._look_away(chain)

    def _look_at(self, chain: str | None) -> None:
        if chain is not None:
            self._viewed[chain] += 1

    def _look_away(self, chain: str | None) -> None:
        if chain is not None:
            self._viewed[chain] -= 1
            if not self._viewed[chain]:
                del self._viewed[chain]

    def unpack(
        self,
        blob: BinaryIO,
        media_type: str,
        parent: str | None,
        diff_id: str,
        *,
        source: Descriptor | None = None,
    ) -> Committed:
        """Make a layer's blob a committed snapshot on `parent`. Idempotent, and once at a time.

        The blob is kept as it came, since nobody else could write the same bytes again: `source`
        names it in the content store; without it, a file that is not one of the store's is stored
        first. Raises InvalidArgument for a corrupt or hostile archive and (ContentMismatch) for one
        whose diff ID is another.
        """
        source = source or self._blobs.descriptor_of(blob, media_type)
        if source is None:
            return self._unpack_foreign(blob, media_type, parent, diff_id)
        chain = _chain_id(parent, diff_id)
        with self._alone(chain):
            if not self.exists(chain):
                self._unpack_new(chain, blob, parent, diff_id)
            self._bytes.keep(diff_id, source)
            return self._committed_of(chain)

    def unpack_stored(self, descriptor: Descriptor, parent: str | None, diff_id: str) -> Committed:
        """Unpack a layer from the content store and remember where its bytes are."""
        with self._blobs.open(descriptor.digest) as blob:
            return self.unpack(blob, descriptor.media_type, parent, diff_id, source=descriptor)

    def exists(self, chain: str) -> bool:
        with self._lock:
            return chain in self._committed

    def diff_id(self, chain: str) -> str:
        with self._lock:
            return str(self._chain(chain).diff_id)

    def parent(self, chain: str) -> str | None:
        with self._lock:
            return self._chain(chain).parent

    def layer_size(self, chain: str) -> int:
        """Bytes in the layer's files, which is what `docker images` and `history` add up."""
        with self._lock:
            return self._chain(chain).content_bytes

    def chains(self) -> list[str]:
        """Parents before children."""
        with self._lock:
            return list(self._committed)

    def write_layer(self, chain: str, out: Any) -> None:
        """The layer's uncompressed tar, whose digest is its diff ID, to `out.write`."""
        self._bytes.write(self.diff_id(chain), self._maker(chain), out)

    def layer_blob(self, chain: str) -> Descriptor:
        """The layer compressed, as a stored blob: the one that it came from, or made now."""
        return self._bytes.compressed(self.diff_id(chain), self._maker(chain))

    def export(self, snapshot: str, out: Any) -> None:
        """The whole merged tree of an active snapshot or a chain as a tar, to `out.write`."""
        tree = self.view(snapshot) if ":" in snapshot else self.mounted(snapshot, read_only=True)
        with layers.path_limit(), tree as fd:
            treetar.write_files(fd, treetar.everything(fd), out.write)

    def remove(self, snapshot: str) -> None:
        """Remove an active snapshot or a chain's topmost layer. Idempotent; files go in background.

        Raises Conflict for a committed one that something stands on or looks at.
        """
        with self._lock:
            row = self._active.get(snapshot) or self._committed.get(snapshot)
            if row is None:
                return
            if row.chain_id is not None:
                self._refuse_if_used(snapshot)
            self._database.delete_snapshot(row.id)  # it may fail, and be tried again
            self._active.pop(snapshot, None)
            if row.chain_id is not None:
                del self._committed[snapshot]
                self._forget_layer(row)
                self._furniture.forget(row.id)
            may_go = self._readers.remove(row.id)
        if may_go:
            self._directories.throw(row.id)
        self._directories.background.do(self._database.checkpoint_beside)

    def prune(self, keep: Iterable[str]) -> list[str]:
        """Remove each chain that is not in `keep`, nor beneath one of those or a used snapshot."""
        removed = []
        for chain in self.unneeded(keep):
            with contextlib.suppress(Conflict):
                self.remove(chain)
                removed.append(chain)
        return removed

    def unneeded(self, keep: Iterable[str]) -> list[str]:
        """What `prune` would remove, children before parents."""
        with self._lock:
            needed: set[str] = set()
            tops = [row.parent for row in self._active.values()]
            for top in (*keep, *tops, *self._viewed, *self._being_unpacked):
                chain = top
                while chain is not None and chain not in needed and chain in self._committed:
                    needed.add(chain)
                    chain = self._committed[chain].parent
            return [chain for chain in reversed(self._committed) if chain not in needed]

    def settle(self) -> None:
        """Bring all committed snapshots to the disk. Free where there is nothing new."""
        with self._lock:
            new = [row for row in self._committed.values() if not row.settled]
        if not new:
            return
        self._directories.sync()
        failpoints.reach("snapshots-synced")
        self._database.settle_snapshots([row.id for row in new])
        with self._lock:
            for row in new:
                if row.chain_id in self._committed:
                    self._committed[row.chain_id] = row._replace(settled=True)

    # Making and committing

    def _begin(self, number: int, below: SnapshotRow | None) -> None:
        """Make an empty directory what a snapshot on `below` is at first."""
        if below is None:
            return
        if self._overlay:
            self._directories.imitate_root(below.id, number)
        else:
            self._directories.copy(below.id, number)

    def _unpack_foreign(
        self, blob: BinaryIO, media_type: str, parent: str | None, diff_id: str
    ) -> Committed:
        chain = _chain_id(parent, diff_id)
        if self.exists(chain):
            return self._committed_of(chain)
        stored = self._bytes.store(blob, media_type)
        try:
            return self.unpack_stored(stored, parent, diff_id)
        finally:
            self._bytes.discard(stored, diff_id)

    def _unpack_new(self, chain: str, blob: BinaryIO, parent: str | None, diff_id: str) -> None:
        number = self._directories.take()
        try:
            unpacked = self._unpack_into(number, blob, parent)
            if unpacked.diff_id != diff_id:
                words = f"layer has diff ID {unpacked.diff_id}, its image says {diff_id}"
                raise ContentMismatch(words)
            failpoints.reach("layer-unpacked")
            self._put_committed(
                SnapshotRow(
                    number, chain, diff_id, parent, unpacked.size, unpacked.content_bytes, False
                )
            )
        except BaseException:
            self._directories.throw(number)
            raise

    def _unpack_into(self, number: int, blob: BinaryIO, parent: str | None) -> jail.Unpacked:
        with self._beside_lower(number, parent) as (fd, lower_fd):
            self._begin(number, None if parent is None else self._committed[parent])
            return jail.unpack(
                blob,
                fd,
                lower_fd=lower_fd if self._overlay else -1,
                whiteouts=unpack.OVERLAY if self._overlay else unpack.APPLY,
            )

    def _commit_directory(
        self, number: int, parent: str | None, latest_ns: int | None
    ) -> Committed:
        with self._beside_lower(number, parent) as (fd, lower_fd):
            if latest_ns is not None:
                layers.clamp_times(fd, latest_ns)
            layer = treetar.hash_layer(fd, self._differences(fd, lower_fd))
        failpoints.reach("layer-hashed")
        chain = _chain_id(parent, layer.diff_id)
        return self._put_committed(
            SnapshotRow(
                number, chain, layer.diff_id, parent, layer.size, layer.content_bytes, False
            )
        )

    def _put_committed(self, row: SnapshotRow) -> Committed:
        """Name the directory by its chain, or drop it where the chain has one already."""
        chain = str(row.chain_id)
        with self._lock:
            if row.parent is not None:
                self._chain(row.parent)
            is_new = chain not in self._committed
            if is_new:
                self._database.put_snapshot(row)
                self._committed[chain] = row
            else:
                self._database.delete_snapshot(row.id)
        if is_new:
            self._directories.throw_work(row.id)
        else:
            self._directories.throw(row.id)
        # Not by looking it up: whoever made it first may have removed it by now.
        return Committed(chain, str(row.diff_id), row.size)

    def _maker(self, chain: str) -> Callable[[treetar.Write], None]:
        """How to write a layer of ours from its directory."""

        def make(write: treetar.Write) -> None:
            with self._lock:
                row = self._chain(chain)
            with self._beside_lower(row.id, row.parent) as (fd, lower_fd):
                treetar.write_layer(fd, self._differences(fd, lower_fd), write)

        return make

    def _differences(self, tree_fd: int, lower_fd: int) -> Iterator[Difference]:
        make = layers.differences if self._overlay else layers.comparison
        return make(tree_fd, lower_fd)

    # Merged trees

    @contextlib.contextmanager
    def _tree(self, row: SnapshotRow, *, read_only: bool) -> Iterator[int]:
        own = self._directories.fs(row.id)
        if not self._overlay:
            with self._directories.opened(row.id) as fd:
                yield fd
        elif read_only:
            with overlay.merged([own, *self._beneath(row)]) as fd:
                yield fd
        else:
            with (
                self._directories.passing_work(row.id) as work,
                overlay.merged(self._beneath(row), own, work) as fd,
            ):
                yield fd

    @contextlib.contextmanager
    def _beside_lower(self, number: int, parent: str | None) -> Iterator[tuple[int, int]]:
        """A snapshot's own directory and the merged tree beneath it; -1 where there is none."""
        with contextlib.ExitStack() as stack:
            lower_fd = -1 if parent is None else stack.enter_context(self.view(parent))
            yield stack.enter_context(self._directories.opened(number)), lower_fd

    def _beneath(self, row: SnapshotRow) -> list[str]:
        """Directories beneath its own, top first, with overlayfs."""
        lower = self._lower(row.parent)
        if not row.furnished:
            return lower
        top = 0 if row.parent is None else self._chain(row.parent).id
        return [self._furniture.layer(top, lower), *lower]

    def _lower(self, parent: str | None) -> list[str]:
        """Directories beneath, top first. Overlayfs wants one at least: an empty one then."""
        found = []
        chain = parent
        while chain is not None:
            row = self._committed[chain]
            found.append(self._directories.fs(row.id))
            chain = row.parent
        return found or [self._directories.empty]

    # Rows

    def _find_active(self, active: str) -> SnapshotRow:
        with self._lock:
            row = self._active.get(active)
        if row is None:
            raise NotFound(f"no such snapshot: {active}")
        return row

    def _chain(self, chain: str) -> SnapshotRow:
        row = self._committed.get(chain)
        if row is None:
            raise NotFound(f"no such layer: {chain}")
        return row

    def _committed_of(self, chain: str) -> Committed:
        with self._lock:
            row = self._chain(chain)
        return Committed(chain, str(row.diff_id), row.size)

    def _refuse_if_used(self, chain: str) -> None:
        rows = (*self._committed.values(), *self._active.values())
        if chain in self._viewed or any(row.parent == chain for row in rows):
            raise Conflict(f"layer {chain} is in use")

    def _forget_layer(self, row: SnapshotRow) -> None:
        """What the cache knows of it, and its blob unless another chain has the same layer."""
        self._database.delete_cache_of_chain(str(row.chain_id))
        if all(other.diff_id != row.diff_id for other in self._committed.values()):
            self._bytes.forget(str(row.diff_id))

    @contextlib.contextmanager
    def _alone(self, chain: str) -> Iterator[None]:
        """One thread at a time per chain: two pulls of one layer unpack it once."""
        with self._unlocked:
            self._unlocked.wait_for(lambda: chain not in self._being_unpacked)
            self._being_unpacked.add(chain)
        try:
            yield
        finally:
            with self._unlocked:
                self._being_unpacked.discard(chain)
                self._unlocked.notify_all()

    # Opening

    def _decide_kind(self, data_root: str) -> bool:
        kind = self._database.meta("snapshots")
        probe = os.path.join(data_root, "probe")
        self._directories.throw_path(probe)  # a crash may have left one, half done
        try:
            works = overlay.is_supported(probe)
        except OSError as error:  # what gives room back needs us: as it was, it is believed to be
            if kind is None:
                raise EngineFailure(f"cannot prepare {data_root}: {error.strerror}") from error
            works = kind == "overlay"
        self._directories.throw_path(probe)
        if kind is None:
            kind = "overlay" if works else "copy"
            self._database.put_meta("snapshots", kind)
        if kind == "overlay" and not works:
            raise EngineFailure(
                f"{data_root} holds overlay layers, and this kernel refuses overlay"
            )
        return kind == "overlay"

    def _load(self) -> None:
        """Believe the rows that can be believed, throw away everything that no row is about."""
        rows = parents_first(self._database.snapshots())
        rebooted = self._database.meta("boot_id") not in (None, boot_id())
        lost = lost_snapshots(rows, self._directories.numbers(), rebooted=rebooted)
        for row in rows:
            if row.id in lost:
                _log.warning("drop snapshot=%s chain=%s reason=lost", row.id, row.chain_id)
                self._database.delete_snapshot(row.id)
                self.lost.append(row.chain_id or str(row.id))
            elif row.chain_id is None:
                self._active[str(row.id)] = row
            else:
                self._committed[row.chain_id] = row
        self._inherited = frozenset(self._active)
        known = {row.id for row in rows} - lost
        self._directories.sweep(known, self._database.last_snapshot_id())
        self._furniture.sweep(set() if rebooted else {0, *known})
        self._bytes.forget_all_but({str(row.diff_id) for row in self._committed.values()})
        for record in self._database.cache_records():
            if record.chain_id and record.chain_id not in self._committed:
                self._database.delete_cache(record.key)
        self._database.put_meta("boot_id", boot_id())
        self._directories.background.do(self._database.take_headroom)


def _chain_id(parent: str | None, diff_id: str) -> str:
    return diff_id if parent is None else digest_of(f"{parent} {diff_id}".encode())


def _is_kept_in_copy(key: str) -> bool:
    """Of overlayfs's own attributes only "opaque" means something to a second directory."""
    return key == unpack.OPAQUE or not key.startswith("trusted.overlay.")


def _file_bytes(difference: Difference) -> int:
    status = difference.status
    return 0 if status is None or stat.S_ISDIR(status.st_mode) else status.st_size

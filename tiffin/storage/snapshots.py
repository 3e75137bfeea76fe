"""Snapshots: directory trees, committed (named by chain ID, never changed again) or active.

DATA_ROOT/snapshots/<n>/fs is the tree, or with overlayfs what it says about the one beneath;
<n>/work is overlayfs's own. A row in the database makes a directory a snapshot; a directory without
a row is rubbish. So a commit is one row, and a crash leaves rubbish that the next `open` removes.
Whether DATA_ROOT works by overlayfs or by full copies is decided once, when it is made.

Files of committed snapshots are not synced one by one: `settle` does it for all new ones together,
before an image's row names them. A snapshot that was not settled when the machine went down is gone
after the reboot, with the cache records and snapshots that stand on it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

from isal import isal_zlib

from tiffin.core.image import DOCKER_LAYER_GZIP, Descriptor, digest_of
from tiffin.core.workload import Overlay
from tiffin.errors import Conflict, EngineFailure, InvalidArgument, NotFound
from tiffin.kernel import mounts, rootpath
from tiffin.storage import compression, failpoints, jail, layers, overlay, unpack
from tiffin.storage.background import Background
from tiffin.storage.blobs import BlobStore, ContentMismatch, no_space_is_named
from tiffin.storage.database import Database, LayerBlob, SnapshotRow
from tiffin.storage.layers import Change, Difference
from tiffin.storage.trash import Trash

_log = logging.getLogger(__name__)

_GZIP_LEVEL = 2
_GZIP_WINDOW = 31  # zlib's way to say "with gzip's header"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ_BYTES = 1 << 18
_SPARES = 4


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
        self._root = os.path.join(data_root, "snapshots")
        self._empty = os.path.join(self._root, "empty")
        self._lock = threading.Lock()
        self._unlocked = threading.Condition(self._lock)
        self._being_unpacked: set[str] = set()
        self._viewed: dict[str, int] = {}
        self._active: dict[str, SnapshotRow] = {}
        self._committed: dict[str, SnapshotRow] = {}
        os.makedirs(self._empty, exist_ok=True)
        os.chmod(self._root, 0o700)
        self._background = Background()
        self._trash = Trash(os.path.join(data_root, "trash"), self._background)
        self._overlay = self._decide_kind(data_root)
        self._spares: deque[int] = deque()  # directories made ahead: mkdir is slow on some disks
        self._load()
        self._background.do(self._make_spares)
        database.settle = self.settle

    @property
    def uses_overlay(self) -> bool:
        return self._overlay

    def close(self) -> None:
        self._background.close()
        self._trash.close()

    def wait_for_trash(self, timeout_seconds: float | None = None) -> bool:
        """Until all that was removed has left the disk too."""
        return self._background.wait(timeout_seconds)

    # Active snapshots

    def prepare(self, parent: str | None) -> str:
        """A new active snapshot on the committed chain `parent` (None: on nothing); its id."""
        with self._lock:
            below = None if parent is None else self._chain(parent)
        number = self._take_spare()
        try:
            self._fill_directory(number, below)
            row = SnapshotRow(number, None, None, parent, 0, 0, False)
            with self._lock:
                if parent is not None:
                    self._chain(parent)  # removed meanwhile?
                self._database.put_snapshot(row)
                self._active[str(number)] = row
        except BaseException:
            self._throw(number)
            raise
        return str(number)

    def overlay(self, active: str) -> Overlay:
        """The directories to mount. Where DATA_ROOT works by copies `upper` is all, `lower` ()."""
        row = self._find_active(active)
        return Overlay(
            lower=tuple(self._lower(row.parent)) if self._overlay else (),
            upper=self._fs(row.id),
            work=self._work(row.id),
        )

    @contextlib.contextmanager
    def mounted(self, active: str, *, read_only: bool = False) -> Iterator[int]:
        """A directory descriptor of the merged tree, attached nowhere.

        Not to be written to while a container has the snapshot mounted; reading is fine then, and
        shows what is there now.
        """
        row = self._find_active(active)
        with self._tree(row, read_only=read_only) as fd:
            yield fd

    def commit(self, active: str, *, latest_ns: int | None = None) -> Committed:
        """Make the active snapshot a committed one, without copying; the active id is gone after.

        Where the same chain exists already ours is dropped. `latest_ns` limits modification times.
        """
        row = self._find_active(active)
        committed = self._commit_directory(row.id, row.parent, latest_ns)
        with self._lock:
            self._active.pop(active, None)
        return committed

    def commit_copy(self, active: str) -> Committed:
        """Commit what the active snapshot, a container's, holds now; it goes on.

        Mount points that the container's start has made are no part of it, here and in `changes`.
        """
        row = self._find_active(active)
        number = self._take_spare()
        try:
            self._copy_upper(row, number)
            with self._lower_view(row.parent) as lower_fd, self._opened(number) as fd:
                layers.remove_mount_points(fd, lower_fd, drop_copied_up=self._overlay)
            return self._commit_directory(number, row.parent, None)
        except BaseException:
            self._throw(number)
            raise

    def changes(self, active: str) -> list[Change]:
        """As `docker diff` shows them."""
        row = self._find_active(active)
        with self._lower_view(row.parent) as lower_fd, self._opened(row.id) as upper_fd:
            found = self._differences(upper_fd, lower_fd)
            found = layers.without_mount_points(found, upper_fd, lower_fd)
            return layers.changes(found, lower_fd)

    def usage(self, active: str) -> int:
        """Bytes in the files that the snapshot has of its own."""
        row = self._find_active(active)
        with self._opened(row.id) as fd:
            if self._overlay or row.parent is None:
                return layers.content_bytes(fd)
            with self._lower_view(row.parent) as lower_fd:
                found = self._differences(fd, lower_fd)
                return sum(_file_bytes(difference) for difference in found)

    def actives(self) -> list[str]:
        with self._lock:
            return list(self._active)

    # Committed snapshots

    @contextlib.contextmanager
    def view(self, chain: str) -> Iterator[int]:
        """A read-only directory descriptor of a chain's merged tree, which stays while viewed."""
        with self._lock:
            row = self._chain(chain)
            self._viewed[chain] = self._viewed.get(chain, 0) + 1
        try:
            with self._tree(row, read_only=True) as fd:
                yield fd
        finally:
            with self._lock:
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
            if self.exists(chain):
                self._keep_source(diff_id, source)
                return self._committed_of(chain)
            number = self._take_spare()
            try:
                unpacked = self._unpack_into(number, blob, parent)
                if unpacked.diff_id != diff_id:
                    raise ContentMismatch(
                        f"layer has diff ID {unpacked.diff_id}, its image says {diff_id}"
                    )
                failpoints.reach("layer-unpacked")
                self._keep_source(diff_id, source)
                row = SnapshotRow(
                    number, chain, diff_id, parent, unpacked.size, unpacked.content_bytes, False
                )
                return self._put_committed(row)
            except BaseException:
                self._throw(number)
                raise

    def _unpack_foreign(
        self, blob: BinaryIO, media_type: str, parent: str | None, diff_id: str
    ) -> Committed:
        with self._blobs.ingest() as ingest:
            for data in _chunks(blob):
                ingest.write(data)
        stored = Descriptor(media_type, ingest.digest, ingest.size)
        try:
            return self.unpack_stored(stored, parent, diff_id)
        finally:
            kept = self._database.find_layer_blob(diff_id)
            if kept is None or kept.digest != stored.digest:
                self._blobs.remove(stored.digest)

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
        with self._lock:
            row = self._chain(chain)
        check = hashlib.sha256()

        def write(data: bytes) -> None:
            check.update(data)
            out.write(data)

        kept = self._database.find_layer_blob(str(row.diff_id))
        if kept is not None and self._blobs.exists(kept.digest):
            self._write_from_blob(kept, write)
        else:
            with self._lower_view(row.parent) as lower_fd, self._opened(row.id) as fd:
                layers.write_tar(fd, self._differences(fd, lower_fd), write)
        if "sha256:" + check.hexdigest() != row.diff_id:
            raise EngineFailure(f"layer {row.diff_id} is damaged")

    def layer_blob(self, chain: str) -> Descriptor:
        """The layer compressed, as a stored blob: the one that it came from, or made now."""
        with self._lock:
            row = self._chain(chain)
        diff_id = str(row.diff_id)
        kept = self._database.find_layer_blob(diff_id)
        if kept is not None and kept.digest != diff_id and self._blobs.exists(kept.digest):
            return Descriptor(kept.media_type, kept.digest, kept.size)
        with self._blobs.ingest() as ingest:
            out = _Gzip(ingest.write)
            self.write_layer(chain, out)
            out.finish()
        made = Descriptor(DOCKER_LAYER_GZIP, ingest.digest, ingest.size)
        self._database.put_layer_blob(LayerBlob(diff_id, made.digest, made.media_type, made.size))
        if kept is not None:
            self._blobs.remove(
                kept.digest
            )  # it was the plain tar, of which this one gives the bytes
        return made

    def export(self, snapshot: str, out: Any) -> None:
        """The whole merged tree of an active snapshot or a chain as a tar, to `out.write`."""
        tree = self.view(snapshot) if ":" in snapshot else self.mounted(snapshot, read_only=True)
        with tree as fd:
            layers.write_tar(fd, layers.tree(fd), out.write)

    def remove(self, snapshot: str) -> None:
        """Remove an active snapshot or a chain's topmost layer. Idempotent; files go in background.

        Raises Conflict for a committed one that something stands on or looks at.
        """
        with self._lock:
            row = self._active.pop(snapshot, None)
            if row is None:
                row = self._committed.get(snapshot)
                if row is None:
                    return
                self._refuse_if_used(snapshot)
                del self._committed[snapshot]
            self._database.delete_snapshot(row.id)
            if row.chain_id is not None:
                self._forget_layer(row)
        self._throw(row.id)

    def prune(self, keep: Iterable[str]) -> list[str]:
        """Remove each chain that is not in `keep`, nor beneath one of those or a used snapshot."""
        with self._lock:
            needed: set[str] = set()
            tops = [row.parent for row in self._active.values()]
            for top in (*keep, *tops, *self._viewed, *self._being_unpacked):
                chain = top
                while chain is not None and chain not in needed and chain in self._committed:
                    needed.add(chain)
                    chain = self._committed[chain].parent
            unneeded = [chain for chain in reversed(self._committed) if chain not in needed]
        removed = []
        for chain in unneeded:
            with contextlib.suppress(Conflict):
                self.remove(chain)
                removed.append(chain)
        return removed

    def settle(self) -> None:
        """Bring all committed snapshots to the disk. Free where there is nothing new."""
        with self._lock:
            new = [row for row in self._committed.values() if not row.settled]
        if not new:
            return
        with self._directory(self._root) as fd:
            mounts.syncfs(fd)
        failpoints.reach("snapshots-synced")
        self._database.settle_snapshots([row.id for row in new])
        with self._lock:
            for row in new:
                if row.chain_id in self._committed:
                    self._committed[row.chain_id] = row._replace(settled=True)

    # Making and committing directories

    def _take_spare(self) -> int:
        """An empty snapshot directory, from the stock if there is one."""
        self._background.do(self._make_spares)
        try:
            return self._spares.popleft()
        except IndexError:
            return self._make_directory()

    def _make_spares(self) -> None:
        while len(self._spares) < _SPARES and not self._background.closing:
            self._spares.append(self._make_directory())
        self._database.checkpoint_beside()

    def _make_directory(self) -> int:
        """A directory with fs and work. It has no row yet, so it is rubbish until it gets one."""
        with self._lock:
            self._last_number += 1
            number = self._last_number
        with no_space_is_named("make snapshot"):
            os.mkdir(self._path(number), 0o700)
            os.mkdir(self._fs(number), 0o755)
            os.chmod(self._fs(number), 0o755)
            os.mkdir(self._work(number), 0o700)
        return number

    def _fill_directory(self, number: int, below: SnapshotRow | None) -> None:
        """The root of fs gets the attributes of the root beneath; without overlayfs, all of it."""
        if below is None:
            return
        if not self._overlay:
            with no_space_is_named("copy snapshot"):
                self._copy(self._fs(below.id), number, keep_xattr=None)
            return
        status = os.stat(self._fs(below.id))
        if (status.st_uid, status.st_gid) != (0, 0):
            os.chown(self._fs(number), status.st_uid, status.st_gid)
        if stat.S_IMODE(status.st_mode) != 0o755:
            os.chmod(self._fs(number), stat.S_IMODE(status.st_mode))

    def _copy_upper(self, row: SnapshotRow, number: int) -> None:
        with no_space_is_named("copy snapshot"):
            self._copy(self._fs(row.id), number, keep_xattr=_is_kept_in_copy)

    def _copy(self, source: str, number: int, *, keep_xattr: Callable[[str], bool] | None) -> None:
        with self._directory(source) as source_fd, self._opened(number) as target_fd:
            rootpath.copy_tree(source_fd, "", target_fd, "", keep_xattr=keep_xattr)

    def _unpack_into(self, number: int, blob: BinaryIO, parent: str | None) -> jail.Unpacked:
        with self._lower_view(parent) as lower_fd:
            self._fill_directory(number, None if parent is None else self._committed[parent])
            with self._opened(number) as fd:
                return jail.unpack(
                    blob,
                    fd,
                    lower_fd=lower_fd if self._overlay else -1,
                    whiteouts=unpack.OVERLAY if self._overlay else unpack.APPLY,
                )

    def _commit_directory(
        self, number: int, parent: str | None, latest_ns: int | None
    ) -> Committed:
        with self._lower_view(parent) as lower_fd, self._opened(number) as fd:
            if latest_ns is not None:
                layers.clamp_times(fd, latest_ns)
            layer = layers.hash_layer(fd, self._differences(fd, lower_fd))
        chain = _chain_id(parent, layer.diff_id)
        failpoints.reach("layer-hashed")
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
            self._trash.throw(self._work(row.id))
        else:
            self._throw(row.id)
        return self._committed_of(chain)

    def _differences(self, tree_fd: int, lower_fd: int) -> Iterator[Difference]:
        make = layers.differences if self._overlay else layers.comparison
        return make(tree_fd, lower_fd)

    def _keep_source(self, diff_id: str, source: Descriptor | None) -> None:
        if source is None or self._database.find_layer_blob(diff_id) is not None:
            return
        self._database.put_layer_blob(
            LayerBlob(diff_id, source.digest, source.media_type, source.size)
        )

    def _write_from_blob(self, kept: LayerBlob, write: Callable[[bytes], None]) -> None:
        with self._blobs.open(kept.digest) as file:
            first = file.read(compression.MAGIC_BYTES)
            file.seek(0)
            try:
                for chunk in compression.decoder_for(first)(_chunks(file)):
                    write(chunk)
            except InvalidArgument as error:
                raise EngineFailure(f"blob {kept.digest} is damaged") from error

    # Merged trees

    @contextlib.contextmanager
    def _tree(self, row: SnapshotRow, *, read_only: bool) -> Iterator[int]:
        if not self._overlay:
            with self._directory(self._fs(row.id)) as fd:
                yield fd
        elif read_only:
            lower = [self._fs(row.id), *self._lower(row.parent)]
            with overlay.merged(lower) as fd:
                yield fd
        else:
            lower = self._lower(row.parent)
            with overlay.merged(lower, self._fs(row.id), self._work(row.id)) as fd:
                yield fd

    @contextlib.contextmanager
    def _lower_view(self, parent: str | None) -> Iterator[int]:
        if parent is None:
            yield -1
        else:
            with self.view(parent) as fd:
                yield fd

    def _lower(self, parent: str | None) -> list[str]:
        """Directories beneath, top first. Overlayfs wants one at least: an empty one then."""
        found = []
        chain = parent
        while chain is not None:
            row = self._committed[chain]
            found.append(self._fs(row.id))
            chain = row.parent
        return found or [self._empty]

    @contextlib.contextmanager
    def _opened(self, number: int) -> Iterator[int]:
        with self._directory(self._fs(number)) as fd:
            yield fd

    @contextlib.contextmanager
    def _directory(self, path: str) -> Iterator[int]:
        fd = os.open(path, _DIRECTORY)
        try:
            yield fd
        finally:
            os.close(fd)

    # Names and numbers

    def _path(self, number: int) -> str:
        return f"{self._root}/{number}"

    def _fs(self, number: int) -> str:
        return f"{self._root}/{number}/fs"

    def _work(self, number: int) -> str:
        return f"{self._root}/{number}/work"

    def _throw(self, number: int) -> None:
        self._trash.throw(self._path(number))

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
        diff_id = str(row.diff_id)
        if any(other.diff_id == diff_id for other in self._committed.values()):
            return
        kept = self._database.find_layer_blob(diff_id)
        if kept is not None:
            self._database.delete_layer_blob(diff_id)
            self._blobs.remove(kept.digest)

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
        works = overlay.is_supported(probe)
        self._trash.throw(probe)
        if kind is None:
            kind = "overlay" if works else "copy"
            self._database.put_meta("snapshots", kind)
        if kind == "overlay" and not works:
            raise EngineFailure(
                f"{data_root} holds overlay layers, and this kernel refuses overlay"
            )
        return kind == "overlay"

    def _load(self) -> None:
        rows = {row.id: row for row in self._database.snapshots()}
        names = set(os.listdir(self._root)) - {"empty"}
        self._last_number = max(
            [self._database.last_snapshot_id(), *(int(name) for name in names if name.isdigit())]
        )
        for row in self._lost(rows, names):
            _log.warning("drop snapshot=%s chain=%s reason=lost", row.id, row.chain_id)
            self._database.delete_snapshot(row.id)
            del rows[row.id]
        for name in names - {str(number) for number in rows}:
            self._trash.throw(os.path.join(self._root, name))
        for row in rows.values():
            if row.chain_id is None:
                self._active[str(row.id)] = row
            else:
                self._committed[row.chain_id] = row
        for record in self._database.cache_records():
            if record.chain_id and record.chain_id not in self._committed:
                self._database.delete_cache(record.key)
        self._database.put_meta("boot_id", _boot_id())

    def _lost(self, rows: Mapping[int, SnapshotRow], names: set[str]) -> list[SnapshotRow]:
        """Rows whose files a power loss may have taken, or that are gone, and what needs them."""
        rebooted = self._database.meta("boot_id") not in (None, _boot_id())
        lost: list[SnapshotRow] = []
        lost_chains: set[str] = set()
        for row in sorted(rows.values()):  # a parent's number is lower than its children's
            unsettled = rebooted and row.chain_id is not None and not row.settled
            if unsettled or str(row.id) not in names or row.parent in lost_chains:
                lost.append(row)
                if row.chain_id is not None:
                    lost_chains.add(row.chain_id)
        return lost


class _Gzip:
    """A file to write to that compresses; deterministic, as its header has no time."""

    def __init__(self, write: Callable[[bytes], object]):
        self._write = write
        self._compressor = isal_zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WINDOW)

    def write(self, data: bytes) -> None:
        self._write(self._compressor.compress(data))

    def finish(self) -> None:
        self._write(self._compressor.flush())


def _chain_id(parent: str | None, diff_id: str) -> str:
    return diff_id if parent is None else digest_of(f"{parent} {diff_id}".encode())


def _is_kept_in_copy(key: str) -> bool:
    """Of overlayfs's own attributes only "opaque" means something to a second directory."""
    return key == unpack.OPAQUE or not key.startswith("trusted.overlay.")


def _file_bytes(difference: Difference) -> int:
    status = difference.status
    return 0 if status is None or stat.S_ISDIR(status.st_mode) else status.st_size


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while data := file.read(_READ_BYTES):
        yield data


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()

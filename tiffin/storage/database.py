"""The database: what was asked for and the last known state, in one SQLite file.

Rows in, core types out. One connection behind one lock, so any thread may call; a method is one
transaction. Two degrees of durability: rows of images, tags, volumes and networks are on the disk
when the method returns; rows of containers, snapshots and the build cache survive a crash of the
daemon but may be lost, the last first, when the power fails. `settle` is called before an image's
row is written, so that no row that lasts ever names a snapshot that does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from tiffin.core.container import Container, Volume
from tiffin.errors import Conflict, EngineFailure
from tiffin.storage.headroom import Headroom, leave_stand_in, remove_stand_in

_log = logging.getLogger(__name__)

# Each takes the schema from version n+1 to n+2.
MIGRATIONS: tuple[str, ...] = (
    # 1: a container's, which stands on a layer of furniture (storage.furniture)
    "ALTER TABLE snapshots ADD COLUMN furnished INTEGER NOT NULL DEFAULT 0",
)
_WRITES_A_CHECKPOINT = 400  # some megabytes of log
_SCHEMA = os.path.join(os.path.dirname(__file__), "schema.sql")

_container = msgspec.json.Decoder(Container)
_volume = msgspec.json.Decoder(Volume)


class ImageRow(NamedTuple):
    id: str
    config_digest: str
    size: int
    created_ns: int
    manifest_digest: str


class CacheRecord(NamedTuple):
    """A build step's result, by its key. `config_json` is the builder's own."""

    key: str
    chain_id: str
    diff_id: str
    config_json: bytes
    description: str
    created_ns: int


class SnapshotRow(NamedTuple):
    id: int
    chain_id: str | None  # None: active
    diff_id: str | None
    parent: str | None
    size: int
    content_bytes: int
    settled: bool
    furnished: bool = False


class LayerBlob(NamedTuple):
    diff_id: str
    digest: str
    media_type: str
    size: int


class Database:
    """Open with a path; `settle` may be set afterwards."""

    def __init__(self, path: str):
        self._path = path
        self._lock = threading.RLock()
        remove_stand_in(path)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.settle: Callable[[], None] = lambda: None
        self._writes = 0  # since the last checkpoint
        self.durable_writes = 0  # what was read of images, tags, ... holds until it changes
        self._headroom = Headroom(self._connection, path)
        with _as_failures("open"):
            self._connection.execute("PRAGMA journal_mode = WAL")
            # Checkpoints cost an fsync, so they happen beside, not on a container's start.
            self._connection.execute("PRAGMA wal_autocheckpoint = 0")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._migrate()
            is_new = not self._headroom.has_pages()
        if is_new:
            self.take_headroom()

    def take_headroom(self) -> None:
        """Room for the rows of what exists, whatever becomes of the disk. Takes some 10 ms."""
        with self._lock, _as_failures("write"):
            if not self._headroom.take():
                _log.warning("the disk is full: until there is room, rows may not be kept")
        self.checkpoint_beside(after_writes=0)

    def close(self) -> None:
        with self._lock:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            leave_stand_in(self._path)

    def checkpoint_beside(self, *, after_writes: int = _WRITES_A_CHECKPOINT) -> None:
        """Move the log into the file on another connection: nobody waits for its fsyncs.

        Only when `after_writes` or more have come since the last one.
        """
        if self._writes < after_writes:
            return
        self._writes = 0
        with (
            contextlib.suppress(OSError, sqlite3.Error),
            contextlib.closing(sqlite3.connect(self._path)) as connection,
        ):
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    # meta

    def put_meta(self, key: str, value: str) -> None:
        self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, value)

    def meta(self, key: str) -> str | None:
        row = self._one("SELECT value FROM meta WHERE key = ?", key)
        return None if row is None else str(row[0])

    # Images

    def put_image(
        self,
        image_id: str,
        config_digest: str,
        size: int,
        created_ns: int,
        manifest_digest: str = "",
    ) -> None:
        """Idempotent. Everything that the image is made of is on the disk before its row is."""
        self.settle()
        self._write_durably(
            "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?)",
            image_id,
            config_digest,
            size,
            created_ns,
            manifest_digest,
        )

    def find_image(self, image_id: str) -> ImageRow | None:
        row = self._one("SELECT * FROM images WHERE id = ?", image_id)
        return None if row is None else ImageRow(*row)

    def images(self) -> list[ImageRow]:
        return [ImageRow(*row) for row in self._all("SELECT * FROM images ORDER BY id")]

    def delete_image(self, image_id: str) -> None:
        """With its tags and repo digests."""
        queries = (
            "DELETE FROM tags WHERE image_id = ?",
            "DELETE FROM repo_digests WHERE image_id = ?",
            "DELETE FROM images WHERE id = ?",
        )
        self._transact([(query, (image_id,)) for query in queries], durable=True)

    def put_tag(self, reference: str, image_id: str) -> None:
        self._write_durably("INSERT OR REPLACE INTO tags VALUES (?, ?)", reference, image_id)

    def tag(self, reference: str) -> str | None:
        row = self._one("SELECT image_id FROM tags WHERE reference = ?", reference)
        return None if row is None else str(row[0])

    def tags(self) -> dict[str, str]:
        return dict(self._all("SELECT reference, image_id FROM tags ORDER BY reference"))

    def delete_tag(self, reference: str) -> None:
        self._write_durably("DELETE FROM tags WHERE reference = ?", reference)

    def put_repo_digest(self, name: str, digest: str, image_id: str) -> None:
        self._write_durably(
            "INSERT OR REPLACE INTO repo_digests VALUES (?, ?, ?)", name, digest, image_id
        )

    def repo_digests(self, image_id: str) -> list[str]:
        """As "name@sha256:..."."""
        query = "SELECT name, digest FROM repo_digests WHERE image_id = ? ORDER BY name, digest"
        return [f"{name}@{digest}" for name, digest in self._all(query, image_id)]

    def image_of_repo_digest(self, name: str, digest: str) -> str | None:
        query = "SELECT image_id FROM repo_digests WHERE name = ? AND digest = ?"
        row = self._one(query, name, digest)
        return None if row is None else str(row[0])

    def delete_repo_digest(self, name: str, digest: str) -> None:
        self._write_durably("DELETE FROM repo_digests WHERE name = ? AND digest = ?", name, digest)

    # Containers

    def put_container(self, container: Container) -> None:
        """Insert or update. Raises Conflict if another container has the name."""
        record = msgspec.json.encode(container).decode()
        query = (
            "INSERT INTO containers VALUES (?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET name = excluded.name, record = excluded.record"
        )
        try:
            self._write(query, container.id, container.name, record)
        except sqlite3.IntegrityError as error:
            holder = self.container_by_name(container.name)
            by = f' by container "{holder.id}"' if holder else ""
            raise Conflict(
                f'Conflict. The container name "/{container.name}" is already in use{by}. '
                "You have to remove (or rename) that container to be able to reuse that name."
            ) from error

    def find_container(self, container_id: str) -> Container | None:
        row = self._one("SELECT record FROM containers WHERE id = ?", container_id)
        return None if row is None else _container.decode(row[0])

    def container_by_name(self, name: str) -> Container | None:
        row = self._one("SELECT record FROM containers WHERE name = ?", name)
        return None if row is None else _container.decode(row[0])

    def containers(self) -> list[Container]:
        """Those whose records can be read; `damaged` names the others."""
        return list(_readable(_container, self._all("SELECT record FROM containers")))

    def delete_container(self, container_id: str) -> None:
        self._write("DELETE FROM containers WHERE id = ?", container_id)

    # Volumes and networks

    def put_volume(self, volume: Volume) -> None:
        record = msgspec.json.encode(volume).decode()
        self._write_durably("INSERT OR REPLACE INTO volumes VALUES (?, ?)", volume.name, record)

    def find_volume(self, name: str) -> Volume | None:
        row = self._one("SELECT record FROM volumes WHERE name = ?", name)
        return None if row is None else _volume.decode(row[0])

    def volumes(self) -> list[Volume]:
        """Those whose records can be read; `damaged` names the others."""
        return list(_readable(_volume, self._all("SELECT record FROM volumes ORDER BY name")))

    def delete_volume(self, name: str) -> None:
        self._write_durably("DELETE FROM volumes WHERE name = ?", name)

    def put_network(self, name: str, record: bytes) -> None:
        """`record` is JSON, the engine's own."""
        self._write_durably("INSERT OR REPLACE INTO networks VALUES (?, ?)", name, record.decode())

    def find_network(self, name: str) -> bytes | None:
        row = self._one("SELECT record FROM networks WHERE name = ?", name)
        return None if row is None else str(row[0]).encode()

    def networks(self) -> dict[str, bytes]:
        rows = self._all("SELECT name, record FROM networks ORDER BY name")
        return {name: record.encode() for name, record in rows}

    def delete_network(self, name: str) -> None:
        self._write_durably("DELETE FROM networks WHERE name = ?", name)

    # Records that cannot be read

    def damaged(self) -> list[tuple[str, str]]:
        """(table, key) of each."""
        return [
            (table, key)
            for table, (column, decoder) in _RECORDS.items()
            for key, record in self._all(f"SELECT {column}, record FROM {table}")  # noqa: S608
            if not list(_readable(decoder, [(record,)]))
        ]

    def set_aside(self, table: str, key: str) -> None:
        """Take a record out, into a file beside the database. Idempotent."""
        column, _ = _RECORDS[table]
        row = self._one(f"SELECT record FROM {table} WHERE {column} = ?", key)  # noqa: S608
        if row is None:
            return
        directory = os.path.join(os.path.dirname(self._path), "damaged")
        os.makedirs(directory, mode=0o700, exist_ok=True)
        name = f"{table}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
        with open(os.path.join(directory, name), "wb") as file:
            file.write(row[0] if isinstance(row[0], bytes) else str(row[0]).encode())
        self._write(f"DELETE FROM {table} WHERE {column} = ?", key)  # noqa: S608

    # Build cache

    def put_cache(self, record: CacheRecord) -> None:
        self._write("INSERT OR REPLACE INTO build_cache VALUES (?, ?, ?, ?, ?, ?)", *record)

    def find_cache(self, key: str) -> CacheRecord | None:
        row = self._one("SELECT * FROM build_cache WHERE key = ?", key)
        return None if row is None else CacheRecord(*row)

    def cache_records(self) -> list[CacheRecord]:
        rows = self._all("SELECT * FROM build_cache ORDER BY created_ns")
        return [CacheRecord(*row) for row in rows]

    def delete_cache(self, key: str) -> None:
        self._write("DELETE FROM build_cache WHERE key = ?", key)

    def delete_cache_of_chain(self, chain_id: str) -> None:
        self._write("DELETE FROM build_cache WHERE chain_id = ?", chain_id)

    # Snapshots: storage.snapshots' own

    def last_snapshot_id(self) -> int:
        row = self._one("SELECT seq FROM sqlite_sequence WHERE name = 'snapshots'")
        return 0 if row is None else int(row[0])

    def snapshots(self) -> list[SnapshotRow]:
        return [SnapshotRow(*row) for row in self._all("SELECT * FROM snapshots ORDER BY id")]

    def put_snapshot(self, row: SnapshotRow) -> None:
        self._write("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row)

    def delete_snapshot(self, snapshot_id: int) -> None:
        self._write("DELETE FROM snapshots WHERE id = ?", snapshot_id)

    def settle_snapshots(self, snapshot_ids: list[int]) -> None:
        query = "UPDATE snapshots SET settled = 1 WHERE id = ?"
        self._transact([(query, (snapshot_id,)) for snapshot_id in snapshot_ids])

    def put_layer_blob(self, blob: LayerBlob) -> None:
        self._write("INSERT OR REPLACE INTO layer_blobs VALUES (?, ?, ?, ?)", *blob)

    def find_layer_blob(self, diff_id: str) -> LayerBlob | None:
        row = self._one("SELECT * FROM layer_blobs WHERE diff_id = ?", diff_id)
        return None if row is None else LayerBlob(*row)

    def layer_blobs(self) -> list[LayerBlob]:
        return [LayerBlob(*row) for row in self._all("SELECT * FROM layer_blobs")]

    def delete_layer_blob(self, diff_id: str) -> None:
        self._write("DELETE FROM layer_blobs WHERE diff_id = ?", diff_id)

    # How it is done

    def _migrate(self) -> None:
        version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        with open(_SCHEMA, encoding="utf-8") as file:
            steps = (file.read(), *MIGRATIONS)
        if version > len(steps):
            raise EngineFailure(
                f"the database has schema {version}, written by a newer tiffin; "
                f"this one knows {len(steps)}"
            )
        for number, step in enumerate(steps[version:], start=version + 1):
            # One transaction with the version in it: a crash repeats the step or has it whole.
            self._connection.executescript(
                f"BEGIN; {step}; PRAGMA user_version = {number}; COMMIT;"
            )

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        with self._lock, _as_failures("read"):
            row: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
            return row

    def _all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, _as_failures("read"):
            return self._connection.execute(query, values).fetchall()

    def _write(self, query: str, *values: object) -> None:
        with self._lock, _as_failures("write"):
            self._with_headroom(lambda: self._connection.execute(query, values))

    def _write_durably(self, query: str, *values: object) -> None:
        self._transact([(query, values)], durable=True)

    def _transact(
        self, statements: Sequence[tuple[str, tuple[object, ...]]], *, durable: bool = False
    ) -> None:
        """All of them or none."""
        with self._lock, _as_failures("write"):
            if durable:  # an fsync of the log at COMMIT, which takes all rows before it along
                self._connection.execute("PRAGMA synchronous = FULL")
            try:
                self._with_headroom(lambda: self._execute_all(statements))
            finally:
                if durable:
                    self.durable_writes += 1
                    self._connection.execute("PRAGMA synchronous = NORMAL")

    def _execute_all(self, statements: Sequence[tuple[str, tuple[object, ...]]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for query, values in statements:
                self._connection.execute(query, values)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # some failures have rolled it back
                self._connection.execute("ROLLBACK")
            raise

    def _with_headroom(self, write: Callable[[], object]) -> None:
        self._writes += 1
        try:
            write()
        except sqlite3.OperationalError as error:
            if not _is_full(error):
                raise
            try:
                self._headroom.renew()
            except sqlite3.Error:
                raise error from None
            write()


@contextlib.contextmanager
def _as_failures(verb: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.Error as error:
        words = "no space left on device" if _is_full(error) else str(error)
        raise EngineFailure(f"cannot {verb} the database: {words}") from error


def _is_full(error: sqlite3.Error) -> bool:
    return bool(getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL)


_T = TypeVar("_T")
_RECORDS: dict[str, tuple[str, msgspec.json.Decoder[Any]]] = {
    "containers": ("id", _container),
    "volumes": ("name", _volume),
}


def _readable(decoder: msgspec.json.Decoder[_T], rows: Iterable[tuple[Any, ...]]) -> Iterator[_T]:
    for (record,) in rows:
        with contextlib.suppress(msgspec.DecodeError, UnicodeError, TypeError):
            yield decoder.decode(record)

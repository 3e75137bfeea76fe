"""A directory tree becomes a tar: all of it, as `cp` and `export` give it away, or a layer.

Deterministic: entries come in the order that they are found in, with no clock and no names of
owners. What a layer cannot say is left out of one or refused: whiteouts are its own words, and who
unpacks it opens files by their paths.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tiffin.kernel import rootpath
from tiffin.storage import tar
from tiffin.storage.idmap import IdMap
from tiffin.storage.unpack import OPAQUE_NAME, WHITEOUT_PREFIX

# As long as any path, in a container of any depth; what is deeper would be its archive's most part.
MAX_NAME_BYTES = 1 << 16
_MAX_PATH_BYTES = 4094  # what the kernel opens, with the "/" before and the zero behind
_READ_BYTES = 1 << 18  # a piece: as many as a slow client leaves waiting are in memory
_FLUSH_BYTES = 1 << 18
_KINDS = {
    stat.S_IFREG: tar.REGULAR,
    stat.S_IFLNK: tar.SYMLINK,
    stat.S_IFDIR: tar.DIRECTORY,
    stat.S_IFCHR: tar.CHARACTER,
    stat.S_IFBLK: tar.BLOCK_DEVICE,
    stat.S_IFIFO: tar.FIFO,
}
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY

Write = Callable[[bytes], object]


class Difference(NamedTuple):
    """One thing that a layer says: `status` None deletes `path`; `opaque` hides what is below."""

    path: bytes
    status: os.stat_result | None
    opaque: bool = False


class Layer(NamedTuple):
    """What a layer's tar came to."""

    diff_id: str
    size: int
    content_bytes: int


def everything(dir_fd: int) -> Iterator[Difference]:
    """All of a merged tree."""
    for path, status in rootpath.walk(dir_fd):
        yield Difference(path, status)


def write_files(
    tree_fd: int,
    found: Iterator[Difference],
    write: Write,
    *,
    below: bytes = b"",
    ids: IdMap | None = None,
) -> None:
    """The tar of `found`, whose files are read from `tree_fd`. Sockets are left out.

    `below` is put before each name; `ids` shifts the host's owners back to the container's.
    """
    _Writer(tree_fd, write, is_layer=False, below=below, ids=ids).all(found)


def write_layer(tree_fd: int, found: Iterator[Difference], write: Write) -> None:
    """The same as a layer. Raises ENAMETOOLONG for what nobody could unpack."""
    _Writer(tree_fd, write, is_layer=True).all(found)


def hash_layer(tree_fd: int, found: Iterator[Difference]) -> Layer:
    """Digest and sizes of the tar that write_layer would write."""
    digest = hashlib.sha256()
    writer = _Writer(tree_fd, digest.update, is_layer=True)
    writer.all(found)
    return Layer("sha256:" + digest.hexdigest(), writer.size, writer.content_bytes)


class _Writer:
    """A tar going out: small pieces gathered, hard links told from files."""

    def __init__(
        self,
        tree_fd: int,
        write: Write,
        *,
        is_layer: bool,
        below: bytes = b"",
        ids: IdMap | None = None,
    ):
        self._tree = tree_fd
        self._is_layer = is_layer
        self._longest = _MAX_PATH_BYTES if is_layer else MAX_NAME_BYTES
        self._below = below
        self._ids = ids
        self._write = write
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._links: dict[tuple[int, int], bytes] = {}
        self.size = 0
        self.content_bytes = 0

    def all(self, found: Iterator[Difference]) -> None:
        for difference in found:
            self._one(difference)
        self._put(tar.END)
        self._flush()

    def _one(self, difference: Difference) -> None:
        path, status, opaque = difference
        if status is None:
            head, slash, name = path.rpartition(b"/")
            self._put(_marker(head + slash + WHITEOUT_PREFIX + name))
            return
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return
        if self._is_layer and path.rpartition(b"/")[2].startswith(WHITEOUT_PREFIX):
            return  # a layer has no way to say this name
        if len(path) > self._longest:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), os.fsdecode(path))
        entry = self._entry(path, kind, status)
        if kind == tar.DIRECTORY:
            self._directory(entry, path, opaque)
        elif self._may_be_linked(kind) and self._is_linked(entry, path, status):
            self._put(tar.encode_header(entry))
        elif kind == tar.REGULAR:
            self._file(entry, path, status)
        elif kind == tar.SYMLINK:
            self._symlink(entry, path)
        else:
            entry.major, entry.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
            self._put(tar.encode_header(entry))

    def _directory(self, entry: tar.Entry, path: bytes, opaque: bool) -> None:
        entry.name = (entry.name or b".").removesuffix(b"/") + b"/"
        try:
            fd = rootpath.open_beneath(self._tree, path, DIRECTORY_FLAGS)
        except OSError as error:
            if is_gone(error):
                return
            raise
        try:
            entry.xattrs = self._xattrs(fd)
        finally:
            os.close(fd)
        self._put(tar.encode_header(entry))
        if opaque:
            self._put(_marker(path + b"/" + OPAQUE_NAME))

    def _symlink(self, entry: tar.Entry, path: bytes) -> None:
        try:
            fd = rootpath.open_beneath(self._tree, path, os.O_PATH | os.O_NOFOLLOW)
        except OSError as error:
            if is_gone(error):
                return
            raise
        try:
            entry.link = os.readlink(b"", dir_fd=fd)
        finally:
            os.close(fd)
        self.content_bytes += len(entry.link)
        self._put(tar.encode_header(entry))

    def _may_be_linked(self, kind: bytes) -> bool:
        # A layer that is written again must have the bytes that it had at first: it tells of
        # hard links between files alone.
        return kind == tar.REGULAR or not self._is_layer

    def _is_linked(self, entry: tar.Entry, path: bytes, status: os.stat_result) -> bool:
        """Whether it is one more name of what went before; the entry says so then."""
        if status.st_nlink < 2:
            return False
        first = self._links.setdefault((status.st_dev, status.st_ino), path)
        if first == path:
            return False
        entry.kind, entry.link = tar.HARD_LINK, self._named(first)
        return True

    def _file(self, entry: tar.Entry, path: bytes, status: os.stat_result) -> None:
        try:
            fd = rootpath.open_beneath(self._tree, path, FILE_FLAGS)
        except OSError as error:
            if is_gone(error):
                self._links.pop((status.st_dev, status.st_ino), None)
                return
            raise
        try:
            status = os.fstat(fd)
            if stat.S_ISREG(status.st_mode):
                entry.xattrs = self._xattrs(fd)
                self._contents(fd, entry, status.st_size)
        finally:
            os.close(fd)

    def _contents(self, fd: int, entry: tar.Entry, size: int) -> None:
        data = os.read(fd, min(size, _READ_BYTES)) if size else b""
        # What is told of a small one is what is there: a file of /sys is shorter than it says.
        entry.size = len(data) if size <= _READ_BYTES else size
        self._put(tar.encode_header(entry))
        self._body(fd, entry.size, data)

    def _body(self, fd: int, size: int, data: bytes) -> None:
        self.content_bytes += size
        self._put(data)
        left = size - len(data)
        while left:
            data = os.read(fd, min(left, _READ_BYTES))
            if not data:  # it became shorter while we read: the header's word stands
                data = bytes(min(left, _READ_BYTES))
            self._put(data)
            left -= len(data)
        if size % tar.BLOCK:
            self._put(bytes(-size % tar.BLOCK))

    def _named(self, path: bytes) -> bytes:
        if self._below == b"/":
            return b"/" + path
        return b"/".join(part for part in (self._below, path) if part)

    def _entry(self, path: bytes, kind: bytes, status: os.stat_result) -> tar.Entry:
        uid, gid = status.st_uid, status.st_gid
        if self._ids is not None:
            uid, gid = self._ids.inward(uid), self._ids.inward(gid)
        mode = stat.S_IMODE(status.st_mode)
        name = self._named(path)
        return tar.Entry(name, kind, mode=mode, uid=uid, gid=gid, mtime_ns=status.st_mtime_ns)

    def _xattrs(self, fd: int) -> dict[bytes, bytes]:
        found = xattrs_of(fd)
        return found if self._ids is None else self._ids.xattrs_inward(found)

    def _put(self, data: bytes) -> None:
        self._gathered.append(data)
        self._gathered_bytes += len(data)
        if self._gathered_bytes >= _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._gathered:
            self._write(b"".join(self._gathered))
            self.size += self._gathered_bytes
            self._gathered, self._gathered_bytes = [], 0


def _marker(name: bytes) -> bytes:
    return tar.encode_header(tar.Entry(name, tar.REGULAR, mode=0o600))


def is_gone(error: OSError) -> bool:
    return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)


def xattrs_of(fd: int) -> dict[bytes, bytes]:
    """What travels in a layer: file capabilities and users' attributes, not the host's own."""
    found: dict[bytes, bytes] = {}
    try:
        keys = os.listxattr(fd)
    except OSError as error:
        if error.errno != errno.ENOTSUP:  # not every file system has them
            raise
        return found
    for key in keys:
        if key == "security.capability" or (
            key.startswith("user.") and not key.startswith("user.overlay.")
        ):
            try:
                found[os.fsencode(key)] = os.getxattr(fd, key)
            except OSError as error:
                if error.errno != errno.ENODATA:
                    raise
    return found

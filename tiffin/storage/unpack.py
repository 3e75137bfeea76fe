"""A tar stream becomes a directory tree. It is hostile: whatever it says happens below the root.

Runs in the jail (a chrooted child), and relies on no path of its own all the same: each entry's
directory is opened by `openat2` inside the root and worked in by descriptor, its last name is never
followed. Links among the entries may point anywhere; they are only ever resolved inside the root.

How whiteouts (".wh.x", ".wh..wh..opq") are understood is the caller's choice:
`OVERLAY` makes the layer's own directory as overlayfs wants it (0:0 devices, the opaque xattr);
`APPLY` deletes from a full copy of the tree beneath; `NAMES` gives them no meaning.
Raises InvalidArgument for what an archive must not do; OSError for what the disk cannot.
"""

from __future__ import annotations

import errno
import os
import stat

from tiffin.errors import InvalidArgument
from tiffin.kernel import rootpath
from tiffin.storage import tar
from tiffin.storage.idmap import IdMap

TYPE_CHECKING = False  # typing's own, without the 5 ms that importing typing costs
if TYPE_CHECKING:
    from collections.abc import Iterator

OVERLAY, APPLY, NAMES = "overlay", "apply", "names"

OPAQUE = "trusted.overlay.opaque"
WHITEOUT_PREFIX = b".wh."
OPAQUE_NAME = b".wh..wh..opq"
METADATA_PREFIX = b".wh..wh."


def is_whiteout(status: os.stat_result) -> bool:
    """Overlayfs's word for "deleted"."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


MAX_ENTRIES = 5_000_000
_MAX_PATH_BYTES = 4094  # what the kernel opens, with the "/" before and the zero behind
_MAX_OPEN = 64  # directories kept open
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_FORBIDDEN_XATTRS = (b"trusted.", b"user.overlay.", b"system.")
_ALLOWED_SECURITY = b"security.capability"
# What hostile names, sizes and orders of entries make the kernel say.
_THEIR_FAULT = frozenset(
    {
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ENOTEMPTY,
        errno.EXDEV,
        errno.EINVAL,
        errno.EMLINK,
        errno.ENOENT,
        errno.EFBIG,
    }
)


class _Directory:
    """What a directory gets when nothing more is put into it."""

    __slots__ = ("gid", "mode", "mtime_ns", "opaque", "path", "uid", "xattrs")

    def __init__(
        self, path: bytes, mode: int, uid: int, gid: int, mtime_ns: int, xattrs: dict[bytes, bytes]
    ):
        self.path = path
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.mtime_ns = mtime_ns
        self.xattrs = xattrs
        self.opaque = False


class Unpacker:
    """One archive into one root. `content_bytes` counts what the files hold, links' names included.

    `lower_fd` is the tree beneath the layer: directories that the archive takes for granted get
    the mode, owner and time that they have there. `owner` overrides every owner. `keep_kinds`
    refuses to replace a directory by something else and the other way round. `ids` shifts owners
    to the host's. `in_use` is a tree that processes have mounts in: no mount point is taken away.
    """

    def __init__(
        self,
        root_fd: int,
        *,
        lower_fd: int = -1,
        whiteouts: str = OVERLAY,
        owner: tuple[int, int] | None = None,
        keep_kinds: bool = False,
        ids: IdMap | None = None,
        in_use: bool = False,
    ):
        self._ids = ids
        self._in_use = in_use
        self._root = root_fd
        self._lower = lower_fd
        self._whiteouts = whiteouts
        self._owner = owner
        self._keep_kinds = keep_kinds
        # New files are ours, except in trees that we did not make: setgid directories give theirs.
        self._born_as = (os.geteuid(), os.getegid()) if whiteouts == OVERLAY else None
        self._open: dict[bytes, int] = {}  # the longest unused first
        self._stale = False  # a directory was removed, and one of the open ones may be in it
        self._directories: dict[int, _Directory] = {}
        self._made: set[int] = set()  # inodes of this archive; only where whiteouts are applied
        self._root_opaque = False
        self.content_bytes = 0

    def unpack(self, reader: tar.Reader) -> None:
        os.umask(0)
        try:
            for count, entry in enumerate(reader):
                if count >= MAX_ENTRIES:
                    raise InvalidArgument("invalid archive: too many entries")
                self._entry(entry, reader)
            self._finish()
        finally:
            self._forget()

    def _entry(self, entry: tar.Entry, reader: tar.Reader) -> None:
        if self._stale:
            self._forget()
        try:
            self._place(entry, reader)
        except OSError as error:
            if error.errno in _THEIR_FAULT:
                raise InvalidArgument(f"{_shown(entry.name)}: {_words(error)}") from error
            raise
        except OverflowError as error:
            raise InvalidArgument(f"{_shown(entry.name)}: number out of range") from error

    def _place(self, entry: tar.Entry, reader: tar.Reader) -> None:
        if self._owner is not None:
            entry.uid, entry.gid = self._owner
        if self._ids is not None:
            entry.uid, entry.gid = self._ids.outward(entry.uid), self._ids.outward(entry.gid)
            entry.xattrs = self._ids.xattrs_outward(entry.xattrs)
        path = _clean(entry.name)
        if len(path) > _MAX_PATH_BYTES:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        if not path:
            if entry.kind != tar.DIRECTORY:
                raise InvalidArgument(f"{_shown(entry.name)}: the root can only be a directory")
            if self._whiteouts != NAMES:  # else it is somebody's directory, and stays what it is
                self._note_directory(self._root, b"", entry)
            return
        head, _, name = path.rpartition(b"/")
        if self._whiteouts != NAMES and name.startswith(WHITEOUT_PREFIX):
            self._whiteout(head, name, entry)
            return
        parent = self._parent(head, entry)
        if entry.kind == tar.DIRECTORY:
            self._make_directory(parent, path, name, entry)
            return
        if entry.kind == tar.HARD_LINK and _clean(entry.link) == path:
            return  # to itself: replacing the name would lose the file
        try:
            self._make(parent, name, entry, reader)
        except FileExistsError:
            self._clear(parent, name, entry)
            self._make(parent, name, entry, reader)
        if self._whiteouts == APPLY:
            self._made.add(os.stat(name, dir_fd=parent, follow_symlinks=False).st_ino)

    # Directories

    def _parent(self, head: bytes, entry: tar.Entry) -> int:
        """The opened directory at `head`, made with what is missing on the way."""
        fd = self._open.pop(head, None)
        if fd is not None:
            self._open[head] = fd
            return fd
        try:
            fd = rootpath.open_in(self._root, head or b".", _DIRECTORY & ~os.O_NOFOLLOW)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise
            self._make_parents(head, entry)
            fd = rootpath.open_in(self._root, head, _DIRECTORY & ~os.O_NOFOLLOW)
        if len(self._open) >= _MAX_OPEN:
            os.close(self._open.pop(next(iter(self._open))))
        self._open[head] = fd
        return fd

    def _make_parents(self, head: bytes, entry: tar.Entry) -> None:
        done = b""
        for part in head.split(b"/"):
            path = done + b"/" + part if done else part
            parent = rootpath.open_in(self._root, done or b".", os.O_PATH | os.O_DIRECTORY)
            try:
                self._make_parent(parent, path, part, entry)
            finally:
                os.close(parent)
            done = path

    def _make_parent(self, parent: int, path: bytes, name: bytes, entry: tar.Entry) -> None:
        removed = False
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not self._is_whiteout(status):
                return  # a directory, a link to one, or opening it will say what is wrong
            os.unlink(name, dir_fd=parent)
            os.mkdir(name, 0o700, dir_fd=parent)
            removed = True
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            taken = None if removed else self._from_lower(path)
            if taken is None:
                uid, gid = self._owner or (0, 0)
                if self._ids is not None:
                    uid, gid = self._ids.outward(uid), self._ids.outward(gid)
                taken = _Directory(path, 0o755, uid, gid, entry.mtime_ns, {})
            taken.opaque = removed
            self._register(fd, taken)
        finally:
            os.close(fd)

    def _from_lower(self, path: bytes) -> _Directory | None:
        """The directory as the layers beneath have it; None if they do not."""
        if self._lower < 0:
            return None
        try:
            fd = rootpath.open_beneath(self._lower, path, _DIRECTORY)
        except OSError:
            return None
        try:
            status = os.fstat(fd)
            xattrs = {}
            for key in os.listxattr(fd):
                if _is_kept_xattr(os.fsencode(key)):
                    xattrs[os.fsencode(key)] = os.getxattr(fd, key)
        finally:
            os.close(fd)
        mode = stat.S_IMODE(status.st_mode)
        return _Directory(path, mode, status.st_uid, status.st_gid, status.st_mtime_ns, xattrs)

    def _make_directory(self, parent: int, path: bytes, name: bytes, entry: tar.Entry) -> None:
        opaque = False
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                opaque = self._is_whiteout(status)
                self._clear(parent, name, entry)
                os.mkdir(name, 0o700, dir_fd=parent)
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            noted = self._note_directory(fd, path, entry)
            noted.opaque = noted.opaque or opaque
        finally:
            os.close(fd)

    def _note_directory(self, fd: int, path: bytes, entry: tar.Entry) -> _Directory:
        noted = _Directory(path, entry.mode, entry.uid, entry.gid, entry.mtime_ns, entry.xattrs)
        self._register(fd, noted)
        return noted

    def _register(self, fd: int, noted: _Directory) -> None:
        inode = os.fstat(fd).st_ino
        before = self._directories.get(inode)
        if before is not None:
            noted.opaque = noted.opaque or before.opaque
        self._directories[inode] = noted
        if self._whiteouts == APPLY:
            self._made.add(inode)

    def _finish(self) -> None:
        if self._root_opaque:
            self._hide_lower_root()
        for inode, noted in reversed(self._directories.items()):
            try:
                fd = rootpath.open_in(self._root, noted.path or b".", _DIRECTORY)
            except OSError as error:
                if error.errno in _THEIR_FAULT:
                    continue  # a later entry put something else there
                raise
            try:
                if os.fstat(fd).st_ino == inode:
                    self._settle(fd, noted)
            finally:
                os.close(fd)

    def _settle(self, fd: int, noted: _Directory) -> None:
        self._chown(fd, noted.uid, noted.gid)
        os.fchmod(fd, noted.mode)
        _set_xattrs(fd, noted.path, noted.xattrs)
        if noted.opaque:
            os.setxattr(fd, OPAQUE, b"y")
        os.utime(fd, ns=(noted.mtime_ns, noted.mtime_ns))

    def _forget(self) -> None:
        self._stale = False
        while self._open:
            os.close(self._open.popitem()[1])

    # What is no directory

    def _make(self, parent: int, name: bytes, entry: tar.Entry, reader: tar.Reader) -> None:
        """Raises FileExistsError before anything of the body is read."""
        if entry.kind == tar.REGULAR:
            self._file(parent, name, entry, reader)
        elif entry.kind == tar.HARD_LINK:
            self._hard_link(parent, name, entry)
        elif entry.kind == tar.SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent)
            self.content_bytes += len(entry.link)
            self._attributes(parent, name, entry)
        else:
            kinds = {tar.FIFO: stat.S_IFIFO, tar.CHARACTER: stat.S_IFCHR}
            kind = kinds.get(entry.kind, stat.S_IFBLK)
            device = os.makedev(entry.major, entry.minor)
            os.mknod(name, kind | entry.mode, device, dir_fd=parent)
            self._attributes(parent, name, entry)

    def _file(self, parent: int, name: bytes, entry: tar.Entry, reader: tar.Reader) -> None:
        fd = os.open(name, _CREATE, entry.mode & 0o777, dir_fd=parent)
        try:
            if entry.segments is None:
                for piece in reader.body():
                    _write(fd, piece)
            else:
                _write_segments(fd, entry, reader.body())
            self.content_bytes += entry.size
            self._chown(fd, entry.uid, entry.gid)
            if entry.mode & 0o7000:
                os.fchmod(fd, entry.mode)  # only now: writing and chown clear setuid and setgid
            if entry.xattrs:
                _set_xattrs(fd, entry.name, entry.xattrs)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _attributes(self, parent: int, name: bytes, entry: tar.Entry) -> None:
        if (entry.uid, entry.gid) != self._born_as:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
            # chmod follows links, and in a tree in use somebody may put one there meanwhile.
            if entry.kind != tar.SYMLINK and not self._in_use:
                os.chmod(name, entry.mode, dir_fd=parent)
        times = (entry.mtime_ns, entry.mtime_ns)
        os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)

    def _hard_link(self, parent: int, name: bytes, entry: tar.Entry) -> None:
        target = _clean(entry.link)
        if not target:
            raise InvalidArgument(f"{_shown(entry.name)}: hard link to the root")
        holder, target_name = rootpath.open_parent_in(self._root, target)
        try:
            status = os.stat(target_name, dir_fd=holder, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                raise InvalidArgument(f"{_shown(entry.name)}: hard link to a directory")
            os.link(target_name, name, src_dir_fd=holder, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(holder)

    def _chown(self, fd: int, uid: int, gid: int) -> None:
        if (uid, gid) != self._born_as:
            os.fchown(fd, uid, gid)

    def _clear(self, parent: int, name: bytes, entry: tar.Entry) -> None:
        """Take away what an earlier entry (or the tree before) has at the place of this one."""
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        was_directory = stat.S_ISDIR(status.st_mode)
        kept = self._keep_kinds or (self._in_use and was_directory)
        if kept and was_directory != (entry.kind == tar.DIRECTORY):
            words = (
                "directory with non-directory" if was_directory else "non-directory by directory"
            )
            raise InvalidArgument(f"cannot overwrite {words}: {_shown(entry.name)}")
        if self._in_use and rootpath.is_mount_point(parent, name):
            # In a mount namespace of its own, the kernel would let us, and take the mount away.
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), os.fsdecode(entry.name))
        self._stale = self._stale or was_directory
        rootpath.remove_tree(parent, name)

    # Whiteouts

    def _whiteout(self, head: bytes, name: bytes, entry: tar.Entry) -> None:
        if name == OPAQUE_NAME:
            self._opaque(head, entry)
            return
        if name.startswith(METADATA_PREFIX):
            return  # aufs's own bookkeeping
        hidden = name[len(WHITEOUT_PREFIX) :]
        if hidden in (b"", b".", b".."):
            raise InvalidArgument(f"{_shown(entry.name)}: invalid whiteout")
        parent = self._parent(head, entry)
        if self._whiteouts == APPLY:
            self._delete(parent, hidden)
            return
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=parent)
        except FileExistsError:
            # A whiteout speaks of the layers beneath only: what this layer has put there stays.
            self._make_opaque_directory(parent, hidden)

    def _make_opaque_directory(self, parent: int, name: bytes) -> None:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode) and status.st_ino in self._directories:
            self._directories[status.st_ino].opaque = True

    def _opaque(self, head: bytes, entry: tar.Entry) -> None:
        parent = self._parent(head, entry)
        if self._whiteouts == APPLY:
            self._empty(parent)
            return
        inode = os.fstat(parent).st_ino
        if inode == os.fstat(self._root).st_ino:
            self._root_opaque = True
        elif inode in self._directories:
            self._directories[inode].opaque = True

    def _hide_lower_root(self) -> None:
        """Overlayfs always merges root directories, so each name beneath gets its own whiteout."""
        if self._lower < 0:
            return
        for name in os.listdir(self._lower):
            try:
                os.mknod(os.fsencode(name), stat.S_IFCHR, 0, dir_fd=self._root)
            except FileExistsError:
                self._make_opaque_directory(self._root, os.fsencode(name))

    def _is_whiteout(self, status: os.stat_result) -> bool:
        return self._whiteouts == OVERLAY and is_whiteout(status)

    def _delete(self, parent: int, name: bytes) -> None:
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(status.st_mode):
            fd = os.open(name, _DIRECTORY, dir_fd=parent)
            try:
                self._empty(fd)
            finally:
                os.close(fd)
            if status.st_ino not in self._made:
                self._stale = True
                _remove_if_empty(parent, name)
        elif status.st_ino not in self._made:
            os.unlink(name, dir_fd=parent)

    def _empty(self, fd: int) -> None:
        """Delete what comes from beneath, keep what this archive has made."""
        for name in os.listdir(fd):
            self._delete(fd, os.fsencode(name))


def _clean(name: bytes) -> bytes:
    """The path from the root without "", "." and ".."; what climbs above the root is refused."""
    if not name.startswith((b"/", b".")) and b"//" not in name and b"/." not in name:
        return name.rstrip(b"/")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise InvalidArgument(f"{_shown(name)}: path leads outside of the root")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def _remove_if_empty(parent: int, name: bytes) -> None:
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise


def _write(fd: int, piece: memoryview[int]) -> None:
    while piece:
        piece = piece[os.write(fd, piece) :]


def _write_segments(fd: int, entry: tar.Entry, body: Iterator[memoryview[int]]) -> None:
    piece = memoryview(b"")
    for offset, length in entry.segments or ():
        os.lseek(fd, offset, os.SEEK_SET)
        left = length
        while left:
            if not piece:
                piece = next(body)
            part, piece = piece[:left], piece[left:]
            _write(fd, part)
            left -= len(part)
    os.ftruncate(fd, entry.size)


def _is_kept_xattr(key: bytes) -> bool:
    """Only what is harmless outside of a mounted overlay and means the same on every host."""
    if key.startswith(b"security."):
        return key == _ALLOWED_SECURITY
    return not key.startswith(_FORBIDDEN_XATTRS)


def _set_xattrs(fd: int, path: bytes, xattrs: dict[bytes, bytes]) -> None:
    for key, value in xattrs.items():
        if not _is_kept_xattr(key):
            continue
        try:
            os.setxattr(fd, key, value)
        except OSError as error:
            if error.errno in (errno.ENOTSUP, errno.EPERM):
                continue  # a file system without them, or a kind of file that has none
            # ENOSPC is ext4's word for a value that does not fit into an inode.
            if error.errno in (errno.ENOSPC, errno.ERANGE, errno.E2BIG, errno.EINVAL):
                words = f"{_shown(path)}: invalid extended attribute {_shown(key)}"
                raise InvalidArgument(words) from error
            raise


def _words(error: OSError) -> str:
    return os.strerror(error.errno or 0)


def _shown(name: bytes) -> str:
    return name[:256].decode(errors="replace")

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


# What a tree with mounts, of which some are read-only or not for files, makes it say besides.
_REFUSED = frozenset({errno.EROFS, errno.EPERM, errno.EACCES, errno.EBUSY, errno.EOPNOTSUPP})


class Within:
    """A tree by its root, and the directory in it that an archive is unpacked into."""

    __slots__ = ("_place", "whole_fd")

    def __init__(self, whole_fd: int, place: bytes):
        self.whole_fd = whole_fd
        self._place = place.strip(b"/")

    def path(self, below: bytes) -> bytes:
        """Absolute, in the tree."""
        return b"/" + b"/".join(part for part in (self._place, below) if part)


class _Directory:
    """What a directory gets when nothing more is put into it. Its time, where one is told."""

    __slots__ = ("gid", "mode", "mtime_ns", "opaque", "path", "uid", "xattrs")

    def __init__(
        self,
        path: bytes,
        mode: int,
        uid: int,
        gid: int,
        mtime_ns: int | None,
        xattrs: dict[bytes, bytes],
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
    to the host's. `within` is the tree with mounts that the root is a directory of: links are
    followed in all of it, as its programs would, and nothing that is mounted is taken away.
    `in_use` by such programs, in this moment.
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
        within: Within | None = None,
        in_use: bool = False,
    ):
        self._ids = ids
        self._within = within
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
        self._directories: dict[tuple[int, int], _Directory] = {}
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
            raise self._blamed(error, entry.name) from error
        except OverflowError as error:
            raise InvalidArgument(f"{_shown(entry.name)}: number out of range") from error

    def _blamed(self, error: OSError, name: bytes) -> Exception:
        """The archive's fault, that of the tree which it is for, or the machine's."""
        theirs = error.errno in _THEIR_FAULT
        if theirs or (self._within is not None and error.errno in _REFUSED):
            return InvalidArgument(f"{_shown(name)}: {_words(error)}")
        if error.filename is None:
            error.filename = name
        return error

    def _find(self, path: bytes, flags: int) -> int:
        """Open what is at `path` below the root, wherever links on the way lead."""
        if self._within is None:
            return rootpath.open_in(self._root, path or b".", flags)
        try:
            return rootpath.open_below(self._root, path or b".", flags)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        return rootpath.open_in(self._within.whole_fd, self._within.path(path), flags)

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
            fd = self._find(head, _DIRECTORY & ~os.O_NOFOLLOW)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise
            self._make_parents(head, entry)
            fd = self._find(head, _DIRECTORY & ~os.O_NOFOLLOW)
        if len(self._open) >= _MAX_OPEN:
            os.close(self._open.pop(next(iter(self._open))))
        self._open[head] = fd
        return fd

    def _make_parents(self, head: bytes, entry: tar.Entry) -> None:
        done = b""
        for part in head.split(b"/"):
            path = done + b"/" + part if done else part
            parent = self._find(done, os.O_PATH | os.O_DIRECTORY)
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
            if self._within is not None:
                self._settle(fd, _Directory(path, 0o755, *self._root_ids(), None, {}))
                return
            taken = None if removed else self._from_lower(path)
            if taken is None:
                uid, gid = self._owner or (0, 0)
                taken = _Directory(path, 0o755, uid, gid, entry.mtime_ns, {})
            taken.opaque = removed
            self._register(fd, taken)
        finally:
            os.close(fd)

    def _root_ids(self) -> tuple[int, int]:
        owner = self._ids.outward(0) if self._ids is not None else 0
        return owner, owner

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
        status = os.fstat(fd)
        before = self._directories.get(_identity(status))
        if before is not None:
            noted.opaque = noted.opaque or before.opaque
        self._directories[_identity(status)] = noted
        if self._whiteouts == APPLY:
            self._made.add(status.st_ino)

    def _finish(self) -> None:
        if self._root_opaque:
            self._hide_lower_root()
        for identity, noted in reversed(self._directories.items()):
            try:
                fd = self._find(noted.path, _DIRECTORY)
            except OSError as error:
                if error.errno in _THEIR_FAULT:
                    continue  # a later entry put something else there
                raise
            try:
                if _identity(os.fstat(fd)) == identity:
                    self._settle(fd, noted)
            except OSError as error:
                raise self._blamed(error, noted.path) from error
            finally:
                os.close(fd)

    def _settle(self, fd: int, noted: _Directory) -> None:
        self._chown(fd, noted.uid, noted.gid)
        os.fchmod(fd, noted.mode)
        _set_xattrs(fd, noted.path, noted.xattrs)
        if noted.opaque:
            os.setxattr(fd, OPAQUE, b"y")
        if noted.mtime_ns is not None:
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
        head, _, target_name = target.rpartition(b"/")
        holder = self._find(head, os.O_PATH | os.O_DIRECTORY)
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
        if self._keep_kinds and was_directory != (entry.kind == tar.DIRECTORY):
            raise InvalidArgument(self._kept_words(entry, was_directory=was_directory))
        if self._within is not None and rootpath.is_mounted_on(parent, name):
            # In another mount namespace the kernel would let us, and take the mount away; and what
            # is in a volume is not for an archive to delete that only says the volume's name.
            where = _shown(self._within.path(_clean(entry.name)))
            raise InvalidArgument(f'cannot overwrite "{where}": something is mounted there')
        self._stale = self._stale or was_directory or stat.S_ISLNK(status.st_mode)
        rootpath.remove_tree(parent, name)

    def _kept_words(self, entry: tar.Entry, *, was_directory: bool) -> str:
        """Docker's. It tells of the whole path, and of the directory that all goes into."""
        within = self._within or Within(self._root, b"")
        path, target = _shown(within.path(_clean(entry.name))), _shown(within.path(b""))
        if was_directory:
            return f'cannot overwrite directory "{path}" with non-directory "{target}"'
        return f'cannot overwrite non-directory "{path}" with directory "{target}"'

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
        if stat.S_ISDIR(status.st_mode) and _identity(status) in self._directories:
            self._directories[_identity(status)].opaque = True

    def _opaque(self, head: bytes, entry: tar.Entry) -> None:
        parent = self._parent(head, entry)
        if self._whiteouts == APPLY:
            self._empty(parent)
            return
        identity = _identity(os.fstat(parent))
        if identity == _identity(os.fstat(self._root)):
            self._root_opaque = True
        elif identity in self._directories:
            self._directories[identity].opaque = True

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


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


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
    return os.strerror(error.errno or 0).lower()


def _shown(name: bytes) -> str:
    return name[:256].decode(errors="replace")

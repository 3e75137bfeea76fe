"""COPY, ADD and WORKDIR carried out in a mounted tree, after BuildKit's rules. Blocking.

Every path is resolved by the kernel inside its root, so a link in an image or a context leads
nowhere else. A directory source means what it holds; a destination that is a directory, or ends
with a slash, takes files under their names; missing directories belong to the copy's owner.
"""

from __future__ import annotations

import errno
import os
import posixpath
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tiffin.build.actions import CopyFiles, MakeDirectory
from tiffin.build.owners import find_owner
from tiffin.build.selection import SourceTree, kept_xattr
from tiffin.core.pathmatch import PathMatcher
from tiffin.errors import InvalidArgument
from tiffin.kernel import rootpath, treecopy

IsArchive = Callable[[int], bool]
Unpack = Callable[[int, int, "tuple[int, int] | None"], None]

_DIRECTORY_MODE = 0o755
_FILE_MODE = 0o644
_PATH_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_SYMBOLIC = re.compile(r"([ugoa]*)((?:[-+=][rwxXst]*)+)")


def make_directory(root: int, action: MakeDirectory) -> None:
    """WORKDIR: owned by USER, root where the image does not know that name."""
    uid, gid = find_owner(root, action.user, strict=False) if action.user else (0, 0)
    with _worded(action.path):
        rootpath.make_directories(root, action.path, _DIRECTORY_MODE, uid, gid)


class Copier:
    """One COPY or ADD. `sources` is None where there are only heredocs."""

    def __init__(
        self,
        root: int,
        action: CopyFiles,
        *,
        is_archive: IsArchive = lambda _: False,
        unpack: Unpack = lambda _file, _directory, _owner: None,
    ):
        self._root = root
        self._action = action
        self._is_archive = is_archive
        self._unpack = unpack
        self._owner: tuple[int, int] | None = None
        if action.owner:
            self._owner = find_owner(root, action.owner)
        elif action.from_context:
            self._owner = (0, 0)
        self._mode = int(action.mode, 8) if action.mode.isdecimal() else None
        self._symbolic = action.mode if self._mode is None else ""

    def copy(self, sources: SourceTree | None, found: Sequence[str]) -> None:
        """`found` are paths that `sources.find` gave. Raises InvalidArgument and OSError."""
        for path in found:
            assert sources is not None
            with _worded(path):
                self._one(sources.root, path)
        for document in self._action.inline:
            with _worded(document.name):
                self._document(document.name, document.body.encode("utf-8", "surrogateescape"))

    def _one(self, source_root: int, path: str) -> None:
        fd = rootpath.open_in(source_root, path, os.O_PATH | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            if self._action.unpack and stat.S_ISREG(status.st_mode) and self._archive(fd):
                return
            if stat.S_ISDIR(status.st_mode):
                self._directory(fd)
                return
        finally:
            os.close(fd)
        with _located(source_root, path) as (holder, name), self._place(path) as (parent, target):
            self._copy_tree(holder, name, parent, target)

    def _archive(self, path_fd: int) -> bool:
        file = os.open(f"/proc/self/fd/{path_fd}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if not self._is_archive(file):
                return False
            os.lseek(file, 0, os.SEEK_SET)
            self._make(self._action.destination)
            directory = rootpath.open_in(
                self._root, self._action.destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            )
            try:
                # Owners inside an archive are its own; only --chown overrides them.
                self._unpack(file, directory, self._owner if self._action.owner else None)
            finally:
                os.close(directory)
        finally:
            os.close(file)
        return True

    def _directory(self, source: int) -> None:
        destination = self._action.destination
        self._make(destination)
        target = rootpath.open_in(self._root, destination, _PATH_DIRECTORY)
        try:
            before = os.fstat(target)
            # copy_tree gives the top the source's attributes; only what it holds is meant.
            self._copy_tree(source, b"", target, b"")
            top = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=target)
            try:
                os.fchown(top, before.st_uid, before.st_gid)
                os.fchmod(top, stat.S_IMODE(before.st_mode))
            finally:
                os.close(top)
        finally:
            os.close(target)

    def _copy_tree(self, source: int, name: bytes, target: int, target_name: bytes) -> None:
        treecopy.copy_tree(
            source,
            name,
            target,
            target_name,
            owner=self._owner,
            mode=self._mode,
            select=_selector(self._action.excludes),
            keep_xattr=kept_xattr,
        )
        if self._symbolic:
            _change_modes(source, name, target, target_name, self._symbolic)

    def _document(self, name: str, data: bytes) -> None:
        with self._place(name) as (parent, target):
            _remove_file(parent, target, name)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(target, flags, 0o600, dir_fd=parent)
            try:
                _write(fd, data)
                os.fchown(fd, *(self._owner or (0, 0)))
                mode = _FILE_MODE if self._mode is None else self._mode
                os.fchmod(fd, changed_mode(self._symbolic, mode, is_directory=False))
            finally:
                os.close(fd)

    @contextmanager
    def _place(self, source: str) -> Iterator[tuple[int, bytes]]:
        """Where a file called `source` goes: the directory, and the name in it."""
        destination = self._action.destination
        if destination.endswith("/"):
            self._make(destination)
        elif head := posixpath.dirname(destination).rstrip("/"):
            self._make(head)
        if _is_directory(self._root, destination):
            fd = rootpath.open_in(self._root, destination, _PATH_DIRECTORY)
            try:
                yield fd, posixpath.basename(source).encode("utf-8", "surrogateescape")
            finally:
                os.close(fd)
            return
        with _located(self._root, destination, make=self._make) as place:
            yield place

    def _make(self, path: str) -> None:
        mode = _DIRECTORY_MODE if self._mode is None else self._mode
        rootpath.make_directories(self._root, path, mode, *(self._owner or (0, 0)))


@contextmanager
def _located(
    root: int, path: str, make: Callable[[str], None] | None = None
) -> Iterator[tuple[int, bytes]]:
    """The directory and the name that `path` leads to once all links are followed.

    The last one need not exist; `make` makes the directory of a link that leads to nothing.
    """
    current = path
    for _ in range(rootpath.MAX_LINKS):
        if make is not None and posixpath.dirname(current).strip("/"):
            make(posixpath.dirname(current))
        parent, name = rootpath.open_parent_in(root, current)
        try:
            link = _read_link(parent, name)
            if link is None:
                yield parent, name
                return
        finally:
            os.close(parent)
        # The kernel resolves "..", so the head stays as it is.
        text = os.fsdecode(link)
        current = text if text.startswith("/") else f"{posixpath.dirname(current)}/{text}"
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _read_link(parent: int, name: bytes) -> bytes | None:
    try:
        return os.readlink(name, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def _is_directory(root: int, path: str) -> bool:
    try:
        return stat.S_ISDIR(rootpath.stat_in(root, path).st_mode)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
        raise


def _selector(excludes: Sequence[str]) -> Callable[[bytes], bool] | None:
    if not excludes:
        return None
    matcher = PathMatcher(excludes)
    return lambda path: not matcher.matches(os.fsdecode(path))


def _remove_file(parent: int, name: bytes, shown: str) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), shown) from error


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _change_modes(source: int, name: bytes, target: int, target_name: bytes, letters: str) -> None:
    """--chmod in letters: each copied thing's mode, changed as chmod(1) would without a umask."""
    top = rootpath.open_beneath(source, name, os.O_PATH | os.O_NOFOLLOW)
    try:
        status = os.fstat(top)
        copied: list[tuple[bytes, os.stat_result]] = [(b"", status)]
        if stat.S_ISDIR(status.st_mode):
            directory = rootpath.open_beneath(source, name, os.O_RDONLY | os.O_DIRECTORY)
            try:
                copied += rootpath.walk(directory)
            finally:
                os.close(directory)
    finally:
        os.close(top)
    for path, found in copied:
        whole = b"/".join(part for part in (target_name, path) if part)
        if stat.S_ISLNK(found.st_mode) or not rootpath.exists_in(target, whole or b"."):
            continue
        mode = changed_mode(
            letters, stat.S_IMODE(found.st_mode), is_directory=stat.S_ISDIR(found.st_mode)
        )
        fd = rootpath.open_beneath(target, whole, os.O_PATH | os.O_NOFOLLOW)
        try:
            os.chmod(f"/proc/self/fd/{fd}", mode)
        finally:
            os.close(fd)


_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007, "a": 0o7777}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111, "s": 0o6000, "t": 0o1000}


def changed_mode(letters: str, mode: int, *, is_directory: bool) -> int:
    """`mode` after "u+x,go-w"; unchanged for ""."""
    for clause in filter(None, letters.split(",")):
        match = _SYMBOLIC.fullmatch(clause)
        if not match:
            raise InvalidArgument(f"invalid chmod parameter: '{letters}'")
        who = 0
        for letter in match[1] or "a":
            who |= _WHO[letter]
        for sign, permissions in re.findall(r"([-+=])([rwxXst]*)", match[2]):
            bits = 0
            for letter in permissions:
                if letter == "X":
                    bits |= 0o111 if is_directory or mode & 0o111 else 0
                else:
                    bits |= _BITS[letter]
            bits &= who
            if sign == "=":
                mode = (mode & ~who) | bits
            else:
                mode = mode | bits if sign == "+" else mode & ~bits
    return mode


_WORDS = {
    errno.EISDIR: "cannot replace to directory {path} with file",
    errno.EEXIST: "cannot copy to non-directory: {path}",
    errno.ENOTDIR: "{path}: not a directory",
    errno.ELOOP: "{path}: too many levels of symbolic links",
    errno.ENAMETOOLONG: "{path}: file name too long",
}


@contextmanager
def _worded(path: str) -> Iterator[None]:
    """What the trees are like is the user's business; what the disk cannot do is not."""
    try:
        yield
    except OSError as error:
        words = _WORDS.get(error.errno or 0)
        if words is None:
            raise
        raise InvalidArgument(words.format(path=_shown(error, path))) from error


def _shown(error: OSError, path: str) -> str:
    name = error.filename
    text = os.fsdecode(name) if isinstance(name, str | bytes) else ""
    return text or path

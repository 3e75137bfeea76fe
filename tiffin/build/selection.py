"""What a COPY takes: its sources found in a tree, and a digest of what they hold.

The digest counts names, kinds, modes, contents and link targets, like BuildKit's; owners only where
they are copied (from a stage, not from the context); times never. A tree is a directory descriptor
and does not change while it is looked at.
"""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import stat
from collections.abc import Sequence

from tiffin.core.pathmatch import Glob, PathMatcher, has_wildcards
from tiffin.errors import InvalidArgument
from tiffin.kernel import rootpath

_READ_BYTES = 1 << 20
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class SourceTree:
    """A tree to copy from. `owners_count` where the copy keeps its owners."""

    def __init__(self, root: int, *, is_context: bool):
        self.root = root
        self.is_context = is_context
        self._contents: dict[tuple[int, int], bytes] = {}

    def find(self, sources: Sequence[str], excludes: Sequence[str] = ()) -> list[str]:
        """The paths that the sources mean, absolute in the tree. A pattern may match nothing."""
        excluded = PathMatcher(excludes)
        found: list[str] = []
        for source in sources:
            path = posixpath.normpath("/" + source).replace("//", "/")
            if has_wildcards(path):
                matched = self._match(path)
                found += [each for each in matched if not excluded.matches(each.lstrip("/"))]
            else:
                self._check_exists(path, source)
                found.append(path)
        return found

    def digest(self, path: str, excludes: Sequence[str] = ()) -> str:
        """Of one found path: a file with its name, or what a directory holds."""
        summary = hashlib.sha256()
        fd = rootpath.open_in(self.root, path, os.O_PATH)
        try:
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):
                self._add_tree(summary, fd, PathMatcher(excludes))
            else:
                name = posixpath.basename(path).encode("utf-8", "surrogateescape")
                summary.update(self._record(self.root, path.encode(), name, status))
        finally:
            os.close(fd)
        return "sha256:" + summary.hexdigest()

    def _check_exists(self, path: str, source: str) -> None:
        try:
            rootpath.stat_in(self.root, path)
        except OSError as error:
            if error.errno not in _MISSING:
                raise
            where = (
                "file not found in build context or excluded by .dockerignore: "
                if self.is_context
                else ""
            )
            raise InvalidArgument(f"{where}stat {source}: file does not exist") from error

    def _match(self, path: str) -> list[str]:
        """Sorted, a matched directory not looked into: filepath.Match per path component."""
        parts = path.strip("/").split("/")
        plain = 0
        while not has_wildcards(parts[plain]):
            plain += 1
        found = ["/" + "/".join(parts[:plain])] if plain else [""]
        for part in parts[plain:]:
            glob = Glob(part)
            found = [
                f"{directory.rstrip('/')}/{name}"
                for directory in found
                for name in self._names(directory or "/")
                if glob.matches(name)
            ]
        return found

    def _names(self, directory: str) -> list[str]:
        try:
            fd = rootpath.open_in(self.root, directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in _MISSING:
                return []
            raise
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def _add_tree(self, summary: hashlib._Hash, fd: int, excluded: PathMatcher) -> None:
        verdicts: dict[bytes, tuple[bool, ...]] = {}
        top = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        try:
            for path, status in rootpath.walk(top):
                above = verdicts.get(posixpath.dirname(path), ())
                out, verdict = excluded.matches_below(above, os.fsdecode(path))
                if stat.S_ISDIR(status.st_mode):
                    verdicts[path] = verdict
                if not out:
                    summary.update(self._record(top, path, path, status))
        finally:
            os.close(top)

    def _record(self, root: int, path: bytes, name: bytes, status: os.stat_result) -> bytes:
        kind = stat.S_IFMT(status.st_mode)
        owner = b"" if self.is_context else b"%d:%d" % (status.st_uid, status.st_gid)
        if kind == stat.S_IFREG:
            payload = self._content(root, path, status)
        elif kind == stat.S_IFLNK:
            payload = _link(root, path)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            payload = b"%d" % status.st_rdev
        else:
            payload = b""
        # Lengths first, so that no two lists of fields read the same.
        fields = (name, b"%o" % status.st_mode, owner, payload)
        return b"".join(b"%d:" % len(field) + field for field in fields)

    def _content(self, root: int, path: bytes, status: os.stat_result) -> bytes:
        key = (status.st_dev, status.st_ino)
        known = self._contents.get(key)
        if known is None:
            known = self._contents[key] = _hash_file(root, path)
        return known


def _hash_file(root: int, path: bytes) -> bytes:
    fd = rootpath.open_in(root, path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        content = hashlib.sha256()
        while piece := os.read(fd, _READ_BYTES):
            content.update(piece)
        xattrs = [
            b"%d:" % len(value) + key.encode() + value
            for key in sorted(os.listxattr(fd))
            for value in (os.getxattr(fd, key),)
            if kept_xattr(key)
        ]
    finally:
        os.close(fd)
    return content.digest() + b"".join(xattrs)


def kept_xattr(key: str) -> bool:
    """What a copy takes along: the user's own, and file capabilities."""
    if key.startswith("user."):
        return not key.startswith("user.overlay.")
    return key == "security.capability"


def _link(root: int, path: bytes) -> bytes:
    parent, name = rootpath.open_parent_in(root, path)
    try:
        return os.readlink(name, dir_fd=parent)
    finally:
        os.close(parent)

"""The build context once it is a directory: its Dockerfile, and what `.dockerignore` takes out.

The directory came from outside. Files in it are opened inside it, without blocking, up to a size.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat

from tiffin.core.pathmatch import PathMatcher, parse_ignore_file
from tiffin.errors import EngineFailure, InvalidArgument
from tiffin.kernel import rootpath

DEFAULT_NAME = "Dockerfile"
_MAX_BYTES = 16 << 20


def read_dockerfile(root: int, name: str) -> tuple[str, bytes]:
    """The name that was found and the text. "" means Dockerfile, or dockerfile. Docker's errors."""
    wanted = posixpath.normpath((name or DEFAULT_NAME).lstrip("/"))
    if wanted == ".." or wanted.startswith("../"):
        raise EngineFailure(f"forbidden path outside the build context: {name} ()")
    for candidate in (wanted, *(("dockerfile",) if wanted == DEFAULT_NAME else ())):
        data = _read(root, candidate)
        if data is not None:
            if not data:
                raise InvalidArgument(f"the Dockerfile ({candidate}) cannot be empty")
            return candidate, data
    raise EngineFailure(f"Cannot locate specified Dockerfile: {wanted}")


def ignored_patterns(root: int, dockerfile: str) -> PathMatcher:
    """Of `<Dockerfile>.dockerignore` if there is one, else of `.dockerignore`."""
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        data = _read(root, name)
        if data is not None:
            return PathMatcher(parse_ignore_file(data))
    return PathMatcher(())


def take_out(root: int, ignored: PathMatcher) -> None:
    """Delete what is ignored; a directory stays while something in it does."""
    if not ignored:
        return
    for path in reversed(_to_delete(root, ignored)):
        parent, name = rootpath.open_parent_in(root, path)
        try:
            rootpath.remove_tree(parent, name)
        finally:
            os.close(parent)


def _to_delete(root: int, ignored: PathMatcher) -> list[bytes]:
    verdicts: dict[bytes, tuple[bool, ...]] = {}
    out: list[bytes] = []
    kept: set[bytes] = set()
    pruned: bytes | None = None
    for path, status in rootpath.walk(root):
        if pruned is not None and path.startswith(pruned):
            continue
        parent = posixpath.dirname(path)
        matched, verdict = ignored.matches_below(verdicts.get(parent, ()), os.fsdecode(path))
        is_directory = stat.S_ISDIR(status.st_mode)
        if is_directory:
            verdicts[path] = verdict
        if matched:
            out.append(path)
            pruned = path + b"/" if is_directory and not ignored.has_exceptions else pruned
            continue
        while parent and parent not in kept:
            kept.add(parent)
            parent = posixpath.dirname(parent)
    return [path for path in out if path not in kept]


def _read(root: int, path: str) -> bytes | None:
    try:
        fd = rootpath.open_in(root, path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
            return None
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        with open(fd, "rb", closefd=False) as file:
            data = file.read(_MAX_BYTES + 1)
    finally:
        os.close(fd)
    if len(data) > _MAX_BYTES:
        raise InvalidArgument(f"{path} is larger than {_MAX_BYTES} bytes")
    return data

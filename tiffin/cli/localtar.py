"""A local file or directory as a tar, hard links within it kept, file capabilities too."""

from __future__ import annotations

import os
import stat

from tiffin.cli.tarwriter import END, Header, contents, file_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_CAPABILITY = "security.capability"


class LocalTar:
    def __init__(self) -> None:
        self._links: dict[tuple[int, int], bytes] = {}

    def stream(self, source: bytes, name: bytes) -> Iterator[bytes]:
        """`source` under the name `name`; without one only what is in it."""
        if name:
            yield from self._entry(source, name)
        else:
            for each in sorted(os.listdir(source)):
                yield from self._entry(os.path.join(source, each), each)
        yield END

    def _entry(self, path: bytes, name: bytes) -> Iterator[bytes]:
        status = os.lstat(path)
        is_directory = stat.S_ISDIR(status.st_mode)
        if stat.S_ISSOCK(status.st_mode):
            return
        header: Header = file_header(name + b"/" if is_directory else name, status)
        header.uid, header.gid = status.st_uid, status.st_gid
        if stat.S_ISLNK(status.st_mode):
            header.link = os.readlink(path)
        elif status.st_nlink > 1 and not is_directory:
            first = self._links.setdefault((status.st_dev, status.st_ino), name)
            if first != name:
                header.link, header.hard, header.size = first, True, 0
        if stat.S_ISREG(status.st_mode) and not header.hard:
            header.capability = _capability(path)
        yield header.encode()
        if header.size:
            yield from contents(path, header.size)
        if is_directory:
            for each in sorted(os.listdir(path)):
                yield from self._entry(os.path.join(path, each), name + b"/" + each)


def _capability(path: bytes) -> bytes:
    try:
        return os.getxattr(path, _CAPABILITY, follow_symlinks=False)
    except OSError:
        return b""

"""Archives for the tests of storage, made with Python's tarfile: a second opinion on the format."""

from __future__ import annotations

import io
import os
import tarfile

Item = tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]


def archive(*items: Item, tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tar_format) as tar:
        for item in items:
            info, data = item if isinstance(item, tuple) else (item, b"")
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def file(name: str, data: bytes = b"", mode: int = 0o644, **attributes: object) -> Item:
    info = _info(name, tarfile.REGTYPE, mode, attributes)
    info.size = len(data)
    return info, data


def directory(name: str, mode: int = 0o755, **attributes: object) -> Item:
    return _info(name, tarfile.DIRTYPE, mode, attributes)


def symlink(name: str, target: str) -> Item:
    return _info(name, tarfile.SYMTYPE, 0o777, {"linkname": target})


def hard_link(name: str, target: str) -> Item:
    return _info(name, tarfile.LNKTYPE, 0o644, {"linkname": target})


def device(name: str, major: int, minor: int) -> Item:
    return _info(name, tarfile.CHRTYPE, 0o666, {"devmajor": major, "devminor": minor})


def _info(name: str, kind: bytes, mode: int, attributes: dict[str, object]) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = mode
    info.uid, info.gid = os.geteuid(), os.getegid()
    info.mtime = 1_700_000_000
    for key, value in attributes.items():
        setattr(info, key, value)
    return info

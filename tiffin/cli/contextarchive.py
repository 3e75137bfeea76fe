"""A context as an archive: `meta.json` and `tls/docker/*.pem` in a tar, or in a zip."""

from __future__ import annotations

import io
import stat

from tiffin.cli.failures import CommandFailed
from tiffin.cli.jsontext import decode
from tiffin.cli.tarwriter import END, Header, padded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

LIMIT = 10 << 20


def pack(meta: bytes, tls: dict[str, bytes]) -> bytes:
    parts = [_file(b"meta.json", meta, 0o644), Header(b"tls", stat.S_IFDIR | 0o700).encode()]
    if tls:
        parts.append(Header(b"tls/docker", stat.S_IFDIR | 0o700).encode())
    parts += [_file(f"tls/docker/{name}".encode(), tls[name], 0o600) for name in sorted(tls)]
    return b"".join([*parts, END])


def _file(name: bytes, data: bytes, mode: int) -> bytes:
    return Header(name, stat.S_IFREG | mode, size=len(data)).encode() + padded(data)


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The metadata and the TLS files. CommandFailed for what is neither, or holds anything else."""
    if len(data) > LIMIT:
        raise CommandFailed(f"the archive is larger than {LIMIT} bytes")
    members = _zip_members(data) if data.startswith(b"PK\x03\x04") else _tar_members(data)
    document: dict[str, Any] = {}
    tls: dict[str, bytes] = {}
    for name, content in members:
        if name == "meta.json":
            document = _metadata(content)
        elif name.startswith("tls/docker/") and name.count("/") == 2:
            tls[name.rpartition("/")[2]] = content
        else:
            raise CommandFailed(f"unexpected context file: {name}")
    if not document:
        raise CommandFailed("invalid context: no metadata found")
    return document, tls


def _metadata(content: bytes) -> dict[str, Any]:
    try:
        found = decode(content)
    except ValueError as error:
        raise CommandFailed(f"invalid context metadata: {error}") from error
    if not isinstance(found, dict):
        raise CommandFailed("invalid context metadata: not an object")
    return found


def _tar_members(data: bytes) -> Iterable[tuple[str, bytes]]:
    import tarfile

    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                content = archive.extractfile(member)
                if content is not None:
                    yield member.name.removeprefix("./"), content.read()
    except tarfile.TarError as error:
        raise CommandFailed(f"unexpected EOF: {error}") from error


def _zip_members(data: bytes) -> Iterable[tuple[str, bytes]]:
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(each.file_size for each in archive.infolist()) > LIMIT:
                raise CommandFailed(f"the archive is larger than {LIMIT} bytes")
            for each in archive.infolist():
                if not each.is_dir():
                    yield each.filename, archive.read(each)
    except zipfile.BadZipFile as error:
        raise CommandFailed(f"invalid zip file: {error}") from error

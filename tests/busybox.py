"""A small real image for tests: static busybox with its applets, as a tree, a layer, an archive.

All three are the same bytes on every call, so digests made from them are stable within a machine.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import subprocess
import tarfile
from typing import IO

BUSYBOX = "/bin/busybox"
TAG = "busybox:latest"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_DIRECTORIES = {
    "bin": 0o755,
    "dev": 0o755,
    "etc": 0o755,
    "home": 0o755,
    "lib": 0o755,
    "proc": 0o755,
    "root": 0o700,
    "run": 0o755,
    "sbin": 0o755,
    "sys": 0o755,
    "tmp": 0o1777,
    "usr": 0o755,
    "usr/bin": 0o755,
    "usr/sbin": 0o755,
    "var": 0o755,
    "var/log": 0o755,
    "var/spool": 0o755,
    "var/tmp": 0o1777,
}
_FILES = {
    "etc/passwd": (
        "root:x:0:0:root:/root:/bin/sh\n"
        "daemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
        "bin:x:2:2:bin:/bin:/bin/false\n"
        "www-data:x:33:33:www-data:/var/www:/bin/false\n"
        "nobody:x:65534:65534:nobody:/home:/bin/false\n"
    ),
    "etc/group": (
        "root:x:0:\n"
        "daemon:x:1:\n"
        "bin:x:2:\n"
        "tty:x:5:\n"
        "staff:x:50:daemon,www-data\n"
        "www-data:x:33:\n"
        "nogroup:x:65534:\n"
    ),
    "etc/shadow": "root:*:19000:0:99999:7:::\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}


@functools.cache
def busybox_tar() -> bytes:
    """One uncompressed layer."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, mode in _DIRECTORIES.items():
            archive.addfile(_entry(name, tarfile.DIRTYPE, mode))
        with open(BUSYBOX, "rb") as program:
            _add_file(archive, "bin/busybox", program.read(), 0o755)
        for applet in _applets():
            link = _entry(f"bin/{applet}", tarfile.SYMTYPE, 0o777)
            link.linkname = "busybox"
            archive.addfile(link)
        env = _entry("usr/bin/env", tarfile.SYMTYPE, 0o777)
        env.linkname = "../../bin/env"
        archive.addfile(env)
        for name, text in _FILES.items():
            mode = 0o640 if name == "etc/shadow" else 0o644
            _add_file(archive, name, text.encode(), mode)
    return out.getvalue()


@functools.cache
def busybox_image_tar() -> bytes:
    """What `docker save busybox` writes: manifest.json, config, one layer; tagged TAG."""
    layer = busybox_tar()
    diff_id = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": {"Env": [PATH], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
            "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "busybox-static"}],
        },
        separators=(",", ":"),
    ).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    layer_name = f"{diff_id}/layer.tar"
    manifest = [{"Config": config_name, "RepoTags": [TAG], "Layers": [layer_name]}]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(_entry(diff_id, tarfile.DIRTYPE, 0o755))
        _add_file(archive, layer_name, layer, 0o644)
        _add_file(archive, config_name, config, 0o644)
        _add_file(archive, "manifest.json", json.dumps(manifest).encode(), 0o644)
    return out.getvalue()


def busybox_image_id() -> str:
    """The image ID that every engine must give to busybox_image_tar()."""
    with tarfile.open(fileobj=io.BytesIO(busybox_image_tar())) as archive:
        manifest: IO[bytes] | None = archive.extractfile("manifest.json")
        assert manifest is not None
        return "sha256:" + json.load(manifest)[0]["Config"].removesuffix(".json")


def busybox_rootfs(directory: str) -> None:
    """The layer unpacked at `directory`, which exists."""
    with tarfile.open(fileobj=io.BytesIO(busybox_tar())) as archive:
        # Debian 12's Python has no filters yet; newer ones ask for the choice.
        archive.extraction_filter = lambda member, _: member
        archive.extractall(directory)


@functools.cache
def _applets() -> tuple[str, ...]:
    listed = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True)
    return tuple(name for name in sorted(set(listed.stdout.split())) if name != "busybox")


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.mode = mode
    entry.mtime = 1_700_000_000
    entry.uname = entry.gname = ""
    return entry


def _add_file(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = _entry(name, tarfile.REGTYPE, mode)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))

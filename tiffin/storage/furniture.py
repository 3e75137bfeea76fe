"""What every container's tree has, whatever its image: `/.dockerenv` and `/etc/mtab`.

By the first many programs know where they run, and by the second some (Java's among them) what is
mounted. Put into a new tree before it is mounted, as dockerd does; no change of the container's,
and in no image (layers.MOUNT_POINTS).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from tiffin.core.workload import Overlay
from tiffin.storage.lookup import is_opaque

MARK = ".dockerenv"
MOUNT_TABLE_TARGET = "/proc/mounts"


def furnish(tree: Overlay) -> None:
    """Add what the layers lack. Follows no link: an `/etc` that is one keeps what it leads to."""
    layers = (tree.upper, *tree.lower)
    if not any(_status(layer, MARK) for layer in layers):
        flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_WRONLY
        os.close(os.open(f"{tree.upper}/{MARK}", flags, 0o755))
    etc = _etc_directories(layers)
    if etc is None or any(_status(directory, "mtab") for directory in etc):
        return
    own = f"{tree.upper}/etc"
    if etc and etc[0] != own:
        _copy_up(etc[0], own)
    elif not etc:
        os.mkdir(own, 0o755)
    before = os.stat(own)
    os.symlink(MOUNT_TABLE_TARGET, f"{own}/mtab")
    os.utime(own, ns=(before.st_atime_ns, before.st_mtime_ns))


def _etc_directories(layers: Sequence[str]) -> list[str] | None:
    """Those that lie over one another, the first on top; None: there is something else."""
    found: list[str] = []
    for layer in layers:
        status = _status(layer, "etc")
        if status is None:
            continue
        if not stat.S_ISDIR(status.st_mode):
            whiteout = stat.S_ISCHR(status.st_mode)
            return found if found or whiteout else None
        found.append(f"{layer}/etc")
        if is_opaque(found[-1]):
            break
    return found


def _copy_up(source: str, target: str) -> None:
    status = os.stat(source)
    os.mkdir(target, 0o700)
    os.chown(target, status.st_uid, status.st_gid)
    os.chmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if not name.startswith("trusted.overlay."):
            os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _status(directory: str, name: str) -> os.stat_result | None:
    try:
        return os.lstat(f"{directory}/{name}")
    except FileNotFoundError:
        return None

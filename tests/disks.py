"""Small disks for tests: what is written to a full one fails as on any other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tiffin.kernel import mounts


@contextlib.contextmanager
def small_disk(directory: Path, size: str, *, inodes: int = 0) -> Iterator[None]:
    """A tmpfs of `size` ("4m"), of so many inodes, at `directory` while the context lasts."""
    context = mounts.fsopen("tmpfs")
    mounts.fsconfig_string(context, "size", size)
    if inodes:
        mounts.fsconfig_string(context, "nr_inodes", str(inodes))
    mounts.fsconfig_create(context)
    mount = mounts.fsmount(context)
    os.close(context)
    mounts.move_mount(mount, mounts.AT_FDCWD, str(directory))
    os.close(mount)
    try:
        yield
    finally:
        mounts.umount(str(directory), mounts.MNT_DETACH)


def fill(path: Path) -> None:
    """Write to `path` until there is room for nothing more."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass

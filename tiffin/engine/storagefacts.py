"""How layers lie on one another here, in the words of Docker's `info`."""

from __future__ import annotations

import msgspec

from tiffin.kernel import filesystems


class StorageFacts(msgspec.Struct, frozen=True):
    driver: str
    status: tuple[tuple[str, str], ...]


def read_storage(data_root: str, *, overlay: bool) -> StorageFacts:
    """`overlay`: not by full copies, which is what Docker's vfs does."""
    backing = ("Backing Filesystem", filesystems.name_of(data_root))
    if not overlay:
        return StorageFacts("vfs", (backing,))
    status = (
        backing,
        ("Supports d_type", str(filesystems.tells_kinds(data_root)).lower()),
        ("Using metacopy", "false"),  # storage.overlay mounts with it off
        ("Native Overlay Diff", "true"),  # what changed is read from the upper directory
        ("userxattr", "false"),  # whiteouts are marked in trusted.*
    )
    return StorageFacts("overlay2", status)

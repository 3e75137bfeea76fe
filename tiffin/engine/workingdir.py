"""A working directory that the image has not: made when the container is created, as Docker does.

So `cp` and `export` find it before the first start. It is root's, 0755, whatever the user is.
"""

from __future__ import annotations

import errno
import os
import posixpath

from tiffin.errors import EngineFailure
from tiffin.kernel import rootpath
from tiffin.storage.lookup import surely_has_directory
from tiffin.storage.snapshots import SnapshotStore


def cleaned(path: str) -> str:
    """As it is shown: without "." and "..", by the text alone."""
    if not path.startswith("/"):
        return path  # "", or what is refused
    return "/" + posixpath.normpath(path).lstrip("/")


def ensure_working_dir(snapshots: SnapshotStore, snapshot: str, path: str) -> None:
    """Blocking. Mounts the tree only where the layers do not simply have it.

    Links are followed inside the tree. Raises EngineFailure where something else is there.
    """
    layers = snapshots.overlay(snapshot)
    if surely_has_directory((layers.upper, *layers.lower), path):
        return
    with snapshots.mounted(snapshot) as root:
        try:
            rootpath.make_directories(root, path)
        except OSError as error:
            if error.errno == errno.ENOTDIR and rootpath.exists_in(root, path):
                raise EngineFailure(f"Cannot mkdir: {path} is not a directory") from error
            words = os.strerror(error.errno or 0).lower()
            raise EngineFailure(f"mkdir {path}: {words}") from error

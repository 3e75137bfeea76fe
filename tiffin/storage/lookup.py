"""What layers have at a path, without mounting them."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from tiffin.kernel import rootpath
from tiffin.storage.layers import is_opaque

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def surely_has_directory(layers: Sequence[str], path: str) -> bool:
    """Whether a directory is there with no link on the way; False where that takes a mount to say.

    `layers` lie over one another, the first on top.
    """
    name = os.fsencode(path.strip("/"))
    for index, layer in enumerate(layers):
        root = os.open(layer, _DIRECTORY)
        try:
            os.close(rootpath.open_beneath(root, name, _DIRECTORY))
        except OSError:
            continue
        finally:
            os.close(root)
        return not any(_hides(above, name) for above in layers[:index])
    return False


def _hides(layer: str, name: bytes) -> bool:
    """Whether a layer says something of the way to `name` that keeps what is beneath from view."""
    root = os.open(layer, _DIRECTORY)
    try:
        parts = name.split(b"/")
        for count in range(1, len(parts) + 1):
            prefix = b"/".join(parts[:count])
            try:
                status = os.stat(prefix, dir_fd=root, follow_symlinks=False)
            except FileNotFoundError:
                return False
            if not stat.S_ISDIR(status.st_mode) or is_opaque(root, prefix):
                return True
        return False
    finally:
        os.close(root)

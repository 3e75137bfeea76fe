"""What layers have at a path, without mounting them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from tiffin.storage.unpack import OPAQUE


def surely_has_directory(layers: Sequence[str], path: str) -> bool:
    """Whether a directory is there with no link on the way; False where that takes a mount to say.

    `layers` lie over one another, the first on top, and nobody changes them. No link is followed:
    each name is looked up in what was seen to be a directory.
    """
    names = path.strip("/").split("/")
    for layer in layers:
        seen, place = [], layer
        for name in names:
            place = f"{place}/{name}"
            try:
                status = os.lstat(place)
            except FileNotFoundError:
                break
            if not stat.S_ISDIR(status.st_mode):
                return False
            seen.append(place)
        else:
            return True
        if any(map(is_opaque, seen)):
            return False
    return False


def is_opaque(directory: str) -> bool:
    try:
        return os.getxattr(directory, OPAQUE, follow_symlinks=False) == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise

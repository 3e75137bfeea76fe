"""The program that the zygote and its shims are: the host's interpreter, out of everybody's reach.

A container with the host's ids (--privileged, --userns, --network host) may get hold of the file
that its own first process was executed from, through /proc/PID/exe, and write to it as root
(CVE-2019-5736). So that file is executed through a mount of its own, read-only and attached
nowhere: there is no name by which it could be made writable again.
"""

from __future__ import annotations

import os

from tiffin.kernel import mounts

_READ_ONLY = 0x01  # MOUNT_ATTR_RDONLY


def opened(path: str) -> int:
    """A descriptor to execute, as /proc/self/fd/N. The caller closes it. Raises OSError."""
    tree = mounts.open_tree(mounts.AT_FDCWD, os.path.realpath(path))
    try:
        mounts.mount_setattr(tree, set_attributes=_READ_ONLY, propagation=mounts.MS_PRIVATE)
    except BaseException:
        os.close(tree)
        raise
    return tree

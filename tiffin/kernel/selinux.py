"""SELinux as far as a file or a process is labelled. Everything raises OSError.

Nothing here is imported by what lives in a container's processes.
"""

from __future__ import annotations

import errno
import os

FILE_SYSTEM = "/sys/fs/selinux"
_CONFIG = "/etc/selinux/config"
_ATTRIBUTE = "security.selinux"


def enabled() -> bool:
    """Whether the kernel labels: it may be without a policy yet."""
    return os.path.exists(f"{FILE_SYSTEM}/enforce")


def contexts() -> str:
    """What the policy's own file says of containers; "" where there is none."""
    try:
        return _read(f"/etc/selinux/{_policy()}/contexts/lxc_contexts")
    except OSError:
        return ""


def _policy() -> str:
    for line in _read(_CONFIG).splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "SELINUXTYPE":
            return value.strip()
    return "targeted"


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def label_of(path: str) -> str:
    """ "" for a file without one."""
    try:
        return os.getxattr(path, _ATTRIBUTE, follow_symlinks=False).rstrip(b"\0").decode()
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return ""
        raise


def relabel(path: str, label: str) -> None:
    """A file, or a directory and all below it; links are labelled and never followed.

    What vanishes meanwhile is passed over, and so is a file system that keeps no labels.
    """
    try:
        _label(path, label)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EROFS):
            return
        raise
    if not os.path.isdir(path) or os.path.islink(path):
        return
    for _path, directories, files, descriptor in os.fwalk(path, follow_symlinks=False):
        for name in (*directories, *files):
            # By the directory's descriptor: a container may be turning names into links.
            try:
                _label(f"/proc/self/fd/{descriptor}/{name}", label)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP, errno.EROFS):
                    raise


def _label(path: str, label: str) -> None:
    os.setxattr(path, _ATTRIBUTE, label.encode() + b"\0", follow_symlinks=False)

"""What AppArmor or SELinux are to take a program for, told to the kernel just before its exec.

By the host's own procfs, opened before the container's files have a say: the /proc that is found in
a root may be forged, and then the label is never set (CVE-2019-16884).
"""

from __future__ import annotations

import errno
import os

from tiffin.kernel import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Config = dict[str, Any]

_PROC_MAGIC = 0x9FA0
# The first is AppArmor's alone, since Linux 5.8; the second belongs to whichever module is there.
_APPARMOR_FILES = ("self/attr/apparmor/exec", "self/attr/exec")
_SELINUX_FILES = ("self/attr/exec",)


def opened(process: Config) -> int:
    """The host's procfs, where `process` asks for a label; else -1. The caller closes it."""
    if not (process.get("apparmorProfile") or process.get("selinuxLabel")):
        return -1
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if syscalls.file_system_type(proc) != _PROC_MAGIC:
        os.close(proc)
        raise OSError(errno.EINVAL, "/proc is no procfs", "/proc")
    return proc


def wanted(process: Config) -> list[tuple[str, str, tuple[str, ...]]]:
    """(what it does, what is written, where) for each label asked for."""
    found: list[tuple[str, str, tuple[str, ...]]] = []
    if profile := process.get("apparmorProfile"):
        found.append((f"apply AppArmor profile {profile}", f"exec {profile}", _APPARMOR_FILES))
    if label := process.get("selinuxLabel"):
        found.append((f"set SELinux label {label}", label, _SELINUX_FILES))
    return found


def put(proc: int, text: str, files: tuple[str, ...]) -> None:
    """For this process's next exec. Raises OSError: ENOENT, a profile that is not loaded."""
    for number, file in enumerate(files, 1):
        try:
            fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
        except FileNotFoundError:
            if number == len(files):
                raise
            continue
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
        return

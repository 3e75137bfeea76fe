"""Project quota of ext4 and xfs: a limit on all that lies in a directory tree.

A directory has a project id that what is made in it inherits; the file system counts blocks by
project where it is mounted with prjquota (pquota). Everything raises OSError: ENOTTY, EOPNOTSUPP,
ENOSYS or ESRCH where the file system or the kernel has no such thing.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

# linux/fs.h
_FS_IOC_FSGETXATTR = 0x801C581F
_FS_IOC_FSSETXATTR = 0x401C5820
_FSXATTR = struct.Struct("=5I8s")  # xflags, extsize, nextents, projid, cowextsize, padding
_XFLAG_PROJINHERIT = 0x200

# linux/dqblk_xfs.h, which ext4 understands as well
_Q_XSETQLIM = (ord("X") << 8) + 4
_PRJQUOTA = 2
_DISK_QUOTA = struct.Struct("=bbHIQQ88x")  # version, flags, fields, id, hard and soft limit, rest
_FS_PROJ_QUOTA = 2
_FIELD_BSOFT, _FIELD_BHARD = 1 << 2, 1 << 3
_BLOCK_BYTES = 512

_SYS_QUOTACTL_FD = 443  # the same on all architectures; Linux 5.14

ABSENT = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.ENOSYS, errno.ESRCH, errno.EINVAL})


def join_project(directory: int, project: int) -> None:
    """Have what is made in the directory belong to the project."""
    data = bytearray(_FSXATTR.size)
    fcntl.ioctl(directory, _FS_IOC_FSGETXATTR, data)
    xflags, extsize, nextents, _, cowextsize, rest = _FSXATTR.unpack(data)
    changed = _FSXATTR.pack(
        xflags | _XFLAG_PROJINHERIT, extsize, nextents, project, cowextsize, rest
    )
    fcntl.ioctl(directory, _FS_IOC_FSSETXATTR, changed)


def limit_project(directory: int, project: int, size_bytes: int) -> None:
    """Limit what the project has on the directory's file system. 0 lifts the limit."""
    blocks = -(-size_bytes // _BLOCK_BYTES)
    quota = _DISK_QUOTA.pack(
        1, _FS_PROJ_QUOTA, _FIELD_BSOFT | _FIELD_BHARD, project, blocks, blocks
    )
    libc = ctypes.CDLL(None, use_errno=True)
    command = (_Q_XSETQLIM << 8) | _PRJQUOTA
    answer = libc.syscall(
        ctypes.c_long(_SYS_QUOTACTL_FD),
        ctypes.c_int(directory),
        ctypes.c_uint(command),
        ctypes.c_uint(project),
        ctypes.create_string_buffer(quota, len(quota)),
    )
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

"""Where ext4 puts what is made.

It makes a directory beside its parent, and files beside their directory. Without a journal it gives
an inode out again only minutes after it was freed (`recently_deleted` in fs/ext4/ialloc.c), and for
each new one looks at all of those: where thousands of containers come and go in one place, a start
looks at thousands. A directory at the top of a hierarchy (chattr(1), T) has its children spread
over the disk instead.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

# linux/fs.h
_FS_IOC_GETFLAGS = 0x80086601
_FS_IOC_SETFLAGS = 0x40086602
_TOP_OF_HIERARCHY = 0x20000
_FLAGS = struct.Struct("=I")
_ABSENT = (errno.ENOTTY, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.EROFS)


def spread_children(directory: str) -> None:
    """Of directories that have nothing to do with one another. Only where that pays."""
    if _journal_of(directory) != "<none>":
        return
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        data = bytearray(_FLAGS.size)
        fcntl.ioctl(fd, _FS_IOC_GETFLAGS, data)
        (flags,) = _FLAGS.unpack(data)
        if not flags & _TOP_OF_HIERARCHY:
            fcntl.ioctl(fd, _FS_IOC_SETFLAGS, _FLAGS.pack(flags | _TOP_OF_HIERARCHY))
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
    finally:
        os.close(fd)


def _journal_of(directory: str) -> str:
    """The process that writes an ext4's journal, "<none>" without one; "" where it is no ext4."""
    device = os.stat(directory).st_dev
    try:
        block = os.readlink(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
        name = os.path.basename(block)
        with open(f"/sys/fs/ext4/{name}/journal_task", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""

"""What a directory lies on."""

from __future__ import annotations

import ctypes
import os

from tiffin.kernel.syscalls import file_system_type

# linux/magic.h, by the names that Docker has for them.
_NAMES = {
    0x61756673: "aufs",
    0x9123683E: "btrfs",
    0x28CD3D45: "cramfs",
    0xF15F: "ecryptfs",
    0xEF53: "extfs",
    0xF2F52010: "f2fs",
    0x65735546: "fuse",
    0x47504653: "gpfs",
    0x72B6: "jffs2",
    0x3153464A: "jfs",
    0x6969: "nfs",
    0x794C7630: "overlayfs",
    0x858458F6: "ramfs",
    0x52654973: "reiserfs",
    0xFF534D42: "cifs",
    0x517B: "smb",
    0x73717368: "squashfs",
    0x01021994: "tmpfs",
    0xA501FCF5: "vxfs",
    0x58465342: "xfs",
    0x2FC12FC1: "zfs",
}


class _Entry(ctypes.Structure):
    _fields_ = (
        ("inode", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("length", ctypes.c_ushort),
        ("kind", ctypes.c_ubyte),
        ("name", ctypes.c_char * 256),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.fdopendir.restype = ctypes.c_void_p
_libc.readdir.restype = ctypes.POINTER(_Entry)


def name_of(directory: str) -> str:
    """Of the file system, as Docker calls it; its number where it has none."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return name_of_magic(file_system_type(fd) & 0xFFFFFFFF)
    finally:
        os.close(fd)


def name_of_magic(magic: int) -> str:
    return _NAMES.get(magic, f"{magic:#x}")


def tells_kinds(directory: str) -> bool:
    """Whether a listing says what each entry is (d_type), which overlayfs needs of it."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stream = ctypes.c_void_p(_libc.fdopendir(fd))
    if not stream:
        os.close(fd)
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), directory)
    try:
        while entry := _libc.readdir(stream):
            if not entry.contents.kind:
                return False
        return True
    finally:
        _libc.closedir(stream)

"""Mounts as descriptors: the kernel's mount API of 5.2 and later, and openat2.

A file system is made by `fsopen` → `fsconfig_*` → `fsmount`, a copy of an existing mount by
`open_tree`; both give an O_PATH descriptor of a *detached* mount, which every `*at` call takes as a
directory and which is gone with that descriptor. `move_mount` puts it somewhere. Each function is
one system call; a failure is an OSError whose `strerror` starts with the call's name and ends with
the kernel's own words where it has logged some; its `filename` is the path or option concerned.

Everything is close-on-exec. Paths are str or bytes. Safe in a forked child: no late imports.
"""

from __future__ import annotations

import ctypes
import os

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_SYMLINK_NOFOLLOW = 0x100
AT_RECURSIVE = 0x8000

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC

MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000
MOUNT_ATTR_ATIME_MASK = 0x70

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_UNBINDABLE = 0x20000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000

MNT_FORCE = 1
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUTS = 0x04000000

# The same on every architecture but alpha.
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_OPENAT2, _MOUNT_SETATTR = 437, 442
_PIVOT_ROOT = 155 if os.uname().machine == "x86_64" else 41

_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _SET_FD, _CMD_CREATE, _CMD_RECONFIGURE = 0, 1, 5, 6, 7

_libc = ctypes.CDLL(None, use_errno=True)
_long = ctypes.c_long
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
for _name in ("mount", "umount2", "unshare"):  # looked up before there is a fork
    getattr(_libc, _name)


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def fsopen(file_system: str) -> int:
    """A file system context: "overlay", "proc", "tmpfs". The caller closes it."""
    result = _syscall(_long(_FSOPEN), file_system.encode(), _long(_FSOPEN_CLOEXEC))
    return _checked(result, "fsopen", file_system)


def fsconfig_flag(context: int, key: str) -> None:
    result = _syscall(
        _long(_FSCONFIG), _long(context), _long(_SET_FLAG), key.encode(), None, _long(0)
    )
    _checked(result, "fsconfig", key, context)


def fsconfig_string(context: int, key: str, value: str | bytes) -> None:
    """Values longer than 255 bytes are refused by the kernel (EINVAL)."""
    result = _syscall(
        _long(_FSCONFIG),
        _long(context),
        _long(_SET_STRING),
        key.encode(),
        os.fsencode(value),
        _long(0),
    )
    _checked(result, "fsconfig", f"{key}={os.fsdecode(value)}", context)


def fsconfig_fd(context: int, key: str, fd: int) -> None:
    """Overlay takes lowerdir+, upperdir and workdir by descriptor from kernel 6.13 on."""
    result = _syscall(
        _long(_FSCONFIG), _long(context), _long(_SET_FD), key.encode(), None, _long(fd)
    )
    _checked(result, "fsconfig", f"{key}=<descriptor {fd}>", context)


def fsconfig_create(context: int) -> None:
    """Make the superblock of what was configured."""
    result = _syscall(_long(_FSCONFIG), _long(context), _long(_CMD_CREATE), None, None, _long(0))
    _checked(result, "fsconfig create", "", context)


def fsmount(context: int, attributes: int = 0) -> int:
    """A detached mount of a created context, as an O_PATH descriptor. The caller closes it."""
    result = _syscall(_long(_FSMOUNT), _long(context), _long(_FSMOUNT_CLOEXEC), _long(attributes))
    return _checked(result, "fsmount", "", context)


def open_tree(dir_fd: int, path: str | bytes, flags: int = OPEN_TREE_CLONE) -> int:
    """With OPEN_TREE_CLONE a detached copy of the mount at `path` (a bind, not yet put anywhere).

    `path` "" with AT_EMPTY_PATH means `dir_fd` itself; AT_RECURSIVE takes the mounts below too.
    """
    result = _syscall(
        _long(_OPEN_TREE), _long(dir_fd), os.fsencode(path), _long(flags | OPEN_TREE_CLOEXEC)
    )
    return _checked(result, "open_tree", path)


def move_mount(
    from_fd: int,
    to_fd: int,
    to_path: str | bytes = "",
    *,
    from_path: str | bytes = "",
    flags: int = 0,
) -> None:
    """Attach the mount `from_fd` at `to_path` below `to_fd`, or on `to_fd` itself if it is ""."""
    if not from_path:
        flags |= MOVE_MOUNT_F_EMPTY_PATH
    if not to_path:
        flags |= MOVE_MOUNT_T_EMPTY_PATH
    result = _syscall(
        _long(_MOVE_MOUNT),
        _long(from_fd),
        os.fsencode(from_path),
        _long(to_fd),
        os.fsencode(to_path),
        _long(flags),
    )
    _checked(result, "move_mount", to_path)


def mount_setattr(
    dir_fd: int,
    path: str | bytes = "",
    *,
    set_attributes: int = 0,
    clear_attributes: int = 0,
    propagation: int = 0,
    user_namespace: int = -1,
    recursive: bool = False,
) -> None:
    """Change a mount's attributes; with `user_namespace` (a descriptor) idmap it, once."""
    flags = (AT_RECURSIVE if recursive else 0) | (0 if path else AT_EMPTY_PATH)
    attributes = _MountAttr(set_attributes, clear_attributes, propagation, 0)
    if user_namespace >= 0:
        attributes.attr_set |= MOUNT_ATTR_IDMAP
        attributes.userns_fd = user_namespace
    result = _syscall(
        _long(_MOUNT_SETATTR),
        _long(dir_fd),
        os.fsencode(path),
        _long(flags),
        ctypes.byref(attributes),
        _long(ctypes.sizeof(attributes)),
    )
    _checked(result, "mount_setattr", path)


def start_writeback(fd: int) -> None:
    """Have the kernel begin to write a file's dirty pages; waits for none, and fails silently."""
    _libc.sync_file_range(ctypes.c_int(fd), ctypes.c_int64(0), ctypes.c_int64(0), ctypes.c_uint(2))


def openat2(dir_fd: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """open(2) whose path resolution the kernel confines. EAGAIN: raced a rename, try again."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    result = _syscall(
        _long(_OPENAT2),
        _long(dir_fd),
        os.fsencode(path),
        ctypes.byref(how),
        _long(ctypes.sizeof(how)),
    )
    return _checked(result, "openat2", path)


def mount(
    source: str | bytes | None,
    target: str | bytes,
    file_system: str | None = None,
    flags: int = 0,
    data: str | bytes | None = None,
) -> None:
    """mount(2), the old one: for propagation changes and remounts on attached mounts."""
    result = _libc.mount(
        None if source is None else os.fsencode(source),
        os.fsencode(target),
        None if file_system is None else file_system.encode(),
        ctypes.c_ulong(flags),
        None if data is None else os.fsencode(data),
    )
    _checked(result, "mount", target)


def umount(target: str | bytes, flags: int = 0) -> None:
    _checked(_libc.umount2(os.fsencode(target), flags), "umount", target)


def pivot_root(new_root: str | bytes, put_old: str | bytes) -> None:
    result = _syscall(_long(_PIVOT_ROOT), os.fsencode(new_root), os.fsencode(put_old))
    _checked(result, "pivot_root", new_root)


def unshare(flags: int) -> None:
    """Leave the namespaces named by CLONE_NEW* flags for new ones."""
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare", f"{flags:#x}")


def syncfs(fd: int) -> None:
    """Write out all that is dirty on the file system of `fd`."""
    _checked(_libc.syncfs(ctypes.c_int(fd)), "syncfs", "")


def _checked(result: int, call: str, about: str | bytes, context: int = -1) -> int:
    if result >= 0:
        return int(result)
    number = ctypes.get_errno()
    words = f"{call}: {os.strerror(number)}"
    said = _kernel_log(context) if context >= 0 else ""
    if said:
        words += f" ({said})"
    raise OSError(number, words, os.fsdecode(about) or None)


def _kernel_log(context: int) -> str:
    """What the file system has to say about the last failure: lines such as "e overlay: ..."."""
    lines = []
    for _ in range(8):
        try:
            lines.append(os.read(context, 1024).decode(errors="replace").strip())
        except OSError:  # ENODATA: nothing more
            break
    return "; ".join(lines)

"""mount(2) by the option words of mount(8): flags are taken out, the file system gets the rest."""

from __future__ import annotations

import os

from tiffin.kernel import mounts

_SYNCHRONOUS, _MANDLOCK, _DIRSYNC = 0x10, 0x40, 0x80
_NOATIME, _NODIRATIME, _RELATIME, _STRICTATIME = 0x400, 0x800, 0x200000, 0x1000000

# word: (flags, whether it sets them)
_FLAGS = {
    "defaults": (0, False),
    "ro": (mounts.MS_RDONLY, True),
    "rw": (mounts.MS_RDONLY, False),
    "nosuid": (mounts.MS_NOSUID, True),
    "suid": (mounts.MS_NOSUID, False),
    "nodev": (mounts.MS_NODEV, True),
    "dev": (mounts.MS_NODEV, False),
    "noexec": (mounts.MS_NOEXEC, True),
    "exec": (mounts.MS_NOEXEC, False),
    "sync": (_SYNCHRONOUS, True),
    "async": (_SYNCHRONOUS, False),
    "dirsync": (_DIRSYNC, True),
    "remount": (mounts.MS_REMOUNT, True),
    "mand": (_MANDLOCK, True),
    "nomand": (_MANDLOCK, False),
    "noatime": (_NOATIME, True),
    "atime": (_NOATIME, False),
    "nodiratime": (_NODIRATIME, True),
    "diratime": (_NODIRATIME, False),
    "bind": (mounts.MS_BIND, True),
    "rbind": (mounts.MS_BIND | mounts.MS_REC, True),
    "relatime": (_RELATIME, True),
    "norelatime": (_RELATIME, False),
    "strictatime": (_STRICTATIME, True),
    "nostrictatime": (_STRICTATIME, False),
    "unbindable": (mounts.MS_UNBINDABLE, True),
    "runbindable": (mounts.MS_UNBINDABLE | mounts.MS_REC, True),
    "private": (mounts.MS_PRIVATE, True),
    "rprivate": (mounts.MS_PRIVATE | mounts.MS_REC, True),
    "shared": (mounts.MS_SHARED, True),
    "rshared": (mounts.MS_SHARED | mounts.MS_REC, True),
    "slave": (mounts.MS_SLAVE, True),
    "rslave": (mounts.MS_SLAVE | mounts.MS_REC, True),
}
_PROPAGATION = (
    mounts.MS_UNBINDABLE | mounts.MS_PRIVATE | mounts.MS_SHARED | mounts.MS_SLAVE | mounts.MS_REC
)
_READ_ONLY_BIND = mounts.MS_BIND | mounts.MS_RDONLY


def parse_words(text: str) -> tuple[int, str]:
    """The flags, and what is left for the file system."""
    flags, rest = 0, []
    for word in text.split(","):
        bits, sets = _FLAGS.get(word, (-1, False))
        if bits < 0:
            rest += [word] if word else []
        else:
            flags = flags | bits if sets else flags & ~bits
    return flags, ",".join(rest)


def mount(device: str, target: str, kind: str, words: str) -> None:
    """Raises OSError, whose `strerror` is the kernel's words alone."""
    flags, data = parse_words(words)
    mount_flags = flags & ~_PROPAGATION | (flags & mounts.MS_REC if flags & mounts.MS_BIND else 0)
    try:
        mounts.mount(device, target, kind, mount_flags, data)
        propagation = flags & _PROPAGATION
        if propagation & ~mounts.MS_REC:
            mounts.mount("", target, "", propagation)
        if flags & _READ_ONLY_BIND == _READ_ONLY_BIND:  # a bind is not read-only at once
            mounts.mount("", target, "", mount_flags | mounts.MS_REMOUNT)
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), target) from error

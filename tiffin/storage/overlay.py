"""Overlay mounts that are never attached: a merged tree is a descriptor, and gone with it.

Kernels before 6.7 have no `lowerdir+`; there a thread with a mount namespace of its own makes the
mount by mount(2), takes a copy and lets it go. metacopy, redirect_dir and index are off: with them
an upper directory says things that a layer's tar cannot.

When an overlay is unmounted, and whenever it copies a file up, the kernel brings to the disk what
is not there yet: all of the file system that its upper directory is in, whoever wrote it. A
"volatile" one does without (docs.kernel.org/filesystems/overlayfs.html#volatile-mount).
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator, Sequence

from tiffin.kernel import mounts

_OPTIONS = {"metacopy": "off", "redirect_dir": "nofollow", "index": "off"}
_VOLATILE_SINCE = (5, 10)
_STRING_LIMIT = 255  # of fsconfig
_ROOT_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextlib.contextmanager
def merged(lower: Sequence[str], upper: str = "", work: str = "") -> Iterator[int]:
    """A directory descriptor of the merged tree, top of `lower` first. Without `upper` read-only.

    At least one lower directory; two where there is no upper (a kernel's rule). What is written is
    not brought to the disk at the end, and the kernel takes `work` for no other mount afterwards.
    """
    mount = _mount(lower, upper, work)
    try:
        root = os.open(".", _ROOT_FLAGS, dir_fd=mount)
        try:
            yield root
        finally:
            os.close(root)
    finally:
        os.close(mount)


def is_supported(directory: str) -> bool:
    """Whether the kernel takes directories in `directory` for an overlay, whiteouts and all.

    Raises OSError where there is no room to find out.
    """
    paths = [os.path.join(directory, name) for name in ("lower", "upper", "work")]
    try:
        for path in paths:
            os.makedirs(path, exist_ok=True)
        with open(os.path.join(paths[0], "gone"), "wb"):
            pass
        with merged([paths[0]], paths[1], paths[2]) as root:
            os.unlink("gone", dir_fd=root)
            return os.listdir(root) == []
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return False


def _mount(lower: Sequence[str], upper: str, work: str) -> int:
    attributes = 0 if upper else mounts.MOUNT_ATTR_RDONLY
    layers = [("lowerdir+", path) for path in lower]
    layers += [("upperdir", upper), ("workdir", work)] if upper else []
    fits = all(len(os.fsencode(path)) <= _STRING_LIMIT for _, path in layers)
    if fits and _knows_its_options():
        context = mounts.fsopen("overlay")
        try:
            for key, value in (*layers, *_OPTIONS.items()):
                mounts.fsconfig_string(context, key, value)
            if upper:
                mounts.fsconfig_flag(context, "volatile")
            mounts.fsconfig_create(context)
            return mounts.fsmount(context, attributes)
        except OSError as error:
            if error.errno != errno.EINVAL or not _lacks_lower_plus(error):
                raise
        finally:
            os.close(context)
    return mount_in_thread(lower, upper, work)


def _knows_its_options() -> bool:
    """Before 6.5 any option is taken, and found to be none when all are put together."""
    return _kernel() >= (6, 5)


def _kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(filter(str.isdigit, minor)) or 0)


def _lacks_lower_plus(error: OSError) -> bool:
    return str(error.filename).startswith("lowerdir+=")


def mount_in_thread(lower: Sequence[str], upper: str, work: str) -> int:
    """The old way: a thread leaves the process's mount namespace, working directory and all."""
    outcome: list[int | OSError] = []

    def run() -> None:
        try:
            outcome.append(_mount_in_own_namespace(lower, upper, work))
        except OSError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    result = outcome[0]
    if isinstance(result, OSError):
        raise result
    return result


def _mount_in_own_namespace(lower: Sequence[str], upper: str, work: str) -> int:
    mounts.unshare(mounts.CLONE_NEWNS)  # of this thread only; unshares its working directory too
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    # Relative paths keep hundreds of layers below mount(2)'s limit of a page.
    base = os.path.commonpath([os.path.dirname(path) for path in (*lower, upper, work) if path])
    os.chdir(base)
    options = ["lowerdir=" + ":".join(_escaped(os.path.relpath(path, base)) for path in lower)]
    if upper:
        options.append("upperdir=" + _escaped(os.path.relpath(upper, base)))
        options.append("workdir=" + _escaped(os.path.relpath(work, base)))
        options += ["volatile"] if _kernel() >= _VOLATILE_SINCE else []
    options += [f"{key}={value}" for key, value in _OPTIONS.items()]
    target = lower[0]
    flags = 0 if upper else mounts.MS_RDONLY
    mounts.mount("overlay", target, "overlay", flags, ",".join(options))
    # A copy: of a mount that is let go the kernel resolves no ".." within its root (EAGAIN, since
    # whoever puts such a mount down makes it look as if some mount had changed on the way).
    copy = mounts.open_tree(mounts.AT_FDCWD, target)
    mounts.umount(target, mounts.MNT_DETACH)
    return copy


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")

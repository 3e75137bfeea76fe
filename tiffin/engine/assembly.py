"""A container that does not run, as its processes would see it: with all that is mounted on it.

The mounts are made in a mount namespace that nobody is ever in: the host sees none of them, and
they are gone with the descriptor that holds it.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from tiffin.core.container import Container
from tiffin.kernel import mounts, rootpath
from tiffin.runtime import targets

_ITSELF = mounts.OPEN_TREE_CLONE | mounts.AT_EMPTY_PATH

ETC_FILES = ("hosts", "hostname", "resolv.conf")


class Bind(NamedTuple):
    """A file or directory of the host at a place in the tree. `beneath`: a path inside of it."""

    source: str
    target: str
    writable: bool
    recursive: bool = False
    beneath: str = ""


def binds_of(container: Container, directory: str) -> list[Bind]:
    """What a start would mount, outer ones first; `directory` has its files for /etc."""
    found = [
        Bind(
            mount.host_path,
            mount.destination,
            mount.rw,
            recursive=mount.type == "bind" and not mount.non_recursive,
            beneath=mount.subpath,
        )
        for mount in container.mounts
        if mount.type in ("bind", "volume")
    ]
    found.sort(key=lambda bind: bind.target.count("/"))
    taken = {bind.target for bind in found}
    etc = [Bind(os.path.join(directory, name), f"/etc/{name}", True) for name in ETC_FILES]
    return found + [bind for bind in etc if bind.target not in taken]


@contextmanager
def assembled(tree: int, binds: Sequence[Bind], *, is_mount: bool) -> Iterator[int]:
    """Mount on `tree`: the descriptor of its root. Missing targets are made, as a start makes them.

    `is_mount`: it is one that is attached nowhere; of another directory one is made. A source that
    is no longer there is left out: what else the container has is told all the same.
    """
    # Before the mount namespace is left: of one that is elsewhere nobody may make another.
    root = os.dup(tree) if is_mount else mounts.open_tree(tree, "", _ITSELF)
    try:
        mounts.mount_setattr(root, propagation=mounts.MS_PRIVATE)
        namespace = _in_thread(root, binds)
        try:
            yield root
        finally:
            os.close(namespace)
    finally:
        os.close(root)


def _in_thread(tree: int, binds: Sequence[Bind]) -> int:
    """A thread of its own: one that has left the process's mount namespace must not come back."""
    outcome: list[int | BaseException] = []

    def run() -> None:
        try:
            outcome.append(_mount_all(tree, binds))
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    result = outcome[0]
    if isinstance(result, BaseException):
        raise result
    return result


def _mount_all(tree: int, binds: Sequence[Bind]) -> int:
    mounts.unshare(mounts.CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    namespace = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        mounts.move_mount(tree, mounts.AT_FDCWD, "/")
        for bind in binds:
            _mount(tree, bind)
    except BaseException:
        os.close(namespace)
        raise
    return namespace


def _mount(tree: int, bind: Bind) -> None:
    source = _open_source(bind)
    if source is None:
        return
    try:
        with possible_places():
            directory = stat.S_ISDIR(os.fstat(source).st_mode)
            target = targets.open_target(tree, bind.target, directory=directory)
            try:
                mounts.move_mount(source, target)
            finally:
                os.close(target)
    finally:
        os.close(source)


@contextmanager
def possible_places() -> Iterator[None]:
    """What cannot be where it belongs is left out: there is a file in the way, links go round, or
    the source was removed just now. A start would fail; the rest can be told all the same.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENOENT):
            raise


def _open_source(bind: Bind) -> int | None:
    """A detached mount of it."""
    flags = mounts.OPEN_TREE_CLONE | (mounts.AT_RECURSIVE if bind.recursive else 0)
    try:
        if bind.beneath:
            source = _clone_beneath(bind, flags)
        else:
            source = mounts.open_tree(mounts.AT_FDCWD, bind.source, flags)
    except (FileNotFoundError, NotADirectoryError):
        return None
    # Private, or what is mounted on it here would be mounted on the host's as well.
    mounts.mount_setattr(
        source,
        set_attributes=0 if bind.writable else mounts.MOUNT_ATTR_RDONLY,
        propagation=mounts.MS_PRIVATE,
        recursive=bind.recursive,
    )
    return source


def _clone_beneath(bind: Bind, flags: int) -> int:
    above = os.open(bind.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        inside = rootpath.open_in(above, bind.beneath, os.O_PATH)
    finally:
        os.close(above)
    try:
        return mounts.open_tree(inside, "", flags | mounts.AT_EMPTY_PATH)
    finally:
        os.close(inside)

"""Building the root: the operations of create, carried out in the container's own namespaces.

Every target is resolved below the root by the kernel, and what is mounted there comes by
descriptor: the image's links may lead where they like, but not out.
"""

from __future__ import annotations

import errno
import os
import stat
from _socket import socket

from tiffin.kernel import mounts, syscalls
from tiffin.runtime import copying, hooks, messages, mountwords, operations, targets
from tiffin.runtime.failure import Failure, failure_of
from tiffin.runtime.operations import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

NODE_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


class Root:
    """The container's root while it is built."""

    def __init__(self, channel: socket) -> None:
        self.channel = channel
        self.slots: list[int] = []  # the shim's detached mounts
        self._made: dict[int, int] = {}  # ours, by their operation, until they are attached
        self.fd = -1  # the root directory, through which all targets are resolved
        self.proc = -1  # our procfs: the one whose paths are masked
        self.proc_device = -1  # its st_dev
        self.sys_controls = -1  # /proc/sys, before it becomes read-only
        self.null = -1  # our /dev/null
        self.terminals = -1  # our devpts
        self.console = -1  # the terminal's slave
        self.empty = -1  # an attached, empty, read-only tmpfs to mask with
        # Mounts are born in the order of their attachment: newer kernels list them so.
        self.in_order = False

    def make_file_systems(self, plan: list[Operation]) -> None:
        """Ahead, while the shim makes the rest. Raises Failure."""
        for operation in plan if not self.in_order else ():
            if isinstance(operation, operations.MountFileSystem) and not operation.inherits_mode:
                try:
                    self._made[id(operation)] = _make_planned(operation)
                except OSError as error:
                    raise failure_of(operation.describe(), error) from error

    def take(self, operation: operations.MountFileSystem, target: int) -> int:
        """The detached mount, for `target`; the caller closes it."""
        if operation.inherits_mode:
            mode = stat.S_IMODE(os.fstat(target).st_mode)
            return _make_planned(operation, ("mode", f"{mode:o}"))
        if self.in_order:
            return _make_planned(operation)
        return self._made.pop(id(operation))

    def keep(self, operation: operations.MountFileSystem, mounted: int) -> bool:
        """Take what is needed again later."""
        if operation.kind == "proc" and operation.target == "/proc":
            self.proc = mounted
            self.proc_device = os.fstat(mounted).st_dev
            flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
            self.sys_controls = os.open("sys", flags, dir_fd=mounted)
            return True
        if operation.kind == "devpts":
            self.terminals = mounted
            return True
        return False

    def close(self) -> None:
        for fd in (self.fd, self.proc, self.null, self.terminals, self.empty, *self.slots):
            if fd >= 0:
                os.close(fd)
        self.slots.clear()


def build(root: Root, plan: list[Operation]) -> None:
    """Carry out the operations of create. Raises Failure."""
    for operation in plan:
        try:
            _APPLY[type(operation)](root, operation)
        except OSError as error:
            raise failure_of(operation.describe(), error) from error


def _set_hostname(_root: Root, operation: Operation) -> None:
    assert isinstance(operation, operations.SetHostname)
    if operation.name:
        syscalls.sethostname(operation.name)
    if operation.domain:
        syscalls.setdomainname(operation.domain)


def _attach_root(root: Root, operation: Operation) -> None:
    assert isinstance(operation, operations.AttachRoot)
    # On top of our old root: it needs no directory of the host, and pivot_root takes it from there.
    root.fd = root.slots[operation.slot]
    mounts.move_mount(root.fd, mounts.AT_FDCWD, "/")
    root.slots[operation.slot] = -1


def _attach(root: Root, operation: Operation) -> None:
    assert isinstance(operation, operations.Attach)
    tree = root.slots[operation.slot]
    directory = stat.S_ISDIR(os.fstat(tree).st_mode)
    target = _open_target(root, operation, operation.target, directory=directory)
    try:
        _check_target(root, target, operation.target, directory=directory)
        mounts.move_mount(tree, target)
        if root.in_order and directory:
            younger = _born_again(tree)
            os.close(tree)
            tree = root.slots[operation.slot] = younger
            mounts.move_mount(tree, target)
        if operation.late:
            flag, recursive = mountwords.PROPAGATIONS[operation.late]
            mounts.mount_setattr(tree, propagation=flag, recursive=recursive)
    finally:
        os.close(target)
    if operation.target == "/dev":
        root.null = os.open("null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree)


def _born_again(tree: int) -> int:
    """A younger copy of an attached mount, which is taken away."""
    flags = mounts.OPEN_TREE_CLONE | mounts.AT_EMPTY_PATH | mounts.AT_RECURSIVE
    younger = mounts.open_tree(tree, "", flags)
    os.fchdir(tree)
    mounts.umount(".", mounts.MNT_DETACH)
    os.chdir("/")
    return younger


# A link in their place would be followed anew at each step, and may have been turned by then.
_ORDINARY = frozenset(("/proc", "/sys", "/sys/fs/cgroup", "/dev", "/dev/console"))


def _open_target(
    root: Root, operation: Operation, path: str, *, directory: bool, mode: int = 0o755
) -> int:
    if path not in _ORDINARY:
        return targets.open_target(root.fd, path, directory=directory, mode=mode)
    try:
        return targets.open_target(root.fd, path, directory=directory, resolve=targets.ORDINARY)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        what = operation.describe()
        raise Failure(
            f"error during container init: {what}: {path} is, or lies behind, a symbolic link",
            what,
            errno.ELOOP,
        ) from error


def _check_target(root: Root, target: int, path: str, *, directory: bool) -> None:
    status = os.fstat(target)
    if stat.S_ISDIR(status.st_mode) != directory:
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    # A link in the image may lead into procfs what does not look like it.
    if status.st_dev == root.proc_device and not path.startswith("/proc/"):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), path)


def _mount_file_system(root: Root, operation: Operation) -> None:
    assert isinstance(operation, operations.MountFileSystem)
    target = _open_file_system_target(root, operation)
    try:
        _check_target(root, target, operation.target, directory=True)
        mounted = root.take(operation, target)
        kept = False
        try:
            if operation.copy_up:
                copying.copy_up(target, mounted)
            if operation.propagation != mounts.MS_PRIVATE:
                mounts.mount_setattr(mounted, propagation=operation.propagation)
            mounts.move_mount(mounted, target)
            kept = root.keep(operation, mounted)
        finally:
            if not kept:
                os.close(mounted)
    finally:
        os.close(target)


def _open_file_system_target(root: Root, operation: operations.MountFileSystem) -> int:
    if not operation.inherits_mode:
        return _open_target(root, operation, operation.target, directory=True)
    # As open as a tmpfs by itself is what is made here: the next start finds it, and its mode.
    previous = os.umask(0)
    try:
        return _open_target(root, operation, operation.target, directory=True, mode=0o1777)
    finally:
        os.umask(previous)


def _make_planned(operation: operations.MountFileSystem, *further: tuple[str, str]) -> int:
    data = [("source", operation.source), *operation.data, *further]
    return make_file_system(operation.kind, operation.attributes, data)


def make_file_system(kind: str, attributes: int, data: list[tuple[str, str]]) -> int:
    """A detached mount of a new file system. Its own mount, never one found in a root."""
    context = mounts.fsopen(kind)
    try:
        for key, value in data:
            if value:
                mounts.fsconfig_string(context, key, value)
            else:
                mounts.fsconfig_flag(context, key)
        mounts.fsconfig_create(context)
        return mounts.fsmount(context, attributes)
    finally:
        os.close(context)


def _mount_cgroups(root: Root, operation: Operation) -> None:
    assert isinstance(operation, operations.MountCgroups)
    target = _open_target(root, operation, operation.target, directory=True)
    try:
        if operation.hierarchies is None:
            _mount_on(
                target, make_file_system("cgroup2", operation.attributes, [("source", "cgroup")])
            )
        else:
            _mount_hierarchies(operation, target)
    finally:
        os.close(target)


def _mount_on(target: int, mounted: int) -> None:
    try:
        mounts.move_mount(mounted, target)
    finally:
        os.close(mounted)


def _mount_hierarchies(operation: operations.MountCgroups, target: int) -> None:
    assert operation.hierarchies is not None
    directory = make_file_system(
        "tmpfs", operation.attributes & ~1, [("source", "tmpfs"), ("mode", "755")]
    )
    try:
        for name, controllers in operation.hierarchies:
            _make_hierarchy_directory(directory, name, controllers)
        mounts.move_mount(directory, target)
        for name, controllers in operation.hierarchies:
            if controllers:
                _mount_hierarchy(directory, name, controllers, operation.attributes)
        if operation.attributes & mountwords.RDONLY:
            mounts.mount_setattr(directory, set_attributes=mountwords.RDONLY)
    finally:
        os.close(directory)


def _mount_hierarchy(directory: int, name: str, controllers: list[str], attributes: int) -> None:
    words = [(word, "") for word in controllers if not word.startswith("name=")]
    named = [word.removeprefix("name=") for word in controllers if word.startswith("name=")]
    data = [("source", "cgroup"), *words, *(("name", value) for value in named)]
    if named and not words:
        data.insert(0, ("none", ""))
    mounted = make_file_system("cgroup", attributes, data)
    try:
        mounts.move_mount(mounted, directory, name)
    finally:
        os.close(mounted)


def _bind_cgroups(root: Root, operation: Operation) -> None:
    assert isinstance(operation, operations.BindCgroups)
    data = [("source", "tmpfs"), ("mode", "755")]
    directory = make_file_system("tmpfs", operation.attributes & ~mountwords.RDONLY, data)
    target = _open_target(root, operation, operation.target, directory=True)
    try:
        for name, controllers, _slot in operation.entries:
            _make_hierarchy_directory(directory, name, controllers)
        mounts.move_mount(directory, target)
        for name, _controllers, slot in operation.entries:
            if slot < 0:
                continue
            tree = root.slots[slot]
            mounts.mount_setattr(tree, set_attributes=operation.attributes)
            mounts.move_mount(tree, directory, name)
        if operation.attributes & mountwords.RDONLY:
            mounts.mount_setattr(directory, set_attributes=mountwords.RDONLY)
    finally:
        os.close(target)
        os.close(directory)


def _make_hierarchy_directory(directory: int, name: str, controllers: list[str]) -> None:
    os.mkdir(name, 0o755, dir_fd=directory)
    for controller in controllers:
        if controller != name and not controller.startswith("name="):
            os.symlink(name, controller, dir_fd=directory)


def _make_node(root: Root, operation: Operation) -> None:
    assert isinstance(operation, operations.MakeNode)
    node = operation.node
    above, _, name = node["path"].rpartition("/")
    directory = targets.open_target(root.fd, above or "/", directory=True)
    try:
        if operation.link:
            _make_link(directory, name, operation.link)
            return
        mode = NODE_KINDS[node.get("type") or "c"] | (node.get("fileMode") or 0o666)
        device = os.makedev(node.get("major") or 0, node.get("minor") or 0)
        try:
            os.mknod(name, mode, device, dir_fd=directory)
        except FileExistsError:
            _check_node(directory, node, mode, device)
            return
        os.chown(name, node.get("uid") or 0, node.get("gid") or 0, dir_fd=directory)
        os.chmod(name, stat.S_IMODE(mode), dir_fd=directory)
    finally:
        os.close(directory)


def _check_node(directory: int, node: operations.Config, mode: int, device: int) -> None:
    """What is there already must be that very device: anything else would be mistaken for it."""
    name = node["path"].rpartition("/")[2]
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if stat.S_IFMT(status.st_mode) != stat.S_IFMT(mode) or (
        not stat.S_ISFIFO(mode) and status.st_rdev != device
    ):
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), node["path"])


def _make_link(directory: int, name: str, link: str) -> None:
    try:
        os.symlink(link, name, dir_fd=directory)
    except FileExistsError:
        return  # the root has its own idea of it


def _run_hooks(root: Root, operation: Operation) -> None:
    assert isinstance(operation, operations.RunHooks)
    messages.send(root.channel, {"hooks": True})
    answer, descriptors = messages.receive(root.channel)
    messages.close_all(descriptors)
    hooks.run_all("createContainer", operation.hooks, answer["state"])


def _open_console(root: Root, operation: Operation) -> None:
    assert isinstance(operation, operations.OpenConsole)
    if root.terminals < 0:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), "/dev/pts")
    master = os.open("ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=root.terminals)
    root.console = adopt_terminal(root.channel, master, operation.rows, operation.columns)
    tree = mounts.open_tree(root.console, "", mounts.OPEN_TREE_CLONE | mounts.AT_EMPTY_PATH)
    try:
        target = _open_target(root, operation, "/dev/console", directory=False)
        try:
            _check_target(root, target, "/dev/console", directory=False)
            mounts.move_mount(tree, target)
        finally:
            os.close(target)
    finally:
        os.close(tree)


def adopt_terminal(channel: socket, master: int, rows: int, columns: int) -> int:
    """Hand the master to the shim, make the slave stdio and controlling terminal."""
    slave = syscalls.open_terminal(master)
    if rows and columns:
        syscalls.set_window_size(master, rows, columns)
    messages.send(channel, {"console": True}, [master])
    os.close(master)
    for number in range(3):
        os.dup2(slave, number)
    syscalls.make_controlling_terminal(0)
    return slave


def _pivot_root(root: Root, _operation: Operation) -> None:
    os.fchdir(root.fd)
    mounts.pivot_root(".", ".")
    # The old root now lies on top of the new one, and "." is still the new one's.
    mounts.umount(".", mounts.MNT_DETACH)
    os.chdir("/")


def _change_root(root: Root, _operation: Operation) -> None:
    os.fchdir(root.fd)
    os.chroot(".")
    os.chdir("/")


def _set_propagation(_root: Root, operation: Operation) -> None:
    assert isinstance(operation, operations.SetPropagation)
    recursive = mounts.MS_REC if operation.recursive else 0
    mounts.mount(None, "/", None, operation.flag | recursive)


def _open_existing(root: Root, path: str) -> int:
    """What is to be masked or made read-only; -1 where it is not there.

    Of our own procfs, wherever that is by now.
    """
    if root.proc >= 0 and path.startswith("/proc/"):
        return targets.open_existing(root.proc, path.removeprefix("/proc/"), targets.BELOW)
    return targets.open_existing(root.fd, path)


def _make_read_only(root: Root, operation: Operation) -> None:
    assert isinstance(operation, operations.MakeReadOnly)
    path = _open_existing(root, operation.path)
    if path < 0:
        return
    try:
        flags = mounts.OPEN_TREE_CLONE | mounts.AT_EMPTY_PATH | mounts.AT_RECURSIVE
        tree = mounts.open_tree(path, "", flags)
        try:
            mounts.mount_setattr(tree, set_attributes=mountwords.RDONLY, recursive=True)
            mounts.move_mount(tree, path)
        finally:
            os.close(tree)
    finally:
        os.close(path)


def _mask(root: Root, operation: Operation) -> None:
    assert isinstance(operation, operations.Mask)
    path = _open_existing(root, operation.path)
    if path < 0:
        return
    try:
        if stat.S_ISDIR(os.fstat(path).st_mode):
            _mask_directory(root, path)
        else:
            flags = mounts.OPEN_TREE_CLONE | mounts.AT_EMPTY_PATH
            _mount_on(path, mounts.open_tree(_null(root), "", flags))
    finally:
        os.close(path)


def _mask_directory(root: Root, path: int) -> None:
    if root.empty < 0:
        attributes = mountwords.RDONLY | mountwords.NOSUID | mountwords.NODEV | mountwords.NOEXEC
        root.empty = make_file_system(
            "tmpfs", attributes, [("source", "tmpfs"), ("nr_inodes", "2")]
        )
        mounts.move_mount(root.empty, path)
    else:
        flags = mounts.OPEN_TREE_CLONE | mounts.AT_EMPTY_PATH
        _mount_on(path, mounts.open_tree(root.empty, "", flags))


def _null(root: Root) -> int:
    if root.null < 0:
        root.null = mounts.openat2(root.fd, "/dev/null", os.O_PATH, resolve=targets.IN_ROOT)
    status = os.fstat(root.null)
    # A link or a file in its place would show what is to be hidden, or more (CVE-2025-31133).
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(1, 3):
        raise OSError(errno.EINVAL, "/dev/null is not the null device", "/dev/null")
    return root.null


def _make_root_read_only(_root: Root, _operation: Operation) -> None:
    mounts.mount_setattr(mounts.AT_FDCWD, "/", set_attributes=mountwords.RDONLY)


_APPLY: dict[type[Operation], Callable[[Root, Operation], None]] = {
    operations.SetHostname: _set_hostname,
    operations.AttachRoot: _attach_root,
    operations.Attach: _attach,
    operations.MountFileSystem: _mount_file_system,
    operations.MountCgroups: _mount_cgroups,
    operations.BindCgroups: _bind_cgroups,
    operations.MakeNode: _make_node,
    operations.RunHooks: _run_hooks,
    operations.OpenConsole: _open_console,
    operations.PivotRoot: _pivot_root,
    operations.ChangeRoot: _change_root,
    operations.SetPropagation: _set_propagation,
    operations.MakeReadOnly: _make_read_only,
    operations.Mask: _mask,
    operations.MakeRootReadOnly: _make_root_read_only,
}

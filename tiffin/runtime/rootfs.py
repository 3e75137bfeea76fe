"""The shim's share of a container's root: layers, binds and devices as detached mounts.

Made with the host's rights and seen through the container's ids; each is a descriptor that init is
handed and puts in its place. Nothing of it is ever attached on the host, so nothing can be left
behind or be busy: a mount that nobody holds is gone.
"""

from __future__ import annotations

import errno
import os

from tiffin.kernel import mounts, syscalls
from tiffin.runtime import operations
from tiffin.runtime.building import NODE_KINDS
from tiffin.runtime.mountwords import Options
from tiffin.runtime.operations import CloneShared, CloneTree, MakeDevices, MakeOverlay, Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NO_USER_NAMESPACE = -1
_INSIDE = mounts.RESOLVE_IN_ROOT | mounts.RESOLVE_NO_MAGICLINKS


class Failed(Exception):
    """An operation's OSError, with the operation's own words for it."""

    def __init__(self, operation: str, error: OSError) -> None:
        super().__init__(operation, error)
        self.operation = operation
        self.error = error


class Ids:
    """The container's ids as the host sees them; the user namespace that maps them (-1: none)."""

    __slots__ = ("extents", "namespace")

    def __init__(self, extents: list[dict[str, int]], namespace: int) -> None:
        self.extents = extents
        self.namespace = namespace

    def on_host(self, number: int) -> int:
        """The host's number for a container's. The overflow id for one that is not mapped."""
        if not self.extents:
            return number
        for extent in self.extents:
            offset = number - extent["containerID"]
            if 0 <= offset < extent["size"]:
                return extent["hostID"] + offset
        return 65534


def extents_of(pid: int) -> list[dict[str, int]]:
    """The map of a process's user namespace, as OCI writes it."""
    with open(f"/proc/{pid}/uid_map", "rb") as file:
        rows = [list(map(int, line.split())) for line in file.read().splitlines()]
    return [{"containerID": row[0], "hostID": row[1], "size": row[2]} for row in rows]


def detach(plan: list[Operation], ids: Ids, scratch: str) -> list[int]:
    """A descriptor for each operation. Raises Failed. `scratch` is a directory for old kernels."""
    made: list[int] = []
    try:
        for operation in plan:
            try:
                made.append(_MAKERS[type(operation)](operation, ids, scratch))
            except OSError as error:
                raise Failed(operation.describe(), error) from error
    except BaseException:
        for fd in made:
            os.close(fd)
        raise
    return made


# --- the overlay --------------------------------------------------------------------------------

_OVERLAY_OPTIONS = (
    # Layers are hostile: nothing in them may point elsewhere, and an upper directory must be whole
    # to become a layer.
    ("redirect_dir", "nofollow"),
    ("metacopy", "off"),
    ("index", "off"),
)


def _make_overlay(operation: Operation, ids: Ids, scratch: str) -> int:
    assert isinstance(operation, MakeOverlay)
    tree = _whole_overlay(operation, ids, scratch)
    return _only_below(tree, operation.subpath, scratch) if operation.subpath else tree


def _whole_overlay(operation: MakeOverlay, ids: Ids, scratch: str) -> int:
    if not operation.lower:
        return _only_layer(operation, ids)
    if kernel_version() >= (6, 13):
        return _overlay_by_descriptor(operation, ids)
    return _overlay_by_path(operation, ids, scratch)


def _only_below(tree: int, subpath: str, scratch: str) -> int:
    """A part of a detached mount. Before Linux 6.15 it must be attached to be cloned from."""
    host = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        try:
            mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
            root = f"{scratch}/image"
            os.makedirs(root, exist_ok=True)
            mounts.move_mount(tree, mounts.AT_FDCWD, root)
            below = mounts.openat2(tree, subpath, os.O_PATH, resolve=_INSIDE)
            try:
                return mounts.open_tree(below, "", mounts.OPEN_TREE_CLONE | mounts.AT_EMPTY_PATH)
            finally:
                os.close(below)
        finally:
            syscalls.setns(host, syscalls.CLONE_NEWNS)
            os.chdir("/")
    finally:
        os.close(host)
        os.close(tree)


def kernel_version() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()) or 0)


def _only_layer(operation: MakeOverlay, ids: Ids) -> int:
    """No layers below: the upper directory is all there is."""
    tree = mounts.open_tree(mounts.AT_FDCWD, operation.upper)
    _map_tree(tree, operation.attributes, ids if operation.idmap else None)
    return tree


def _map_tree(tree: int, attributes: int, ids: Ids | None) -> None:
    namespace = ids.namespace if ids else _NO_USER_NAMESPACE
    mounts.mount_setattr(
        tree, set_attributes=attributes, propagation=mounts.MS_PRIVATE, user_namespace=namespace
    )


def _layers_tree(operation: MakeOverlay, ids: Ids) -> tuple[int, str]:
    """One mapped copy of the directory that all layers lie in, and that directory."""
    common = os.path.commonpath([*operation.lower, operation.upper, operation.work])
    tree = mounts.open_tree(mounts.AT_FDCWD, common)
    try:
        _map_tree(tree, 0, ids if operation.idmap else None)
    except BaseException:
        os.close(tree)
        raise
    return tree, common


def _overlay_by_descriptor(operation: MakeOverlay, ids: Ids) -> int:
    # The copy stays open for as long as this process, which has only the container to make: closed
    # it is unmounted, and for that the kernel waits until every processor has taken notice.
    tree, common = _layers_tree(operation, ids)
    opened: list[int] = []
    try:
        context = mounts.fsopen("overlay")
        opened.append(context)
        pairs = [("lowerdir+", path) for path in operation.lower]
        pairs += [("upperdir", operation.upper), ("workdir", operation.work)]
        for key, path in pairs:
            name = os.path.relpath(path, common)
            fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
            opened.append(fd)
            mounts.fsconfig_fd(context, key, fd)
        labels = (("context", operation.label),) if operation.label else ()
        for key, value in (("source", "overlay"), *_OVERLAY_OPTIONS, *labels):
            mounts.fsconfig_string(context, key, value)
        _as_container_root(
            ids if operation.idmap else None, lambda: mounts.fsconfig_create(context)
        )
        return mounts.fsmount(context, operation.attributes)
    finally:
        for fd in opened:
            os.close(fd)


def _as_container_root(ids: Ids | None, act: Callable[[], None]) -> None:
    # Overlay works with its mounter's ids: one that the layers' map does not know makes it
    # read-only, without a word. The capabilities stay.
    if ids is None or ids.namespace < 0:
        act()
        return
    syscalls.prctl(syscalls.PR_SET_SECUREBITS, syscalls.SECBIT_NO_SETUID_FIXUP)
    root = ids.on_host(0)
    syscalls.setfsids(root, root)
    try:
        act()
    finally:
        syscalls.setfsids(0, 0)
        syscalls.prctl(syscalls.PR_SET_SECUREBITS, 0)


def _overlay_by_path(operation: MakeOverlay, ids: Ids, scratch: str) -> int:
    """Before Linux 6.13 overlay wants paths to attached layers: in a mount namespace for that."""
    host = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        tree, common = _layers_tree(operation, ids)
        layers, root = f"{scratch}/layers", f"{scratch}/root"
        for directory in (layers, root):
            os.makedirs(directory, exist_ok=True)
        syscalls.unshare(syscalls.CLONE_NEWNS)
        try:
            mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
            mounts.move_mount(tree, mounts.AT_FDCWD, layers)
            os.close(tree)
            # Relative names: all of them must fit a page.
            os.chdir(layers)
            data = _overlay_data(operation, common)
            _as_container_root(
                ids if operation.idmap else None,
                lambda: mounts.mount("overlay", root, "overlay", 0, data),
            )
            made = mounts.open_tree(mounts.AT_FDCWD, root)
            mounts.mount_setattr(made, set_attributes=operation.attributes)
            return made
        finally:
            syscalls.setns(host, syscalls.CLONE_NEWNS)
            os.chdir("/")
    finally:
        os.close(host)


def _overlay_data(operation: MakeOverlay, common: str) -> str:
    lower = ":".join(os.path.relpath(path, common) for path in operation.lower)
    upper, work = (os.path.relpath(p, common) for p in (operation.upper, operation.work))
    words = [f"lowerdir={lower}", f"upperdir={upper}", f"workdir={work}"]
    words += [f'context="{operation.label}"'] if operation.label else []
    return ",".join([*words, *(f"{key}={value}" for key, value in _OVERLAY_OPTIONS)])


# --- binds --------------------------------------------------------------------------------------


def _clone_tree(operation: Operation, ids: Ids, _scratch: str) -> int:
    assert isinstance(operation, CloneTree)
    options = Options(operation.words)
    recursive = mounts.AT_RECURSIVE if options.recursive else 0
    source = _open_source(operation)
    try:
        tree = mounts.open_tree(
            source, "", mounts.OPEN_TREE_CLONE | mounts.AT_EMPTY_PATH | recursive
        )
    finally:
        os.close(source)
    try:
        mounts.mount_setattr(
            tree, propagation=options.propagation, recursive=options.propagation_recursive
        )
        if options.set or options.clear:
            mounts.mount_setattr(tree, set_attributes=options.set, clear_attributes=options.clear)
        if options.set_below or options.clear_below:
            mounts.mount_setattr(
                tree,
                set_attributes=options.set_below,
                clear_attributes=options.clear_below,
                recursive=True,
            )
        if options.idmap and ids.namespace >= 0:
            _map_bind(tree, operation.source, ids.namespace, recursive=options.recursive)
    except BaseException:
        os.close(tree)
        raise
    return tree


def _clone_shared(operation: Operation, _ids: Ids, _scratch: str) -> int:
    """The kernel copies mounts of one's own namespace only: it is entered for that."""
    assert isinstance(operation, CloneShared)
    options = Options(operation.words)
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        theirs = os.open(f"/proc/{operation.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(theirs, syscalls.CLONE_NEWNS)
        finally:
            os.close(theirs)
        try:
            tree = _tree_at(operation.path)
        finally:
            syscalls.setns(own, syscalls.CLONE_NEWNS)
            os.chdir("/")
    finally:
        os.close(own)
    try:
        mounts.mount_setattr(
            tree,
            set_attributes=options.set,
            clear_attributes=options.clear,
            propagation=options.propagation,
        )
    except BaseException:
        os.close(tree)
        raise
    return tree


def _tree_at(path: str) -> int:
    """In a root that is not ours: no link on the way is followed."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        resolve = mounts.RESOLVE_IN_ROOT | mounts.RESOLVE_NO_SYMLINKS
        found = mounts.openat2(root, path, os.O_PATH | os.O_DIRECTORY, resolve=resolve)
        try:
            return mounts.open_tree(found, "", mounts.OPEN_TREE_CLONE | mounts.AT_EMPTY_PATH)
        finally:
            os.close(found)
    finally:
        os.close(root)


def _open_source(operation: CloneTree) -> int:
    try:
        source = os.open(operation.source, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        if not operation.make:
            raise
        _make_directories(operation.source)
        source = os.open(operation.source, os.O_PATH | os.O_CLOEXEC)
    if not operation.subpath:
        return source
    # A container may have written what the path below a volume leads over.
    try:
        return mounts.openat2(source, operation.subpath, os.O_PATH, resolve=_INSIDE)
    finally:
        os.close(source)


def _make_directories(path: str) -> None:
    previous = os.umask(0o022)  # counts for those above it, whatever mode is asked for
    try:
        os.makedirs(path, exist_ok=True)
    finally:
        os.umask(previous)


def _map_bind(tree: int, source: str, namespace: int, *, recursive: bool) -> None:
    """Map the ids of each mount in the tree that can be: proc, sysfs, overlay and others cannot."""
    try:
        mounts.mount_setattr(tree, user_namespace=namespace, recursive=recursive)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
    else:
        return
    for name in ["", *(_mounts_below(os.path.realpath(source)) if recursive else ())]:
        try:
            mounts.mount_setattr(tree, name, user_namespace=namespace)
        except OSError:  # bound as it is
            continue


def _mounts_below(source: str) -> list[str]:
    """Mount points in this namespace below a directory, relative to it."""
    prefix = source.rstrip("/") + "/"
    with open("/proc/self/mountinfo", "rb") as file:
        lines = file.read().split(b"\n")
    found = []
    for line in lines:
        fields = line.split(b" ")
        if len(fields) > 4:
            point = os.fsdecode(_unescape(fields[4]))
            if point.startswith(prefix):
                found.append(point[len(prefix) :])
    return found


def _unescape(text: bytes) -> bytes:
    for code, character in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n")):
        text = text.replace(code, character)
    return text.replace(b"\\134", b"\\")


# --- /dev ---------------------------------------------------------------------------------------


def _make_devices(operation: Operation, ids: Ids, _scratch: str) -> int:
    """A tmpfs of the host's user namespace: in the container's, no node could be made or opened.

    Owners are written as the host's ids, so this mount needs no map.
    """
    assert isinstance(operation, MakeDevices)
    options = Options(operation.words)
    root = ids.on_host(0)
    context = mounts.fsopen("tmpfs")
    try:
        for key, value in (("source", "tmpfs"), *options.data):
            if value:
                mounts.fsconfig_string(context, key, value)
            else:
                mounts.fsconfig_flag(context, key)
        mounts.fsconfig_string(context, "uid", str(root))
        mounts.fsconfig_string(context, "gid", str(root))
        mounts.fsconfig_create(context)
        directory = mounts.fsmount(context, options.set)
    finally:
        os.close(context)
    try:
        for node in operation.nodes:
            _make_node(directory, node, ids)
        for target, path in operation.links:
            name = path.removeprefix("/dev/")
            os.symlink(target, name, dir_fd=directory)
            os.chown(name, root, root, dir_fd=directory, follow_symlinks=False)
        for name in ("pts", "mqueue"):  # shm comes with what is mounted there: not always
            os.mkdir(name, 0o755, dir_fd=directory)
            os.chown(name, root, root, dir_fd=directory)
    except BaseException:
        os.close(directory)
        raise
    return directory


def _make_node(directory: int, node: operations.Config, ids: Ids) -> None:
    name = node["path"].removeprefix("/dev/")
    parts = name.split("/")
    for depth in range(1, len(parts)):
        try:
            os.mkdir("/".join(parts[:depth]), 0o755, dir_fd=directory)
        except FileExistsError:
            continue
        root = ids.on_host(0)
        os.chown("/".join(parts[:depth]), root, root, dir_fd=directory)
    mode = NODE_KINDS[node.get("type") or "c"] | (node.get("fileMode") or 0o666)
    device = os.makedev(node.get("major") or 0, node.get("minor") or 0)
    os.mknod(name, mode, device, dir_fd=directory)
    owner, group = ids.on_host(node.get("uid") or 0), ids.on_host(node.get("gid") or 0)
    if owner or group:
        os.chown(name, owner, group, dir_fd=directory)


_MAKERS: dict[type[Operation], Callable[[Operation, Ids, str], int]] = {
    MakeOverlay: _make_overlay,
    CloneTree: _clone_tree,
    CloneShared: _clone_shared,
    MakeDevices: _make_devices,
}

"""From a fork to the user's program: what a container's first process does in its new namespaces.

`build` carries out the operations of `create` in order, `become` gives the process its identity and
executes the program; an exec in a running container is `become` alone. Whatever fails is reported
on the channel, which closes by itself when the program is executed: that is how the shim knows.

This is still the host's interpreter inside a hostile root, so it may not import, look up a codec or
call anything that would read the image's files but by intention; and it is not dumpable, so that
nobody inside can reach it through /proc.
"""

from __future__ import annotations

import binascii
import errno
import os
import stat
from _socket import socket

from tiffin.kernel import mounts, syscalls
from tiffin.runtime import labels, messages, operations, targets, users
from tiffin.runtime.operations import Config, Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any
else:  # without the enumerations of the signal module
    import _signal as signal

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

EXIT_NOT_FOUND = 127
EXIT_NOT_EXECUTABLE = 126
EXIT_BROKEN = 128
EXIT_EXEC_REFUSED = 255


class Failure(Exception):
    """What the user is told: the failed operation, the kernel's answer, Docker's words."""

    def __init__(self, message: str, operation: str, number: int = 0, exit_code: int = EXIT_BROKEN):
        super().__init__(message)
        self.report = {
            "message": message,
            "operation": operation,
            "errno": number,
            "exit_code": exit_code,
        }


def failure_of(operation: str, error: OSError) -> Failure:
    words = os.strerror(error.errno or 0).lower()
    message = f"error during container init: {operation}: {words}"
    exit_code = EXIT_BROKEN
    if error.errno == errno.ENOTDIR:
        exit_code = EXIT_NOT_FOUND
    return Failure(message, operation, error.errno or 0, exit_code)


def report(channel: socket, failure: Failure) -> None:
    try:
        messages.send(channel, {"failed": failure.report})
    except (OSError, messages.ConnectionEnded):
        return  # nobody is left to be told


def guarded(channel: socket, act: Callable[[], None], *, lingers: bool = False) -> None:
    """Run `act`, which ends in an exec; report what keeps it from that. Never returns.

    With `lingers` until the channel is closed: the daemon may be connecting a network, and
    the user shall read why the container cannot start, not that its namespace is gone.
    """
    try:
        act()
    except Failure as failure:
        report(channel, failure)
    except OSError as error:
        report(channel, failure_of(str(error.strerror), error))
    except messages.ConnectionEnded:
        pass
    except BaseException as error:  # noqa: BLE001 (there is nobody above to see it)
        report(channel, Failure(f"{type(error).__name__}: {error}", "init"))
    if lingers:
        _await_end(channel)
    os._exit(EXIT_BROKEN)


def _await_end(channel: socket) -> None:
    try:
        while True:
            messages.close_all(messages.receive_packet(channel)[1])
    except (OSError, ValueError, messages.ConnectionEnded):
        return


# --- building the root --------------------------------------------------------------------------


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

    def make_file_systems(self, plan: list[Operation]) -> None:
        """Ahead, while the shim makes the rest. Raises Failure."""
        for operation in plan:
            if isinstance(operation, operations.MountFileSystem):
                try:
                    self._made[id(operation)] = _make_planned(operation)
                except OSError as error:
                    raise failure_of(operation.describe(), error) from error

    def take(self, operation: operations.MountFileSystem) -> int:
        """The detached mount; the caller closes it."""
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
    finally:
        os.close(target)
    if operation.target == "/dev":
        root.null = os.open("null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree)


# A link in their place would be followed anew at each step, and may have been turned by then.
_ORDINARY = frozenset(("/proc", "/sys", "/sys/fs/cgroup", "/dev", "/dev/console"))


def _open_target(root: Root, operation: Operation, path: str, *, directory: bool) -> int:
    if path not in _ORDINARY:
        return targets.open_target(root.fd, path, directory=directory)
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
    mounted = root.take(operation)
    kept = False
    try:
        target = _open_target(root, operation, operation.target, directory=True)
        try:
            _check_target(root, target, operation.target, directory=True)
            mounts.move_mount(mounted, target)
        finally:
            os.close(target)
        kept = root.keep(operation, mounted)
    finally:
        if not kept:
            os.close(mounted)


def _make_planned(operation: operations.MountFileSystem) -> int:
    data = [("source", operation.source), *operation.data]
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
            os.mkdir(name, 0o755, dir_fd=directory)
            for controller in controllers:
                if controller != name and not controller.startswith("name="):
                    os.symlink(name, controller, dir_fd=directory)
        mounts.move_mount(directory, target)
        for name, controllers in operation.hierarchies:
            _mount_hierarchy(directory, name, controllers, operation.attributes)
        if operation.attributes & operations.RDONLY:
            mounts.mount_setattr(directory, set_attributes=operations.RDONLY)
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
            mounts.mount_setattr(tree, set_attributes=operations.RDONLY, recursive=True)
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
        attributes = operations.RDONLY | operations.NOSUID | operations.NODEV | operations.NOEXEC
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
    mounts.mount_setattr(mounts.AT_FDCWD, "/", set_attributes=operations.RDONLY)


_APPLY: dict[type[Operation], Callable[[Root, Operation], None]] = {
    operations.SetHostname: _set_hostname,
    operations.AttachRoot: _attach_root,
    operations.Attach: _attach,
    operations.MountFileSystem: _mount_file_system,
    operations.MountCgroups: _mount_cgroups,
    operations.OpenConsole: _open_console,
    operations.PivotRoot: _pivot_root,
    operations.MakeReadOnly: _make_read_only,
    operations.Mask: _mask,
    operations.MakeRootReadOnly: _make_root_read_only,
}


# --- becoming the program -----------------------------------------------------------------------


def apply_sysctls(directory: int, plan: list[Operation]) -> None:
    """Through the /proc/sys of our own procfs, whatever lies at that path by now."""
    for operation in plan:
        assert isinstance(operation, operations.SetSysctl)
        try:
            resolve = mounts.RESOLVE_BENEATH | mounts.RESOLVE_NO_SYMLINKS | mounts.RESOLVE_NO_XDEV
            fd = mounts.openat2(directory, operation.path, os.O_WRONLY, resolve=resolve)
            try:
                os.write(fd, operation.value.encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise failure_of(operation.describe(), error) from error


class Program:
    """What a process is to become."""

    def __init__(self, config: Config, last_capability: int, user: str = "") -> None:
        """`config` has "process" and "tiffin"; `user` takes the place of the latter's."""
        process: Config = config["process"]
        extra: Config = config.get("tiffin") or {}
        self.process = process
        self.arguments: list[str] = process["args"]
        self.working_dir: str = process.get("cwd") or "/"
        self.user: str = user or extra.get("user") or ""
        self.groups: list[str] = extra.get("groups") or []
        self.seccomp = binascii.a2b_base64(extra.get("seccomp_program") or "")
        self.seccomp_flags: int = extra.get("seccomp_flags") or 0
        self.no_new_privileges: bool = bool(process.get("noNewPrivileges"))
        self.last_capability = last_capability
        self.proc = -1  # the host's, where the kernel is to be told a label
        self.identity = users.Identity(0, 0, [0], "/")
        self.environment: dict[bytes, bytes] = {}
        self.masks: dict[str, int] = {}

    def prepare(self) -> None:
        """What can be done ahead of the start. Raises Failure."""
        self.identity = _identify(self)
        self.environment = _environment(self, self.identity)
        asked: dict[str, list[str]] = self.process.get("capabilities") or {}
        try:
            self.masks = {
                kind: syscalls.capability_mask(names or []) for kind, names in asked.items()
            }
        except ValueError as error:
            raise Failure(str(error), "set capabilities") from error
        syscalls.drop_bounding_set(self.masks.get("bounding", 0), self.last_capability)


def become(program: Program, channel: socket, console: int) -> None:
    """Take on the identity and execute. Raises Failure; otherwise does not return."""
    _label(program)
    if program.working_dir != "/":
        _make_working_dir(program.working_dir)
    _own_stdio(channel, program.identity, console)
    syscalls.close_all_but([channel.fileno()])
    if not program.no_new_privileges:
        _load_seccomp(program)  # while we still may without no_new_privs
    _take_identity(program.identity, program.masks)
    if program.no_new_privileges:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        _load_seccomp(program)
    _enter_working_dir(program.working_dir)
    path = find_executable(program.arguments[0], program.environment)
    messages.send(channel, {"executing": True})
    _reset_signals()
    syscalls.close_range(3, 0xFFFFFFFF, syscalls.CLOSE_RANGE_CLOEXEC)
    _execute(path, program.arguments, program.environment)


def _label(program: Program) -> None:
    for what, text, files in labels.wanted(program.process):
        try:
            labels.put(program.proc, text, files)
        except OSError as error:
            raise failure_of(what, error) from error


def _identify(program: Program) -> users.Identity:
    user: Config = program.process.get("user") or {}
    spec = program.user
    if not spec and user.get("uid"):
        spec = f"{user['uid']}:{user.get('gid') or 0}"
    groups = [*program.groups, *map(str, user.get("additionalGids") or [])]
    passwd = users.read_database("/etc/passwd")
    group = users.read_database("/etc/group")
    try:
        return users.resolve(spec, groups, passwd, group)
    except users.UnknownUser as error:
        raise Failure(str(error), "find user", exit_code=EXIT_NOT_EXECUTABLE) from error


def _environment(program: Program, identity: users.Identity) -> dict[bytes, bytes]:
    environment: dict[bytes, bytes] = {}
    for entry in program.process.get("env") or []:
        key, equals, value = entry.partition("=")
        if equals:
            environment[os.fsencode(key)] = os.fsencode(value)
    if not environment.get(b"HOME"):
        environment[b"HOME"] = os.fsencode(identity.home)
    return environment


def _make_working_dir(path: str) -> None:
    """As Docker: root's, 0755. Where that fails, entering it says why."""
    try:
        os.makedirs(path, 0o755, exist_ok=True)
    except OSError:
        return


def _own_stdio(channel: socket, identity: users.Identity, console: int) -> None:
    """Or opening /dev/stdout, which opens the pipe anew by its permissions, is refused."""
    if identity.uid == 0:
        return
    if console >= 0:
        os.fchown(0, identity.uid, -1)
        return
    # The pipes are of the host's user namespace: only the shim may give them away.
    messages.send(channel, {"chown": identity.uid})
    _answer, descriptors = messages.receive(channel)
    messages.close_all(descriptors)


def _load_seccomp(program: Program) -> None:
    if program.seccomp:
        try:
            syscalls.install_seccomp_filter(program.seccomp, program.seccomp_flags)
        except OSError as error:
            raise failure_of("load seccomp filter", error) from error


def _take_identity(identity: users.Identity, masks: dict[str, int]) -> None:
    permitted = masks.get("permitted", 0)
    try:
        syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
        os.setgroups(identity.groups)
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
        syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 0)
        syscalls.capset(masks.get("effective", 0), permitted, masks.get("inheritable", 0))
        _raise_ambient(masks.get("ambient", 0))
        # A change of ids makes the process dumpable again where the host's suid_dumpable says so,
        # and takes the signal at the shim's death away.
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    except OSError as error:
        who = f"set user {identity.uid}:{identity.gid}"
        if error.errno == errno.EINVAL:
            raise Failure(
                f"{who}: the id is not mapped in the container's user namespace", who, errno.EINVAL
            ) from error
        raise failure_of(who, error) from error


def _raise_ambient(mask: int) -> None:
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    for number in range(64):
        if mask >> number & 1:
            syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_RAISE, number)


def _enter_working_dir(path: str) -> None:
    try:
        os.chdir(path)
        # A directory of the host, got at through a forgotten descriptor, has no name in this root.
        if not os.getcwd().startswith("/"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    except OSError as error:
        words = os.strerror(error.errno or 0).lower()
        exit_code = {errno.ENOENT: EXIT_NOT_FOUND, errno.EACCES: EXIT_NOT_EXECUTABLE}
        raise Failure(
            f'chdir to cwd ("{path}") set in config.json failed: {words}',
            f"chdir {path}",
            error.errno or 0,
            exit_code.get(error.errno or 0, EXIT_BROKEN),
        ) from error


def find_executable(name: str, environment: dict[bytes, bytes]) -> str:
    """As Go's exec.LookPath, whose words Docker's users and its CLI know. Raises Failure."""
    if "/" in name:
        number = _refusal(name)
        if number:
            words = os.strerror(number).lower()
            about = f"stat {name}: {words}" if number in (errno.ENOENT, errno.ENOTDIR) else words
            raise _not_executable(name, about, number)
        return name
    if name:
        for directory in os.fsdecode(environment.get(b"PATH", b"")).split(":"):
            path = f"{directory or '.'}/{name}"
            if not _refusal(path):
                return path
    raise _not_executable(name, "executable file not found in $PATH", errno.ENOENT)


def _refusal(path: str) -> int:
    """0, or the errno that says why this cannot be executed."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return error.errno or errno.ENOENT
    if stat.S_ISDIR(mode):
        return errno.EISDIR
    return 0 if mode & 0o111 and os.access(path, os.X_OK, effective_ids=True) else errno.EACCES


def _not_executable(name: str, words: str, number: int) -> Failure:
    absent = number in (errno.ENOENT, errno.ENOTDIR)
    exit_code = EXIT_NOT_FOUND if absent else EXIT_NOT_EXECUTABLE
    return Failure(f'exec: "{name}": {words}', f"exec {name}", number, exit_code)


def _reset_signals() -> None:
    # Ignored signals stay so over an exec; the interpreter ignores SIGPIPE and SIGXFSZ.
    for number in range(1, signal.NSIG):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _execute(path: str, arguments: list[str], environment: dict[bytes, bytes]) -> None:
    try:
        os.execve(path, arguments, environment)  # noqa: S606
    except OSError as error:
        # By now Docker's runtime has said that it started: the words go to the container's stderr.
        words = f"exec {arguments[0]}: {os.strerror(error.errno or 0).lower()}\n"
        os.write(2, os.fsencode(words))
        os._exit(EXIT_EXEC_REFUSED)


# --- the two ways in ----------------------------------------------------------------------------


def join_cgroups(files: list[int]) -> None:
    for fd in files:
        os.write(fd, b"0")


def first_process(channel: socket, last_capability: int) -> None:
    """The container's init, from the clone on. Ends in an exec; raises Failure.

    It may be born before anybody knows what for (runtime.maker.Unborn): everything comes by the
    channel, once the ids are mapped.
    """
    syscalls.close_all_but([channel.fileno()])
    os.setsid()
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    config: Config = _expect(channel, "config")["config"]
    proc = labels.opened(config["process"])
    late = operations.late_flags(config.get("linux") or {})
    plan = operations.plan(config)
    become_root()
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    syscalls.unshare(late & ~syscalls.CLONE_NEWCGROUP)
    root = Root(channel)
    root.make_file_systems(plan.create)
    _receive_stdio(channel)
    syscalls.unshare(late & syscalls.CLONE_NEWCGROUP)
    root.slots = receive_slots(channel, len(plan.detached))
    build(root, plan.create)
    root.close()
    program = Program(config, last_capability)
    program.proc = proc
    program.prepare()
    messages.send(channel, {"ready": True})
    _expect(channel, "start")
    if plan.start:
        apply_sysctls(root.sys_controls, plan.start)
    become(program, channel, root.console)


def _receive_stdio(channel: socket) -> None:
    """And the cgroups, to be in them before there is a cgroup namespace."""
    message, descriptors = messages.receive(channel)
    stdio, joins = descriptors[: message["stdio"]], descriptors[message["stdio"] :]
    join_cgroups(joins)
    for number, fd in enumerate(stdio):
        os.dup2(fd, number)
    messages.close_all(descriptors)


def become_root() -> None:
    """Root of the container's user namespace: files that we make must have an owner there."""
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    # A change of ids makes it dumpable again where the host's suid_dumpable says so.
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    os.umask(0o022)


def receive_slots(channel: socket, count: int) -> list[int]:
    slots: list[int] = []
    while len(slots) < count:
        _message, descriptors = messages.receive(channel)
        slots.extend(descriptors)
    return slots


def _expect(channel: socket, word: str) -> dict[str, Any]:
    message, descriptors = messages.receive(channel)
    messages.close_all(descriptors)
    if word not in message:
        raise Failure(f"init expected {word}", "init")
    return message


class ExecBirth:
    """What a further process is born with, in the namespaces already."""

    def __init__(
        self, channel: socket, stdio: list[int], program: Program, size: tuple[int, int]
    ) -> None:
        self.channel = channel
        self.stdio = stdio
        self.program = program
        self.size = size


def further_process(birth: ExecBirth) -> None:
    """An exec, from the clone on. Ends in an exec; raises Failure."""
    channel = birth.channel
    for number, fd in enumerate(birth.stdio):
        os.dup2(fd, number)
    syscalls.close_all_but([channel.fileno(), birth.program.proc])
    os.setsid()
    _expect(channel, "mapped")
    become_root()
    os.chdir("/")
    console = -1
    if not birth.stdio:
        console = adopt_terminal(channel, _open_ptmx(), *birth.size)
    birth.program.prepare()
    become(birth.program, channel, console)


def _open_ptmx() -> int:
    """The multiplexer of the container's devpts, not what the image has put in its place."""
    master = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW)
    status = os.fstat(master)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(5, 2):
        os.close(master)
        raise Failure("/dev/pts/ptmx is not a terminal multiplexer", "open /dev/pts/ptmx")
    return master

"""Becoming the program: a process's identity, its rights taken away, its executable found.

Runs in a hostile root with the host's interpreter: no imports, no look-ups but by intention.
"""

from __future__ import annotations

import binascii
import errno
import os
import stat
from _socket import socket

from tiffin.kernel import mounts, syscalls
from tiffin.runtime import labels, messages, operations, rlimits, traits, users
from tiffin.runtime.building import make_file_system
from tiffin.runtime.failure import (
    EXIT_BROKEN,
    EXIT_EXEC_REFUSED,
    EXIT_NOT_EXECUTABLE,
    EXIT_NOT_FOUND,
    Failure,
    failure_of,
)
from tiffin.runtime.operations import Config, Operation
from tiffin.runtime.rootfs import Failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:  # without the enumerations of the signal module
    import _signal as signal


def apply_sysctls(directory: int, plan: list[Operation]) -> None:
    """Through the /proc/sys of our own procfs, whatever lies at that path by now."""
    if plan and directory < 0:
        directory = _own_controls()
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


def _own_controls() -> int:
    """Of a procfs that nobody sees, where the container has none."""
    proc = make_file_system("proc", 0, [("source", "proc")])
    try:
        return os.open("sys", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=proc)
    finally:
        os.close(proc)


class Program:
    """What a process is to become."""

    def __init__(self, config: Config, last_capability: int, user: str = "") -> None:
        """`config` has "process" and "tiffin"; `user` takes the place of the latter's."""
        process: Config = config["process"]
        extra: Config = config.get("tiffin") or {}
        self.process = process
        self.personality: Config = (config.get("linux") or {}).get("personality") or {}
        self.arguments: list[str] = process.get("args") or []
        self.working_dir: str = process.get("cwd") or "/"
        self.makes_working_dir = True  # an exec's has to be there
        self.awaits_word = False  # when it is ready to execute
        self.user: str = user or extra.get("user") or ""
        self.groups: list[str] = extra.get("groups") or []
        self.seccomp = binascii.a2b_base64(extra.get("seccomp_program") or "")
        self.no_new_privileges: bool = bool(process.get("noNewPrivileges"))
        # Nobody's child for long: it does not end with who made it, and is born with its stdio.
        self.orphan: bool = bool(extra.get("orphan"))
        self.seccomp_flags: int = extra.get("seccomp_flags") or 0
        self.kept = 3 + int(extra.get("preserved") or 0)  # descriptors below this stay open
        self.last_capability = last_capability
        self.keyring: str = extra.get("keyring") or ""
        self.proc = -1  # the host's, where the kernel is to be told a label
        self.identity = users.Identity(0, 0, [0], "/")
        self.environment: dict[bytes, bytes] = {}
        self.masks: dict[str, int] = {}

    def prepare(self) -> None:
        """What can be done ahead of the start. Raises Failure."""
        self.identity = _identify(self)
        self.environment = environment_of(self.process, self.identity.home)
        asked: dict[str, list[str]] = self.process.get("capabilities") or {}
        try:
            self.masks = {
                kind: syscalls.capability_mask(names or []) for kind, names in asked.items()
            }
        except ValueError as error:
            raise Failure(str(error), "set capabilities") from error
        if self.orphan:
            self._give_up_what_is_not_held()
        traits.apply(self.process, self.personality)
        syscalls.drop_bounding_set(self.masks.get("bounding", 0), self.last_capability)

    def become_another(self, process: Config) -> None:
        """Of the same identity, with own_words. Raises Failure."""
        self.arguments = process["args"]
        self.working_dir = process["cwd"]
        self.process = {**self.process, **process}
        if not _identify(self).same_as(self.identity):  # somebody has changed /etc/passwd meanwhile
            raise Failure("the user is another by now", "find user")
        self.environment = environment_of(self.process, self.identity.home)

    def _give_up_what_is_not_held(self) -> None:
        """OCI: what cannot be granted is a warning (its maker's), no error."""
        _effective, held, _inheritable = syscalls.capget()
        for kind in ("effective", "permitted", "inheritable", "ambient"):
            self.masks[kind] = self.masks.get(kind, 0) & held
        # The kernel refuses what is not in both of these.
        self.masks["ambient"] &= self.masks["permitted"] & self.masks["inheritable"]


def own_words(process: Config) -> Config:
    """What two processes of one identity may have different."""
    return {name: process.get(name) for name in ("args", "env", "cwd")}


def look_ahead(program: Program) -> None:
    """Whether there is such a program, as far as a create can know: whoever waits is told then."""
    name = program.arguments[0] if program.arguments else ""
    if name and (name.startswith("/") or "/" not in name):
        find_executable(name, environment_of(program.process, _identify(program).home))


def become(program: Program, channel: socket, console: int) -> None:
    """Take on the identity and execute. Raises Failure; otherwise does not return."""
    if not program.arguments:
        raise Failure("process.args is empty: there is nothing to start", "start")
    if not program.orphan or console >= 0:
        own_stdio(channel, program.identity, console)
    assume(program, [channel.fileno()])
    execute(program, channel)


def assume(program: Program, descriptors: list[int]) -> None:
    """The label, the filter and the identity: all that the program may not take off again.

    `descriptors` stay open until it is executed.
    """
    _label(program)
    syscalls.close_all_but(descriptors, program.kept)
    if program.makes_working_dir and program.working_dir != "/":  # the image's word from here on
        _make_working_dir(program.working_dir)
    # Before the filter: an older profile does not know the call.
    syscalls.close_range(program.kept, 0xFFFFFFFF, syscalls.CLOSE_RANGE_CLOEXEC)
    if not program.no_new_privileges:
        _load_seccomp(program)  # while we still may without no_new_privs
    _take_identity(program.identity, program.masks, orphan=program.orphan)
    if program.no_new_privileges:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        _load_seccomp(program)
    reset_signals()


def execute(program: Program, channel: socket) -> None:
    """Raises Failure; otherwise does not return."""
    if program.awaits_word:
        rehearse(program)
        messages.close_all(messages.receive(channel)[1])
    _enter_working_dir(program.working_dir)
    path = find_executable(program.arguments[0], program.environment)
    try:
        rlimits.lower_at_last(program.process)
    except Failed as failed:
        raise failure_of(failed.operation, failed.error) from failed
    messages.send(channel, {"executing": True})
    mask = (program.process.get("user") or {}).get("umask")
    if mask is not None:
        os.umask(mask)
    _execute(path, program.arguments, program.environment)


def rehearse(program: Program) -> None:
    """All that is left to do once, so that its pages are there."""
    try:
        _enter_working_dir(program.working_dir)
        find_executable(program.arguments[0], program.environment)
    except Failure:
        pass  # what is missing may come


def _label(program: Program) -> None:
    for what, text, files in labels.wanted(program.process):
        try:
            labels.put(program.proc, text, files)
        except OSError as error:
            raise failure_of(what, error) from error


def _identify(program: Program) -> users.Identity:
    user: Config = program.process.get("user") or {}
    if program.orphan:
        return _as_configured(user)
    spec = program.user
    if not spec and (user.get("uid") or user.get("gid")):
        spec = f"{user.get('uid') or 0}:{user.get('gid') or 0}"
    groups = [*program.groups, *map(str, user.get("additionalGids") or [])]
    passwd = users.read_database("/etc/passwd")
    group = users.read_database("/etc/group")
    try:
        return users.resolve(spec, groups, passwd, group)
    except users.UnknownUser as error:
        raise Failure(str(error), "find user", exit_code=EXIT_NOT_EXECUTABLE) from error


def _as_configured(user: Config) -> users.Identity:
    """OCI: numbers, whatever lines for them an image has in its passwd and group."""
    uid: int = user.get("uid") or 0
    home = users.home_of(uid, users.read_database("/etc/passwd"))
    return users.Identity(uid, user.get("gid") or 0, user.get("additionalGids") or [], home)


def environment_of(process: Config, home: str) -> dict[bytes, bytes]:
    """Its HOME is `home` unless it says otherwise."""
    environment: dict[bytes, bytes] = {}
    for entry in process.get("env") or []:
        key, equals, value = entry.partition("=")
        if equals:
            environment[os.fsencode(key)] = os.fsencode(value)
    if not environment.get(b"HOME"):
        environment[b"HOME"] = os.fsencode(home)
    return environment


def _make_working_dir(path: str) -> None:
    """As Docker: root's, 0755. Where that fails, entering it says why."""
    try:
        os.makedirs(path, 0o755, exist_ok=True)
    except OSError:
        return


def own_stdio(channel: socket, identity: users.Identity, console: int) -> None:
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


def _take_identity(identity: users.Identity, masks: dict[str, int], *, orphan: bool) -> None:
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
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 0 if orphan else signal.SIGKILL)
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
    if not path.startswith("/"):
        raise Failure("Cwd must be an absolute path", f"chdir {path}", errno.EINVAL)
    try:
        os.chdir(path)
        # A directory of the host, got at through a forgotten descriptor, has no name in this root.
        if not _has_name():
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


def _has_name() -> bool:
    """Of the working directory. A filter may forbid to ask: that has been its author's wish."""
    try:
        return os.getcwd().startswith("/")
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS):
            return True
        raise


def find_executable(name: str, environment: dict[bytes, bytes]) -> str:
    """As Go's exec.LookPath, whose words Docker's users and its CLI know. Raises Failure."""
    if "/" in name:
        number = _refusal(name)
        if number:
            words = os.strerror(number).lower()
            about = f"stat {name}: {words}" if number in (errno.ENOENT, errno.ENOTDIR) else words
            raise _not_executable(name, about, number)
        return name
    for path in candidates(name, environment):
        if not _refusal(path):
            return path
    raise _not_executable(name, "executable file not found in $PATH", errno.ENOENT)


def candidates(name: str, environment: dict[bytes, bytes]) -> list[str]:
    """Where a program may be, the first of them that can be executed."""
    if "/" in name or not name:
        return [name] if name else []
    directories = os.fsdecode(environment.get(b"PATH", b"")).split(":")
    return [f"{directory or '.'}/{name}" for directory in directories]


def _refusal(path: str) -> int:
    """0, or the errno that says why this cannot be executed."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return error.errno or errno.ENOENT
    if stat.S_ISDIR(mode):
        return errno.EISDIR
    return syscalls.execute_refusal(path) if mode & 0o111 else errno.EACCES


def _not_executable(name: str, words: str, number: int) -> Failure:
    absent = number in (errno.ENOENT, errno.ENOTDIR)
    exit_code = EXIT_NOT_FOUND if absent else EXIT_NOT_EXECUTABLE
    return Failure(f'exec: "{name}": {words}', f"exec {name}", number, exit_code)


def reset_signals() -> None:
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

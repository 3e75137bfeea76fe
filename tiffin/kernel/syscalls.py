"""Processes as the kernel sees them: clone3, namespaces, capabilities, terminals, descriptors.

One function per system call; a failure is an OSError whose words start with the call's name. Mounts
are in kernel.mounts. Everything here works in a forked, single-threaded interpreter that has lost
its files: nothing is imported late, nothing is looked up by name.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_NEWTIME = 0x00000080
CLONE_PARENT = 0x00008000
CLONE_INTO_CGROUP = 0x200000000

PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

SECBIT_NO_SETUID_FIXUP = 1 << 2
CLOSE_RANGE_CLOEXEC = 4

AT_FDCWD = -100
AT_EACCESS = 0x200

TIOCSCTTY = 0x540E
TIOCSWINSZ = 0x5414
TIOCSPTLCK = 0x40045431
TIOCGPTPEER = 0x5441

# Index is the capability's number (linux/capability.h).
CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
_CAPABILITY_NUMBERS = {name: number for number, name in enumerate(CAPABILITIES)}

_SIGCHLD = 17
_CLONE3, _CLOSE_RANGE, _FACCESSAT2 = 435, 436, 439
_SECCOMP = 317 if os.uname().machine == "x86_64" else 277
_CAPABILITY_VERSION_3 = 0x20080522

# PyDLL keeps the interpreter's lock through the call: a cloned child must not have to take it back.
_libc = ctypes.PyDLL(None, use_errno=True)
_long = ctypes.c_long
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_before_fork = ctypes.pythonapi.PyOS_BeforeFork
_after_fork_in_parent = ctypes.pythonapi.PyOS_AfterFork_Parent
_after_fork_in_child = ctypes.pythonapi.PyOS_AfterFork_Child
# Looked up before there is a fork: each child would do it anew, and write to what it shares.
for _name in "unshare setns prctl capset capget sethostname setdomainname fstatfs".split():
    getattr(_libc, _name)
for _hook in (_before_fork, _after_fork_in_parent, _after_fork_in_child):
    _hook.restype = None
_clone_arguments = struct.Struct("11Q")


def clone3(flags: int, cgroup: int = -1) -> int:
    """fork with new namespaces: the child's pid, 0 in the child. Single-threaded callers only.

    `cgroup` is a cgroup2 directory to be born in. With CLONE_PARENT the child is a sibling.
    """
    if cgroup >= 0:
        flags |= CLONE_INTO_CGROUP
    # The kernel refuses an exit signal beside CLONE_PARENT: the child takes its new parent's.
    signal = 0 if flags & CLONE_PARENT else _SIGCHLD
    arguments = _clone_arguments.pack(flags, 0, 0, 0, signal, 0, 0, 0, 0, 0, max(cgroup, 0))
    _before_fork()
    pid = _syscall(_long(_CLONE3), arguments, _long(len(arguments)))
    if pid == 0:
        _after_fork_in_child()
        return 0
    number = ctypes.get_errno()
    _after_fork_in_parent()
    if pid < 0:
        raise OSError(number, f"clone3: {os.strerror(number)}")
    return int(pid)


def unshare(flags: int) -> None:
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, kinds: int = 0) -> None:
    """Enter the namespace behind `fd`; for a pidfd, all of that process's namespaces in `kinds`."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(kinds)), "setns")


def prctl(option: int, argument: int = 0, argument_2: int = 0) -> int:
    result = _libc.prctl(
        ctypes.c_int(option),
        ctypes.c_ulong(argument),
        ctypes.c_ulong(argument_2),
        ctypes.c_ulong(0),
        ctypes.c_ulong(0),
    )
    return _check(result, "prctl")


def set_process_name(name: str) -> None:
    """What ps shows; 15 bytes are kept."""
    result = _libc.prctl(
        ctypes.c_int(PR_SET_NAME), name.encode()[:15], _long(0), _long(0), _long(0)
    )
    _check(result, "prctl")


def sethostname(name: str) -> None:
    encoded = name.encode()
    _check(_libc.sethostname(encoded, ctypes.c_size_t(len(encoded))), "sethostname")


def setdomainname(name: str) -> None:
    encoded = name.encode()
    _check(_libc.setdomainname(encoded, ctypes.c_size_t(len(encoded))), "setdomainname")


def setfsids(uid: int, gid: int) -> None:
    """The ids that files are made and judged with.

    File capabilities go with them, unless SECBIT_NO_SETUID_FIXUP is set.
    """
    _libc.setfsgid(ctypes.c_uint(gid))
    _libc.setfsuid(ctypes.c_uint(uid))


def capability_mask(names: list[str]) -> int:
    """Bits for names such as CAP_CHOWN. Unknown names are a ValueError."""
    mask = 0
    for name in names:
        number = _CAPABILITY_NUMBERS.get(name)
        if number is None:
            raise ValueError(f"unknown capability {name}")
        mask |= 1 << number
    return mask


def capset(effective: int, permitted: int, inheritable: int) -> None:
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    low, high = 0xFFFFFFFF, 32
    data = struct.pack(
        "6I",
        effective & low,
        permitted & low,
        inheritable & low,
        effective >> high,
        permitted >> high,
        inheritable >> high,
    )
    _check(_libc.capset(header, data), "capset")


def capget() -> tuple[int, int, int]:
    """This process's effective, permitted and inheritable masks."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    buffer = ctypes.create_string_buffer(24)
    _check(_libc.capget(header, buffer), "capget")
    words = struct.unpack("6I", buffer.raw)
    return (
        words[0] | words[3] << 32,
        words[1] | words[4] << 32,
        words[2] | words[5] << 32,
    )


def drop_bounding_set(kept: int, last: int) -> None:
    """Take everything up to number `last` but `kept` out of the bounding set, for good."""
    option, capability, nothing = _long(PR_CAPBSET_DROP), _long(), _long(0)
    for number in range(last + 1):
        if not kept >> number & 1:
            capability.value = number  # some thirty calls: their arguments are made once
            _check(_libc.prctl(option, capability, nothing, nothing, nothing), "prctl")


def close_range(first: int, last: int, flags: int = 0) -> None:
    result = _syscall(
        _long(_CLOSE_RANGE), ctypes.c_uint(first), ctypes.c_uint(last), ctypes.c_uint(flags)
    )
    _check(result, "close_range")


def close_all_but(kept: list[int], first: int = 3) -> None:
    """Close every descriptor from `first` on that is not in `kept`."""
    for fd in sorted(kept):
        if fd > first:
            close_range(first, fd - 1)
        first = max(first, fd + 1)
    close_range(first, 0xFFFFFFFF)


def open_terminal(ptmx: int) -> int:
    """Unlock the pseudo-terminal whose master is `ptmx`; its slave.

    By descriptor, not by a name below /dev/pts, which would be the container's to choose.
    """
    fcntl.ioctl(ptmx, TIOCSPTLCK, struct.pack("i", 0))
    return fcntl.ioctl(ptmx, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def set_window_size(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, TIOCSWINSZ, struct.pack("4H", rows & 0xFFFF, columns & 0xFFFF, 0, 0))


def make_controlling_terminal(terminal: int) -> None:
    fcntl.ioctl(terminal, TIOCSCTTY, 0)


def file_system_type(fd: int) -> int:
    """The magic number of the file system that `fd` lies on (linux/magic.h)."""
    buffer = ctypes.create_string_buffer(512)  # struct statfs; its first word is the type
    _check(_libc.fstatfs(ctypes.c_int(fd), buffer), "fstatfs")
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder)


def execute_refusal(path: str) -> int:
    """0, or the errno that keeps this process, with its effective ids, from executing a file.

    A seccomp profile older than faccessat2 answers EPERM for it, a kernel ENOSYS: then the mode
    has the say, and execve the last word.
    """
    result = _syscall(
        _long(_FACCESSAT2), _long(AT_FDCWD), os.fsencode(path), _long(os.X_OK), _long(AT_EACCESS)
    )
    number = ctypes.get_errno() if result < 0 else 0
    return 0 if number in (errno.ENOSYS, errno.EPERM) else number


def start_ticks(pid: int) -> int:
    """With the pid it names a process for the time of this boot."""
    return _status_field(str(pid), 22)


def stack_start() -> int:
    """Where the stack of this process begins, at its highest address."""
    return _status_field("self", 28)


def _status_field(process: str, number: int) -> int:
    """Of /proc/PID/stat, counted from 1."""
    fd = os.open(f"/proc/{process}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(fd, 4096)
    finally:
        os.close(fd)
    # The second one, the name in parentheses, may hold anything, a ")" too.
    return int(text[text.rindex(b")") + 2 :].split()[number - 3])


def has_ended(pid: int) -> bool:
    """Whether there is none, or it was killed: a thread that hangs in the kernel may hold on to its
    files, but runs nothing more.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat[stat.rindex(")") + 2] in "ZX"


def boot_id() -> str:
    fd = os.open("/proc/sys/kernel/random/boot_id", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 64).decode().strip()
    finally:
        os.close(fd)


def _check(result: int, call: str) -> int:
    if result >= 0:
        return int(result)
    number = ctypes.get_errno()
    raise OSError(number, f"{call}: {os.strerror(number)}")


def install_seccomp_filter(program: bytes, flags: int = 0) -> None:
    """Load a BPF program (struct sock_filter's). Needs CAP_SYS_ADMIN or no_new_privs."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    _check(_syscall(_long(_SECCOMP), _long(1), _long(flags), header), "seccomp")

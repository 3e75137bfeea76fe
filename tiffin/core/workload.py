"""What the engine asks the runtime to run: a container or a build step, every choice made.

The engine resolves names, images, volumes, ports and id ranges; a workload holds only values. The
runtime turns it into an OCI runtime config (runtime.spec) and carries that out.
"""

from __future__ import annotations

import msgspec

from tiffin.core.container import HostConfig, IdRange, Mount
from tiffin.core.image import ContainerConfig
from tiffin.core.selinux import Labels


class Overlay(msgspec.Struct, frozen=True):
    """A root file system to be: committed directories, top first, under one active upper directory.

    All paths are absolute on the host. Files in them carry unshifted ids.
    """

    lower: tuple[str, ...]
    upper: str
    work: str


class LogSink(msgspec.Struct):
    """A daemon that is given a container's output, line by line."""

    kind: str  # syslog or journald
    network: str = ""  # unix (datagrams), udp, tcp, tcp+tls
    host: str = ""  # a number, or a path
    port: int = 0
    facility: int = 0
    format: str = ""
    tag: str = ""
    fields: tuple[tuple[str, str], ...] = ()  # of each entry of a journal
    blocks: bool = True  # the container waits for it
    max_buffer_bytes: int = 1 << 20
    tls_ca: str = ""  # files
    tls_cert: str = ""
    tls_key: str = ""
    tls_name: str = ""  # that the certificate is for
    tls_verify: bool = True


class LogTarget(msgspec.Struct, frozen=True):
    """Where output is kept. `path` "" keeps nothing (driver none, or a build step)."""

    path: str = ""
    kind: str = "json-file"  # or "local"
    max_size_bytes: int = 10_000_000
    max_files: int = 3
    compress: bool = False  # what is rotated
    attrs: str = ""  # of each record of a json-file, as JSON
    sink: LogSink | None = None


class Workload(msgspec.Struct, frozen=True):
    id: str  # container id, 64 hex digits: names the shim's directory and the cgroup
    config: ContainerConfig  # merged; entrypoint + cmd is the argv
    host_config: HostConfig
    rootfs: Overlay
    hostname: str
    mounts: tuple[Mount, ...] = ()  # sources exist; volumes are filled already
    images: dict[str, Overlay] = {}  # what is mounted of images, by destination
    id_range: IdRange | None = None  # None: the host's user namespace
    etc_files: dict[
        str, str
    ] = {}  # {"/etc/hosts": host path, "/etc/resolv.conf": ..., "/etc/hostname": ...}
    join_pids: dict[
        str, int
    ] = {}  # {"network": 4711, "pid": ..., "ipc": ...}: namespaces of a running init
    log: LogTarget = LogTarget()
    stop_signal: int = 15
    labels: Labels = Labels()


class Attachment(msgspec.Struct, frozen=True):
    """How a client's connection is joined to a process's streams (the query of POST /attach)."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    framed: bool = True  # 8-byte stream headers; False for a tty
    detach_keys: bytes = b"\x10\x11"


class LogPosition(msgspec.Struct, frozen=True):
    """Where a log ends: how large its youngest file is."""

    inode: str
    size: int


class ExecProcess(msgspec.Struct, frozen=True):
    """A further process in a running container."""

    exec_id: str
    argv: tuple[str, ...]
    env: tuple[str, ...]  # complete, merged by the engine with the container's
    working_dir: str
    user: str  # "" is the container's user; "name", "uid", "user:group"
    tty: bool = False
    privileged: bool = False
    console_size: tuple[int, int] | None = None  # rows, columns
    record: str = ""  # what a later daemon is to know of it


class ExitAnswer(msgspec.Struct, frozen=True):
    """What a client that waits is told: a document around the exit code."""

    before: str
    after: str
    of_removal: bool = False  # once the container is removed, not only ended


class Created(msgspec.Struct, frozen=True):
    """A container whose namespaces exist and whose init waits for `start`."""

    pid: int
    start_ticks: int


class Exit(msgspec.Struct, frozen=True):
    """A process ended. `exec_id` "" is the container's init."""

    container_id: str
    exec_id: str
    exit_code: int  # 128+n when a signal ended it
    signal: int
    oom_killed: bool
    finished_ns: int
    shim_died: bool = False  # then the engine has killed it


class KnownExec(msgspec.Struct, frozen=True):
    """An exec that a daemon finds when it starts. `exit` None: it runs."""

    exec_id: str
    record: str
    pid: int
    exit: Exit | None

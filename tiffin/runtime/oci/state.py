"""What is remembered of a container between two commands: a directory below --root.

    ROOT/ID/state.json    written by rename, first as "creating"
            config.json   ours: with what was decided, for exec, hooks and delete
            start.sock    the gate: init listens on it; gone once the program runs

The process itself is the truth: a pid counts with its start time, and not when it is a zombie.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

from tiffin.kernel import syscalls
from tiffin.kernel.cgroup import Cgroup, Hierarchy, Layout
from tiffin.runtime import messages
from tiffin.runtime.messages import Message
from tiffin.runtime.oci.shape import InvalidBundle
from tiffin.runtime.operations import Config

OCI_VERSION = "1.2.1"
STATE_FILE = "state.json"
CONFIG_FILE = "config.json"
GATE = "start.sock"
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")


class Refused(Exception):
    """A command that this container, as it is, does not allow. The message is for the user."""


def check_name(name: str) -> None:
    if not name or name in (".", "..") or not _NAME_CHARACTERS.issuperset(name):
        raise Refused(f"invalid container ID format: {name!r}")
    if len(name) > 255:
        raise Refused("container ID is too long")


class Container:
    """One that is known; `record` is state.json."""

    def __init__(self, root: str, name: str, record: Message) -> None:
        self.name = name
        self.directory = os.path.join(root, name)
        self.record = record

    @property
    def pid(self) -> int:
        pid: int = self.record["pid"]
        return pid

    @property
    def gate(self) -> str:
        return f"{self.directory}/{GATE}"

    def status(self) -> str:
        if not self.pid or not self.record.get("created"):
            return "creating" if self._maker_lives() else "stopped"
        if not _lives(self.pid, self.record["start_ticks"]):
            return "stopped"
        if os.path.exists(self.gate):
            return "created"
        return "paused" if self.is_frozen() else "running"

    def _maker_lives(self) -> bool:
        maker, ticks = self.record.get("maker") or (0, 0)
        return bool(maker) and _lives(maker, ticks)

    def is_frozen(self) -> bool:
        try:
            return self.cgroup().frozen()
        except OSError:
            return False

    def cgroup(self) -> Cgroup:
        layout = layout_of(self.record["layout"])
        return Cgroup(layout, self.record["cgroup"], tuple(self.record["controllers"]))

    def state(self, status: str = "") -> Message:
        """As the specification's `state` and hooks have it."""
        status = status or self.status()
        found: Message = {
            "ociVersion": OCI_VERSION,
            "id": self.name,
            "status": status,
            "pid": 0 if status == "stopped" else self.pid,
            "bundle": self.record["bundle"],
        }
        if self.record["annotations"]:
            found["annotations"] = self.record["annotations"]
        return found

    def save(self) -> None:
        write_file(self.directory, STATE_FILE, messages.encode(self.record))

    def config(self) -> Config:
        with open(f"{self.directory}/{CONFIG_FILE}", "rb") as file:
            return messages.decode(file.read())

    def lock(self) -> int:
        """Until the descriptor is closed nobody else starts, updates or deletes it."""
        try:
            fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise Refused(f"container does not exist: {self.name}") from error
        fcntl.flock(fd, fcntl.LOCK_EX)
        return fd

    def forget(self) -> None:
        """Its name is free afterwards. Idempotent."""
        try:
            for name in os.listdir(self.directory):
                os.unlink(f"{self.directory}/{name}")
            os.rmdir(self.directory)
        except FileNotFoundError:
            return


def _lives(pid: int, ticks: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return False
    return fields[0] not in (b"Z", b"X") and int(fields[19]) == ticks


def layout_of(record: Message) -> Layout:
    found = tuple(Hierarchy(point, tuple(names)) for point, names in record["hierarchies"])
    return Layout(record["version"], found, record["unified"])


def record_of(layout: Layout) -> Message:
    return {
        "version": layout.version,
        "unified": layout.unified,
        "hierarchies": [[h.mount_point, list(h.controllers)] for h in layout.hierarchies],
    }


def claim(root: str, name: str, bundle: str, config: Config, layout: Layout) -> Container:
    """Make the directory: the name is ours from here on. Raises Refused when it is taken."""
    check_name(name)
    os.makedirs(root, 0o711, exist_ok=True)
    directory = os.path.join(root, name)
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError as error:
        raise Refused(f"container with given ID already exists: {name}") from error
    record = {
        "pid": 0,
        "start_ticks": 0,
        "maker": [os.getpid(), syscalls.start_ticks(os.getpid())],
        "created": "",
        "bundle": bundle,
        "rootfs": config["root"]["path"],
        "annotations": config.get("annotations") or {},
        "cgroup": config["linux"]["cgroupsPath"],
        "controllers": config["tiffin"]["cgroup"]["controllers"],
        "layout": record_of(layout),
        "cgroup_is_ours": True,
        "owner": os.getuid(),
    }
    container = Container(root, name, record)
    container.save()
    write_file(directory, CONFIG_FILE, messages.encode(config))
    return container


def find(root: str, name: str) -> Container:
    """Raises Refused when there is none of that name."""
    check_name(name)
    try:
        with open(os.path.join(root, name, STATE_FILE), "rb") as file:
            record = messages.decode(file.read())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Refused(f"container does not exist: {name}") from error
    except ValueError as error:
        raise InvalidBundle(f"{os.path.join(root, name, STATE_FILE)}: {error}") from error
    return Container(root, name, record)


def find_all(root: str) -> list[Container]:
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        try:
            found.append(find(root, name))
        except (Refused, InvalidBundle, OSError):
            continue  # half made, half deleted, or none of ours
    return found


def write_file(directory: str, name: str, data: bytes) -> None:
    """By rename: whole, or as it was."""
    path = f"{directory}/{name}"
    new = f"{directory}/.{name}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(new, flags, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)
    os.rename(new, path)


def write_pid(path: str, pid: int) -> None:
    directory, _, name = os.path.abspath(path).rpartition("/")
    try:
        write_file(directory, name, str(pid).encode())
    except OSError as error:
        raise OSError(error.errno or errno.EIO, f"--pid-file {path}: {error.strerror}") from error


def now() -> str:
    """RFC 3339 with nanoseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"

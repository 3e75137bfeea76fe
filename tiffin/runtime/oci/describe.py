"""The commands that only tell: list, ps, events, spec, features."""

from __future__ import annotations

import os
import select

from tiffin import __version__
from tiffin.kernel import cgroup, syscalls
from tiffin.kernel.cgroupstatistics import statistics_of
from tiffin.kernel.pressure import read_pressure
from tiffin.runtime import messages, mountwords, operations, paths
from tiffin.runtime.oci import state
from tiffin.runtime.oci.flags import UsageError, Values
from tiffin.runtime.oci.output import Reporter, pretty, table, write
from tiffin.runtime.oci.shape import HOOK_KINDS
from tiffin.runtime.oci.state import Container, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_INTERVAL_SECONDS = 5.0


def _format(given: Values) -> str:
    form: str = given.get("format", "table")
    if form not in ("table", "json"):
        raise UsageError(f"invalid format {form!r}: table or json")
    return form


def list_containers(root: str, out: Reporter, given: Values, operands: list[str]) -> int:
    del out, operands
    found = state.find_all(root)
    if given.get("quiet"):
        write("".join(f"{container.name}\n" for container in found))
    elif _format(given) == "json":
        write(messages.encode({"": [_row(c) for c in found]})[4:-1].decode() + "\n")
    else:
        rows = [["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]]
        for row in map(_row, found):
            keys = ("id", "pid", "status", "bundle", "created", "owner")
            rows.append([str(row[key]) for key in keys])
        write(table(rows))
    return 0


def _row(container: Container) -> dict[str, Any]:
    record = container.record
    return {
        **container.state(),
        "rootfs": record["rootfs"],
        "created": record["created"],
        "owner": _user_name(record["owner"]),
    }


def _user_name(number: int) -> str:
    import pwd  # noqa: PLC0415

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def show_processes(root: str, out: Reporter, given: Values, operands: list[str]) -> int:
    del out
    container = state.find(root, operands[0])
    pids = container.cgroup().pids()
    if _format(given) == "json":
        write(str(pids).replace(" ", "") + "\n")
        return 0
    import subprocess  # noqa: PLC0415

    options = operands[1:] or ["-ef"]
    listed = subprocess.run(["ps", *options], check=False, capture_output=True, text=True)
    if listed.returncode:
        raise Refused(f"ps: {listed.stderr.strip()}")
    header, *lines = listed.stdout.splitlines()
    if "PID" not in header.split():
        raise UsageError("ps: the options must show the column PID")
    column = header.split().index("PID")
    wanted = {str(pid) for pid in pids}
    kept = [line for line in lines if line.split()[column] in wanted]
    write("\n".join([header, *kept, ""]))
    return 0


# --- events -------------------------------------------------------------------------------------


def show_events(root: str, out: Reporter, given: Values, operands: list[str]) -> int:
    del out
    container = state.find(root, operands[0])
    interval = _seconds(given.get("interval", f"{DEFAULT_INTERVAL_SECONDS}s"))
    if container.status() == "stopped":
        raise Refused(f"container {container.name} is not running")
    _tell(container, "stats", _statistics(container.cgroup()))
    if given.get("stats"):
        return 0
    handle = os.pidfd_open(container.pid)
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    kills = container.cgroup().oom_kills()
    while not poller.poll(interval * 1000):
        seen = container.cgroup().oom_kills()
        if seen > kills:
            kills = seen
            _tell(container, "oom", None)
        _tell(container, "stats", _statistics(container.cgroup()))
    os.close(handle)
    return 0


def _seconds(text: str) -> float:
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)):
        number = text.removesuffix(unit)
        if number != text and number.replace(".", "", 1).isdigit() and float(number) > 0:
            return float(number) * factor
    raise UsageError(f"invalid interval {text!r}: as 5s, 500ms, 1m")


def _tell(container: Container, kind: str, data: dict[str, Any] | None) -> None:
    event: dict[str, Any] = {"type": kind, "id": container.name}
    if data is not None:
        event["data"] = data
    write(messages.encode(event).decode() + "\n")


def _statistics(group: cgroup.Cgroup) -> dict[str, Any]:
    found = statistics_of(group)
    cpu, memory, pids = found.cpu, found.memory, found.pids
    usage = {"total": cpu.total_ns, "kernel": cpu.system_ns, "user": cpu.user_ns}
    if cpu.per_cpu_ns:
        usage["percpu"] = list(cpu.per_cpu_ns)  # type: ignore[assignment]
    shown: dict[str, Any] = {
        "cpu": {
            "usage": usage,
            "throttling": {
                "periods": cpu.periods,
                "throttledPeriods": cpu.throttled_periods,
                "throttledTime": cpu.throttled_ns,
            },
        },
        "memory": {
            "usage": {
                "limit": memory.limit or 2**63 - 4096,
                "usage": memory.usage,
                "max": memory.max_usage,
                "failcnt": memory.failures,
            },
            "cache": memory.details.get("cache", memory.details.get("file", 0)),
            "raw": memory.details,
        },
        "pids": {"current": pids.current, **({"limit": pids.limit} if pids.limit else {})},
    }
    # As runc: beside the rest of each resource, and no word where the kernel says none.
    for resource, pressure in read_pressure(group).items():
        shown.setdefault("blkio" if resource == "io" else resource, {})["psi"] = pressure
    return shown


# --- spec and features --------------------------------------------------------------------------

_DEFAULT_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]


def write_spec(root: str, out: Reporter, given: Values, operands: list[str]) -> int:
    del root, out, operands
    if given.get("rootless"):
        raise UsageError("spec --rootless: rootless containers are not supported")
    path = os.path.join(given.get("bundle") or ".", state.CONFIG_FILE)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o666)
    except FileExistsError as error:
        raise Refused(
            f"File {path} exists. Remove it first or specify another bundle with --bundle"
        ) from error
    os.write(fd, pretty(example()).encode() + b"\n")
    os.close(fd)
    return 0


def example() -> dict[str, Any]:
    """A config to begin with: a shell in a root of its own."""
    names = {"bounding", "effective", "permitted"}
    guarded = ["nosuid", "noexec", "nodev"]
    return {
        "ociVersion": state.OCI_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ],
            "cwd": "/",
            "capabilities": dict.fromkeys(sorted(names), _DEFAULT_CAPABILITIES),
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "tiffin",
        "mounts": [
            _mount("/proc", "proc", "proc", []),
            _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
            _mount(
                "/dev/pts",
                "devpts",
                "devpts",
                ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            ),
            _mount("/dev/shm", "tmpfs", "shm", [*guarded, "mode=1777", "size=65536k"]),
            _mount("/dev/mqueue", "mqueue", "mqueue", guarded),
            _mount("/sys", "sysfs", "sysfs", [*guarded, "ro"]),
            _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*guarded, "relatime", "ro"]),
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [
                {"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")
            ],
            "maskedPaths": list(paths.MASKED),
            "readonlyPaths": list(paths.READ_ONLY),
        },
    }


def _mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": options}


def show_features(root: str, out: Reporter, given: Values, operands: list[str]) -> int:
    del root, out, given, operands
    from tiffin.kernel import seccomp  # noqa: PLC0415

    layout = cgroup.detect()
    write(
        pretty(
            {
                "ociVersionMin": "1.0.0",
                "ociVersionMax": state.OCI_VERSION,
                "hooks": list(HOOK_KINDS),
                "mountOptions": sorted(mountwords.KNOWN),
                "linux": {
                    "namespaces": sorted(operations.CLONE_FLAGS),
                    "capabilities": list(syscalls.CAPABILITIES),
                    "cgroup": {
                        "v1": True,
                        "v2": True,
                        "systemd": False,
                        "systemdUser": False,
                        "rdma": "rdma" in layout.controllers,
                    },
                    "seccomp": {
                        "enabled": os.path.exists("/proc/sys/kernel/seccomp"),
                        **seccomp.vocabulary(),
                    },
                    "apparmor": {"enabled": True},
                    "selinux": {"enabled": True},
                    "intelRdt": {"enabled": False},
                    "mountExtensions": {"idmap": {"enabled": False}},
                },
                "annotations": {"org.tiffin.runtime.version": __version__},
            }
        )
        + "\n"
    )
    return 0


HANDLERS = {
    "list": list_containers,
    "ps": show_processes,
    "events": show_events,
    "spec": write_spec,
    "features": show_features,
}

"""The commands for a container that is there: state, kill, delete, pause, resume, update."""

from __future__ import annotations

import os
import select

from tiffin.kernel.cgroup import Cgroup
from tiffin.runtime import messages, operations
from tiffin.runtime.oci import bundle, create, state
from tiffin.runtime.oci.flags import UsageError, Values
from tiffin.runtime.oci.output import Reporter, pretty, write
from tiffin.runtime.oci.required import RESOURCES as RESOURCES_REQUIRED
from tiffin.runtime.oci.required import judge_required
from tiffin.runtime.oci.resources import judge_resources, judge_update, without_zeros
from tiffin.runtime.oci.shape import RESOURCES, check
from tiffin.runtime.oci.state import Container, Refused
from tiffin.runtime.operations import Config

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signals
else:
    import _signal as signals

KILL_DEADLINE_SECONDS = 10.0


def show_state(root: str, out: Reporter, given: Values, operands: list[str]) -> int:
    del out, given
    container = state.find(root, operands[0])
    record = container.record
    shown = {**container.state(), "rootfs": record["rootfs"], "created": record["created"]}
    write(pretty(shown) + "\n")
    return 0


# --- kill ---------------------------------------------------------------------------------------


def kill(root: str, out: Reporter, given: Values, operands: list[str]) -> int:
    del out
    container = state.find(root, operands[0])
    number = signal_number(operands[1] if len(operands) > 1 else "SIGTERM")
    if given.get("all"):
        _signal_all(container, number)
        return 0
    if container.status() not in ("created", "running", "paused"):
        raise Refused("container not running")
    _signal(container, number)
    return 0


def _signal(container: Container, number: int) -> None:
    handle = _open(container)
    if handle < 0:
        raise Refused("container not running")
    try:
        signals.pidfd_send_signal(handle, number)
    except ProcessLookupError as error:
        raise Refused("container not running") from error
    finally:
        os.close(handle)
    if number == signals.SIGKILL:
        # Without a pid namespace of its own nothing ends with the first process; what is frozen
        # does not end at all.
        if not _has_own_pids(container):
            container.cgroup().kill()
        elif container.is_frozen():
            container.cgroup().thaw()


def _open(container: Container) -> int:
    """A pidfd of that very process, or -1 when it has ended."""
    try:
        handle = os.pidfd_open(container.pid)
    except (ProcessLookupError, OSError):
        return -1
    if container.status() == "stopped":
        os.close(handle)
        return -1
    return handle


def _has_own_pids(container: Container) -> bool:
    return "pid" in operations.new_namespaces(container.config().get("linux") or {})


def _signal_all(container: Container, number: int) -> None:
    group = container.cgroup()
    if number == signals.SIGKILL:
        group.kill()
        return
    for pid in group.pids():
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def signal_number(text: str) -> int:
    """Of a number or a name, with or without SIG; RTMIN+3 as well. Raises UsageError."""
    if text.isascii() and text.isdigit():
        number = int(text)
    else:
        name, plus, more = text.upper().partition("+")
        name = name if name.startswith("SIG") else f"SIG{name}"
        found = getattr(signals, name, None) if name[3:].isalnum() else None
        offset = int(more) if more.isdigit() else 0
        if not isinstance(found, int) or bool(plus) != bool(more):
            raise UsageError(f"unknown signal {text!r}")
        number = found + offset
    if not 0 < number < 65:
        raise UsageError(f"unknown signal {text!r}")
    return number


# --- delete -------------------------------------------------------------------------------------


def delete(root: str, out: Reporter, given: Values, operands: list[str]) -> int:
    force = bool(given.get("force"))
    try:
        container = state.find(root, operands[0])
        lock = container.lock()
    except Refused:
        if force and _sweep(root, operands[0]):
            return 0
        raise
    try:
        _delete(container, out, force=force)
    finally:
        os.close(lock)
    return 0


def _sweep(root: str, name: str) -> bool:
    """--force: what a create that was killed has left, if anything, is no error."""
    leftover = Container(root, name, {"pid": 0})
    leftover.forget()
    return True


def _delete(container: Container, out: Reporter, *, force: bool) -> None:
    status = container.status()
    if status != "stopped":
        if not force:
            raise Refused(f"container {container.name} is not stopped: {status}")
        _end(container)
    try:
        config = container.config()
    except (OSError, ValueError):
        config = {}  # a create that was killed had not written it yet
    create.clean_up(container)
    told = container.state("stopped")
    container.forget()
    create.after_delete(told, config, out.warn)


def _end(container: Container) -> None:
    handle = _open(container)
    if handle >= 0:
        try:
            signals.pidfd_send_signal(handle, signals.SIGKILL)
            if container.is_frozen():
                container.cgroup().thaw()
            poller = select.poll()
            poller.register(handle, select.POLLIN)
            if not poller.poll(KILL_DEADLINE_SECONDS * 1000):
                raise Refused(f"container {container.name} does not end")
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)


# --- pause, resume, update ----------------------------------------------------------------------


def pause(root: str, out: Reporter, given: Values, operands: list[str]) -> int:
    del out, given
    container = state.find(root, operands[0])
    status = container.status()
    if status not in ("running", "created"):
        raise Refused(f"cannot pause a container that is {status}")
    container.cgroup().freeze()
    return 0


def resume(root: str, out: Reporter, given: Values, operands: list[str]) -> int:
    del out, given
    container = state.find(root, operands[0])
    status = container.status()
    if not container.is_frozen():
        raise Refused(f"cannot resume a container that is {status}: it is not paused")
    container.cgroup().thaw()
    return 0


def update(root: str, out: Reporter, given: Values, operands: list[str]) -> int:
    del out
    container = state.find(root, operands[0])
    asked = _resources(given)
    lock = container.lock()
    try:
        status = container.status()
        if status not in ("created", "running", "paused"):
            raise Refused(f"cannot update a container that is {status}")
        config = container.config()
        linux: Config = config["linux"]
        merged = _merged(linux.get("resources") or {}, asked)
        group = container.cgroup()
        judge_resources(merged, group.layout)
        judge_update(asked, group)
        _limit(group, asked, merged)
        linux["resources"] = merged
        state.write_file(container.directory, state.CONFIG_FILE, messages.encode(config))
    finally:
        os.close(lock)
    return 0


def _limit(group: Cgroup, asked: Config, merged: Config) -> None:
    """A part that is named is written whole: memory and swap, quota and period go together."""
    parts = {key: merged[key] for key in asked}
    if not group.exists():
        raise Refused("there is no cgroup to limit it by")
    group.limit(parts)


def _merged(old: Config, new: Config) -> Config:
    merged = dict(old)
    for key, value in new.items():
        before = old.get(key)
        both = isinstance(before, dict) and isinstance(value, dict)
        merged[key] = {**before, **value} if both and before else value
    return merged


_UPDATES = {
    "blkio-weight": ("blockIO", "weight"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-share": ("cpu", "shares"),
    "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "cpuset-cpus": ("cpu", "cpus"),
    "cpuset-mems": ("cpu", "mems"),
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
    "pids-limit": ("pids", "limit"),
}


def _resources(given: Values) -> Config:
    if "resources" in given:
        source = given["resources"]
        asked = bundle.parse(_read(source), "--resources")
        check(asked, RESOURCES, "resources")
        judge_required(asked, RESOURCES_REQUIRED, "resources")
        return without_zeros(asked)
    asked = {}
    for flag, (part, key) in _UPDATES.items():
        if flag in given:
            asked.setdefault(part, {})[key] = given[flag]
    if not asked:
        raise UsageError("update: nothing to change")
    return asked


def _read(source: str) -> bytes:
    if source != "-":
        with open(source, "rb") as file:
            return file.read()
    chunks = []
    while chunk := os.read(0, 65536):
        chunks.append(chunk)
    return b"".join(chunks)


HANDLERS = {
    "state": show_state,
    "kill": kill,
    "delete": delete,
    "pause": pause,
    "resume": resume,
    "update": update,
}

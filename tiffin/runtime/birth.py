"""The birth of a container: what everybody does who makes one, a shim's maker or a command line.

A first process in its namespaces, its ids named, its cgroup, its detached mounts. What differs is
whose child that process is, where its stdio comes from and who tells it to start.
"""

from __future__ import annotations

import os
from _socket import socket

from tiffin.kernel import syscalls
from tiffin.kernel.cgroup import Cgroup, Layout
from tiffin.runtime import init, launch, messages, operations, rootfs
from tiffin.runtime.init import Failure
from tiffin.runtime.messages import Message
from tiffin.runtime.operations import Config


class Host:
    """What the zygote found out for all its shims."""

    __slots__ = ("boot_id", "last_capability", "layout", "oom_score")

    def __init__(self, layout: Layout, boot_id: str, last_capability: int, oom_score: str) -> None:
        self.layout = layout
        self.boot_id = boot_id
        self.last_capability = last_capability
        self.oom_score = oom_score


class Birth:
    """`config` is an OCI runtime config with our extras; `adopter` see runtime.launch."""

    def __init__(self, config: Config, host: Host, adopter: int) -> None:
        self.config = config
        self.host = host
        self.adopter = adopter
        self.linux: Config = config.get("linux") or {}
        self.extra: Config = config.get("tiffin") or {}
        self.process: Config = config.get("process") or {}
        self.ids = rootfs.Ids(self.linux.get("uidMappings") or [], -1)
        self.cgroup: Cgroup | None = None
        self.channel: socket | None = None
        self.pid = 0
        self.start_ticks = 0
        self.pidfd = -1

    def launch(self) -> None:
        """Clone the first process."""
        self.channel, theirs = messages.pair()
        last_capability = self.host.last_capability
        try:
            preserved = int(self.extra.get("preserved") or 0)
            self.pid = launch.first_process(
                self.linux, theirs, last_capability, self.adopter, preserved
            )
        finally:
            theirs.close()
        if not self.pid:
            self.pid = self._await_pid()

    def _await_pid(self) -> int:
        """From the process in between."""
        assert self.channel is not None
        try:
            message, _descriptors = messages.receive(self.channel)
        except messages.ConnectionEnded as ended:
            raise Failure("joining namespaces failed", "join namespaces") from ended
        if "failed" in message:
            report = message["failed"]
            raise Failure(report["message"], report["operation"], report["errno"])
        return int(message["pid"])

    def name_ids(self) -> None:
        """Maps and limits: from here on the namespaces are of use to others."""
        self.pidfd = os.pidfd_open(self.pid)
        self.start_ticks = syscalls.start_ticks(self.pid)
        if "user" in operations.new_namespaces(self.linux):
            launch.write_maps(self.pid, self.linux)
        launch.set_limits(self.pid, self.process, self.host.oom_score)
        if operations.has_own_ids(self.linux):
            path = dict(operations.joined_namespaces(self.linux)).get("user", "")
            self.ids.namespace = self.open_namespace("user", path)
            if not self.ids.extents:  # another's, whose map only the kernel knows
                self.ids.extents = rootfs.extents_of(self.pid)

    def open_namespace(self, name: str, path: str = "") -> int:
        return os.open(path or f"/proc/{self.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)

    def make_cgroup(self) -> None:
        path = self.linux.get("cgroupsPath")
        if not path or not self.host.layout.version:
            return
        names = self.controllers()
        layout = self.host.layout
        group = Cgroup(layout, path, names) if names else Cgroup(layout, path)
        try:
            group.create(self.linux.get("resources"))
        except OSError as error:
            raise rootfs.Failed(
                "error setting cgroup config for procHooks process", error
            ) from error
        self.cgroup = group

    def controllers(self) -> tuple[str, ...]:
        return tuple((self.extra.get("cgroup") or {}).get("controllers") or ())

    def send_mounts(self, plan: operations.Plan, scratch: str) -> None:
        detached = rootfs.detach(plan.detached, self.ids, scratch)
        for first in range(0, len(detached), 200):
            self.tell_init(b'{"slots":true}', detached[first : first + 200])

    def tell_init(self, data: bytes, descriptors: list[int] | None = None) -> None:
        assert self.channel is not None
        try:
            messages.send_packet(self.channel, data, descriptors or [])
        except messages.ConnectionEnded:
            return  # what it died of is told by its own report, or its end


def report_of(error: Exception) -> Message:
    """What a user is told of a birth that failed. Raises the error again if it is a mistake."""
    if isinstance(error, Failure):
        return error.report
    if isinstance(error, rootfs.Failed):
        return init.failure_of(error.operation, error.error).report
    if isinstance(error, operations.InvalidConfig):
        return Failure(str(error), "plan").report
    if isinstance(error, OSError):
        return init.failure_of(str(error.strerror), error).report
    raise error

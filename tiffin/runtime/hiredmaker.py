"""The maker of a container that another OCI runtime makes: prepares the bundle, has it created."""

from __future__ import annotations

import os
import stat

from tiffin.kernel import mounts, syscalls
from tiffin.runtime import hired, launch, messages, operations, rootfs, users
from tiffin.runtime.birth import Host
from tiffin.runtime.building import make_file_system
from tiffin.runtime.failure import Failure
from tiffin.runtime.hired import PID_FILE, Hired
from tiffin.runtime.maker import REQUEST_FILE, STATE_FILE, Maker, Unborn
from tiffin.runtime.operations import Attach, MakeDevices

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signals
else:
    import _signal as signals

# Where anybody may pass: the runtime looks for its mounts with the container's ids.
_SCRATCH = ("/mnt", "/media", "/srv", "/opt", "/tmp", "/home")


def of(data: bytes, descriptors: list[int], host: Host, unborn: Unborn | None = None) -> Maker:
    """The maker for what the daemon asks."""
    if b'"runtime":{' in data and messages.decode(data)["config"]["tiffin"].get("runtime"):
        return HiredMaker(data, descriptors, host, unborn)
    return Maker(data, descriptors, host, unborn)


class HiredMaker(Maker):
    def _make(self) -> None:
        if self._unborn is not None:
            self._unborn.end()
        self._prepare()
        self._write_file(REQUEST_FILE, self._data)
        runtime = Hired(self.extra["runtime"], self._directory, self._id, self.host.layout)
        if operations.has_own_ids(self.linux):
            self.ids.namespace = self._user_namespace()
        trees = self._detach()
        root = trees[self._plan.create_root().slot]
        identity = hired.identify(root, self.extra)
        self._make_stdio()
        self._give_stdio_to(identity)
        scratch = self._scratch()
        self._leave_mounts(runtime, scratch)
        sources = self._put(trees, scratch)
        runtime.write_json(
            "config.json", hired.plain(self.config, f"{scratch}/rootfs", sources, identity)
        )
        messages.close_all([fd for fd in trees if fd >= 0])
        self._create(runtime)
        self._answer()
        state = {**self._state(), "boot_id": self.host.boot_id}
        self._write_file(STATE_FILE, messages.encode(state))

    def _user_namespace(self) -> int:
        """One with the container's map, to see mounts through; the runtime makes its own."""
        path = dict(operations.joined_namespaces(self.linux)).get("user", "")
        if path:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        pid = syscalls.clone3(syscalls.CLONE_NEWUSER)
        if pid == 0:
            signals.pause()
            os._exit(0)
        try:
            launch.write_maps(pid, self.linux)
            return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.kill(pid, signals.SIGKILL)
            os.waitpid(pid, 0)

    def _detach(self) -> list[int]:
        """What is mounted by us; -1 for /dev, which every runtime makes itself."""
        ours = [op for op in self._plan.detached if not isinstance(op, MakeDevices)]
        made = iter(rootfs.detach(ours, self.ids, self._directory))
        return [-1 if isinstance(op, MakeDevices) else next(made) for op in self._plan.detached]

    def _give_stdio_to(self, identity: users.Identity) -> None:
        owner = self.ids.on_host(identity.uid)
        for name in ("stdin", "stdout", "stderr"):
            if self._given.get(name, -1) >= 0:
                os.fchown(self._given[name], owner, -1)

    def _scratch(self) -> str:
        for path in _SCRATCH:
            if os.path.isdir(path) and not self._directory.startswith(f"{path}/"):
                return path
        raise Failure("there is no directory to mount a bundle on", "mount bundle")

    def _leave_mounts(self, runtime: Hired, scratch: str) -> None:
        """Nothing of what follows is seen on the host, and all of it ends with the shim."""
        syscalls.unshare(syscalls.CLONE_NEWNS)
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_SLAVE)
        runtime.hide_unified()
        self._given["bundle"] = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        tree = make_file_system("tmpfs", 0, [("source", "bundle"), ("mode", "755")])
        mounts.move_mount(tree, mounts.AT_FDCWD, scratch)
        os.close(tree)

    def _put(self, trees: list[int], scratch: str) -> dict[int, str]:
        """Attach them: by number of the mount, where it lies now."""
        os.mkdir(f"{scratch}/rootfs", 0o755)
        root = trees[self._plan.create_root().slot]
        mounts.move_mount(root, mounts.AT_FDCWD, f"{scratch}/rootfs")
        attached = [
            operation
            for operation in self._plan.create
            if isinstance(operation, Attach) and trees[operation.slot] >= 0
        ]
        numbers = [
            number
            for number, mount in enumerate(self.config.get("mounts") or [])
            if operations.is_bind(mount) or (mount.get("tiffin") or {}).get("overlay")
        ]
        sources: dict[int, str] = {}
        for number, operation in zip(numbers, attached, strict=False):
            sources[number] = path = f"{scratch}/{number}"
            tree = trees[operation.slot]
            if stat.S_ISDIR(os.fstat(tree).st_mode):
                os.mkdir(path, 0o755)
            else:
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
            mounts.move_mount(tree, mounts.AT_FDCWD, path)
        return sources

    def _create(self, runtime: Hired) -> None:
        words = ["--bundle", self._directory, "--pid-file", f"{self._directory}/{PID_FILE}"]
        terminal = bool(self.process.get("terminal"))
        listener = runtime.listen_for_console() if terminal else None
        if listener is not None:
            words += ["--console-socket", hired.CONSOLE_SOCKET]
        runtime.run("create", words, self._child_ends or None)
        if listener is not None:
            size = self.process.get("consoleSize") or {}
            self._given["terminal"] = runtime.take_console(listener, size)
        self.pid = runtime.read_pid()
        self.pidfd = self._given["pidfd"] = os.pidfd_open(self.pid)
        self.start_ticks = syscalls.start_ticks(self.pid)
        self._given["mount_namespace"] = self.open_namespace("mnt")

"""The engine's ports: what it needs of processes and of links, in its own words.

The real things are runtime.client.Runtime and network.bridge.Bridge; contract tests run one suite
over them and over the fakes that the engine's unit tests use.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from tiffin.core.container import Endpoint, HostConfig, PublishedPort
from tiffin.core.workload import (
    Attachment,
    Created,
    ExecProcess,
    Exit,
    ExitAnswer,
    KnownExec,
    LogPosition,
    Workload,
)
from tiffin.kernel.cgroup import Cgroup


class HeldClient(Protocol):
    """An attached client that gets no output before it has been given the log up to `log`."""

    log: LogPosition | None  # None: all that there is

    async def taken(self) -> bool:
        """The log is open, or it has taken some more of it. Whether it is still there."""
        ...

    async def end(self, *, joined: bool) -> None:
        """It has all of it, or shall have no more. To be called, once."""
        ...


class ContainerRuntime(Protocol):
    """Processes. All calls have deadlines; Unavailable when a shim does not answer in time."""

    def knows(self, runtime: str) -> bool:
        """Whether --runtime may say so; "" is our own."""
        ...

    async def create(self, workload: Workload, *, hold: Sequence[int] = ()) -> Created:
        """Make the namespaces and the root; init then waits. The shim keeps `hold` open.

        Raises CannotStart (operation, errno); nothing is left behind then.
        """
        ...

    async def start(self, container_id: str, *, record: str = "") -> None:
        """Let init become the program: returns after execve, or raises CannotStart.

        `record`: what a later daemon is to know of this run, of which we may get no note taken.
        """
        ...

    async def attach(
        self, container_id: str, connection: int, attachment: Attachment, *, early: bytes = b""
    ) -> None:
        """Hand a client's connected socket to the shim (the caller may close its copy).

        Works between create and start too. `early` is input that was read already.
        The shim closes the connection when the output has ended.
        """
        ...

    async def hold_client(
        self, container_id: str, connection: int, attachment: Attachment, *, early: bytes = b""
    ) -> HeldClient | None:
        """As `attach`, but the client gets no output until it is given the log, by the caller.

        None: the container's shim is of a release that cannot hold it, and does not know of it.
        """
        ...

    def ready_exec(self, container_id: str, process: ExecProcess, *, stdin: bool) -> None:
        """The process is likely to be asked for soon, by a client with or without input."""
        ...

    async def exec(
        self,
        container_id: str,
        process: ExecProcess,
        connection: int | None,
        attachment: Attachment,
        *,
        early: bytes = b"",
    ) -> int:
        """Run a process in the container: its host pid. connection None: detached.

        Raises CannotStart.
        """
        ...

    async def wait(self, container_id: str, connection: int, answer: ExitAnswer) -> None:
        """Hand over a client that waits for the end (the caller may close its copy).

        The head of its answer is sent. It is answered by `tell`, or without one when the container
        has ended and no daemon is connected. Raises Conflict where nothing runs.
        """
        ...

    async def tell(self, container_id: str, *, removed: bool) -> None:
        """An ended container's exit is known to all, or its removal: answer who waits for it."""
        ...

    async def serving(self) -> None:
        """Clients can ask this daemon from now on."""
        ...

    def found_run(self, container_id: str) -> str:
        """The record of the run that `reconnect` has found; "" where no program was let go."""
        ...

    def found_execs(self, container_id: str) -> list[KnownExec]:
        """What `reconnect` has learnt of execs, once."""
        ...

    async def resize(self, container_id: str, exec_id: str, rows: int, columns: int) -> None: ...

    async def kill(self, container_id: str, signal: int) -> None:
        """Signal init. SIGKILL also ends everything else in the container."""
        ...

    async def pause(self, container_id: str) -> None: ...

    async def unpause(self, container_id: str) -> None: ...

    def is_paused(self, container_id: str) -> bool: ...

    async def limit(self, container_id: str, host: HostConfig) -> None:
        """Put a running container under the limits that `host` names. Raises EngineFailure."""
        ...

    async def hold(
        self, container_id: str, descriptors: Sequence[int], keep: Sequence[PublishedPort]
    ) -> None:
        """Have the shim hold these sockets of host ports too, and of all those of `keep` only."""
        ...

    async def pids(self, container_id: str) -> list[int]:
        """Host pids of all processes in the container's cgroup."""
        ...

    async def count_disks(self, container_id: str) -> None:
        """Have the kernel count what a running container moves from and to disks, from now on.

        Where it does so anyway, or cannot, nothing happens.
        """
        ...

    def group(self, container_id: str) -> Cgroup | None:
        """The cgroup of a running container, for its numbers; None where there is none."""
        ...

    async def remove(self, container_id: str) -> None:
        """Kill what runs, forget run directory and cgroups. Idempotent."""
        ...

    async def reconnect(self, container_id: str) -> Created | Exit | None:
        """After a daemon restart: the living process, how it ended, or None if unknown."""
        ...

    def on_exit(self, callback: Callable[[Exit], None]) -> None:
        """Called on the loop for each container and exec that ends, its output all logged."""
        ...

    def on_detached(self, callback: Callable[[str, str], None]) -> None:
        """Called with container and exec ("": none) when a client has typed its detach keys."""
        ...


class Links(Protocol):
    """The default bridge and what hangs on it."""

    async def connect(self, container_id: str, endpoint: Endpoint, pid: int) -> None:
        """Bring `endpoint` up as eth0 in the network namespace of `pid`, and lo."""
        ...

    async def loopback(self, pid: int) -> None:
        """Bring only lo up in the network namespace of `pid` (network none)."""
        ...

    async def disconnect(self, container_id: str) -> None:
        """Take the link and its published ports away. Idempotent."""
        ...

    def reserve(self, port: PublishedPort, last_port: int = 0) -> tuple[PublishedPort, int]:
        """Bind the host port (0: any; up to last_port: the first free): port and descriptor.

        Raises EngineFailure with Docker's words when a program or container holds it.
        """
        ...

    async def publish(
        self, container_id: str, endpoint: Endpoint, ports: Sequence[PublishedPort]
    ) -> None:
        """Direct exactly these host ports to the endpoint, all or none of them."""
        ...

    def published_ports(self) -> Mapping[str, Collection[PublishedPort]]:
        """Which host ports are directed to which container now."""
        ...

"""The zygote: an interpreter with all imported that a shim needs, which forks one on request.

Started by exec, single-threaded and small, so that a fork is cheap and safe, which the daemon's own
(threads, tens of megabytes) would not be. It ends with the daemon; shims do not. It never waits for
what it forks and keeps no state but facts of the host.

Requests: create (descriptors: the shim's connection, then what the shim is to hold; "usual" near
its head where it is a container as most are), probe (the connection to answer on), spare (no
descriptor: clone flags of a container as most will be; also says that a container has started and
there is time).
"""

from __future__ import annotations

import gc
import os
import select
import sys
import time
from _socket import socket

from tiffin.kernel import allocator, cgroup, mounts, syscalls
from tiffin.runtime import latecode, messages, rehearsal, shimbirth, standing
from tiffin.runtime.birth import Host
from tiffin.runtime.messages import Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from types import ModuleType
else:
    import _signal as signal

IDLE_MILLISECONDS = 20  # without a request for that long, there is time to get ready for one

# Without a maker that gets idle for that long, those that wait are made without one.
PATIENCE_SECONDS = 0.1
MOST_WAITING = 64

if TYPE_CHECKING:
    _Spare = tuple[socket, socket]  # ways to the shim and to its child

_USUAL, _HEAD_BYTES = b'"usual":true', 64


def main(descriptor: int) -> None:
    """Serve the daemon at the other end of `descriptor` until it is gone."""
    connection = socket(fileno=descriptor)
    os.set_inheritable(descriptor, False)
    syscalls.close_all_but([descriptor])  # what we were executed from is inherited too
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    syscalls.set_process_name(messages.ZYGOTE_NAME)
    # SIGCHLD, because nobody waits: the kernel buries. The others, because shims ignore them.
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0)
    os.chdir("/")
    host = _host()
    _warm_up()
    latecode.close()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        messages.send(connection, {"ready": messages.PROTOCOL})
    except messages.ConnectionEnded:
        return  # the daemon has gone already
    Zygote(connection, host).serve()


class Zygote:
    """Keeps a spare shim with its first process, and a maker for it, when there is time."""

    def __init__(self, connection: socket, host: Host) -> None:
        self._connection = connection
        self._host = host
        self._spare: _Spare | None = None
        self._spare_flags = 0  # 0: keep none
        self._rehearsed = False
        self._makers = standing.Makers(host, _guarded, self._leave)
        self._queue: list[tuple[bytes, list[int]]] = []  # requests that wait for one of those
        self._patient_until = 0.0  # or the first of them waits no longer
        self._poll = select.poll()
        self._poll.register(connection.fileno(), select.POLLIN)

    def serve(self) -> None:
        """Until the daemon is gone."""
        while True:
            if self._queue:
                if not self._turn():
                    continue
            elif not self._is_ready() and not self._poll.poll(IDLE_MILLISECONDS):
                self._get_ready()
                continue
            try:
                data, descriptors = messages.receive_packet(self._connection)
            except messages.ConnectionEnded:
                os._exit(0)
            except ValueError:
                continue
            self._handle(data, descriptors)
            messages.close_all(descriptors)

    def _is_ready(self) -> bool:
        """For the next container; or none is to be expected."""
        return not self._spare_flags or (self._spare is not None and self._makers.settled())

    def _get_ready(self) -> None:
        if not self._rehearsed:  # not before: while the daemon starts it has enough to do
            self._rehearse()
        if self._spare is None:
            self._make_spare()
        self._makers.settle()

    def _handle(self, data: bytes, descriptors: list[int]) -> None:
        if not descriptors:
            self._spare_flags = int(messages.decode(data)["spare"])
            if self._spare is None and self._rehearsed:
                self._make_spare()
        elif self._is_usual(data) and (self._queue or not self._makers.available()):
            if not self._queue:
                self._patient_until = time.monotonic() + PATIENCE_SECONDS
            self._queue.append((data, list(descriptors)))
            descriptors.clear()
        else:
            self._make(data, descriptors)

    def _is_usual(self, data: bytes) -> bool:
        return bool(self._spare_flags) and _USUAL in data[:_HEAD_BYTES]

    def _turn(self) -> bool:
        """Have who waits served as makers get idle. Whether the daemon has something to say."""
        left = self._patient_until - time.monotonic()
        listens = [self._connection] if len(self._queue) < MOST_WAITING else []
        spoke = self._makers.wait(listens, max(0, int(left * 1000) + 1))
        # Nobody gets on: then the first has a maker of its own, and the others their chance.
        stuck = time.monotonic() >= self._patient_until
        while self._queue and (stuck or self._makers.available()):
            stuck = False
            self._patient_until = time.monotonic() + PATIENCE_SECONDS
            data, descriptors = self._queue.pop(0)
            self._make(data, descriptors)
            messages.close_all(descriptors)
        return self._connection.fileno() in spoke

    def _make(self, data: bytes, descriptors: list[int]) -> None:
        if not self._hand_over(data, descriptors) and self._fork(data, descriptors):
            self._leave(descriptors)
            _child(data, descriptors, self._host)

    @staticmethod
    def _fork(data: bytes, descriptors: list[int]) -> bool:
        """Whether this is the child. Where the machine has no more processes the daemon is told."""
        try:
            return os.fork() == 0
        except OSError as error:
            shimbirth.refuse(data, descriptors, error)
            return False

    def _hand_over(self, data: bytes, descriptors: list[int]) -> bool:
        """To a maker and the spare shim, or to that alone. False where there is no shim."""
        usual = self._is_usual(data)
        spare = self._take_spare(or_new=usual)
        if spare is None:
            return False
        shim, channel = spare
        try:
            ways = [shim.fileno(), channel.fileno()]
            if usual and self._makers.hand(data, [*ways, *descriptors]):
                return True
            messages.send_packet(shim, data, descriptors)
        except (messages.ConnectionEnded, OSError):  # it was killed
            return False
        finally:
            shim.close()
            channel.close()
        return True

    def _leave(self, kept: list[int]) -> None:
        """In a child: whose ends it held, would not be seen to be gone."""
        self._connection.close()
        for end in self._spare or ():
            end.close()
        self._makers.leave()
        syscalls.close_all_but(kept)

    def _take_spare(self, *, or_new: bool) -> _Spare | None:
        if self._spare is not None and messages.has_ended(self._spare[0]):
            for end in self._spare:
                end.close()
            self._spare = None
        if self._spare is None and or_new:
            self._make_spare()
        spare, self._spare = self._spare, None
        return spare

    def _rehearse(self) -> None:
        self._rehearsed = True
        try:
            rehearsal.rehearse(self._host, _owners())
        except (OSError, messages.ConnectionEnded):
            return  # shims do without

    def _make_spare(self) -> None:
        allocator.give_back()  # the last request: a copy of it would stay in each shim
        shim, ours = messages.pair()
        channel, theirs = messages.pair()
        given = shimbirth.Spare(ours, channel, theirs, self._spare_flags)
        kept = given.descriptors()
        try:
            child = os.fork() == 0
        except OSError:  # no more processes: then without
            self._spare_flags = 0  # until a container has started again
            given.close()
            shim.close()
            return
        if child:
            shim.close()
            self._leave(kept)
            _guarded(lambda: shimbirth.spare(given, self._host))
        ours.close()
        theirs.close()
        self._spare = shim, channel


def _owners() -> tuple[type | ModuleType, ...]:
    """Whose code runs for each container."""
    ours = sys.modules[__name__]
    classes = (Zygote, standing.Makers, standing._Standing, shimbirth.Spare)  # noqa: SLF001
    return (*classes, shimbirth, ours, messages)


def _host() -> Host:
    return Host(
        layout=cgroup.detect(),
        boot_id=syscalls.boot_id(),
        last_capability=int(_read("/proc/sys/kernel/cap_last_cap")),
        oom_score=_read("/proc/self/oom_score_adj"),
    )


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 256).decode().strip()
    finally:
        os.close(fd)


def _warm_up() -> None:
    """What Python loads at first use must not be loaded inside a container."""
    for codec in ("utf-8", "ascii", "latin-1"):
        "x".encode(codec).decode(codec, "replace")
    "\udc80".encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    messages.decode(messages.encode({"warm": [1, 1.5, None, True, {}]}))


def _child(data: bytes, descriptors: list[int], host: Host) -> None:
    if data.startswith(b'{"id":') and b'"op":"probe"' in data[:64]:
        request = messages.decode(data)
        _guarded(lambda: probe(request, socket(fileno=descriptors.pop(0))))
    _guarded(lambda: shimbirth.main(data, descriptors, host))


def _guarded(act: Callable[[], None]) -> None:
    """What a forked child does, whatever happens: never back into the zygote's loop."""
    try:
        act()
        os._exit(0)
    except BaseException:  # noqa: BLE001 (nothing above this frame is ours)
        sys.excepthook(*sys.exc_info())
        os._exit(1)


# --- what this host allows ----------------------------------------------------------------------


def probe(request: Message, connection: socket) -> None:
    """Make a user namespace, mount proc and sysfs in it, map a mount's ids; say what fails."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.umask(0)
    answer: Message = {"user_namespaces": True, "reason": ""}
    try:
        _probe_user_namespace(request["directory"])
    except OSError as error:
        answer = {"user_namespaces": False, "reason": f"{error.strerror}"}
    messages.send(connection, {"id": request["id"], **answer})


def _probe_user_namespace(directory: str) -> None:
    ours, theirs = messages.pair()
    flags = (
        syscalls.CLONE_NEWUSER
        | syscalls.CLONE_NEWNS
        | syscalls.CLONE_NEWPID
        | syscalls.CLONE_NEWNET
        | syscalls.CLONE_NEWIPC
    )
    pid = syscalls.clone3(flags)
    if pid == 0:
        _probe_inside(theirs)
    theirs.close()
    try:
        for file in ("uid_map", "gid_map"):
            fd = os.open(f"/proc/{pid}/{file}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, b"0 1879048192 65536\n")
            finally:
                os.close(fd)
        messages.send(ours, {"mapped": True})
        namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        tree = mounts.open_tree(mounts.AT_FDCWD, directory)
        mounts.mount_setattr(tree, user_namespace=namespace)
        answer, _descriptors = messages.receive(ours)
        if "failed" in answer:
            raise OSError(answer["errno"], answer["failed"])
    except messages.ConnectionEnded as error:
        raise OSError(0, "the process in the new user namespace died") from error
    finally:
        ours.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _probe_inside(connection: socket) -> None:
    try:
        messages.receive(connection)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        for kind in ("proc", "sysfs", "mqueue", "tmpfs"):
            context = mounts.fsopen(kind)
            mounts.fsconfig_create(context)
            mounts.fsmount(context, 0)
        messages.send(connection, {"works": True})
    except OSError as error:
        words = f"{error.strerror} ({error.filename})" if error.filename else str(error.strerror)
        messages.send(connection, {"failed": words, "errno": error.errno or 0})
    except messages.ConnectionEnded:
        pass
    os._exit(0)

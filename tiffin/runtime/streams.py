"""A process's stdin, stdout and stderr, and the clients that are attached to them.

Output goes to the log and to each client that asked for it, with Docker's 8-byte frames unless
there is a terminal. Input of all clients goes to the process.

Slow clients: a client may be MAX_BEHIND bytes behind. The process is then made to wait, as Docker
does it (`docker run … | less` must not lose a byte). A container is not kept waiting by one that
does not read: what one that took nothing for PATIENCE_SECONDS, or that kept others waiting for as
long, has not taken lies in a file from then on (Spool). When that is full the process does wait;
where others are attached, such a client is dropped.
Nobody is waited for once the process has ended: what is left goes to the log at once, and to the
clients as fast as they take it.

Clients that are to see the log first are held: the daemon reads them the log up to where it ended
when they came, and what comes after that waits in their queue until the daemon lets them go on. The
log does not rotate until the daemon has opened it, and the daemon says how it gets on: who takes of
the log is not too slow.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from _socket import MSG_DONTWAIT

from tiffin.kernel import syscalls
from tiffin.runtime.init import Failure
from tiffin.runtime.logfile import LogWriter
from tiffin.runtime.logs import Lines
from tiffin.runtime.loop import GONE, READ, WRITE, Loop
from tiffin.runtime.messages import Message
from tiffin.runtime.streamclients import CHUNK, STDERR, STDOUT, Client, Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.runtime.logsinks import Log

_NAMES = {STDOUT: "stdout", STDERR: "stderr"}
MAX_BEHIND = 1_000_000  # Docker's bound for an attached client
MAX_INPUT = 65536
PATIENCE_SECONDS = 5.0
_READ_LOOKS, _READ_LOOK_SECONDS = 40, 0.00025
_F_SETPIPE_SZ = 1031
_WIDE_PIPE = 256 * 1024


def make_pipes(*, stdin: bool, owner: int) -> tuple[list[int], list[int]]:
    """(ours, the child's) ends of stdin, stdout, stderr; ours of stdin is -1 without `stdin`.

    `owner` (-1: nobody) may open them anew, as /dev/stdout.
    """
    if stdin:
        child_stdin, ours = os.pipe2(os.O_CLOEXEC)
    else:
        child_stdin, ours = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), -1
    mine, theirs = [ours], [child_stdin]
    for _ in (STDOUT, STDERR):
        reading, writing = os.pipe2(os.O_CLOEXEC)
        mine.append(reading)
        theirs.append(writing)
    if owner >= 0:
        for fd in mine:
            if fd >= 0:
                os.fchown(fd, owner, -1)
    return mine, theirs


def _widen(pipe: int) -> None:
    """Who writes much need not wait for us at each 64 KB. The container pays for the pages."""
    try:
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, _WIDE_PIPE)
    except OSError:
        return  # a terminal, or too many pipes


def _nobody() -> None:
    """Wants to know."""


class Streams:
    """Of one process: a container's init, or an exec."""

    def __init__(
        self,
        loop: Loop,
        *,
        stdin_once: bool,
        log: LogWriter | Log | None = None,
        spool_directory: str = "",
    ) -> None:
        """`spool_directory`: where to keep what clients do not take, "" for nowhere."""
        self._loop = loop
        self._spool_directory = spool_directory
        self._log: LogWriter | Log | None = log
        self._stdin_once = stdin_once
        self._terminal = -1
        self._size = (0, 0)
        self._outputs: dict[int, int] = {}  # descriptor -> stream
        self._lines: dict[int, Lines] = {}
        self._widened: set[int] = set()
        self._stdin = -1
        self._input = bytearray()
        self._close_input = False
        self._clients: list[Client] = []
        self._stopped = False  # outputs are not read: somebody is too far behind
        self._judging = False  # a look at who is too far behind is due
        self._ended = False
        self._lingers = False  # it has ended, and what it has left running may still say something
        self._held: dict[int, Client] = {}  # by the number that the daemon knows them by
        self._held_count = 0
        self._unopened: set[int] = set()  # of them, those whose log the daemon has not opened yet
        self.on_detached: Callable[[], None] = _nobody  # somebody has typed the detach keys

    def log_to(self, log: Log) -> None:
        self._log = log

    # -- the process's side ---

    def take(self, stdin: int, stdout: int, stderr: int) -> None:
        """Our ends of the pipes; stdin may be -1."""
        if stdin >= 0:
            self.set_stdin(stdin)
        self.add_output(stdout, STDOUT)
        self.add_output(stderr, STDERR)

    def add_output(self, fd: int, stream: int) -> None:
        os.set_blocking(fd, False)
        self._outputs[fd] = stream
        self._lines[fd] = Lines()
        self._loop.add(fd, 0 if self._stopped else READ, lambda _events: self._on_output(fd))

    def set_stdin(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._stdin = fd
        self._loop.add(fd, WRITE if self._input else 0, self._on_stdin)
        if self._input:
            self._write_input()

    def set_terminal(self, master: int, *, stdin: bool) -> None:
        self._terminal = master
        if self._size != (0, 0):
            syscalls.set_window_size(master, *self._size)
        self.add_output(master, STDOUT)
        if stdin:
            self.set_stdin(os.dup(master))

    def resize(self, rows: int, columns: int) -> None:
        """A terminal that is still to come will have this size."""
        self._size = (rows, columns)
        if self._terminal >= 0:
            syscalls.set_window_size(self._terminal, rows, columns)

    @property
    def has_terminal(self) -> bool:
        return self._terminal >= 0

    def give_to(self, uid: int) -> None:
        """Make `uid` the owner of the pipes, so that it may open /dev/stdout."""
        for fd in [*self._outputs, self._stdin]:
            if fd >= 0:
                os.fchown(fd, uid, -1)

    def process_ended(self) -> None:
        """Take what is left in the pipes; all of it is in the log and the clients' queues then.

        The log is closed: the next run of the container may write it from here on.
        """
        self._ended = True
        self._stopped = False
        for fd in list(self._outputs):
            while self._read(fd):
                pass
        for fd, lines in self._lines.items():
            rest = lines.finish()
            if rest:
                self._write_log(rest, self._outputs.get(fd, STDOUT))
        for fd in self._outputs:  # children of an exec may go on writing: it is thrown away
            self._loop.change(fd, READ)
        self._close_stdin()
        self._close_log()

    def await_readers(self) -> None:
        """Returns once clients have read what they were sent: 10 ms at most, mostly at once.

        Some look at what they have got when they hear of the end, by another connection: of two
        that are ready in one moment nobody knows which they turn to first.
        """
        for _ in range(_READ_LOOKS):
            if not any(client.has_unread for client in self._clients):
                return
            time.sleep(_READ_LOOK_SECONDS)

    def close_clients(self) -> None:
        """Each once it has taken all of its output."""
        self._lingers = False
        for client in list(self._clients):
            client.ending = True
            self._settle(client)
        self.regulate()

    def close_clients_late(self, seconds: float) -> None:
        """Once nobody has the outputs any more either; after that time in any case."""
        if self._outputs:
            self._lingers = True
            self._loop.later(seconds, self.close_clients)
        else:
            self.close_clients()

    def forget_clients(self) -> None:
        """Let go of the connections without a word on them."""
        for client in self._clients:
            self._loop.remove(client.fd)
            client.close()
        self._clients.clear()

    def child_ended(self, pid: int, status: int) -> None:
        """One of the shim's own: the log may have been waiting for it."""
        if self._log is not None:
            self._log.child_ended(pid, status)

    def close(self) -> None:
        for fd in list(self._outputs):
            self._close_output(fd)
        self._close_log()

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None

    @property
    def has_clients(self) -> bool:
        return bool(self._clients)

    def _on_output(self, fd: int) -> None:
        if self._read(fd) == CHUNK and fd not in self._widened:
            self._widened.add(fd)
            _widen(fd)

    def _read(self, fd: int) -> int:
        """One piece of output: its length, 0 when there is none at present, or ever again."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return 0
        except OSError:  # EIO: the terminal's last user has gone
            data = b""
        if not data:
            self._close_output(fd)
            return 0
        stream = self._outputs[fd]
        if self._log is not None:
            for block in self._lines[fd].feed(data):
                self._write_log(block, stream)
            if self._log.full:
                self.regulate()
        for client in list(self._clients):
            if client.wants[stream]:
                if client.send(stream, data):
                    self._settle(client)
                else:
                    self._drop(client)
        return len(data)

    def _write_log(self, block: bytes, stream: int) -> None:
        if self._log is not None:
            self._log.write(block, _NAMES[stream], time.time_ns())

    def _close_output(self, fd: int) -> None:
        self._loop.remove(fd)
        self._widened.discard(fd)
        stream = self._outputs.pop(fd)
        rest = self._lines.pop(fd).finish()
        if rest:
            self._write_log(rest, stream)
        if fd == self._terminal:
            self._terminal = -1
        os.close(fd)
        if self._lingers and not self._outputs:
            self.close_clients()

    # -- the clients' side ---

    def attach(self, client: Client, early: bytes) -> None:
        self._clients.append(client)
        self._loop.add(client.fd, self._events(client), lambda e: self._on_client(client, e))
        if early and client.reads:
            self._take_input(client, early)
        if self._ended:
            client.ending = True
            self._settle(client)

    # -- clients that are held ---

    def hold(self, client: Client, holder: object, early: bytes) -> Message:
        """Attach it, but write nothing to it: its number, and where the log ends by now."""
        client.holder = holder
        self._held_count += 1
        self._held[self._held_count] = client
        self._unopened.add(self._held_count)
        self._keep_log()
        position = self._log.position() if self._log is not None else None
        for fd, lines in self._lines.items():
            stream = self._outputs[fd]
            if lines.unfinished and client.wants[stream]:
                client.send(stream, lines.unfinished)
        self.attach(client, early)
        return {"client": self._held_count, "log": position}

    def replayed(self, number: int, end: str) -> None:
        """Of a held client: the log is open for it, or it has taken some more, or all ("join"), or
        gets no more ("drop").
        """
        client = self._held.get(number)
        if client is None:
            raise Failure("no such client is held", "replayed", errno.ENOENT)
        self._unopened.discard(number)
        self._keep_log()
        if client.behind_since:
            client.behind_since = time.monotonic()
        if end == "drop":
            self._drop(client)
        elif end == "join":
            self._let_go(client)
            if client.flush():
                self._settle(client)
            else:
                self._drop(client)

    def drop_held_by(self, holder: object) -> None:
        for client in [held for held in self._held.values() if held.holder is holder]:
            self._drop(client)

    def _let_go(self, client: Client) -> None:
        client.holder = None
        self._held = {number: held for number, held in self._held.items() if held is not client}
        self._unopened &= self._held.keys()
        self._keep_log()

    def _keep_log(self) -> None:
        if self._log is not None:
            self._log.keep(kept=bool(self._unopened))

    def _events(self, client: Client) -> int:
        reads = READ if client.reads and client.waiting else 0
        return reads | (WRITE if client.owed and client.holder is None else 0)

    def _on_client(self, client: Client, events: int) -> None:
        if events & READ and client.reads and client.waiting:
            self._read_client(client)
        elif events & GONE:
            self._stop_reading(client)
            self._drop(client)
            return
        if events & WRITE and client in self._clients and not client.flush():
            self._drop(client)
        if client in self._clients:
            self._settle(client)

    def _settle(self, client: Client) -> None:
        """Look at a client's queue after it has changed."""
        if client.ending and not client.owed and client.holder is None:
            self._drop(client)
            return
        if client.is_behind(MAX_BEHIND) and not client.behind_since:
            client.behind_since = time.monotonic()
            self._judge_in(PATIENCE_SECONDS)
        elif not client.is_behind(MAX_BEHIND // 2):
            client.behind_since = 0.0
        self._loop.change(client.fd, self._events(client))
        self.regulate()

    def regulate(self) -> None:
        """Let the process wait for whoever is too far behind, or go on."""
        behind = any(client.behind_since for client in self._clients)
        behind = behind or (self._log is not None and self._log.full)
        stopped = behind and (self._lingers or not self._ended)
        if stopped != self._stopped:
            self._stopped = stopped
            for fd in self._outputs:
                self._loop.change(fd, 0 if stopped else READ)

    def _judge_in(self, seconds: float) -> None:
        if not self._judging:
            self._judging = True
            self._loop.later(seconds, self._judge)

    def _judge(self) -> None:
        """What those are owed who keep the process waiting goes to files, or they are dropped."""
        self._judging = False
        if self._ended:
            return
        limit = time.monotonic() - PATIENCE_SECONDS
        left = PATIENCE_SECONDS
        for client in list(self._clients):
            if not client.behind_since:
                continue
            alone = len(self._clients) == 1
            since = max(client.behind_since, client.taken_at) if alone else client.behind_since
            if since > limit:
                left = min(left, since - limit)
            elif self._spool(client):
                self._settle(client)
            elif not alone:
                self._drop(client)
        if any(client.behind_since for client in self._clients):
            self._judge_in(left)

    def _spool(self, client: Client) -> bool:
        """Whether what comes from now on is kept for it in a file."""
        if client.spool is not None or not self._spool_directory:
            return False
        try:
            client.spool = Spool(self._spool_directory)
        except OSError:
            return False
        return True

    def _drop(self, client: Client) -> None:
        if client not in self._clients:
            return
        self._clients.remove(client)
        if client.holder is not None:
            self._let_go(client)
        self._loop.remove(client.fd)
        client.part()
        self.regulate()

    # -- input ---

    def _read_client(self, client: Client) -> None:
        try:
            data = client.connection.recv(CHUNK, MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take_input(client, data)
        else:
            self._stop_reading(client)

    def _take_input(self, client: Client, data: bytes) -> None:
        detached = False
        if not client.framed:
            data, detached = client.keys.feed(data)
        if data and not self._ended and not self._close_input:
            self._input += data
            self._write_input()
        if detached:
            client.reads = False
            client.ending = True
            self.on_detached()
            self._settle(client)

    def _stop_reading(self, client: Client) -> None:
        """The client has no more input. As Docker: that ends the process's stdin, or the client."""
        if not client.reads:
            return
        client.reads = False
        if self._stdin_once and not self.has_terminal:
            self._close_input = True  # whoever else is attached
            self._write_input()
        else:
            client.ending = True

    def _on_stdin(self, events: int) -> None:
        if events & GONE and not events & WRITE:
            self._close_stdin()
            return
        self._write_input()

    def _write_input(self) -> None:
        if self._stdin < 0:
            return
        try:
            while self._input:
                del self._input[: os.write(self._stdin, self._input)]
        except BlockingIOError:
            pass
        except OSError:  # the process reads no more
            self._close_stdin()
            return
        if self._close_input and not self._input:
            self._close_stdin()
            return
        self._loop.change(self._stdin, WRITE if self._input else 0)
        self._let_clients_wait()

    def _let_clients_wait(self) -> None:
        waiting = len(self._input) < MAX_INPUT
        for client in self._clients:
            if client.waiting != waiting:
                client.waiting = waiting
                self._loop.change(client.fd, self._events(client))

    def _close_stdin(self) -> None:
        self._input.clear()
        if self._stdin >= 0:
            self._loop.remove(self._stdin)
            os.close(self._stdin)
            self._stdin = -1
        self._let_clients_wait()

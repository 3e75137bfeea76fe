"""Lists of system calls, made by a process without an interpreter."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from tiffin.kernel import calls
from tiffin.kernel.calls import Area, Calls, Label
from tiffin.kernel.syscalls import AT_FDCWD, stack_start

pytestmark = pytest.mark.skipif(not calls.is_known, reason="not known for this processor")

SECONDS = 10
FAILED = 7  # an exit code


class Bare:
    """A process that waits for a list, and the pipe that is its stdout."""

    def __init__(self, tail: Callable[[int], bytes] = lambda _address: b"") -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.output, writing = os.pipe()
        self.own = theirs.fileno()
        stack = stack_start()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.channel.close()
                os.dup2(writing, 1)
                area = Area()
                area.add_tail(tail(area.tail))
                places = (area.message, area.tail, area.failed, *area.scratch)
                theirs.send(struct.pack("5Q", *places))
                area.run(self.own, stack)
            finally:
                os._exit(99)
        theirs.close()
        os.close(writing)
        self._status: int | None = None
        places = struct.unpack("5Q", self.channel.recv(40))
        self.message, self.tail, self.failed, *self.scratch = places

    def list(self) -> tuple[Calls, Label]:
        return Calls(self.message), Label()

    def make(self, made: Calls, broken: Label, descriptors: list[int] | None = None) -> int:
        """Its exit code; FAILED where it has come to `broken`."""
        self.send(made, broken, descriptors)
        return self.wait()

    def send(self, made: Calls, broken: Label, descriptors: list[int] | None = None) -> None:
        made.call(broken, calls.EXIT_GROUP, 0)
        made.here(broken)
        made.call(broken, calls.EXIT_GROUP, FAILED)
        socket.send_fds(self.channel, [made.finish()], descriptors or [])

    def wait(self) -> int:
        if self._status is None:
            handle = os.pidfd_open(self.pid)
            ended = select.select([handle], [], [], SECONDS)[0]
            os.close(handle)
            if not ended:
                os.kill(self.pid, signal.SIGKILL)
            self._status = os.waitpid(self.pid, 0)[1]
            assert ended, "it hangs"
        return os.waitstatus_to_exitcode(self._status)

    def said(self) -> bytes:
        self.wait()
        return os.read(self.output, 65536)

    def close(self) -> None:
        self.channel.close()
        self.wait()
        os.close(self.output)


@pytest.fixture
def bare() -> Iterator[Bare]:
    process = Bare()
    yield process
    process.close()


def say(made: Calls, text: bytes, otherwise: Label) -> None:
    made.call(otherwise, calls.WRITE, 1, made.put(text), len(text))


def test_calls_are_made_in_turn(bare: Bare) -> None:
    made, broken = bare.list()
    for word in (b"one ", b"two ", b"three"):
        say(made, word, broken)
    assert bare.make(made, broken) == 0
    assert bare.said() == b"one two three"


def test_who_fails_goes_elsewhere_and_leaves_its_errno(bare: Bare) -> None:
    made, broken = bare.list()
    elsewhere = Label()
    made.call(elsewhere, calls.CHDIR, made.text(b"/etc/passwd/nowhere"))
    say(made, b"not to be said", broken)
    made.here(elsewhere)
    made.compare(broken, bare.failed, errno.ENOTDIR.to_bytes(8, "little"))
    say(made, b"no directory", broken)
    assert bare.make(made, broken) == 0
    assert bare.said() == b"no directory"


@pytest.mark.parametrize(("there", "code"), [(b"same", 0), (b"some", FAILED)])
def test_bytes_are_compared(bare: Bare, there: bytes, code: int) -> None:
    made, broken = bare.list()
    made.compare(broken, made.put(there), b"same")
    assert bare.make(made, broken) == code


def test_a_jump_is_one_without_a_condition(bare: Bare) -> None:
    made, broken = bare.list()
    behind = Label()
    made.jump(behind)
    say(made, b"not to be said", broken)
    made.here(behind)
    say(made, b"to be said", broken)
    assert bare.make(made, broken) == 0
    assert bare.said() == b"to be said"


def test_a_list_may_go_on_with_one_that_was_there() -> None:
    def tail(address: int) -> bytes:
        there, nowhere = Calls(address), Label()
        there.call(nowhere, calls.EXIT_GROUP, 42)
        there.here(nowhere)
        return there.finish()

    bare = Bare(tail)
    made, broken = bare.list()
    made.jump(Label(bare.tail))
    assert bare.make(made, broken) == 42
    bare.close()


def test_a_tail_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_leave_rseq", lambda: None)  # it is ours to keep
    with pytest.raises(ValueError, match="too long"):
        Area().add_tail(bytes(8193))


def test_a_program_is_executed_with_its_words_and_environment(bare: Bare) -> None:
    made, broken = bare.list()
    script = b'echo "$0 $1:$#" "$A"; pwd'
    argv = made.texts([b"sh", b"-c", script, b"name", b"", b"last"])
    envp = made.texts([b"A=a b", b"B="])
    made.call(broken, calls.CHDIR, made.text(b"/usr"))
    made.call(broken, calls.EXECVE, made.text(b"/bin/sh"), argv, envp)
    assert bare.make(made, broken) == 0
    assert bare.said() == b"name :2 a b\n/usr\n"


def test_descriptors_come_with_it_at_the_lowest_free_numbers(bare: Bare) -> None:
    reading, writing = os.pipe()
    free = next(n for n in range(3, 64) if not _is_open(bare.pid, n))
    made, broken = bare.list()
    text = b"to what has come"
    made.call(broken, calls.WRITE, free, made.put(text), len(text))
    assert bare.make(made, broken, [writing]) == 0
    os.close(writing)
    assert os.read(reading, 100) == text
    os.close(reading)


def _is_open(pid: int, number: int) -> bool:
    return os.path.lexists(f"/proc/{pid}/fd/{number}")


def test_it_waits_with_hardly_any_memory(bare: Bare) -> None:
    """Told by itself: once it makes the first call of a list it has waited."""
    made, broken = bare.list()
    say(made, b"here", broken)
    made.call(broken, calls.RECVFROM, bare.own, bare.scratch[0], 16)
    bare.send(made, broken)
    assert os.read(bare.output, 4) == b"here"
    with open(f"/proc/{bare.pid}/smaps_rollup", encoding="ascii") as file:
        memory = dict(line.split(":") for line in file.read().splitlines()[1:])
    assert int(memory["Rss"].split()[0]) < 256


def test_the_end_of_the_channel_is_the_end_of_it(bare: Bare) -> None:
    bare.channel.close()
    assert bare.wait() == 1


def test_what_cannot_be_executed_says_so(bare: Bare) -> None:
    made, broken = bare.list()
    refused: Label = Label()
    made.call(refused, calls.EXECVE, made.text(b"/etc/passwd"), made.texts([b"x"]), made.texts([]))
    made.here(refused)
    made.compare(broken, bare.failed, errno.EACCES.to_bytes(8, "little"))
    assert bare.make(made, broken) == 0


def test_an_absent_file_is_found_to_be_so(bare: Bare) -> None:
    made, broken = bare.list()
    absent = Label()
    made.call(absent, calls.NEWFSTATAT, AT_FDCWD, made.text(b"/nowhere"), bare.scratch[0])
    made.jump(broken)
    made.here(absent)
    assert bare.make(made, broken) == 0


def test_elsewhere_there_is_no_area(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "is_known", False)
    with pytest.raises(OSError, match="machine code"):
        Area()

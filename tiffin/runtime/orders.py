"""An exec as a list of system calls, for a process that stands by without an interpreter.

What comes between "this is your program" and its first instruction is known beforehand, but for
what goes wrong. So it is a list (kernel.calls): is the user still who it was, join the cgroups,
take the stdio, go to the working directory, find the program, say so, wait to be told to go on,
execute. Whatever fails before the program has been found ends the process, and the exec is begun
anew by one that can say why (runtime.execs). `Facts` are what the process has seen of the container
when it came to stand by; whoever makes the list stays outside.
"""

from __future__ import annotations

import errno
import os
import struct
import time
from _socket import MSG_NOSIGNAL, socket

from tiffin.kernel import calls, syscalls
from tiffin.kernel.calls import Area, Calls, Label
from tiffin.runtime import messages, rlimits
from tiffin.runtime.failure import EXIT_BROKEN, EXIT_EXEC_REFUSED
from tiffin.runtime.operations import Config
from tiffin.runtime.program import candidates, environment_of
from tiffin.runtime.users import Identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Facts = dict[str, Any]

_DATABASES = ("/etc/passwd", "/etc/group")
_JUST_NOW_SECONDS = 0.02  # two ticks of the slowest clock by which files are dated
_ANSWER_BYTES = 64
_FIRST_ANSWER, _SECOND_ANSWER = 1024, 2048  # in the scratch, behind a struct stat
# execve(2)
_REFUSALS = tuple(
    getattr(errno, name)
    for name in "E2BIG EACCES EAGAIN EINVAL EIO EISDIR ELIBBAD ELOOP EMFILE ENAMETOOLONG ENFILE"
    " ENOENT ENOEXEC ENOMEM ENOTDIR EPERM ETXTBSY".split()
)


# --- within the container -----------------------------------------------------------------------


def area() -> Area | None:
    """To stand by in, where that is possible. To be asked for before there is a filter."""
    try:
        return Area()
    except OSError:
        return None


def databases() -> list[list[int] | None]:
    """By what a change of users would be noticed. To be asked for before they are read."""
    return [_state(path) for path in _DATABASES]


def stand_by(
    place: Area,
    channel: socket,
    joins: list[int],
    identity: Identity,
    states: list[list[int] | None],
    stack: int,
) -> None:
    """Tell the shim the facts and wait in `place` for a list: no return.

    `states` are databases'; `stack` is where this process's begins.
    """
    place.add_tail(_refusals(place))
    facts = {
        "message": place.message,
        "tail": place.tail,
        "scratch": place.scratch,
        "channel": channel.fileno(),
        "joins": joins,
        "uid": identity.uid,
        "home": identity.home,
        "databases": states,
    }
    messages.send(channel, {"stands": facts})
    place.run(channel.fileno(), stack)


def _state(path: str) -> list[int] | None:
    """What changes with a file; empty: there is none; None: that cannot be told."""
    try:
        found = os.stat(path)
    except OSError as error:
        return [] if error.errno == errno.ENOENT else None
    if abs(time.time() - found.st_ctime) < _JUST_NOW_SECONDS:
        return None
    times = (*divmod(found.st_mtime_ns, 10**9), *divmod(found.st_ctime_ns, 10**9))
    return [found.st_dev, found.st_ino, *times]


def _refusals(place: Area) -> bytes:
    """What is left to say when the kernel does not execute the program: as runtime.program."""
    tail, broken = Calls(place.tail), Label()
    for number in _REFUSALS:
        another = Label()
        tail.compare(another, place.failed, number.to_bytes(8, "little"))
        _end(tail, f"{os.strerror(number).lower()}\n".encode(), broken)
        tail.here(another)
    tail.here(broken)
    _end(tail, b"refused\n", broken)
    return tail.finish()


def _end(tail: Calls, words: bytes, otherwise: Label) -> None:
    silent = Label()
    tail.call(silent, calls.WRITE, 2, tail.put(words), len(words))
    tail.here(silent)
    tail.call(otherwise, calls.EXIT_GROUP, EXIT_EXEC_REFUSED)


# --- outside ------------------------------------------------------------------------------------


def listed(facts: Facts, process: Config) -> bytes | None:
    """To be sent to the process of those facts, with its stdin, stdout and stderr.

    It says "accepted" and, as nothing but the program comes after it, "executing"; then it waits
    for a word. None: too long, or of no use.
    """
    directory: str = process.get("cwd") or "/"
    words: list[str] = process.get("args") or []
    all_text = "".join([directory, *words, *(process.get("env") or [])])
    if not directory.startswith("/") or not words or "\0" in all_text:
        return None  # for who can say what is wrong with it
    exec_, broken = Calls(facts["message"]), Label()
    _same_user(exec_, facts, broken)
    _take_place(exec_, facts, process, broken)
    _execute(exec_, facts, process, broken)
    exec_.here(broken)
    exec_.call(broken, calls.EXIT_GROUP, EXIT_BROKEN)
    data = exec_.finish()
    return data if len(data) <= min(messages.MAX_PACKET_BYTES, calls.MESSAGE_BYTES) else None


def _same_user(exec_: Calls, facts: Facts, broken: Label) -> None:
    """Nobody has changed /etc/passwd or /etc/group meanwhile."""
    status = facts["scratch"][0]
    for path, state in zip(_DATABASES, facts["databases"], strict=True):
        name = exec_.text(path.encode())
        if state:
            exec_.call(broken, calls.NEWFSTATAT, syscalls.AT_FDCWD, name, status)
            exec_.compare(broken, status + calls.STAT_FILE, struct.pack("<2Q", *state[:2]))
            exec_.compare(broken, status + calls.STAT_TIMES, struct.pack("<4q", *state[2:]))
        else:
            absent = Label()
            exec_.call(absent, calls.NEWFSTATAT, syscalls.AT_FDCWD, name, status)
            exec_.jump(broken)
            exec_.here(absent)


def _take_place(exec_: Calls, facts: Facts, process: Config, broken: Label) -> None:
    """Its cgroups, its stdio, its working directory, its last limits."""
    channel: int = facts["channel"]
    itself = exec_.text(b"0")
    for fd in facts["joins"]:
        exec_.call(broken, calls.WRITE, fd, itself, 1)
    taken = {0, 1, 2, channel, *facts["joins"]}
    received = [fd for fd in range(len(taken) + 3) if fd not in taken]
    for number, fd in enumerate(received[:3]):
        exec_.call(broken, calls.DUP3, fd, number)
    if facts["uid"]:  # as runtime.program.own_stdio
        _say(exec_, broken, channel, {"chown": facts["uid"]})
        _hear(exec_, broken, channel, facts["scratch"][0] + _FIRST_ANSWER)
    exec_.call(broken, calls.CHDIR, exec_.text(os.fsencode(process.get("cwd") or "/")))
    # A directory of the host, got at through a forgotten descriptor, has no name in this root.
    exec_.call(broken, calls.GETCWD, facts["scratch"][1], calls.SCRATCH_BYTES)
    exec_.compare(broken, facts["scratch"][1], b"/")
    for number, soft, hard in rlimits.last(process):
        limits = exec_.put(struct.pack("<2q", soft, hard))
        exec_.call(broken, calls.PRLIMIT64, 0, number, limits)
    mask = (process.get("user") or {}).get("umask")
    if mask is not None:
        exec_.call(broken, calls.UMASK, mask)


def _execute(exec_: Calls, facts: Facts, process: Config, broken: Label) -> None:
    """Look for the program as runtime.program.find_executable does; once more, on the word."""
    channel: int = facts["channel"]
    words: list[str] = process["args"]
    environment = environment_of(process, facts["home"])
    argv = exec_.texts([os.fsencode(word) for word in words])
    envp = exec_.texts([name + b"=" + value for name, value in environment.items()])
    paths = list(map(os.fsencode, candidates(words[0], environment)))
    places = list(map(exec_.text, paths))
    insides = [exec_.text(path + b"/.") for path in paths]
    found, refused, tail = Label(), Label(), Label(facts["tail"])
    executable = os.X_OK, syscalls.AT_EACCESS
    for place, inside in zip(places, insides, strict=True):
        another = Label()
        exec_.call(another, calls.FACCESSAT2, syscalls.AT_FDCWD, place, *executable)
        exec_.call(found, calls.FACCESSAT2, syscalls.AT_FDCWD, inside, os.F_OK)
        exec_.jump(broken)  # a directory: not for us to say
        exec_.here(another)
    exec_.jump(broken)
    exec_.here(found)
    _say(exec_, broken, channel, {"accepted": True, "executing": True})
    _hear(exec_, broken, channel, facts["scratch"][0] + _SECOND_ANSWER)
    for place in places:
        another = Label()
        exec_.call(another, calls.FACCESSAT2, syscalls.AT_FDCWD, place, *executable)
        exec_.call(refused, calls.EXECVE, place, argv, envp)
        exec_.here(another)
    exec_.here(refused)
    complaint = os.fsencode(f"exec {words[0]}: ")
    exec_.call(tail, calls.WRITE, 2, exec_.put(complaint), len(complaint))
    exec_.jump(tail)


def _say(exec_: Calls, broken: Label, channel: int, message: Config) -> None:
    data = messages.encode(message)
    exec_.call(broken, calls.SENDTO, channel, exec_.put(data), len(data), MSG_NOSIGNAL)


def _hear(exec_: Calls, broken: Label, channel: int, where: int) -> None:
    """A message, whatever it says, to where nothing was before; not the end of them."""
    exec_.call(broken, calls.RECVFROM, channel, where, _ANSWER_BYTES)
    exec_.compare(broken, where, b"{")

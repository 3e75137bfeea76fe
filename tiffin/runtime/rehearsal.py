"""What each shim does until its container runs, done by the zygote before, with nobody there.

Who runs a piece of Python first writes to it: code is specialised, types get versions, their
attributes go into a cache. In a shim each of these copies a page that it shares with the zygote,
for as long as the container lives. Here the zygote has done it for all of them.
"""

from __future__ import annotations

import gc
import os
from _socket import socket

from tiffin.kernel import syscalls
from tiffin.runtime import closeness, messages, shimbirth
from tiffin.runtime.birth import Host
from tiffin.runtime.messages import Message
from tiffin.runtime.shim import Shim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

ROUNDS = 12  # by then Python has made up its mind

_NO_DESCRIPTOR = 1 << 24

_MADE: Message = {  # as a maker says it
    "container_id": "rehearsal",
    "status": "created",
    "pid": 0,
    "start_ticks": 0,
    "cgroup": "/rehearsal",
    "controllers": ["cpu", "memory"],
    "exit": None,
    "execs": [],
    "directory": "/nonexistent",
    "ids": [{"containerID": 0, "hostID": 0, "size": 1}],
    "kinds": 0,
    "own_pids": True,
    "stdin": {"open": False},
    "log": {
        "kind": "json-file",
        "path": "/dev/null",
        "max_size_bytes": 0,
        "max_files": 1,
        "compress": False,
    },
    "failed": None,
    "request_id": 0,
    "hold": 0,
    "runtime": None,
}


def rehearse(host: Host, owners: Iterable[type | ModuleType] = ()) -> None:
    """Leaves nothing behind but warm code; raises OSError where there are no descriptors.

    The zygote's own, of these modules and classes, is laid close together as well: what it writes
    to after a fork is the fork's alone from then on.
    """
    closeness.gather(lambda: _run(host), owners)
    for _ in range(ROUNDS):
        _run(host)
    gc.collect()


def _run(host: Host) -> None:
    _prepare(host)
    daemon, connection = messages.pair()
    init, channel = messages.pair()
    stdout, program = os.pipe2(os.O_CLOEXEC)
    log = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    given = {
        "connection": connection.detach(),
        "channel": channel.detach(),
        "log": log,
        "stdout": stdout,
        "stderr": os.dup(stdout),
        "words": os.dup(2),
    }
    made = _through_a_socket({**_MADE, "given": list(given)})
    ours = shimbirth.of(made, list(given.values()), [], host)
    ours.begin()
    _start(ours, daemon, init)
    os.write(program, b"\n")
    ours.loop.run_once()
    daemon.close()
    ours.loop.run_once()
    ours.leave()
    os.close(program)


def _prepare(host: Host) -> None:
    """As a spare does. The first process has no namespaces, and ends: nobody talks to it."""
    syscalls.close_all_but([_NO_DESCRIPTOR], _NO_DESCRIPTOR)
    shimbirth.own_keyring()
    syscalls.prctl(syscalls.PR_GET_DUMPABLE)
    syscalls.set_process_name(messages.ZYGOTE_NAME)
    zygote, ours = messages.pair()
    channel, theirs = messages.pair()
    given = shimbirth.Spare(ours, channel, theirs, 0)
    shimbirth.first_process(given, host)
    messages.receive(zygote)
    given.close()
    zygote.close()


def _through_a_socket(message: Message) -> Message:
    sender, receiver = messages.pair()
    messages.send(sender, message)
    received, _descriptors = messages.receive(receiver)
    sender.close()
    receiver.close()
    return received


def _start(ours: Shim, daemon: socket, init: socket) -> None:
    messages.send(daemon, {"id": 1, "op": "start"})
    ours.loop.run_once()
    messages.receive(init)
    messages.send(init, {"executing": True})
    init.close()
    ours.loop.run_once()
    messages.receive(daemon)
    messages.send(daemon, {"id": 2, "op": "state"})
    ours.loop.run_once()
    messages.receive(daemon)

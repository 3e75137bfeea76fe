"""How a process of the zygote's becomes a shim: by a request, or ahead of one.

Ahead of one it has the container's first process, which is its child and waits for it: somebody
makes the container then (runtime.standing), or the shim has a maker of its own.
"""

from __future__ import annotations

import errno
import os
from _socket import MSG_NOSIGNAL, socket

from tiffin.kernel import syscalls, traits
from tiffin.runtime import hiredmaker, launch, maker, messages
from tiffin.runtime.birth import Host
from tiffin.runtime.init import Failure
from tiffin.runtime.messages import Message
from tiffin.runtime.shim import Shim

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signals
else:
    import _signal as signals


def main(data: bytes, descriptors: list[int], host: Host) -> None:
    """Become the shim of one container."""
    try:
        _leave_zygote()
    except OSError as error:
        refuse(data, descriptors, error, "join session keyring")
        return
    _make(data, descriptors, host, None)


def refuse(data: bytes, descriptors: list[int], error: OSError, what: str = "fork") -> None:
    """Tell the daemon that there is nothing to make its container with."""
    request = messages.decode(data)
    report = Failure(f"{what}: {os.strerror(error.errno or 0).lower()}", what, error.errno or 0)
    connection = socket(fileno=os.dup(descriptors[0]))
    try:
        messages.send(connection, {"id": request["id"], "failed": report.report})
    except (messages.ConnectionEnded, OSError):
        return  # there is nobody to be told
    finally:
        connection.close()


class Spare:
    """What the zygote has for a shim before there is a container, whose memory it shall not take.

    `ours` leads to the zygote, or to whom that has handed the shim; `channel` to its child, which
    has the other end, `theirs`.
    """

    def __init__(self, ours: socket, channel: socket, theirs: socket, flags: int) -> None:
        self.ours = ours
        self.channel = channel
        self.theirs = theirs
        self.flags = flags

    def descriptors(self) -> list[int]:
        return [self.ours.fileno(), self.channel.fileno(), self.theirs.fileno()]

    def close(self) -> None:
        for end in (self.ours, self.channel, self.theirs):
            end.close()


def spare(given: Spare, host: Host) -> None:
    """Become a shim before there is a container, and have its first process.

    Then comes what a maker has made of it, or a request, where we are to have it made.
    """
    _leave_zygote()
    connection = given.ours
    pid = first_process(given, host)
    try:
        data, descriptors = messages.receive_packet(connection)
        if data.startswith(b'{"id":'):
            connection.close()
            unborn = maker.Unborn(pid, given.channel, given.flags) if pid else None
            _make(data, descriptors, host, unborn)
            return
        made = messages.decode(data)
        hold = messages.receive(connection)[1] if made["hold"] else []
    except messages.ConnectionEnded:
        return  # there will be no container: a first process dies with us
    given.close()  # the channel has come back
    of(made, descriptors, hold, host).run()


def first_process(given: Spare, host: Host) -> int:
    """Made, and told of: its pid. 0 where there can be no child."""
    try:
        pid = launch.unborn(given.flags, given.theirs, host.last_capability, adopter=0)
    except OSError:
        pid = 0
    given.theirs.close()
    try:
        given.ours.send(b'{"unborn":%d,"flags":%d}' % (pid, given.flags), MSG_NOSIGNAL)
    except OSError:
        return pid  # a request has come already, or the zygote has gone
    return pid


def _make(data: bytes, descriptors: list[int], host: Host, unborn: maker.Unborn | None) -> None:
    """Have a child make the container, wait for it, and serve. The descriptors are the child's."""
    ours, theirs = messages.pair()
    try:
        child = os.fork() == 0
    except OSError as error:
        refuse(data, descriptors, error)
        return
    if child:
        ours.close()
        try:
            hiredmaker.of(data, descriptors, host, unborn).make(theirs)
        except messages.ConnectionEnded:
            os._exit(1)  # the shim was killed: nobody is left to be told
        os._exit(0)
    theirs.close()
    messages.close_all(descriptors)
    if unborn is not None:
        unborn.channel.close()
    try:
        made, received = messages.receive(ours)
        hold = messages.receive(ours)[1] if made["hold"] else []
    except messages.ConnectionEnded:
        return  # there will be no container: a first process dies with us
    ours.close()
    of(made, received, hold, host).run()


def of(made: Message, received: list[int], hold: list[int], host: Host) -> Shim:
    """By the maker's words and the descriptors that came with them. Errors go to its log."""
    given = dict(zip(made["given"], received, strict=True))
    if "words" in given:
        os.dup2(given["words"], 2)
        os.close(given["words"])
    return Shim(made, given, hold, host)


def _leave_zygote() -> None:
    os.setsid()
    signals.signal(signals.SIGCHLD, signals.SIG_DFL)
    own_keyring()
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    syscalls.set_process_name(messages.SHIM_NAME)


def own_keyring() -> None:
    """What has been unlocked for who started the daemon is not the container's to search.

    All that a shim begets has its session keyring: one for each container and its execs.
    """
    try:
        traits.join_session_keyring()
    except OSError as error:
        if error.errno != errno.EPERM:  # by a filter, which containers are behind as well
            raise

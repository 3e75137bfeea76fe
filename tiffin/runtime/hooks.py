"""OCI hooks: programs run at points of a container's life, its state on their stdin.

Before the program runs, one that fails is a Failure; after it, a warning and the next one's turn.
"""

from __future__ import annotations

import os
import select

from tiffin.kernel import syscalls
from tiffin.runtime import messages
from tiffin.runtime.failure import Failure
from tiffin.runtime.messages import Message
from tiffin.runtime.operations import Config

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signals
else:  # without the enumerations of the signal module
    import _signal as signals

_OUTPUT_LIMIT = 4096
_NOT_EXECUTED = 127


def run_all(kind: str, hooks: list[Config], state: Message) -> None:
    """In order. Raises Failure for the first that fails."""
    for number, hook in enumerate(hooks):
        said = run(hook, state)
        if said:
            raise Failure(f"error running {kind} hook #{number}: {said}", f"{kind} hook")


def run_each(kind: str, hooks: list[Config], state: Message) -> list[str]:
    """All of them, whatever becomes of the others; what went wrong, in words."""
    said = [(number, run(hook, state)) for number, hook in enumerate(hooks)]
    return [f"error running {kind} hook #{number}: {words}" for number, words in said if words]


def run(hook: Config, state: Message) -> str:
    """Wait for one hook: empty, or why it failed."""
    stdin = messages.memory_file(messages.encode(state))
    output = os.memfd_create("hook-output", os.MFD_CLOEXEC)
    try:
        pid = os.fork()
        if pid == 0:
            _become(hook, stdin, output)
        words = _wait(pid, hook.get("timeout") or 0)
        if words:
            said = os.pread(output, _OUTPUT_LIMIT, 0).decode(errors="replace").strip()
            words += f", stdout and stderr: {said}" if said else ""
        return words
    finally:
        os.close(stdin)
        os.close(output)


def _become(hook: Config, stdin: int, output: int) -> None:
    try:
        os.dup2(stdin, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        syscalls.close_all_but([])
        for number in (signals.SIGPIPE, signals.SIGXFSZ):
            signals.signal(number, signals.SIG_DFL)
        environment = dict(word.partition("=")[::2] for word in hook.get("env") or [])
        path: str = hook["path"]
        os.execve(path, hook.get("args") or [path], environment)  # noqa: S606
    except (OSError, ValueError) as error:
        os.write(2, f"{hook.get('path')}: {error}".encode())
    os._exit(_NOT_EXECUTED)


def _wait(pid: int, seconds: int) -> str:
    if seconds > 0:
        handle = os.pidfd_open(pid)
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        ended = poller.poll(seconds * 1000)
        os.close(handle)
        if not ended:
            os.kill(pid, signals.SIGKILL)
            os.waitpid(pid, 0)
            return f"hook ran past its timeout of {seconds} s"
    _pid, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    code = os.WEXITSTATUS(status)
    return f"exit status {code}" if code else ""

"""Why a container ended: by what, and who wanted it so. PURE.

Docker keeps an exit code, and 137 may be the kernel for want of memory, a user's kill, a stop that
was not obeyed, or anybody else on the machine. What the engine was asked to do is noted before it
does it, so that the end can be told apart from these.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tiffin.core.signals import signal_name

SIGKILL = 9
# What a program brings on itself: abort, traps, bad memory, bad instructions, bad system calls.
_FAULTS = frozenset(("ILL", "TRAP", "ABRT", "BUS", "FPE", "SEGV", "XCPU", "XFSZ", "SYS"))


class Cause(StrEnum):
    EXIT = "exit"  # the program ended by itself, or in answer to a signal
    SIGNAL = "signal"  # a signal ended it
    TIMEOUT = "timeout"  # asked to stop, it did not within its time
    OOM = "oom"
    START = "start"  # it never came up
    LOST = "lost"  # nobody saw the end


class By(StrEnum):
    USER = "user"  # a client of the API
    ENGINE = "engine"
    KERNEL = "kernel"
    PROGRAM = "program"
    UNKNOWN = "unknown"  # something in the container or on the machine that the engine cannot see


ENDING = frozenset(("stop", "restart", "removal", "unhealthy"))


class Asked(msgspec.Struct, frozen=True):
    """The last thing that was asked of a running container's life.

    `verb` is one of ENDING, which see to it that it ends, or kill (any signal).
    """

    verb: str
    signal: int
    at_ns: int
    by: By = By.USER
    late: bool = False  # its time was up: SIGKILL has followed


class Verdict(msgspec.Struct, frozen=True):
    """`text` is for people, the rest for programs; `signal` and `verb` may be ""."""

    cause: Cause
    by: By
    text: str
    signal: str = ""
    verb: str = ""


_FOR = {
    "stop": "stopped",
    "restart": "stopped for a restart",
    "removal": "killed for its removal",
    "unhealthy": "stopped for being unhealthy",
}


def of_exit(
    exit_code: int, signal: int, finished_ns: int, asked: Asked | None, *, oom_killed: bool
) -> Verdict:
    """The verdict on a process whose end was seen. `signal` is what ended it, 0 for none."""
    died_by = signal or _passed_on(exit_code, asked)
    name = signal_name(died_by) if died_by else ""
    if asked is not None and asked.late and died_by == SIGKILL:
        return _too_late(asked, finished_ns)
    if asked is not None and asked.verb in _FOR:
        how = name or f"exit code {exit_code}"
        cause = Cause.SIGNAL if died_by else Cause.EXIT
        return Verdict(
            cause, asked.by, f"{_FOR[asked.verb]} by {_the(asked.by)} ({how})", name, asked.verb
        )
    if asked is not None and asked.signal == died_by:
        words = f"killed by {_the(asked.by)} ({name})"
        return Verdict(Cause.SIGNAL, asked.by, words, name, asked.verb)
    if oom_killed and (died_by or exit_code) in (SIGKILL, 128 + SIGKILL):
        return Verdict(Cause.OOM, By.KERNEL, "out of memory", signal_name(SIGKILL))
    if died_by:
        return _signalled(name)
    return _exited(exit_code, finished_ns, asked, oom_killed=oom_killed)


def _passed_on(exit_code: int, asked: Asked | None) -> int:
    """The signal asked for, where a first process (--init, a shell) reports it by its exit code."""
    if asked is None:
        return 0
    signals = (asked.signal, SIGKILL) if asked.late else (asked.signal,)
    return exit_code - 128 if exit_code - 128 in signals else 0


def _too_late(asked: Asked, finished_ns: int) -> Verdict:
    seconds = max(finished_ns - asked.at_ns, 0) / 1e9
    name = signal_name(asked.signal)
    words = f"killed {seconds:.0f}s after {name} to be {_FOR.get(asked.verb, 'ended')}"
    text = f"{words} by {_the(asked.by)}"
    return Verdict(Cause.TIMEOUT, asked.by, text, signal_name(SIGKILL), asked.verb)


def _signalled(name: str) -> Verdict:
    if name.removeprefix("SIG") in _FAULTS:
        return Verdict(Cause.SIGNAL, By.PROGRAM, f"crashed ({name})", name)
    return Verdict(Cause.SIGNAL, By.UNKNOWN, f"{name} that the engine did not send", name)


def _exited(exit_code: int, finished_ns: int, asked: Asked | None, *, oom_killed: bool) -> Verdict:
    text = f"exited by itself with code {exit_code}"
    if asked is not None:
        seconds = max(finished_ns - asked.at_ns, 0) / 1e9
        text += f", {seconds:.1f}s after {signal_name(asked.signal)} from {_the(asked.by)}"
    if oom_killed:
        text += "; the kernel killed a process of it for lack of memory"
    return Verdict(Cause.EXIT, By.PROGRAM, text)


def of_failed_start(error: str) -> Verdict:
    return Verdict(Cause.START, By.ENGINE, f"did not start: {error}")


def of_lost_shim() -> Verdict:
    text = "killed by the engine, as the process that watched it had died"
    return Verdict(Cause.LOST, By.ENGINE, text, signal_name(SIGKILL))


def of_unseen_end(*, rebooted: bool) -> Verdict:
    why = "the machine went down" if rebooted else "it and what watched it were gone"
    return Verdict(Cause.LOST, By.UNKNOWN, f"nobody saw the end: {why}")


def _the(by: By) -> str:
    return f"the {by.value}"

"""What a process can be given beside its identity: scheduling, I/O class, personality, keyring.

One function per system call; a failure is an OSError whose words start with the call's name.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHEDULER_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
PERSONALITIES = {"LINUX": 0x0000, "LINUX32": 0x0008}

_X86 = os.uname().machine == "x86_64"
_SCHED_SETATTR = 314 if _X86 else 274
_IOPRIO_SET = 251 if _X86 else 30
_KEYCTL = 250 if _X86 else 219
_JOIN_SESSION_KEYRING = 1
_SETPERM, _OWNER_SEARCHES = 5, 0x3F1B0000  # all for who has it; view, read, search, link

_libc = ctypes.PyDLL(None, use_errno=True)
_long = ctypes.c_long


def set_scheduler(
    policy: int, flags: int, nice: int, priority: int, times: tuple[int, int, int]
) -> None:
    """Of this thread. `times` are runtime, deadline and period of SCHED_DEADLINE, in ns."""
    attributes = struct.pack("=IIQiIQQQ", 48, policy, flags, nice, priority, *times)
    _check(_libc.syscall(_long(_SCHED_SETATTR), _long(0), attributes, _long(0)), "sched_setattr")


def set_io_priority(io_class: int, priority: int) -> None:
    """Of this process."""
    value = io_class << 13 | priority
    _check(_libc.syscall(_long(_IOPRIO_SET), _long(1), _long(0), _long(value)), "ioprio_set")


def set_personality(domain: int) -> None:
    _check(_libc.personality(ctypes.c_ulong(domain)), "personality")


def join_session_keyring(name: str = "") -> None:
    """That of this name, or a new one; nothing where the kernel has no keys."""
    encoded = name.encode() if name else None
    result = _libc.syscall(_long(_KEYCTL), _long(_JOIN_SESSION_KEYRING), encoded)
    if result < 0 and ctypes.get_errno() == errno.ENOSYS:
        return
    _check(result, "keyctl")
    if name:
        # Who owns it may search it too: without that nobody else finds it by its name.
        shared = _libc.syscall(
            _long(_KEYCTL), _long(_SETPERM), _long(result), _long(_OWNER_SEARCHES)
        )
        _check(shared, "keyctl")


def _check(result: int, call: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")

"""What a shim reports as failed, in Docker's words."""

from __future__ import annotations

import errno
import os
from typing import Any

from tiffin.errors import CannotStart, Conflict, EngineFailure, InvalidArgument, TiffinError

CREATE_FAILED = (
    "failed to create task for container: failed to create shim task: "
    "OCI runtime create failed: unable to start container process: "
)
_EXEC_FAILED = "OCI runtime exec failed: exec failed: unable to start container process: "
_MOUNT_HINT = (
    ": Are you trying to mount a directory onto a file (or vice-versa)? "
    "Check if the specified host path exists and is the expected type"
)

# Operations that do what the request names, where it names it, and the kernel's answers to a path
# or a value that cannot be.
_WITH_PATHS = ("set sysctl", "mount tmpfs on", "mount /", "bind ", "make ", "mask ")
_WITH_VALUES = ("set sysctl", "mount tmpfs on", "error setting cgroup config")
_WRONG_PATH = frozenset({errno.ENOTDIR, errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG})
_WRONG_VALUE = frozenset({errno.EINVAL, errno.ERANGE, errno.ENODEV})


def _asked_wrong(operation: str, number: int) -> bool:
    return (number in _WRONG_PATH and operation.startswith(_WITH_PATHS)) or (
        number in _WRONG_VALUE and operation.startswith(_WITH_VALUES)
    )


def cannot_start(report: dict[str, Any]) -> CannotStart:
    """Its CLI chooses 126 or 127 by them."""
    operation, number = report.get("operation", ""), report.get("errno", 0)
    if operation == "find user":
        return CannotStart(report["message"], operation=operation, asked_wrong=True)
    message = f"{CREATE_FAILED}{report['message']}: unknown"
    if number == errno.ENOTDIR and not operation.startswith(("exec", "chdir")):
        message += _MOUNT_HINT
    return CannotStart(
        message,
        operation=operation,
        errno=number,
        exit_code=report.get("exit_code", 128),
        asked_wrong=_asked_wrong(operation, number),
    )


def cannot_exec(report: dict[str, Any]) -> CannotStart | Conflict:
    operation, number = report.get("operation", ""), report.get("errno", 0)
    if number == errno.ESRCH and operation == "exec":
        return Conflict(report["message"])
    exit_code = report.get("exit_code", 126)
    if operation == "find user":
        return CannotStart(report["message"], operation=operation, exit_code=126)
    message = f"{_EXEC_FAILED}{report['message']}: unknown"
    exit_code = exit_code if exit_code in (126, 127) else 126
    return CannotStart(message, operation=operation, errno=number, exit_code=exit_code)


def cannot_limit(error: OSError) -> TiffinError:
    """What keeps a running container from its new limits."""
    file = os.path.basename(os.fsdecode(error.filename or "")) or "limits"
    message = f"failed to write {file}: {os.strerror(error.errno or 0).lower()}"
    if error.errno == errno.EBUSY:
        return Conflict(message)  # it uses more than that by now
    return InvalidArgument(message) if error.errno in _WRONG_VALUE else EngineFailure(message)

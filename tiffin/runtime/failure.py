"""How a container's making fails: the operation, the kernel's answer, Docker's words."""

from __future__ import annotations

import errno
import os

EXIT_NOT_FOUND = 127
EXIT_NOT_EXECUTABLE = 126
EXIT_BROKEN = 128
EXIT_EXEC_REFUSED = 255


class Failure(Exception):
    """What the user is told: the failed operation, the kernel's answer, Docker's words."""

    def __init__(self, message: str, operation: str, number: int = 0, exit_code: int = EXIT_BROKEN):
        super().__init__(message)
        self.report = {
            "message": message,
            "operation": operation,
            "errno": number,
            "exit_code": exit_code,
        }


def failure_of(operation: str, error: OSError) -> Failure:
    words = os.strerror(error.errno or 0).lower()
    message = f"error during container init: {operation}: {words}"
    exit_code = EXIT_BROKEN
    if error.errno == errno.ENOTDIR:
        exit_code = EXIT_NOT_FOUND
    return Failure(message, operation, error.errno or 0, exit_code)

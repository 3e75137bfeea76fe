"""The classes of failure. Raised where the cause is known, translated once, in api.router.

A message is what a user reads: Docker's own words where Docker has words for it. The cause is
always chained (`raise NotFound(...) from error`).
"""

from __future__ import annotations


class TiffinError(Exception):
    """A failure that has a place in the user's world. `status` is its HTTP status."""

    status = 500

    @property
    def message(self) -> str:
        return str(self.args[0]) if self.args else type(self).__name__


class NotModified(TiffinError):
    """The thing already is as asked: starting a running container."""

    status = 304


class InvalidArgument(TiffinError):
    """The request cannot be right on any engine."""

    status = 400


class Unauthorized(TiffinError):
    """Credentials are missing or refused."""

    status = 401


class Forbidden(TiffinError):
    """Understood and refused: removing a predefined network."""

    status = 403


class NotFound(TiffinError):
    """No such container, image, volume, network, exec."""

    status = 404


class Conflict(TiffinError):
    """The state forbids it: name in use, container running."""

    status = 409


class Unsupported(TiffinError):
    """Docker has it and tiffin does not (yet). The message names the option."""

    status = 501


class Unavailable(TiffinError):
    """Something that we need does not answer: a registry, a shim."""

    status = 503


class RegistryMisbehaved(TiffinError):
    """The registry's fault: a wrong digest, an answer that contradicts itself."""

    status = 500


class EngineFailure(TiffinError):
    """The machine's fault, known and named: disk full, no address left, a port that is taken."""

    status = 500


class CannotStart(TiffinError):
    """A container's or exec's process did not come up.

    `operation` says which step failed ("mount proc on /proc", "exec"); `errno` is the kernel's
    answer. `exit_code` is what Docker records for it: 127 not found, 126 not executable, else 128.
    The words of the message choose the docker CLI's exit code, so they are contract. `asked_wrong`:
    what was asked for cannot be, on whatever machine: a user whom the image does not know.
    """

    def __init__(
        self,
        message: str,
        *,
        operation: str = "",
        errno: int = 0,
        exit_code: int = 128,
        asked_wrong: bool = False,
    ):
        super().__init__(message)
        self.operation = operation
        self.errno = errno
        self.exit_code = exit_code
        self.asked_wrong = asked_wrong

    @property
    def at_fault_is_the_command(self) -> bool:
        return self.exit_code in (126, 127)

    @property
    def status(self) -> int:  # type: ignore[override]
        return 400 if self.at_fault_is_the_command or self.asked_wrong else 500

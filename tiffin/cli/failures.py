"""What ends a command early: a message for stderr and the exit code that goes with it."""

from __future__ import annotations


class CommandFailed(Exception):
    """Printed as it is; `code` is the exit code. An empty message prints nothing."""

    def __init__(self, message: str = "", code: int = 1):
        super().__init__(message)
        self.message = message
        self.code = code


class WrongUsage(CommandFailed):
    """The command line itself is wrong; `hint` is what follows the message."""

    def __init__(self, message: str, hint: str = "", code: int = 125):
        super().__init__(f"{message}\n\n{hint}" if hint else message, code)


class DaemonAnswered(CommandFailed):
    """The daemon refused: its status and its words."""

    def __init__(self, status: int, words: str):
        super().__init__(f"Error response from daemon: {words}")
        self.status = status
        self.words = words


class DaemonDown(CommandFailed):
    """Nobody listens at `host`. `advice` follows Docker's own words."""

    def __init__(self, host: str, advice: str = ""):
        super().__init__(
            f"Cannot connect to the Docker daemon at {host}. Is the docker daemon running?{advice}"
        )


class EmptyName(CommandFailed):
    """A container, network or volume was named by nothing."""

    def __init__(self, kind: str, words: str = ""):
        super().__init__(words or f"invalid {kind} name or ID: value is empty")


class WrongOption(ValueError):
    """Options that are each right but not together, or a file that is not there."""

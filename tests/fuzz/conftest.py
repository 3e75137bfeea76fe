"""The API's daemon, for targets that need a real one."""

from tests.api.conftest import daemon

__all__ = ["daemon"]

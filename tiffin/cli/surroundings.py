"""What is around a command: variables of the environment, and files that are read whole."""

from __future__ import annotations

import posix


def environment(name: str) -> str | None:
    value: bytes | None = posix.environ.get(name.encode("utf-8", "surrogateescape"))
    return None if value is None else value.decode("utf-8", "surrogateescape")


def read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def config_directory() -> str:
    """Where both command lines keep their configuration and their contexts."""
    return environment("DOCKER_CONFIG") or f"{environment('HOME') or '/root'}/.docker"

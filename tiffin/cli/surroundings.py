"""What is around a command: variables of the environment, and files that are read whole."""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_known: dict[str, dict[str, Any]] = {}


def environment(name: str) -> str | None:
    value: bytes | None = posix.environ.get(name.encode("utf-8", "surrogateescape"))
    return None if value is None else value.decode("utf-8", "surrogateescape")


def read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def config_directory() -> str:
    """Where both command lines keep their configuration and their contexts."""
    return environment("DOCKER_CONFIG") or f"{environment('HOME') or '/root'}/.docker"


def config_document() -> dict[str, Any]:
    """Docker's config.json, read once; empty where there is none, or none that makes sense."""
    path = f"{config_directory()}/config.json"
    if path not in _known:
        from tiffin.cli.jsontext import decode

        try:
            document = decode(read_file(path))
        except (OSError, ValueError):
            document = {}
        _known[path] = document if isinstance(document, dict) else {}
    return _known[path]

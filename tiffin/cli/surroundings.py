"""What is around a command: variables of the environment, directories, files read whole."""

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


def absolute(path: str) -> str:
    """The path from the root, `.` and `..` resolved by their names alone."""
    whole = path if path.startswith("/") else f"{posix.getcwd()}/{path}"
    parts: list[str] = []
    for part in whole.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


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

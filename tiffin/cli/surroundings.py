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
    """Docker's config.json, read once; empty, and a warning, where it makes no sense."""
    path = f"{config_directory()}/config.json"
    if path not in _known:
        _known[path] = _read_config(path)
    return _known[path]


def _read_config(path: str) -> dict[str, Any]:
    try:
        text = read_file(path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        _warn(f"loading config file: open {path}: {(error.strerror or '').lower()}")
        return {}
    from tiffin.cli.jsontext import decode

    try:
        document = decode(text) if text.strip() else {}
    except ValueError as error:
        _warn(f"parsing config file ({path}): {error}")
        return {}
    if isinstance(document, dict):
        return document
    _warn(f"parsing config file ({path}): not an object")
    return {}


def _warn(problem: str) -> None:
    from tiffin.cli.output import complain

    complain(f"WARNING: Error {problem}")

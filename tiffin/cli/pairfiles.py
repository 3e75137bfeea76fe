"""Files of `NAME=value` lines: `--env-file` and `--label-file`."""

from __future__ import annotations

from tiffin.cli.failures import WrongOption
from tiffin.cli.surroundings import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def read_pairs(
    files: list[str], given: list[str], find: Callable[[str], str | None] | None
) -> list[str] | None:
    """The lines of `files`, then what was `given`; `find` knows values for names alone."""
    found: list[str] = []
    for path in files:
        try:
            data = read_file(path)
        except IsADirectoryError as error:
            problem = f"read {path}: is a directory"
            raise WrongOption(f"invalid env file ({path}): {problem}") from error
        except OSError as error:
            raise WrongOption(f"open {path}: {(error.strerror or '').lower()}") from error
        try:
            found += _pairs_of(data, find)
        except ValueError as error:
            raise WrongOption(f"invalid env file ({path}): {error}") from error
    return found + given or None


def _pairs_of(data: bytes, find: Callable[[str], str | None] | None) -> list[str]:
    found = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            line = raw.removesuffix(b"\r").decode().lstrip()
        except UnicodeDecodeError:
            raise ValueError(
                f"invalid utf8 bytes at line {number}: [{' '.join(map(str, raw))}]"
            ) from None
        if not line or line.startswith("#"):
            continue
        name, equals, _ = line.partition("=")
        if not name:
            raise ValueError(f"no variable name on line '{line}'")
        if " " in name or "\t" in name:
            raise ValueError(f"variable '{name}' contains whitespaces")
        if equals:
            found.append(line)
        elif find is not None and (value := find(name)) is not None:
            found.append(f"{name}={value}")
    return found

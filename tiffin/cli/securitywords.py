"""`--security-opt` as the API has it: a seccomp profile is sent as its text."""

from __future__ import annotations

from tiffin.cli.failures import WrongOption
from tiffin.cli.jsontext import decode, show
from tiffin.cli.surroundings import read_file


def parse_security(options: list[str]) -> tuple[list[str] | None, bool]:
    """The options, a seccomp profile as its text; and whether system paths are unconfined."""
    kept = [_security_option(text) for text in options if text != "systempaths=unconfined"]
    return (kept if options else None), len(kept) != len(options)


def _security_option(text: str) -> str:
    name, found, value = text.partition("=")
    if not found and name != "no-new-privileges":
        name, found, value = text.partition(":")
    if name == "no-new-privileges":
        return text
    if not found or not value:
        raise WrongOption(f'Invalid --security-opt: "{text}"')
    if name != "seccomp" or value in ("builtin", "unconfined"):
        return text

    try:
        profile = decode(read_file(value))
    except OSError as error:
        step = "read" if isinstance(error, IsADirectoryError) else "open"
        raise WrongOption(
            f"opening seccomp profile ({value}) failed: "
            f"{step} {value}: {(error.strerror or '').lower()}"
        ) from error
    except ValueError as error:
        raise WrongOption(
            f"compacting json for seccomp profile ({value}) failed: {error}"
        ) from error
    return f"seccomp={show(profile)}"

"""`--change` of commit and import: Dockerfile instructions that change only a config. PURE."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tiffin.build.dockerfile import parse_instructions
from tiffin.build.instructions import (
    Cmd,
    Entrypoint,
    Env,
    Expose,
    HealthCheck,
    Instruction,
    Label,
    OnBuild,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from tiffin.build.state import Scope, StageState, evaluate
from tiffin.core.image import ContainerConfig
from tiffin.core.merge import merge
from tiffin.errors import InvalidArgument

Changes = Callable[[ContainerConfig], ContainerConfig]

_ALLOWED = (
    Cmd,
    Entrypoint,
    Env,
    Expose,
    HealthCheck,
    Label,
    OnBuild,
    StopSignal,
    User,
    Volume,
    Workdir,
)
_NAMES = frozenset(kind.__name__.upper() for kind in _ALLOWED)


def parse_changes(lines: list[str], given: ContainerConfig | None = None) -> Changes:
    """A function from a config to the changed one. Raises InvalidArgument here, not there.

    `given` is the config that the body of POST /commit may hold: it is changed in the stead of
    the container's. Where the changed one is silent the container's speaks, as an image's does at
    a create: so an ENTRYPOINT takes away the command that was there.
    """
    given_lines = [line for line in lines if line.strip()]
    for line in given_lines:
        word = line.split()[0]
        # Before anything is parsed: what is not allowed may say what it likes.
        if not word.startswith("#") and word.upper() not in _NAMES:
            raise InvalidArgument(f"{word} is not a valid change command")
    instructions = parse_instructions(given_lines)
    if lines and not instructions:
        raise InvalidArgument("file with no instructions")
    for instruction in instructions:
        if not isinstance(instruction, _ALLOWED):
            raise InvalidArgument(f"{instruction.name} is not a valid change command")
    return lambda config: _over(_changed(given or config, instructions), config)


def _changed(config: ContainerConfig, instructions: list[Instruction]) -> ContainerConfig:
    variables = dict(entry.partition("=")[::2] for entry in config.env or ())
    state = StageState(config, variables)
    for instruction in instructions:
        state = evaluate(instruction, state, Scope()).state
    # What a build says of its commands, for Windows' sake, Docker does not say here.
    return msgspec.structs.replace(state.config, args_escaped=config.args_escaped)


def _over(changed: ContainerConfig, config: ContainerConfig) -> ContainerConfig:
    """As at a create, but for what Docker lets nobody inherit here."""
    return msgspec.structs.replace(
        merge(changed, config),
        on_build=changed.on_build,
        shell=changed.shell,
        stop_timeout=changed.stop_timeout,
    )

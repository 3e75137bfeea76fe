"""What a container gets from its image: Docker's rules for merging a request with defaults.

Source: moby, `runconfig`/`daemon/commit.go` semantics as seen from its API (docs/reference/run).
"""

from __future__ import annotations

import msgspec

from tiffin.core.health import merge_healthcheck
from tiffin.core.image import ContainerConfig
from tiffin.errors import InvalidArgument


def merge(user: ContainerConfig, image: ContainerConfig | None) -> ContainerConfig:
    """The user's config where it speaks, the image's where it is silent.

    A given entrypoint silences the image's command, an empty list only the image's entrypoint;
    environment and labels merge by key.
    """
    base = image or ContainerConfig()
    entrypoint, cmd = user.entrypoint, user.cmd
    if not entrypoint:
        entrypoint = base.entrypoint if entrypoint is None else entrypoint
        cmd = cmd or base.cmd
    elif entrypoint == ("",):  # --entrypoint "" asks for none, and for no command of the image's
        entrypoint = None
    return msgspec.structs.replace(
        user,
        user=user.user or base.user,
        env=_with_images(user.env or (), base.env or ()),
        cmd=cmd,
        entrypoint=entrypoint,
        working_dir=user.working_dir or base.working_dir,
        exposed_ports={**(base.exposed_ports or {}), **(user.exposed_ports or {})} or None,
        volumes={**(base.volumes or {}), **(user.volumes or {})} or None,
        labels={**(base.labels or {}), **(user.labels or {})},
        healthcheck=merge_healthcheck(base.healthcheck, user.healthcheck),
        stop_signal=user.stop_signal or base.stop_signal,
        stop_timeout=base.stop_timeout if user.stop_timeout is None else user.stop_timeout,
        shell=user.shell or base.shell,
    )


def _with_images(env: tuple[str, ...], images: tuple[str, ...]) -> tuple[str, ...]:
    """The user's variables, then those of the image that the user says nothing of."""
    own = merge_environment((), env)
    said = {entry.partition("=")[0] for entry in own}
    return own + tuple(entry for entry in images if entry.partition("=")[0] not in said)


def merge_environment(base: tuple[str, ...], override: tuple[str, ...]) -> tuple[str, ...]:
    """`override` wins by key and keeps the place of what it replaces.

    "KEY" without "=" stays as it is, in the place of a value: whoever starts a process unsets it.
    """
    return tuple({entry.partition("=")[0]: entry for entry in base + override}.values())


def check_environment(env: tuple[str, ...]) -> None:
    for entry in env:
        if not entry or entry.startswith("="):
            raise InvalidArgument(f"invalid environment variable: {entry}")
        if "\0" in entry:
            raise InvalidArgument(f"invalid environment variable: {entry!r}: contains a nul byte")
